//! Locks: funds that a condition releases before an expiry, else return.

use crate::eip712::Words;
use crate::{Amount, Hash32, State};
use serde::{Deserialize, Serialize};

/// Most locks in one channel.
pub const MAX_LOCKS: usize = 32;
/// Longest time a lock may run, in seconds: 7 days.
pub const MAX_LOCK_SECS: u64 = 7 * 24 * 3_600;

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

/// Why a lock or a list of locks can't be in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LockBreach {
    /// More than [`MAX_LOCKS`].
    #[error("{0} locks, at most 32 fit a channel")]
    TooMany(usize),
    /// The list is not the one that the state names.
    #[error("the lock list does not hash to the state's locksHash")]
    OtherList,
    /// The list's sums are not the state's.
    #[error(
        "the locks add up to {hub:?} of the hub and {user:?} of the user, not as the state says"
    )]
    Sums {
        /// What the hub's locks add up to.
        hub: Option<Amount>,
        /// What the user's locks add up to.
        user: Option<Amount>,
    },
    /// Two locks with one id.
    #[error("lock {0} is in the list twice")]
    Twice(Hash32),
    /// A new lock that holds nothing, or more than a balance.
    #[error("lock {0} holds nothing, or more than a balance can")]
    BadAmount(Hash32),
    /// A metered lock without granules, or another kind with them.
    #[error("lock {0} has granules that do not fit its kind")]
    BadTotal(Hash32),
    /// A new lock that is past, or runs too long.
    #[error("lock {lock} expires at {expiry}, which is past or more than 7 days ahead")]
    BadExpiry {
        /// The lock.
        lock: Hash32,
        /// Its expiry.
        expiry: u64,
    },
    /// Two locks on one hash in a channel: one preimage would release both.
    #[error("condition {0} is used already, or its preimage is known")]
    ConditionUsed(Hash32),
}

/// Checks that a list is what a state names and adds up to its sums (N2.2).
pub fn check_list(state: &State, locks: &[Lock]) -> Result<(), LockBreach> {
    if locks.len() > MAX_LOCKS {
        return Err(LockBreach::TooMany(locks.len()));
    }
    if locks_hash(locks) != state.locks_hash {
        return Err(LockBreach::OtherList);
    }
    for (index, lock) in locks.iter().enumerate() {
        if locks[..index].iter().any(|other| other.id == lock.id) {
            return Err(LockBreach::Twice(lock.id));
        }
    }
    let sum = |user_pays| {
        let paid = locks.iter().filter(|lock| lock.user_pays == user_pays);
        Amount::sum(paid.map(|lock| lock.amount))
    };
    let (hub, user) = (sum(false), sum(true));
    if hub != Some(state.hub_locked) || user != Some(state.user_locked) {
        return Err(LockBreach::Sums { hub, user });
    }
    Ok(())
}

/// Checks a lock that is about to join `locks`, at the time of the newest final block.
pub fn check_new(lock: &Lock, locks: &[Lock], now: u64) -> Result<(), LockBreach> {
    if locks.len() >= MAX_LOCKS {
        return Err(LockBreach::TooMany(locks.len() + 1));
    }
    if locks.iter().any(|other| other.id == lock.id) {
        return Err(LockBreach::Twice(lock.id));
    }
    if lock.amount.is_zero() || !lock.amount.fits_balance() {
        return Err(LockBreach::BadAmount(lock.id));
    }
    if (lock.kind == LockKind::Metered) != (lock.total > 0) {
        return Err(LockBreach::BadTotal(lock.id));
    }
    if lock.expiry <= now || lock.expiry - now > MAX_LOCK_SECS {
        return Err(LockBreach::BadExpiry {
            lock: lock.id,
            expiry: lock.expiry,
        });
    }
    let same = |other: &&Lock| (other.kind, other.condition) == (lock.kind, lock.condition);
    match locks.iter().find(same) {
        Some(_) => Err(LockBreach::ConditionUsed(lock.condition)),
        None => Ok(()),
    }
}
