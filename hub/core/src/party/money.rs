//! Credits and withdrawals: signatures that are enforceable by themselves (P9).

use super::book::{Book, Standing};
use super::evidence::Keys;
use super::machine::{Effect, Party};
use super::message::Message;
use super::refuse::Refuse;
use crate::dispute::Side;
use crate::lock::Lock;
use crate::settlement;
use crate::types::{Credit, Withdraw};
use crate::{Amount, Epoch, Facts, Hash32, Signature};

/// What a side knows of the chain, as of the newest final block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChainView {
    /// The channel's epoch.
    pub epoch: Epoch,
    /// W: withdrawals executed in it.
    pub executed: Amount,
    /// D: deposits in it.
    pub deposits: Amount,
    /// Whether a close was seen, final or not.
    pub closing: bool,
    /// Unix time of the block, in seconds.
    pub time: u64,
    /// Registered preimages: sha-256 and when.
    pub registry: Vec<(Hash32, u64)>,
}

impl ChainView {
    /// When the preimage of a condition was registered.
    pub fn registered(&self, condition: Hash32) -> Option<u64> {
        let found = self.registry.iter().find(|(known, _)| *known == condition);
        found.map(|(_, at)| *at)
    }

    /// How the contract would end a lock by what is registered, asked by anybody.
    pub(super) fn ends(&self, lock: &Lock) -> Option<Amount> {
        let at = self.registered(lock.condition).unwrap_or(0);
        settlement::resolve(lock, at, self.time, false)
    }
}

impl Book {
    /// The facts of the rules, from this book and the chain.
    pub fn facts(&self, view: &ChainView) -> Facts {
        Facts {
            executed: view.executed,
            withdraw_floor: self.withdraw_floor(view),
            final_deposits: view.deposits,
            credit_signed: self.credited(),
            closing: view.closing || self.standing == Standing::Closing,
        }
    }

    /// What `withdrawn` must not fall below (N2.5): unexecuted withdraws are given back together,
    /// once the last of them is past at a final block.
    pub fn withdraw_floor(&self, view: &ChainView) -> Amount {
        if self.withdraws_are_past(view) {
            return view.executed;
        }
        let total = |withdraw: &Withdraw| withdraw.prev_total.checked_add(withdraw.amount);
        let highest = self
            .unexecuted(view)
            .map(|withdraw| total(withdraw).unwrap_or(Amount::MAX));
        highest.max().unwrap_or(view.executed)
    }

    /// Whether nothing signed here can still be executed.
    pub(super) fn withdraws_are_past(&self, view: &ChainView) -> bool {
        self.unexecuted(view)
            .all(|withdraw| withdraw.valid_until < view.time)
    }

    fn unexecuted(&self, view: &ChainView) -> impl Iterator<Item = &Withdraw> {
        // The chain of totals is strict, so what begins below the executed total was executed.
        let signed = self.withdraws.iter().map(|(withdraw, _)| withdraw);
        signed.filter(|withdraw| withdraw.prev_total >= view.executed)
    }
}

impl Party {
    /// Signs a `Credit` up to `cumulative`, after the commit that decided it.
    ///
    /// # Errors
    /// [`Refuse`] when the total does not grow or the hub balance of the held or of any
    /// half-signed state does not cover it (N2.4).
    pub fn sign_credit(
        &mut self,
        cumulative: Amount,
        view: &ChainView,
        keys: &impl Keys,
    ) -> Result<Vec<Effect>, Refuse> {
        self.may_sign(view)?;
        if self.side() != Side::Hub {
            return Err(Refuse::BadSignature);
        }
        if let Some((newest, signature)) = self.book.credit {
            if newest == cumulative {
                return Ok(vec![credit(cumulative, signature)]);
            }
            if cumulative < newest {
                return Err(Refuse::NotNewer { newest, cumulative });
            }
        }
        let mut facts = self.book.facts(view);
        facts.credit_signed = cumulative;
        self.covered(&facts)?;
        let signature = keys.sign(self.channel.digest(&self.credit_of(cumulative)));
        self.book.credit = Some((cumulative, signature));
        Ok(vec![Effect::Store, credit(cumulative, signature)])
    }

