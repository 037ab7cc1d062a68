//! What one state does to its channel: the seven legs of operations, credits and locks.

use super::money::ChainView;
use super::refuse::Refuse;
use crate::eip712::typed;
use crate::fold::{self, give_to_user, take_from_user, transfers_root};
use crate::lock::{self, Lock, LockBreach, LockKind, locks_hash};
use crate::settlement::metered;
use crate::types::LegKind;
use crate::{Amount, Facts, Hash32, State, Typed, sha256};

/// One change with the operation that ordered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// The operation, as it stands in a leg.
    pub operation: Hash32,
    /// What it does.
    pub change: Change,
}

/// One change of a channel's allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A leg of an operation.
    Leg {
        /// What it does.
        kind: LegKind,
        /// How much.
        amount: Amount,
        /// The other channel of a transfer, else zero.
        counterparty: Hash32,
    },
    /// Folds the newest credit into the user balance.
    FoldCredit {
        /// What is not folded yet.
        amount: Amount,
    },
    /// Takes funds of its payer into a lock.
    AddLock(
        /// The lock.
        Lock,
    ),
    /// Pays a hash lock to its receiver.
    Fulfil {
        /// The lock.
        lock: Hash32,
        /// Whose sha-256 is the condition.
        preimage: [u8; 32],
    },
    /// Returns a lock before its expiry; its receiver agreed.
    Fail {
        /// The lock.
        lock: Hash32,
    },
    /// Returns a hash or cover lock whose expiry is past.
    Expire {
        /// The lock.
        lock: Hash32,
    },
    /// Pays a metered lock pro rata and returns the rest.
    Resolve {
        /// The lock.
        lock: Hash32,
        /// Granules delivered.
        delivered: u64,
    },
    /// Pays cheques out of a cover lock, which keeps the rest.
    Cash {
        /// The lock.
        lock: Hash32,
        /// How much.
        amount: Amount,
    },
}

/// A leg of a state, with the kinds that concern one channel only. Same type and encoding as
/// [`crate::types::Leg`], whose kinds end at 7.
struct ChangeLeg {
    operation: Hash32,
    kind: u8,
    amount: Amount,
    counterparty: Hash32,
}

typed!(
    ChangeLeg,
    "Leg(bytes32 operation,uint8 kind,uint96 amount,bytes32 counterparty)",
    |l, words| words
        .hash(l.operation)
        .uint(u128::from(l.kind))
        .amount(l.amount)
        .hash(l.counterparty)
);

/// What a change needs to know beside the state.
pub(super) struct Ground<'a> {
    pub facts: Facts,
    pub view: &'a ChainView,
}

/// A state on its way to the next one.
pub(super) struct Draft {
    pub state: State,
    pub locks: Vec<Lock>,
    legs: Vec<Hash32>,
}

impl Draft {
    pub(super) fn new(state: State, locks: &[Lock]) -> Self {
        Self {
            state,
            locks: locks.to_vec(),
            legs: Vec::new(),
        }
    }

    /// Applies one change, or refuses it and changes nothing.
    pub(super) fn apply(&mut self, order: &Order, ground: &Ground<'_>) -> Result<(), Refuse> {
        let (kind, amount, counterparty) = match order.change {
            Change::Leg {
                kind,
                amount,
                counterparty,
            } => {
                if amount.is_zero() {
                    return Err(fold::Refusal::AmountZero.into());
                }
                self.state = fold::step(&self.state, &ground.facts, kind, amount)?;
                (kind as u8, amount, counterparty)
            }
            Change::FoldCredit { amount } => (8, self.fold_credit(amount, ground)?, Hash32::ZERO),
            Change::AddLock(lock) => (9, self.add(lock, ground)?, lock.id),
            Change::Fulfil { lock, preimage } => (10, self.fulfil(lock, &preimage, ground)?, lock),
            Change::Fail { lock } => (11, self.give_back(lock)?, lock),
            Change::Expire { lock } => (12, self.expire(lock, ground)?, lock),
            Change::Resolve { lock, delivered } => (13, self.resolve(lock, delivered)?, lock),
            Change::Cash { lock, amount } => (14, self.cash(lock, amount)?, lock),
        };
        let leg = ChangeLeg {
            operation: order.operation,
            kind,
            amount,
            counterparty,
        };
        self.legs.push(leg.hash_struct());
        Ok(())
    }

    /// The state with its roots; version and `ackVersion` are the caller's.
    pub(super) fn seal(mut self, version: u64, ack_version: u64) -> (State, Vec<Lock>) {
        self.state.version = version;
        self.state.ack_version = ack_version;
        self.state.locks_hash = locks_hash(&self.locks);
        self.state.transfers_root = transfers_root(self.legs);
        (self.state, self.locks)
    }

    fn fold_credit(&mut self, amount: Amount, ground: &Ground<'_>) -> Result<Amount, Refuse> {
        let unfolded = ground.facts.credit_signed.less(self.state.credited);
        if amount.is_zero() || amount > unfolded {
            return Err(Refuse::CreditUnknown { unfolded, amount });
        }
        // The fold frees the reserve that it spends, so it is written first.
        let mut next = self.state;
        next.credited = add(next.credited, amount)?;
        give_to_user(&mut next, &ground.facts, amount)?;
        self.state = next;
        Ok(amount)
    }

