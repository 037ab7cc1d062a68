//! When a lock of a settled list ends, and what the list pays (P7, N7).

use super::fraction;
use crate::Amount;
use crate::lock::{Lock, LockKind};

/// floor(amount x delivered / total), at most the amount; nothing without granules.
pub fn metered(amount: Amount, delivered: u64, total: u64) -> Amount {
    if delivered >= total && total != 0 {
        return amount;
    }
    fraction(amount, delivered, total)
}

/// What the receiver gets when the lock ends now; nothing while it waits.
///
/// `evidence` is the block time of the preimage's registration, 0 never (hash), or the granules
/// shown (metered). Only a metered lock's receiver may end it early: it gives up the rest. A
/// cover lock pays by [`cash`] before; when it ends, what is left goes back.
pub fn resolve(lock: &Lock, evidence: u64, now: u64, by_receiver: bool) -> Option<Amount> {
    let expired = now >= lock.expiry;
    match lock.kind {
        LockKind::Hash => {
            let known = evidence != 0 && evidence < lock.expiry;
            let to_receiver = if known { lock.amount } else { Amount::ZERO };
            (expired || known).then_some(to_receiver)
        }
        LockKind::Metered => {
            (expired || by_receiver).then(|| metered(lock.amount, evidence, lock.total))
        }
        LockKind::Cover => expired.then_some(Amount::ZERO),
    }
}

/// How a list of locks resolves at one moment; amounts in minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// Places of the locks that end now, ascending.
    pub resolved: Vec<usize>,
    /// The locks that stay, in order.
    pub rest: Vec<Lock>,
    /// What the ending locks pay the user's side, as receiver or as payer.
    pub to_user: Amount,
    /// What they give the hub's side.
    pub to_hub: Amount,
}

/// Resolves every lock that can be resolved now. `asks` says whether the asker is on the user's
/// and on the hub's side; `evidence` as for [`resolve`].
pub fn resolve_list(
    locks: &[Lock],
    evidence: impl Fn(&Lock) -> u64,
    now: u64,
    asks: (bool, bool),
) -> Resolution {
    let (by_user, by_hub) = asks;
    let mut all = Resolution {
        resolved: Vec::new(),
        rest: Vec::new(),
        to_user: Amount::ZERO,
        to_hub: Amount::ZERO,
    };
    for (place, lock) in locks.iter().enumerate() {
        let by_receiver = if lock.user_pays { by_hub } else { by_user };
        let Some(to_receiver) = resolve(lock, evidence(lock), now, by_receiver) else {
            all.rest.push(*lock);
            continue;
        };
        let back = lock.amount.less(to_receiver);
        let (to_user, to_hub) = if lock.user_pays {
            (back, to_receiver)
        } else {
            (to_receiver, back)
        };
        all.resolved.push(place);
        // A list is far too short for sums of 96-bit amounts to end at 128 bits.
        all.to_user = Amount::new(all.to_user.units().saturating_add(to_user.units()));
        all.to_hub = Amount::new(all.to_hub.units().saturating_add(to_hub.units()));
    }
    all
}

/// What a settled list may still pay, and the funds behind it; in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purse {
    /// Set aside at settlement.
    pub reserve: Amount,
    /// What could not be set aside then; part of what the hub owes.
    pub short: Amount,
    /// The hub's vault or mint allowance now.
    pub funds: Amount,
    /// All that the hub owes, of which `short` is a part.
    pub hub_owed: Amount,
}

impl Purse {
    /// Takes `wanted` out of the reserve, then as much of the shortage as the funds cover.
    /// Returns what was taken and what was not, though the shortage still backs it.
    fn draw(&mut self, wanted: Amount) -> (Amount, Amount) {
        let reserved = wanted.min(self.reserve);
        let gap = wanted.less(reserved).min(self.short);
        let pooled = gap.min(self.funds);
        self.reserve = self.reserve.less(reserved);
        self.short = self.short.less(pooled);
        self.funds = self.funds.less(pooled);
        self.hub_owed = self.hub_owed.less(pooled);
        let drawn = Amount::new(reserved.units() + pooled.units());
        (drawn, gap.less(pooled))
    }

    /// Gives back to the hub: the shortage is forgotten first, then the reserve returns.
    fn release(&mut self, amount: Amount) {
        let forgotten = amount.min(self.short);
        let back = amount.less(forgotten).min(self.reserve);
        self.short = self.short.less(forgotten);
        self.hub_owed = self.hub_owed.less(forgotten);
        self.reserve = self.reserve.less(back);
        self.funds = Amount::new(self.funds.units().saturating_add(back.units()));
    }
}

/// What one payout of a list comes to, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unlocked {
    /// To the user now.
    pub paid: Amount,
    /// To the user when the hub has funds again.
    pub owed: Amount,
    /// What remains, `owed` already part of what the hub owes.
    pub purse: Purse,
}

/// Pays what a resolution gives the user, never more than reserve and shortage together, and
/// returns the hub's part; `is_last` when no lock stays, and then all that remains returns.
pub fn unlock(mut purse: Purse, to_user: Amount, to_hub: Amount, is_last: bool) -> Unlocked {
    let (paid, owed) = purse.draw(to_user);
    // It stays owed, now to the user alone and no longer to the list.
    purse.short = purse.short.less(owed);
    purse.release(if is_last { Amount::MAX } else { to_hub });
    Unlocked { paid, owed, purse }
}

/// Resolves and pays a whole list at once; `None` when nothing can be resolved now.
pub fn unlock_list(
    locks: &[Lock],
    purse: Purse,
    evidence: impl Fn(&Lock) -> u64,
    now: u64,
    asks: (bool, bool),
) -> Option<(Resolution, Unlocked)> {
    let resolution = resolve_list(locks, evidence, now, asks);
    if resolution.resolved.is_empty() {
        return None;
    }
    let is_last = resolution.rest.is_empty();
    let paid = unlock(purse, resolution.to_user, resolution.to_hub, is_last);
    Some((resolution, paid))
}

/// Pays a cheque of a cover lock: `cumulative` less what its beneficiary `had`, as far as the
/// lock and the funds reach; returns the amount paid. What bounced is not owed: the cheque stays
/// good while the lock stands.
pub fn cash(purse: &mut Purse, lock: &mut Lock, cumulative: Amount, had: Amount) -> Amount {
    let wanted = cumulative.less(had).min(lock.amount);
    let (paid, _) = purse.draw(wanted);
    lock.amount = lock.amount.less(paid);
    paid
}
