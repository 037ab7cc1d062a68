//! Evidence for locks: shown by anybody, at any time, for open and settled channels alike.

use super::Refusal;
use crate::lock::{Lock, LockKind};
use crate::{Address, Amount, Hash32, sha256};
use std::collections::BTreeMap;

/// What the contract has been shown about locks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    preimages: BTreeMap<Hash32, u64>,
    delivered: BTreeMap<Hash32, u64>,
    cashed: BTreeMap<(Hash32, Address), Amount>,
}

impl Registry {
    /// Records that a preimage of 32 bytes was known now; a known one keeps its first time.
    pub fn register_preimage(&mut self, preimage: Hash32, now: u64) {
        self.preimages.entry(sha256(&preimage.0)).or_insert(now);
    }

    /// Records the granules of an order; only a higher count is taken.
    pub fn show_meter(
        &mut self,
        order: Hash32,
        delivered: u64,
        is_signed: bool,
    ) -> Result<(), Refusal> {
        if !is_signed {
            return Err(Refusal::BadSignature);
        }
        let before = self.delivered_of(order);
        if delivered <= before {
            return Err(Refusal::NotNewer {
                current: Amount::new(u128::from(before)),
                offered: Amount::new(u128::from(delivered)),
            });
        }
        self.delivered.insert(order, delivered);
        Ok(())
    }

    /// When a preimage of the hash was registered, 0 never.
    pub fn preimage_time(&self, hash: Hash32) -> u64 {
        self.preimages.get(&hash).copied().unwrap_or(0)
    }

    /// Highest granules shown for an order.
    pub fn delivered_of(&self, order: Hash32) -> u64 {
        self.delivered.get(&order).copied().unwrap_or(0)
    }

    /// What a beneficiary has had out of a book, in minor units.
    pub fn cashed_of(&self, book: Hash32, beneficiary: Address) -> Amount {
        self.cashed
            .get(&(book, beneficiary))
            .copied()
            .unwrap_or(Amount::ZERO)
    }

    pub(super) fn note_cashed(&mut self, book: Hash32, beneficiary: Address, total: Amount) {
        self.cashed.insert((book, beneficiary), total);
    }

    /// What there is for one lock, as the lock rules want it.
    pub fn evidence(&self, lock: &Lock) -> u64 {
        match lock.kind {
            LockKind::Hash => self.preimage_time(lock.condition),
            LockKind::Metered => self.delivered_of(lock.condition),
            LockKind::Cover => 0,
        }
    }
}