    pub(super) fn receive_credit(
        &mut self,
        cumulative: Amount,
        signature: Signature,
        keys: &impl Keys,
    ) -> Result<Vec<Effect>, Refuse> {
        let digest = self.channel.digest(&self.credit_of(cumulative));
        if !keys.verify(digest, &signature, self.channel.params.hub_signer) {
            return Err(Refuse::BadSignature);
        }
        if cumulative <= self.book.credited() {
            return Ok(Vec::new());
        }
        self.book.credit = Some((cumulative, signature));
        Ok(vec![Effect::Store])
    }

    fn credit_of(&self, cumulative: Amount) -> Credit {
        Credit {
            channel_id: self.channel.id,
            epoch: self.book.held.content.state.epoch,
            cumulative,
        }
    }

    /// N2.4 for the held and every half-signed state.
    fn covered(&self, facts: &Facts) -> Result<(), Refuse> {
        for signed in self.book.possible() {
            let state = &signed.content.state;
            let reserve = facts.reserve(state);
            if state.hub_balance < reserve {
                return Err(Refuse::Uncovered {
                    version: state.version,
                    hub_balance: state.hub_balance,
                    reserve,
                });
            }
        }
        Ok(())
    }

    /// Signs a payout whose order is in the held state.
    ///
    /// # Errors
    /// [`Refuse`] when no co-signed state includes it, when it does not continue the chain of
    /// totals, or when it is past.
    pub fn sign_withdraw(
        &mut self,
        withdraw: Withdraw,
        view: &ChainView,
        keys: &impl Keys,
    ) -> Result<Vec<Effect>, Refuse> {
        self.may_sign(view)?;
        let known = |(signed, _): &&(Withdraw, Signature)| signed.request_id == withdraw.request_id;
        if let Some((signed, signature)) = self.book.withdraws.iter().find(known) {
            let same = *signed == withdraw;
            let (withdraw, signature) = (*signed, *signature);
            // Anything else under a request id that is used is another order.
            return same
                .then(|| vec![release(withdraw, signature)])
                .ok_or(Refuse::NotApproved(withdraw.request_id));
        }
        self.check_withdraw(&withdraw, view)?;
        if self.book.withdraws_are_past(view) {
            // None of them can be executed any more; the chain goes on from what was.
            self.book.withdraws.clear();
        }
        let signature = keys.sign(self.channel.digest(&withdraw));
        self.book.withdraws.push((withdraw, signature));
        Ok(vec![Effect::Store, release(withdraw, signature)])
    }

    fn check_withdraw(&self, withdraw: &Withdraw, view: &ChainView) -> Result<(), Refuse> {
        let held = &self.book.held.content.state;
        if withdraw.channel_id != held.channel_id || withdraw.epoch != held.epoch {
            return Err(Refuse::NotApproved(withdraw.request_id));
        }
        if withdraw.valid_until < view.time {
            return Err(Refuse::Past(withdraw.valid_until));
        }
        let expected = self.book.withdraw_floor(view);
        if withdraw.prev_total != expected {
            return Err(Refuse::BrokenChain {
                expected,
                found: withdraw.prev_total,
            });
        }
        let total = withdraw.prev_total.checked_add(withdraw.amount);
        let total = total.ok_or(Refuse::Overflow)?;
        // A half-signed reversal may become final without this side: the smallest counts.
        let possible = self.book.possible();
        let withdrawn = possible.map(|signed| signed.content.state.withdrawn).min();
        let withdrawn = withdrawn.unwrap_or(held.withdrawn);
        if total > withdrawn {
            return Err(Refuse::NotOrdered { total, withdrawn });
        }
        Ok(())
    }

    pub(super) fn receive_withdraw(
        &mut self,
        withdraw: Withdraw,
        signature: Signature,
        keys: &impl Keys,
    ) -> Result<Vec<Effect>, Refuse> {
        let digest = self.channel.digest(&withdraw);
        if !keys.verify(digest, &signature, self.other_signer()) {
            return Err(Refuse::BadSignature);
        }
        let known = self.book.countersigned.iter();
        if known.clone().any(|(known, _)| *known == withdraw) {
            return Ok(Vec::new());
        }
        self.book.countersigned.push((withdraw, signature));
        Ok(vec![Effect::Store])
    }
}

fn credit(cumulative: Amount, signature: Signature) -> Effect {
    Effect::Release(Message::Credit {
        cumulative,
        signature,
    })
}

fn release(withdraw: Withdraw, signature: Signature) -> Effect {
    Effect::Release(Message::Withdraw {
        withdraw,
        signature,
    })
}
