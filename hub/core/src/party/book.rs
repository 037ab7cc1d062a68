//! What a side must not lose.

use super::change::Order;
use super::evidence::{Channel, Content, Signed};
use super::message::Proposal;
use crate::types::Withdraw;
use crate::{Amount, Epoch, Hash32, Signature, State, Version};
use std::collections::BTreeMap;

/// Whether a side signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It signs what the rules allow.
    Open,
    /// A close was asked for or seen: nothing is signed until the epoch ends (P13).
    Closing,
    /// It may have lost what it signed: no signature, no close (N5).
    Fenced(Fence),
}

/// What raised a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// The operator restored the database.
    Restored,
    /// The other side shows this side's signature on what is not here.
    Proven,
}

/// One side's durable record of a channel. A restart from it loses nothing that was released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    /// Whether this side signs.
    pub standing: Standing,
    /// The newest state with both signatures; the null state at first.
    pub held: Signed,
    /// States above it that the first signer signed. The first signer keeps all of its own, for
    /// each may have become final; the last signer keeps those it has not completed.
    pub half: Vec<Signed>,
    /// The highest version signed or taken here.
    pub max_signed: Version,
    /// The lowest version this side may close with: what a restored database lost may have
    /// revoked everything below.
    pub close_from: Version,
    /// The last signer's open proposal.
    pub open: Option<Proposal>,
    /// Newest `Credit`: what the hub signed, or what the user holds.
    pub credit: Option<(Amount, Signature)>,
    /// `Withdraw`s signed here that are not known to be executed, in the order of their totals.
    pub withdraws: Vec<(Withdraw, Signature)>,
    /// The other side's signatures on them.
    pub countersigned: Vec<(Withdraw, Signature)>,
    /// The other side's newest `Revoke`.
    pub revoke: Option<(Version, Signature)>,
    /// Changes against this side that its owner approved (N2.6).
    pub approved: Vec<Order>,
    /// Granules by metered lock: the highest meter signed by the payer or shown to the receiver.
    pub meters: BTreeMap<Hash32, u64>,
    /// By cover lock: sum of the cheques not paid yet.
    pub cheques: BTreeMap<Hash32, Amount>,
}

impl Book {
    /// A channel in which nothing has happened yet.
    pub fn new(channel: &Channel, epoch: Epoch) -> Self {
        let null = State::null(channel.id, epoch, channel.params.capacity);
        Self {
            standing: Standing::Open,
            held: Signed::unsigned(Content::new(null, Vec::new())),
            half: Vec::new(),
            max_signed: 0,
            close_from: 0,
            open: None,
            credit: None,
            withdraws: Vec::new(),
            countersigned: Vec::new(),
            revoke: None,
            approved: Vec::new(),
            meters: BTreeMap::new(),
            cheques: BTreeMap::new(),
        }
    }

    /// Version of the held state.
    pub fn held_version(&self) -> Version {
        self.held.version()
    }

    /// K: all credits of this epoch known here.
    pub fn credited(&self) -> Amount {
        self.credit.map_or(Amount::ZERO, |(total, _)| total)
    }

    /// The held state and all half-signed ones: each may be what the chain settles.
    pub fn possible(&self) -> impl Iterator<Item = &Signed> {
        std::iter::once(&self.held).chain(&self.half)
    }

    /// Takes over a newer state with both signatures. What is older or equal is answered by it.
    pub(super) fn hold(&mut self, signed: Signed) {
        let version = signed.version();
        self.max_signed = self.max_signed.max(version);
        self.half.retain(|half| half.version() > version);
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.content.state.version <= version)
        {
            self.open = None;
        }
        self.held = signed;
    }
}

/// What the other side, or the account database, still knows of a channel that was lost here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The newest state with both signatures.
    pub held: Signed,
    /// What is above it, half-signed or proposed: each may be final already, for the deciding
    /// signature may be on its way or lost with this side's database.
    pub above: Vec<Content>,
    /// `Withdraw`s that this side signed.
    pub withdraws: Vec<(Withdraw, Signature)>,
    /// The newest credit.
    pub credit: Option<(Amount, Signature)>,
}
