//! Locks: funds that a condition releases before an expiry, else return.

use crate::eip712::Words;
use crate::{Amount, Hash32};
use serde::{Deserialize, Serialize};

/// Most locks in one channel.
pub const MAX_LOCKS: usize = 32;

/// One lock of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lock {
    /// Tells apart two locks of equal hash and amount.
    pub id: Hash32,
    /// What releases it.
    pub kind: LockKind,
    /// Whether the user pays it; else the hub.
    pub user_pays: bool,
    /// How much it holds.
    pub amount: Amount,
    /// Unix time of a block, in seconds, from which it returns to its payer.
    pub expiry: u64,
    /// sha-256 of the preimage, order id, or book id, by kind.
    pub condition: Hash32,
    /// Granules of a metered order, else 0.
    pub total: u64,
}

/// What releases a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum LockKind {
    /// A preimage of 32 bytes.
    Hash = 1,
    /// The buyer's highest signed meter.
    Metered = 2,
    /// Cheques of the book it backs.
    Cover = 3,
}

/// keccak-256 of the ABI-encoded list; zero for an empty one.
pub fn locks_hash(locks: &[Lock]) -> Hash32 {
    if locks.is_empty() {
        return Hash32::ZERO;
    }
    let head = Words::bare().uint(32).uint(locks.len() as u128);
    locks
        .iter()
        .fold(head, |words, lock| {
            words
                .hash(lock.id)
                .uint(lock.kind as u128)
                .uint(u128::from(lock.user_pays))
                .amount(lock.amount)
                .uint(u128::from(lock.expiry))
                .hash(lock.condition)
                .uint(u128::from(lock.total))
        })
        .keccak()
}
