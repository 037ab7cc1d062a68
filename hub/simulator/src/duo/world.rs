//! The two nodes, the network between them, and what left them.

use super::chain::{Chain, Rule};
use super::node::{Node, Out};
use super::{Bug, Config};
use crate::rng::Rng;
use crate::setting::{Found, Violation};
use hub_core::dispute::Side;
use hub_core::lock::Lock;
use hub_core::party::{Book, Channel, Effect, Import, Keys as _, Message, Party, Signed, Standing};
use hub_core::types::Withdraw;
use hub_core::{Address, Amount, ChannelParams, Domain, Hash32, Signature};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Capacity of the channel; small, so that its ends are met.
pub const CAPACITY: u128 = 400;
/// Who answers closes for an honest side.
pub const TOWER: Address = Address([0x77; 20]);

static CHANNELS: LazyLock<[Channel; 2]> = LazyLock::new(|| [channel(false), channel(true)]);

fn channel(custodial: bool) -> Channel {
    let domain = Domain {
        chain_id: 1,
        verifying_contract: Address([0xcc; 20]),
    };
    let params = ChannelParams {
        hub: Address([1; 20]),
        hub_signer: Address([2; 20]),
        user: Address([3; 20]),
        user_signer: Address([4; 20]),
        custodial,
        capacity: Amount::new(CAPACITY),
        challenge_period: 100,
        self_delay: 100,
        penalty_cap: Amount::new(60),
        bounty_bps: 500,
        salt: Hash32([5; 32]),
    };
    Channel::new(params, &domain)
}

/// A lock with what releases it.
#[derive(Debug, Clone, Copy)]
pub struct Secret {
    /// The lock.
    pub lock: Lock,
    /// Its preimage, if it has one.
    pub preimage: [u8; 32],
    /// Granules that the payer has signed for.
    pub delivered: u64,
}

/// One run's world.
pub struct World {
    pub config: Config,
    pub rng: Rng,
    pub found: Found,
    pub channel: &'static Channel,
    pub hub: Node,
    pub user: Node,
    pub chain: Chain,
    pub net: Vec<(Side, Message)>,
    /// Every state that somebody proposed, with the signatures that left their makers.
    pub states: BTreeMap<Hash32, Signed>,
    /// Payouts with the sides that signed them.
    pub payouts: Vec<(Withdraw, [bool; 2])>,
    pub secrets: Vec<Secret>,
    pub operations: u64,
    credit: Option<(Amount, Signature)>,
    contents: BTreeMap<(bool, u64), Hash32>,
    loss: u64,
}

impl World {
    pub fn new(config: Config, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let channel = &CHANNELS[usize::from(config.custodial)];
        let loss = rng.below(31);
        let node = |side, signer| {
            let party = Party::new(side, channel.clone(), Book::new(channel, 0));
            Node::new(party, signer, config.bug)
        };
        let on_chain = hub_core::dispute::Channel::new(channel.params, channel.id);
        Self {
            hub: node(Side::Hub, channel.params.hub_signer),
            user: node(Side::User, channel.params.user_signer),
            chain: Chain::new(channel.params, on_chain, 5_000, 10_000, config.rule),
            config,
            rng,
            found: Found::default(),
            channel,
            net: Vec::new(),
            states: BTreeMap::new(),
            payouts: Vec::new(),
            secrets: Vec::new(),
            operations: 0,
            credit: None,
            contents: BTreeMap::new(),
            loss,
        }
    }

    pub fn node(&mut self, side: Side) -> &mut Node {
        match side {
            Side::Hub => &mut self.hub,
            Side::User => &mut self.user,
        }
    }

    /// The side that proposes.
    pub fn last(&self) -> Side {
        if self.config.custodial {
            Side::User
        } else {
            Side::Hub
        }
    }

    /// Carries out what a node's machine wants; now and then the node dies in between.
    pub fn act(&mut self, side: Side, effects: Vec<Effect>) {
        let crash = self.rng.percent(3);
        let crash_at = crash.then(|| self.rng.index(effects.len() + 1));
        if crash && !effects.is_empty() {
            self.found.saw("crash");
        }
        let out = self.node(side).carry_out(effects, crash_at);
        self.emit(side, out);
    }

    fn emit(&mut self, side: Side, out: Out) {
        for message in out.messages {
            self.note(side, &message);
            let mute = self.config.bug == Bug::AckAcknowledged && side == Side::Hub;
            if mute && matches!(message, Message::Ask { .. }) {
                continue;
            }
            self.send(side.other(), message);
        }
        if !out.completed.is_empty() {
            self.found.saw("completed");
        }
        if out.raised {
            self.found.saw("fence");
            if matches!(self.config.bug, Bug::NoGuard | Bug::HighWaterOnly) {
                let ignore = |book: &mut Book| book.standing = Standing::Open;
                self.node(side).tamper(ignore);
            }
        }
        if out.given_up.is_some() {
            self.found.saw("refused");
        }
    }

