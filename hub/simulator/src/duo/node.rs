//! One side with its durable record, its backup, and the bugs that overrule its machine.

use super::Bug;
use crate::tokens::Tokens;
use hub_core::party::{
    Attestation, Book, ChainView, Change, Content, Effect, Keys as _, Message, Order, Party,
    Proposal, Refuse, Side, Signed, Standing,
};
use hub_core::types::{LegKind, Withdraw};
use hub_core::{Address, Amount};

/// One side.
#[derive(Debug, Clone)]
pub struct Node {
    /// The machine, in memory.
    pub party: Party,
    /// Its key.
    pub keys: Tokens,
    /// What the database holds.
    durable: Book,
    /// What a backup holds.
    backup: Option<Book>,
    /// Versions held one after the other.
    pub history: Vec<u64>,
    /// How often it was restored: the operator's count, not the database's.
    pub life: u16,
    bug: Bug,
    /// The version that a mute counterparty is said to have acknowledged.
    acknowledged: u64,
}

/// What left a node.
#[derive(Debug, Default)]
pub struct Out {
    /// Messages, in order.
    pub messages: Vec<Message>,
    /// Orders that both sides signed.
    pub completed: Vec<Order>,
    /// A proposal was refused for something that can be mended.
    pub given_up: Option<Refuse>,
    /// A fence was raised.
    pub raised: bool,
}

impl Node {
    /// A side that has done nothing yet.
    pub fn new(party: Party, signer: Address, bug: Bug) -> Self {
        Self {
            durable: party.book().clone(),
            party,
            keys: Tokens(signer),
            backup: None,
            history: Vec::new(),
            life: 0,
            bug,
            acknowledged: 0,
        }
    }

    /// The side.
    pub fn side(&self) -> Side {
        self.party.side()
    }

    /// Carries out effects in order; a crash comes before the effect at `crash_at`.
    pub fn carry_out(&mut self, effects: Vec<Effect>, crash_at: Option<usize>) -> Out {
        let mut out = Out::default();
        for (at, effect) in effects.into_iter().enumerate() {
            if crash_at == Some(at) {
                self.restart();
                return out;
            }
            match effect {
                Effect::Store => self.store(),
                Effect::Release(message) => out.messages.push(message),
                Effect::Completed(orders) => out.completed.extend(orders),
                Effect::GivenUp(why, _) => out.given_up = Some(why),
                Effect::Raise(_) => out.raised = true,
                Effect::Post(_) => {}
            }
        }
        out
    }

    fn store(&mut self) {
        self.durable = self.party.book().clone();
        self.note_held();
    }

    fn note_held(&mut self) {
        let held = self.durable.held_version();
        if self.history.last().is_none_or(|newest| *newest < held) {
            self.history.push(held);
        }
    }

    /// The process dies and comes back with what the database holds.
    pub fn restart(&mut self) {
        self.become_book(self.durable.clone());
    }

    /// Takes a backup of the database.
    pub fn back_up(&mut self) {
        self.backup = Some(self.durable.clone());
    }

    /// The database is restored from the backup, if there is one.
    pub fn restore(&mut self) -> bool {
        let Some(backup) = self.backup.clone() else {
            return false;
        };
        let high = self.durable.max_signed;
        self.durable = backup;
        if self.bug == Bug::HighWaterOnly {
            self.durable.max_signed = high;
        }
        self.restart();
        true
    }

    /// Replaces the machine's record: what a bug or a crash does.
    pub fn become_book(&mut self, book: Book) {
        self.party = Party::new(self.side(), self.party.channel().clone(), book);
    }

    /// Changes the record behind the machine's back.
    pub fn tamper(&mut self, change: impl FnOnce(&mut Book)) {
        let mut book = self.party.book().clone();
        change(&mut book);
        self.durable = book.clone();
        self.note_held();
        self.become_book(book);
    }

    /// What this side believes of the chain.
    pub fn view(&self, mut view: ChainView) -> ChainView {
        match self.bug {
            // A local clock that runs ahead of the final block.
            Bug::EarlyReversal => view.time += 100_000,
            // As if nothing were pending.
            Bug::NoReserve => {
                let withdrawn = self.party.book().held.content.state.withdrawn;
                view.executed = view.executed.max(withdrawn);
            }
            Bug::CloseWithoutFreeze => view.closing = false,
            _ => {}
        }
        view
    }

