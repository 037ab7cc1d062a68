//! What is paid after an epoch has ended: late, owed, or locked.

use super::hub::added;
use super::{Call, Channel, Hub, LockList, Payment, Refusal, Registry, ShownCheque};
use crate::lock::{Lock, LockKind, locks_hash};
use crate::settlement::{self, Closer, Purse};
use crate::{Address, Epoch};

impl Channel {
    /// Pays the closer of an ended epoch: a user its balance, a hub its collateral back into the
    /// vault.
    pub fn claim_delayed(
        &mut self,
        hub: &mut Hub,
        epoch: Epoch,
        now: u64,
    ) -> Result<Option<Payment>, Refusal> {
        let late = self.ended.get(&epoch).and_then(|ended| ended.delayed);
        let late = late.ok_or(Refusal::NothingToPay)?;
        if now < late.due_at {
            return Err(Refusal::NotDue {
                due_at: late.due_at,
            });
        }
        let payment = if late.closer == Closer::Hub {
            hub.give_back(late.amount);
            None
        } else {
            hub.pays(self.params.user, late.amount)
        };
        self.ended.entry(epoch).or_default().delayed = None;
        Ok(payment)
    }

    /// Pays what the funds could not at the end of an epoch, as far as they reach now. While the
    /// closer can still be proved a cheat, only what locks left owed is paid.
    pub fn pay_owed(&mut self, hub: &mut Hub, epoch: Epoch) -> Result<Payment, Refusal> {
        let ended = self.ended.get_mut(&epoch).ok_or(Refusal::NothingToPay)?;
        let payable = match ended.delayed {
            Some(late) if ended.lock_owed.is_zero() => {
                return Err(Refusal::NotDue {
                    due_at: late.due_at,
                });
            }
            Some(_) => ended.lock_owed,
            None => added(ended.owed, ended.lock_owed)?,
        };
        let paid = hub.take(payable);
        let payment = hub.pays(self.params.user, paid);
        let payment = payment.ok_or(Refusal::NothingToPay)?;

        ended.owed = ended.owed.less(paid.less(ended.lock_owed));
        ended.lock_owed = ended.lock_owed.less(paid);
        hub.owed = hub.owed.less(paid);
        Ok(payment)
    }

    /// Resolves every lock of a settled list that can be resolved now and pays the user its part.
    /// `locks` is the list as settlement or the last payout left it; returns the locks that stay.
    pub fn unlock(
        &mut self,
        hub: &mut Hub,
        epoch: Epoch,
        locks: &[Lock],
        registry: &Registry,
        call: Call,
    ) -> Result<(Vec<Lock>, Option<Payment>), Refusal> {
        let list = self.require_list(epoch, locks)?;
        let asks = self.asks(hub, call.sender);
        let evidence = |lock: &Lock| registry.evidence(lock);
        let (resolution, paid) =
            settlement::unlock_list(locks, purse(&list, hub), evidence, call.now, asks)
                .ok_or(Refusal::NothingResolvable)?;

        self.apply(hub, epoch, &resolution.rest, paid.purse);
        if resolution.rest.is_empty() {
            self.ended.entry(epoch).or_default().locks = None;
        }
        let ended = self.ended.entry(epoch).or_default();
        ended.lock_owed = added(ended.lock_owed, paid.owed)?;
        Ok((resolution.rest, hub.pays(self.params.user, paid.paid)))
    }

    /// Pays the beneficiary of a cover lock its newest cheque less what it has had. `locks` as
    /// for [`Channel::unlock`]; returns the list with what is left of the lock.
    pub fn cash_cheque(
        &mut self,
        hub: &mut Hub,
        epoch: Epoch,
        locks: &[Lock],
        cheque: &ShownCheque,
        registry: &mut Registry,
    ) -> Result<(Vec<Lock>, Payment), Refusal> {
        let list = self.require_list(epoch, locks)?;
        if !cheque.is_signed {
            return Err(Refusal::BadSignature);
        }
        if cheque.beneficiary == Address::ZERO {
            return Err(Refusal::ZeroAddress);
        }
        let mut rest = locks.to_vec();
        let lock = rest.get_mut(cheque.place).ok_or(Refusal::NoSuchLock)?;
        if lock.kind != LockKind::Cover || lock.condition != cheque.book {
            return Err(Refusal::WrongCondition {
                expected: lock.condition,
                found: cheque.book,
            });
        }
        let had = registry.cashed_of(cheque.book, cheque.beneficiary);
        let mut left = purse(&list, hub);
        let paid = settlement::cash(&mut left, lock, cheque.cumulative, had);
        let payment = hub.pays(cheque.beneficiary, paid);
        let payment = payment.ok_or(Refusal::NothingToPay)?;
        let total = added(had, paid)?;

        registry.note_cashed(cheque.book, cheque.beneficiary, total);
        self.apply(hub, epoch, &rest, left);
        Ok((rest, payment))
    }

    fn require_list(&self, epoch: Epoch, locks: &[Lock]) -> Result<LockList, Refusal> {
        let list = self.ended.get(&epoch).and_then(|ended| ended.locks);
        list.filter(|list| list.hash == locks_hash(locks))
            .ok_or(Refusal::WrongLockList)
    }

    /// Whether somebody is on the user's and on the hub's side.
    fn asks(&self, hub: &Hub, sender: Address) -> (bool, bool) {
        let params = &self.params;
        (
            sender == params.user || sender == params.user_signer,
            sender == hub.address || sender == params.hub_signer,
        )
    }

    fn apply(&mut self, hub: &mut Hub, epoch: Epoch, locks: &[Lock], left: Purse) {
        hub.funds = left.funds;
        hub.owed = left.hub_owed;
        self.ended.entry(epoch).or_default().locks = Some(LockList {
            hash: locks_hash(locks),
            reserve: left.reserve,
            short: left.short,
        });
    }
}

fn purse(list: &LockList, hub: &Hub) -> Purse {
    Purse {
        reserve: list.reserve,
        short: list.short,
        funds: hub.funds,
        hub_owed: hub.owed,
    }
}