    fn send(&mut self, to: Side, message: Message) {
        if self.rng.percent(self.loss) {
            return;
        }
        if self.rng.percent(10) {
            self.net.push((to, message.clone()));
        }
        self.net.push((to, message));
    }

    /// Delivers one message, in any order.
    pub fn deliver(&mut self) {
        if self.net.is_empty() {
            return;
        }
        // Mostly in order: a network that only shuffles gets nothing done.
        let at = if self.rng.percent(75) {
            0
        } else {
            self.rng.index(self.net.len())
        };
        let (to, message) = self.net.remove(at);
        let view = self.view(to);
        if let Ok(effects) = self.node(to).receive(message, &view) {
            self.act(to, effects);
        }
    }

    /// The chain as a node sees it.
    pub fn view(&mut self, side: Side) -> hub_core::party::ChainView {
        let view = self.chain.view();
        self.node(side).view(view)
    }

    /// Notes signatures that leave: whoever is out for money has them all.
    fn note(&mut self, side: Side, message: &Message) {
        match message {
            Message::Propose(proposal) => {
                let leaf = proposal.content.leaf;
                let unsigned = || Signed::unsigned(proposal.content.clone());
                self.states.entry(leaf).or_insert_with(unsigned);
            }
            Message::Signed {
                version,
                attestation,
            } => {
                let book = self.node(side).party.book();
                let found = book.possible().find(|signed| signed.version() == *version);
                let Some(leaf) = found.map(|signed| signed.content.leaf) else {
                    return;
                };
                if let Some(state) = self.states.get_mut(&leaf) {
                    match side {
                        Side::Hub => state.by_hub = Some(attestation.clone()),
                        Side::User => state.by_user = Some(attestation.clone()),
                    }
                }
                self.note_content(side, *version, leaf);
            }
            Message::Complete { signed, .. } if signed.version() > 0 => {
                let leaf = signed.content.leaf;
                self.note_content(side, signed.version(), leaf);
                self.states.insert(leaf, (**signed).clone());
            }
            Message::Credit {
                cumulative,
                signature,
            } => {
                let newer = self.credit.is_none_or(|(total, _)| total < *cumulative);
                self.credit = if newer {
                    Some((*cumulative, *signature))
                } else {
                    self.credit
                };
            }
            Message::Withdraw { withdraw, .. } => {
                let known = self.payouts.iter().position(|(known, _)| known == withdraw);
                let at = known.unwrap_or_else(|| {
                    self.payouts.push((*withdraw, [false; 2]));
                    self.payouts.len() - 1
                });
                self.payouts[at].1[usize::from(side == Side::User)] = true;
            }
            _ => {}
        }
    }

    fn note_content(&mut self, side: Side, version: u64, leaf: Hash32) {
        let first = *self
            .contents
            .entry((side == Side::Hub, version))
            .or_insert(leaf);
        self.found.require(first == leaf, Violation::TwoContents);
    }

    /// A database is restored; where the rules are kept, behind a fence, with the other side's
    /// newest state taken over before the operator lifts it.
    pub fn restore(&mut self, side: Side) {
        if !self.node(side).restore() {
            return;
        }
        self.found.saw("restored");
        if matches!(self.config.bug, Bug::NoGuard | Bug::HighWaterOnly) {
            return;
        }
        let node = self.node(side);
        node.life += 1;
        let effects = node.party.restored(node.life);
        let out = self.node(side).carry_out(effects, None);
        self.emit(side, out);
        self.lift_fence(side);
    }

    /// What an operator does about a fence: heads are imported, marks compared, the fence lifted.
    pub fn lift_fence(&mut self, side: Side) {
        if !matches!(self.node(side).party.book().standing, Standing::Fenced(_)) {
            return;
        }
        let import = self.import_for(side);
        let node = self.node(side);
        let keys = node.keys;
        let mut effects = node.party.import(&import, &keys);
        effects.extend(node.party.lift_fence());
        let out = node.carry_out(effects, None);
        self.emit(side, out);
        self.found.saw("fence lifted");
    }

    /// What the other side shows of the states; payouts and credits stand in rows that decided
    /// them before anybody signed (P9), which a restored signer reads again.
    fn import_for(&mut self, side: Side) -> Import {
        let book = self.node(side.other()).party.book();
        let half = book.half.iter().map(|half| half.content.clone());
        let open = book.open.iter().map(|open| open.content.clone());
        let (held, above) = (book.held.clone(), half.chain(open).collect());
        let keys = self.node(side).keys;
        let own = |(_, by): &&(Withdraw, [bool; 2])| by[usize::from(side == Side::User)];
        let rows = self.payouts.iter().filter(own);
        Import {
            held,
            above,
            withdraws: rows
                .map(|(withdraw, _)| (*withdraw, keys.sign(self.channel.digest(withdraw))))
                .collect(),
            credit: self.credit,
        }
    }

    /// Whether the contract's own rule was broken on purpose.
    pub fn is_rule(&self, rule: Rule) -> bool {
        self.config.rule == rule
    }
}