    /// Proposes changes.
    pub fn propose(&mut self, orders: Vec<Order>, view: &ChainView) -> Result<Vec<Effect>, Refuse> {
        let mut effects = self.party.propose(orders, view)?;
        if self.bug == Bug::AckAcknowledged {
            let acknowledged = self.acknowledged;
            let rename = |proposal: &mut Proposal| {
                let mut state = proposal.content.state;
                state.ack_version = acknowledged;
                proposal.content = Content::new(state, proposal.content.locks.clone());
            };
            self.tamper(|book| {
                if let Some(open) = &mut book.open {
                    rename(open);
                }
            });
            for effect in &mut effects {
                if let Effect::Release(Message::Propose(proposal)) = effect {
                    rename(proposal);
                }
            }
        }
        Ok(effects)
    }

    /// Takes a message, as the machine does or as the bug does.
    pub fn receive(&mut self, message: Message, view: &ChainView) -> Result<Vec<Effect>, Refuse> {
        match (self.bug, message) {
            (Bug::AckUnchecked | Bug::AckAcknowledged, Message::Propose(proposal))
                if !self.party.signs_last() =>
            {
                Ok(self.sign_unchecked(*proposal))
            }
            (
                Bug::AckAcknowledged,
                Message::Signed {
                    version,
                    attestation,
                },
            ) if self.party.signs_last() => Ok(self.complete_unchecked(version, attestation)),
            (_, message) => self.party.receive(message, view, &self.keys),
        }
    }

    /// Signs whatever has a version that is not used, on whatever base.
    fn sign_unchecked(&mut self, proposal: Proposal) -> Vec<Effect> {
        let version = proposal.content.state.version;
        let book = self.party.book();
        if version <= book.max_signed || book.standing != Standing::Open {
            return Vec::new();
        }
        let digest = self.party.channel().leaf_digest(proposal.content.leaf);
        let attestation = Attestation::alone(self.keys.sign(digest));
        self.party.record(proposal.content, attestation.clone());
        vec![
            Effect::Store,
            Effect::Release(Message::Signed {
                version,
                attestation,
            }),
        ]
    }

    /// Completes although `ackVersion` is not the base's: the rule that names only what the
    /// other side acknowledged needs it.
    fn complete_unchecked(&mut self, version: u64, attestation: Attestation) -> Vec<Effect> {
        let open = self.party.book().open.clone();
        let Some(open) = open.filter(|open| open.content.state.version == version) else {
            return Vec::new();
        };
        let digest = self.party.channel().leaf_digest(open.content.leaf);
        let signed = Signed {
            content: open.content,
            by_hub: Some(attestation),
            by_user: Some(Attestation::alone(self.keys.sign(digest))),
        };
        self.tamper(|book| {
            book.held = signed.clone();
            book.open = None;
        });
        vec![
            Effect::Completed(open.orders),
            Effect::Release(Message::Complete {
                signed: Box::new(signed),
                revoke: None,
            }),
        ]
    }

    /// What of the held withdrawals is not covered by a signed payout yet.
    pub fn unsigned_withdraw(&self, view: &ChainView, valid_for: u64) -> Option<Withdraw> {
        let book = self.party.book();
        let state = &book.held.content.state;
        let prev_total = book.withdraw_floor(view);
        let amount = state.withdrawn.checked_sub(prev_total)?;
        let mut request_id = hub_core::Hash32::ZERO;
        request_id.0[..16].copy_from_slice(&prev_total.units().to_be_bytes());
        request_id.0[16..].copy_from_slice(&u128::from(view.time).to_be_bytes());
        (!amount.is_zero()).then_some(Withdraw {
            channel_id: state.channel_id,
            epoch: state.epoch,
            prev_total,
            amount,
            to: self.party.channel().params.user,
            valid_until: view.time + valid_for,
            request_id,
        })
    }

    /// What can be given back, were it asked for now.
    pub fn reversible(&self, view: &ChainView) -> Option<Change> {
        let book = self.party.book();
        let floor = book.withdraw_floor(view);
        let amount = book.held.content.state.withdrawn.checked_sub(floor)?;
        (!amount.is_zero()).then_some(Change::Leg {
            kind: LegKind::Refund,
            amount,
            counterparty: hub_core::Hash32::ZERO,
        })
    }

    /// The credit that is signed or held here and not folded.
    pub fn unfolded(&self) -> Amount {
        let book = self.party.book();
        book.credited().less(book.held.content.state.credited)
    }
}
