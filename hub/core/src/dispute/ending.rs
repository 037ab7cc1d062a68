//! Ending an epoch: by agreement, by acceptance, or after the window.

use super::hub::{added, pays_held};
use super::refusal::require_signed;
use super::{Call, Channel, Delayed, Dispute, Ended, Hub, Key, LockList, Payment, Refusal, Side};
use crate::Amount;
use crate::settlement::{self, ChainTotals, Closer, FundingMode, Settled, Sources, Verdict};
use crate::types::CoopSettle;

/// An agreement to end the epoch as it is shown, with whose signatures stand in both places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// The terms.
    pub terms: CoopSettle,
    /// In the hub's place.
    pub hub: Key,
    /// In the user's place.
    pub user: Key,
}

impl Channel {
    /// Ends the dispute at once with the other side's `AcceptClose` on the current state.
    pub fn accept_close(&mut self, hub: &mut Hub, signed_by: Key) -> Result<Vec<Payment>, Refusal> {
        let dispute = *self.require_dispute()?;
        if dispute.penalized.is_some() {
            return Err(Refusal::AlreadyPenalized);
        }
        let other = match dispute.closer {
            Closer::Hub => Side::User,
            Closer::User | Closer::Exit => Side::Hub,
        };
        require_signed(signed_by, other)?;
        self.finish(hub, &dispute, None)
    }

    /// Ends the epoch after the window, by anybody; the closer waits for its own payout.
    pub fn settle(&mut self, hub: &mut Hub, call: Call) -> Result<Vec<Payment>, Refusal> {
        let dispute = *self.require_dispute()?;
        if call.now <= dispute.deadline {
            return Err(Refusal::DeadlineAhead {
                deadline: dispute.deadline,
            });
        }
        let pay_at = dispute.deadline + u64::from(self.params.self_delay);
        self.finish(hub, &dispute, Some(pay_at))
    }

    /// Ends the epoch by agreement of both sides, open or closing.
    pub fn coop_settle(
        &mut self,
        hub: &mut Hub,
        agreement: &Agreement,
        call: Call,
    ) -> Result<Vec<Payment>, Refusal> {
        self.require_valid(hub)?;
        let terms = &agreement.terms;
        if call.now > terms.valid_until {
            return Err(Refusal::Expired {
                valid_until: terms.valid_until,
            });
        }
        if terms.withdrawn != self.withdrawn || terms.deposited != self.deposited {
            return Err(Refusal::TotalsMoved {
                withdrawn: self.withdrawn,
                deposited: self.deposited,
            });
        }
        let is_ours = terms.channel_id == self.id && terms.epoch == self.epoch;
        if !is_ours || agreement.hub != Key::Hub || agreement.user != Key::User {
            return Err(Refusal::BadSignature);
        }
        let mut sources = self.sources(hub);
        let paid = sources.draw(terms.user_amount);
        let owed = terms.user_amount.less(paid);
        let hub_owed = added(hub.owed, owed)?;

        hub.funds = sources.funds;
        hub.give_back(sources.collateral);
        hub.owed = hub_owed;
        let ended = Ended {
            owed,
            ..Ended::default()
        };
        self.next_epoch(hub.mode, ended);
        let to_user = hub.pays(self.params.user, paid);
        Ok(to_user.into_iter().collect())
    }

    /// Pays everybody by N7 and opens the next epoch. `pay_at`: when the closer's own payout is
    /// due, if it waits.
    fn finish(
        &mut self,
        hub: &mut Hub,
        dispute: &Dispute,
        pay_at: Option<u64>,
    ) -> Result<Vec<Payment>, Refusal> {
        let verdict = match (dispute.penalized, dispute.closer) {
            (Some(_), Closer::Hub) => Verdict::HubCheated {
                limit: hub.penalty_limit(&self.params),
            },
            (Some(_), Closer::User) => Verdict::UserCheated,
            _ => Verdict::Honest,
        };
        let totals = ChainTotals {
            withdrawn: self.withdrawn,
            deposited: self.deposited,
            credit_max: dispute.credit_max,
        };
        let sources = self.sources(hub);
        let bounty_bps = self.params.bounty_bps;
        let settled = settlement::settle(&dispute.state, &totals, verdict, bounty_bps, sources);
        let delayed = delayed(dispute, &settled, pay_at);
        let hub_waits = delayed.is_some_and(|late| late.closer == Closer::Hub);
        let user_waits = delayed.is_some_and(|late| late.closer == Closer::User);
        let back = if hub_waits {
            Amount::ZERO
        } else {
            settled.left.collateral
        };
        let owed = added(added(hub.owed, settled.owed)?, settled.lock_short)?;

        hub.funds = settled.left.funds;
        hub.give_back(back);
        hub.bond = settled.left.bond;
        hub.owed = owed;
        let ended = Ended {
            delayed,
            owed: settled.owed,
            lock_owed: Amount::ZERO,
            locks: lock_list(dispute, &settled),
            stray: Amount::ZERO,
        };
        self.next_epoch(hub.mode, ended);
        let mut payments = Vec::new();
        let bounty_to = dispute.penalized.unwrap_or_default();
        if matches!(verdict, Verdict::HubCheated { .. }) {
            payments.extend(pays_held(self.params.user, settled.user_bonus));
            payments.extend(pays_held(bounty_to, settled.bounty));
        } else {
            payments.extend(hub.pays(bounty_to, settled.bounty));
        }
        if !user_waits {
            payments.extend(hub.pays(self.params.user, settled.user_pay));
        }
        Ok(payments)
    }

    /// Collateral is tokens: a mint hub's channel can't pay with a stray one.
    fn sources(&self, hub: &Hub) -> Sources {
        Sources {
            collateral: match hub.mode {
                FundingMode::Vault => self.collateral,
                FundingMode::Mint => Amount::ZERO,
            },
            funds: hub.funds,
            bond: hub.bond,
        }
    }

    /// Starts the next epoch. Collateral that a mint hub's channel had no use for waits as a claim.
    fn next_epoch(&mut self, mode: FundingMode, mut ended: Ended) {
        if mode == FundingMode::Mint {
            ended.stray = self.collateral;
        }
        if ended != Ended::default() {
            self.ended.insert(self.epoch, ended);
        }
        self.epoch += 1;
        self.withdrawn = Amount::ZERO;
        self.deposited = Amount::ZERO;
        self.collateral = Amount::ZERO;
        self.dispute = None;
    }
}

/// A closing user waits for its money, a closing hub for its collateral.
fn delayed(dispute: &Dispute, settled: &Settled, pay_at: Option<u64>) -> Option<Delayed> {
    let (amount, waits) = match dispute.closer {
        Closer::Hub => (settled.left.collateral, false),
        Closer::User => (settled.user_pay, !settled.owed.is_zero()),
        Closer::Exit => return None,
    };
    let due_at = pay_at?;
    (waits || !amount.is_zero()).then_some(Delayed {
        amount,
        due_at,
        closed_version: dispute.closed_version,
        closer: dispute.closer,
    })
}

fn lock_list(dispute: &Dispute, settled: &Settled) -> Option<LockList> {
    let is_empty = settled.lock_reserve.is_zero() && settled.lock_short.is_zero();
    (!is_empty).then_some(LockList {
        hash: dispute.state.locks_hash,
        reserve: settled.lock_reserve,
        short: settled.lock_short,
    })
}
