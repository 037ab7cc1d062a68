//! Posting, answering, punishing, settling.

use crate::abi::{Value, uint};
use crate::bug::Bug;
use crate::shown::{self, Shower};
use crate::twin::{Step, Twin};
use hub_core::dispute::{
    Agreement, Channel, CoSigned, Dispute, Evidence, Intent, Key, ShownCredit,
};
use hub_core::types::AcceptClose;
use hub_core::{Address, Amount, Hash32, State, Typed as _};

/// A dispute that the contract does not know: what is shown when none runs.
fn no_dispute(channel: &Channel) -> Dispute {
    Dispute {
        state: State::null(channel.id, channel.epoch, channel.params.capacity),
        closed_version: 0,
        credit_max: Amount::ZERO,
        penalized: None,
        closer: hub_core::settlement::Closer::Hub,
        deadline: 0,
    }
}

impl Twin {
    fn shower<T>(&mut self, at: usize, make: impl FnOnce(&mut Shower<'_>) -> T) -> T {
        make(&mut Shower {
            keys: &self.keys,
            domain: self.chain.domain(),
            params: &self.channels[at].params,
            rng: &mut self.rng,
        })
    }

    fn dispute_of(&self, at: usize) -> Dispute {
        let channel = &self.channels[at];
        channel.dispute.unwrap_or_else(|| no_dispute(channel))
    }

    fn head(&self, at: usize, dispute: &Dispute) -> Vec<Value> {
        let dispute = Value::Tuple(shown::dispute_parts(dispute));
        vec![shown::params(&self.channels[at].params), dispute]
    }

    /// A close, as a party, by an intent, or as an exit.
    pub fn close(
        &mut self,
        at: usize,
        posted: &CoSigned,
        intent: Option<Intent>,
        credit: Option<ShownCredit>,
        sender: Address,
    ) -> Step {
        let (id, epoch) = (Hash32::from(self.channels[at].id), self.channels[at].epoch);
        let params = shown::params(&self.channels[at].params);
        let arguments = self.shower(at, |shower| {
            let posted_value = shower.co_signed(posted);
            let intent = shower.intent(&posted.state, intent);
            let credit = shower.credit(id, epoch, credit);
            [params, posted_value, intent, credit]
        });
        let call = self.by(sender);
        let closed = self.model(at, |hub, channel, _| {
            channel.close(hub, posted, intent, credit, call)
        });
        let answer = self.chain.call(sender, "close", &arguments);
        let closed = closed.map(|()| Vec::new());
        let closer = self.channels[at].dispute.map(|dispute| dispute.closer);
        let what = format!("close {at} version {} {closer:?}", posted.state.version);
        self.agree(&what, at, closed, answer, None)
    }

    /// A newer state.
    pub fn challenge(&mut self, at: usize, newer: &CoSigned, sender: Address) -> Step {
        let mut arguments = self.head(at, &self.dispute_of(at));
        arguments.push(self.shower(at, |shower| shower.co_signed(newer)));
        let call = self.by(sender);
        let bug = self.bug;
        let shown = self.model(at, |_, channel, _| {
            let posted = channel.dispute.map(|dispute| dispute.closed_version);
            spoil_posted(bug, channel);
            let outcome = channel.challenge(newer, call);
            if let (Some(dispute), Some(posted)) = (&mut channel.dispute, posted) {
                dispute.closed_version = posted;
            }
            outcome
        });
        let answer = self.chain.call(sender, "challenge", &arguments);
        let what = format!("challenge {at} version {}", newer.state.version);
        self.agree(&what, at, shown.map(|()| Vec::new()), answer, None)
    }

    /// A newer credit.
    pub fn add_credit(&mut self, at: usize, credit: ShownCredit, sender: Address) -> Step {
        let (id, epoch) = (Hash32::from(self.channels[at].id), self.channels[at].epoch);
        let mut arguments = self.head(at, &self.dispute_of(at));
        arguments.push(self.shower(at, |shower| shower.credit(id, epoch, Some(credit))));
        let call = self.by(sender);
        let added = self.model(at, |_, channel, _| channel.add_credit(credit, call));
        let answer = self.chain.call(sender, "addCredit", &arguments);
        let what = format!("addCredit {at} {}", credit.cumulative);
        self.agree(&what, at, added.map(|()| Vec::new()), answer, None)
    }

    /// Evidence against the closer of an epoch.
    pub fn penalize(&mut self, at: usize, epoch: u32, proof: &Evidence, sender: Address) -> Step {
        let id = Hash32::from(self.channels[at].id);
        let mut arguments = self.head(at, &self.dispute_of(at));
        arguments.insert(1, uint(epoch));
        arguments.push(self.shower(at, |shower| shower.evidence(id, epoch, proof)));
        let call = self.by(sender);
        let bug = self.bug;
        let punished = self.model(at, |hub, channel, _| {
            let posted = channel.dispute.map(|dispute| dispute.closed_version);
            spoil_posted(bug, channel);
            let outcome = channel.penalize(hub, epoch, proof, call);
            if let (Some(dispute), Some(posted)) = (&mut channel.dispute, posted) {
                dispute.closed_version = posted;
            }
            outcome
        });
        let answer = self.chain.call(sender, "penalize", &arguments);
        let what = match epoch == self.channels[at].epoch {
            true => format!("penalize {at}"),
            false => format!("penalizeLate {at}"),
        };
        self.agree(&what, at, punished, answer, None)
    }

    /// The other side agrees with the close.
    pub fn accept_close(&mut self, at: usize, signed_by: Key, sender: Address) -> Step {
        let dispute = self.dispute_of(at);
        let channel = &self.channels[at];
        let message = AcceptClose {
            channel_id: channel.id,
            epoch: channel.epoch,
            state_hash: dispute.state.hash_struct(),
        };
        let domain = self.chain.domain();
        let signed = self
            .keys
            .sign(&channel.params, signed_by, &domain, &message);
        let mut arguments = self.head(at, &dispute);
        arguments.extend([shown::state(&dispute.state), shown::signature(signed)]);
        let bug = self.bug;
        let paid = self.model(at, |hub, channel, _| {
            let was = channel.dispute;
            let before = Bug::spoil(bug, hub, channel);
            let outcome = channel.accept_close(hub, signed_by);
            Bug::restore(&before, hub, channel, outcome.is_ok());
            if outcome.is_err() {
                channel.dispute = was;
            }
            outcome
        });
        let answer = self.chain.call(sender, "acceptClose", &arguments);
        self.agree(&format!("acceptClose {at}"), at, paid, answer, None)
    }

    /// Settlement after the window.
    pub fn settle(&mut self, at: usize, sender: Address) -> Step {
        let dispute = self.dispute_of(at);
        let mut arguments = self.head(at, &dispute);
        arguments.push(shown::state(&dispute.state));
        let call = self.by(sender);
        let bug = self.bug;
        let paid = self.model(at, |hub, channel, _| {
            let was = channel.dispute;
            let before = Bug::spoil(bug, hub, channel);
            let outcome = channel.settle(hub, call);
            Bug::restore(&before, hub, channel, outcome.is_ok());
            if outcome.is_err() {
                channel.dispute = was;
            }
            outcome
        });
        let answer = self.chain.call(sender, "settle", &arguments);
        let penalized = if dispute.penalized.is_some() {
            " penalized"
        } else {
            ""
        };
        let what = format!("settle {at} {:?}{penalized}", dispute.closer);
        self.agree(&what, at, paid, answer, None)
    }

    /// An agreement of both sides.
    pub fn coop_settle(&mut self, at: usize, agreement: &Agreement, sender: Address) -> Step {
        let params = self.channels[at].params;
        let domain = self.chain.domain();
        let terms = &agreement.terms;
        let sign = |key| shown::signature(self.keys.sign(&params, key, &domain, terms));
        let arguments = [
            shown::params(&params),
            Value::Tuple(vec![
                uint(terms.withdrawn.units()),
                uint(terms.deposited.units()),
                uint(terms.user_amount.units()),
                uint(terms.valid_until),
                sign(agreement.hub),
                sign(agreement.user),
            ]),
        ];
        let call = self.by(sender);
        let paid = self.model(at, |hub, channel, _| {
            channel.coop_settle(hub, agreement, call)
        });
        let answer = self.chain.call(sender, "coopSettle", &arguments);
        let what = format!("coopSettle {at} {}", terms.user_amount);
        self.agree(&what, at, paid, answer, None)
    }

    /// Two states of one version.
    pub fn equivocation(
        &mut self,
        at: usize,
        first: (&State, Key),
        second: (&State, Key),
        sender: Address,
    ) -> Step {
        let params = shown::params(&self.channels[at].params);
        let arguments = self.shower(at, |shower| {
            let (one, other) = (
                shower.attestation(first.0, first.1),
                shower.attestation(second.0, second.1),
            );
            let (a, b) = (shown::state(first.0), shown::state(second.0));
            [params, a, one, b, other]
        });
        let call = self.by(sender);
        let paid = self.model(at, |hub, channel, _| {
            channel.prove_equivocation(hub, first, second, call)
        });
        let answer = self.chain.call(sender, "proveEquivocation", &arguments);
        self.agree(&format!("proveEquivocation {at}"), at, paid, answer, None)
    }

    /// Content that the contract does not remember: refused whatever else holds.
    pub fn show_another_dispute(&mut self, at: usize, sender: Address) -> Result<(), String> {
        let mut dispute = self.dispute_of(at);
        dispute.credit_max = Amount::new(dispute.credit_max.units() + 1);
        let mut arguments = self.head(at, &dispute);
        arguments.push(shown::state(&dispute.state));
        let answer = self.chain.call(sender, "settle", &arguments);
        let expected = match self.channels[at].dispute {
            Some(_) => "HubChannels_WrongDispute",
            None => "HubChannels_WrongStatus",
        };
        *self
            .seen
            .entry("settle another dispute".into())
            .or_default() += 1;
        match answer {
            Err(data) if crate::evm::ARTEFACTS.channels.error_name(&data) == expected => Ok(()),
            other => Err(format!("another dispute is answered with {other:?}")),
        }
    }
}

fn spoil_posted(bug: Option<Bug>, channel: &mut Channel) {
    if let (Some(Bug::PenaltyAgainstCurrent), Some(dispute)) = (bug, &mut channel.dispute) {
        dispute.closed_version = dispute.state.version;
    }
}