    fn add(&mut self, lock: Lock, ground: &Ground<'_>) -> Result<Amount, Refuse> {
        lock::check_new(&lock, &self.locks, ground.view.time)?;
        if lock.kind == LockKind::Hash && ground.view.registered(lock.condition).is_some() {
            return Err(LockBreach::ConditionUsed(lock.condition).into());
        }
        let mut next = self.state;
        if lock.user_pays {
            take_from_user(&mut next, lock.amount)?;
            next.hub_balance = sub(next.hub_balance, lock.amount)?;
            next.user_locked = add(next.user_locked, lock.amount)?;
        } else {
            // As if it went to the user: the reserve may not be locked away.
            give_to_user(&mut next, &ground.facts, lock.amount)?;
            next.user_balance = sub(next.user_balance, lock.amount)?;
            next.hub_locked = add(next.hub_locked, lock.amount)?;
        }
        self.state = next;
        self.locks.push(lock);
        Ok(lock.amount)
    }

    fn find(&self, id: Hash32) -> Result<Lock, Refuse> {
        let found = self.locks.iter().find(|lock| lock.id == id);
        found.copied().ok_or(Refuse::NoSuchLock(id))
    }

    fn of_kind(&self, id: Hash32, kinds: &[LockKind]) -> Result<Lock, Refuse> {
        let lock = self.find(id)?;
        let fits = kinds.contains(&lock.kind);
        fits.then_some(lock).ok_or(Refuse::OtherLockKind(id))
    }

    fn fulfil(
        &mut self,
        id: Hash32,
        preimage: &[u8; 32],
        ground: &Ground<'_>,
    ) -> Result<Amount, Refuse> {
        let lock = self.of_kind(id, &[LockKind::Hash])?;
        if sha256(preimage) != lock.condition {
            return Err(Refuse::WrongPreimage(id));
        }
        if ground.view.ends(&lock) == Some(Amount::ZERO) {
            return Err(Refuse::LockExpired(id));
        }
        self.end(&lock, lock.amount)
    }

    fn give_back(&mut self, id: Hash32) -> Result<Amount, Refuse> {
        let lock = self.find(id)?;
        self.end(&lock, Amount::ZERO)
    }

    fn expire(&mut self, id: Hash32, ground: &Ground<'_>) -> Result<Amount, Refuse> {
        let lock = self.of_kind(id, &[LockKind::Hash, LockKind::Cover])?;
        if ground.view.ends(&lock) != Some(Amount::ZERO) {
            return Err(Refuse::LockLive(id));
        }
        self.end(&lock, Amount::ZERO)
    }

    fn resolve(&mut self, id: Hash32, delivered: u64) -> Result<Amount, Refuse> {
        let lock = self.of_kind(id, &[LockKind::Metered])?;
        self.end(&lock, metered(lock.amount, delivered, lock.total))
    }

    fn cash(&mut self, id: Hash32, amount: Amount) -> Result<Amount, Refuse> {
        let mut lock = self.of_kind(id, &[LockKind::Cover])?;
        if amount.is_zero() || amount > lock.amount {
            return Err(Refuse::CoverShort(id));
        }
        let rest = lock.amount.less(amount);
        lock.amount = amount;
        self.end(&lock, amount)?;
        // The sums still hold the rest: `end` took only what was paid.
        if !rest.is_zero() {
            lock.amount = rest;
            self.locks.push(lock);
        }
        Ok(amount)
    }

    /// Ends a lock: so much to its receiver, the rest to its payer.
    fn end(&mut self, lock: &Lock, paid: Amount) -> Result<Amount, Refuse> {
        let returned = sub(lock.amount, paid)?;
        let state = &mut self.state;
        let (to_hub, to_user) = if lock.user_pays {
            state.user_locked = sub(state.user_locked, lock.amount)?;
            (paid, returned)
        } else {
            state.hub_locked = sub(state.hub_locked, lock.amount)?;
            (returned, paid)
        };
        state.hub_balance = add(state.hub_balance, to_hub)?;
        state.user_balance = add(state.user_balance, to_user)?;
        self.locks.retain(|other| other.id != lock.id);
        Ok(paid)
    }
}

/// Sums of parts of a capacity fit; a list that does not match its state is found by the checks.
fn add(one: Amount, other: Amount) -> Result<Amount, Refuse> {
    one.checked_add(other).ok_or(Refuse::Overflow)
}

fn sub(one: Amount, other: Amount) -> Result<Amount, Refuse> {
    one.checked_sub(other).ok_or(Refuse::Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Leg;

    #[test]
    fn a_leg_of_an_operation_hashes_as_everywhere_else() {
        let leg = Leg {
            operation: Hash32([3; 32]),
            kind: LegKind::Refund,
            amount: Amount::new(9),
            counterparty: Hash32([4; 32]),
        };
        let same = ChangeLeg {
            operation: leg.operation,
            kind: leg.kind as u8,
            amount: leg.amount,
            counterparty: leg.counterparty,
        };
        assert_eq!(leg.hash_struct(), same.hash_struct());
    }
}
