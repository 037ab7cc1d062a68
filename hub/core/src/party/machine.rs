//! The exchange of states between the two sides (P1, P2, P8, P12, N4).

use super::book::{Book, Fence, Standing};
use super::change::{Change, Draft, Ground, Order};
use super::evidence::{Attestation, Channel, Content, Keys, Signed};
use super::message::{Message, Proposal};
use super::money::ChainView;
use super::refuse::Refuse;
use super::watch::Posted;
use crate::dispute::Side;
use crate::types::{LegKind, MAX_VERSION, Revoke};
use crate::{Address, Epoch, Hash32, Signature, Version, fold, lock, rules};

/// What a party has done or wants done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The book as it is now becomes durable before any later effect leaves.
    Store,
    /// Goes to the other side.
    Release(Message),
    /// Both sides have signed; callers may be answered.
    Completed(Vec<Order>),
    /// The other side refused; the proposal is given up.
    GivenUp(Refuse, Vec<Order>),
    /// Goes to the chain: a close with this state.
    Post(Box<Posted>),
    /// The operator is called: this side may have lost what it signed.
    Raise(Fence),
}

/// One side of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    pub(super) channel: Channel,
    pub(super) book: Book,
    side: Side,
}

impl Party {
    /// A side of a channel, with what it durably knows of it.
    pub fn new(side: Side, channel: Channel, book: Book) -> Self {
        Self {
            channel,
            book,
            side,
        }
    }

    /// The channel.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// What has to be durable.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Which side it is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Custodial: the custody key signs last. Self-custody: the hub does (P1).
    pub fn signs_last(&self) -> bool {
        self.channel.params.custodial == (self.side == Side::User)
    }

    pub(super) fn other_signer(&self) -> Address {
        match self.side {
            Side::Hub => self.channel.params.user_signer,
            Side::User => self.channel.params.hub_signer,
        }
    }

    /// Notes that the owner of this side wants a change that takes from it (N2.6).
    pub fn approve(&mut self, order: Order) -> Vec<Effect> {
        self.book.approved.push(order);
        vec![Effect::Store]
    }

    /// Notes granules of a metered lock: the meter that this side signed, or was shown.
    pub fn note_meter(&mut self, lock: Hash32, delivered: u64) -> Vec<Effect> {
        let known = self.book.meters.entry(lock).or_default();
        *known = delivered.max(*known);
        vec![Effect::Store]
    }

    /// Notes a cheque on a cover lock, in minor units beyond those before.
    pub fn note_cheque(&mut self, lock: Hash32, amount: crate::Amount) -> Vec<Effect> {
        let known = self.book.cheques.entry(lock).or_default();
        *known = known.checked_add(amount).unwrap_or(crate::Amount::MAX);
        vec![Effect::Store]
    }

    /// Proposes a state. The last signer's step.
    ///
    /// # Errors
    /// [`Refuse`] for changes that the rules or this side's interests forbid.
    pub fn propose(&mut self, orders: Vec<Order>, view: &ChainView) -> Result<Vec<Effect>, Refuse> {
        self.may_sign(view)?;
        if !self.signs_last() {
            return Err(Refuse::NotProposer);
        }
        if let Some(open) = &self.book.open {
            return Err(Refuse::ProposalOpen(open.content.state.version));
        }
        let used = self.book.max_signed.max(self.book.held_version());
        if used >= MAX_VERSION {
            return Err(fold::Refusal::VersionsExhausted(self.channel.id).into());
        }
        let content = self.derive(&orders, used + 1, view)?;
        let proposal = Proposal {
            content,
            orders,
            base: self.book.held.clone(),
        };
        self.check(&proposal, self.book.held_version(), view)?;
        self.book.max_signed = proposal.content.state.version;
        self.book.open = Some(proposal.clone());
        let propose = Effect::Release(Message::Propose(Box::new(proposal)));
        // A custodial proposal dies with its process; the hub then names the versions it used.
        Ok(if self.channel.params.custodial {
            vec![propose]
        } else {
            vec![Effect::Store, propose]
        })
    }

    /// Gives up an open proposal; its version stays used. The other side goes on counting it as
    /// possibly final until a newer state is co-signed.
    pub fn withdraw_proposal(&mut self) -> Vec<Effect> {
        match self.book.open.take() {
            Some(_) => vec![Effect::Store],
            None => Vec::new(),
        }
    }

    /// Says once more whatever may have been lost.
    pub fn retry(&self) -> Vec<Effect> {
        match &self.book.open {
            Some(open) => vec![Effect::Release(Message::Propose(Box::new(open.clone())))],
            None if self.signs_last() => Vec::new(),
            None => vec![Effect::Release(Message::Ask {
                held: self.book.held_version(),
            })],
        }
    }

    /// Takes one message. Refusals of a proposal are messages as well, not errors.
    ///
    /// # Errors
    /// [`Refuse`] for a message that no honest side sends now; nothing was changed.
    pub fn receive(
        &mut self,
        message: Message,
        view: &ChainView,
        keys: &impl Keys,
    ) -> Result<Vec<Effect>, Refuse> {
        match message {
            Message::Propose(proposal) => self.receive_proposal(*proposal, view, keys),
            Message::Signed {
                version,
                attestation,
            } => self.receive_signed(version, attestation, view, keys),
            Message::Refused {
                version,
                why,
                max_signed,
                held,
            } => self.receive_refusal(version, why, max_signed, *held, keys),
            Message::Complete { signed, revoke } => self.receive_complete(*signed, revoke, keys),
            Message::Revoke { version, signature } => self.receive_revoke(version, signature, keys),
            Message::Ask { held } => Ok(self.answer_ask(held, keys)),
            Message::Credit {
                cumulative,
                signature,
            } => self.receive_credit(cumulative, signature, keys),
            Message::Withdraw {
                withdraw,
                signature,
            } => self.receive_withdraw(withdraw, signature, keys),
        }
    }

    pub(super) fn may_sign(&self, view: &ChainView) -> Result<(), Refuse> {
        match self.book.standing {
            Standing::Fenced(_) => Err(Refuse::Fenced),
            Standing::Closing => Err(Refuse::Closing),
            Standing::Open if view.closing => Err(Refuse::Closing),
            Standing::Open => Ok(()),
        }
    }

    fn derive(
        &self,
        orders: &[Order],
        version: Version,
        view: &ChainView,
    ) -> Result<Content, Refuse> {
        let held = &self.book.held.content;
        // The first co-signed state of a custodial channel gives nobody anything (P8).
        if orders.is_empty() && held.state.version > 0 {
            return Err(Refuse::Empty);
        }
        let ground = Ground {
            facts: self.book.facts(view),
            view,
        };
        let mut draft = Draft::new(held.state, &held.locks);
        for order in orders {
            self.consents(order, &held.locks)?;
            draft.apply(order, &ground)?;
        }
        let (state, locks) = draft.seal(version, held.state.version);
        Ok(Content::new(state, locks))
    }

    /// N2.6 and P7: whether this side agrees with a change that takes from it.
    fn consents(&self, order: &Order, locks: &[lock::Lock]) -> Result<(), Refuse> {
        let by_id = |id: Hash32| locks.iter().find(|lock| lock.id == id);
        let pays = |lock: &lock::Lock| lock.user_pays == (self.side == Side::User);
        let known = |id| self.book.meters.get(&id).copied().unwrap_or(0);
        match order.change {
            Change::Resolve { lock, delivered } => {
                let against = by_id(lock).is_some_and(|found| {
                    // The payer owes what it signed, the receiver gets no less than it can show.
                    (pays(found) && delivered > known(lock))
                        || (!pays(found) && delivered < known(lock))
                });
                return if against {
                    Err(Refuse::AgainstEvidence(lock))
                } else {
                    Ok(())
                };
            }
            Change::Cash { lock, amount } => {
                let signed = self.book.cheques.get(&lock).copied().unwrap_or_default();
                let against = by_id(lock).is_some_and(|found| pays(found) && amount > signed);
                return if against {
                    Err(Refuse::AgainstEvidence(lock))
                } else {
                    Ok(())
                };
            }
            _ => {}
        }
        let takes = match order.change {
            Change::Leg { kind, .. } => self.side == Side::User && takes_from_user(kind),
            Change::AddLock(lock) => pays(&lock),
            Change::Fail { lock } => by_id(lock).is_some_and(|found| !pays(found)),
            _ => false,
        };
        // The operator's services approve by proposing, custodial accounts by their API.
        if takes && !self.channel.params.custodial && !self.signs_last() {
            let approved = self.book.approved.contains(order);
            return approved
                .then_some(())
                .ok_or(Refuse::NotApproved(order.operation));
        }
        Ok(())
    }

    /// N2.1-5, independently of how the state was derived.
    fn check(
        &self,
        proposal: &Proposal,
        max_signed: Version,
        view: &ChainView,
    ) -> Result<(), Refuse> {
        let (base, next) = (&proposal.base.content.state, &proposal.content.state);
        let facts = self.book.facts(view);
        let capacity = self.channel.params.capacity;
        rules::check_successor(base, next, max_signed, capacity, &facts)?;
        if next.epoch != view.epoch {
            return Err(rules::Breach::Epoch {
                current: view.epoch,
                proposed: next.epoch,
            }
            .into());
        }
        lock::check_list(next, &proposal.content.locks)?;
        let held = self.book.credited();
        if self.side == Side::User && next.credited < held {
            return Err(Refuse::CreditNotFolded {
                credited: next.credited,
                held,
            });
        }
        Ok(())
    }

    /// Whether this side would sign the proposal on what it holds; nothing is changed (N2).
    ///
    /// # Errors
    /// [`Refuse`] names the precondition.
    pub fn examine(&self, proposal: &Proposal, view: &ChainView) -> Result<(), Refuse> {
        self.may_sign(view)?;
        let (base, held) = (&proposal.base.content, &self.book.held.content);
        let (base_version, held_version) = (base.state.version, held.state.version);
        if base_version > held_version {
            return Err(Refuse::BaseUnknown {
                base: base_version,
                held: held_version,
            });
        }
        if base_version < held_version {
            return Err(Refuse::BaseBehind {
                base: base_version,
                held: held_version,
            });
        }
        if base.leaf != held.leaf {
            return Err(Refuse::BaseDiffers(base_version));
        }
        self.check(proposal, self.book.max_signed, view)?;
        let derived = self.derive(&proposal.orders, proposal.content.state.version, view)?;
        if derived != proposal.content {
            return Err(Refuse::Underived);
        }
        Ok(())
    }

    /// Records a state that this side signs first. The caller stores the book before the
    /// signature leaves.
    pub fn record(&mut self, content: Content, attestation: Attestation) {
        self.book.max_signed = self.book.max_signed.max(content.state.version);
        let mut half = Signed::unsigned(content);
        match self.side {
            Side::Hub => half.by_hub = Some(attestation),
            Side::User => half.by_user = Some(attestation),
        }
        self.book.half.push(half);
    }

    fn receive_proposal(
        &mut self,
        proposal: Proposal,
        view: &ChainView,
        keys: &impl Keys,
    ) -> Result<Vec<Effect>, Refuse> {
        if self.signs_last() {
            return Err(Refuse::NotOpen(proposal.content.state.version));
        }
        let version = proposal.content.state.version;
        if let Some(attestation) = self.signed_before(&proposal.content) {
            return Ok(vec![Effect::Release(Message::Signed {
                version,
                attestation,
            })]);
        }
        let mut effects = self.learn(&proposal.base, keys);
        if let Err(why) = self.examine(&proposal, view) {
            effects.push(Effect::Release(Message::Refused {
                version,
                why,
                max_signed: self.book.max_signed,
                held: Box::new(self.book.held.clone()),
            }));
            return Ok(effects);
        }
        let leaf = proposal.content.leaf;
        let attestation = Attestation::alone(keys.sign(self.channel.leaf_digest(leaf)));
        self.record(proposal.content, attestation.clone());
        effects.push(Effect::Store);
        effects.push(Effect::Release(Message::Signed {
            version,
            attestation,
        }));
        Ok(effects)
    }

    /// The signature given before for exactly this content (N2.7).
    fn signed_before(&self, content: &Content) -> Option<Attestation> {
        let same = |signed: &&Signed| signed.content.leaf == content.leaf;
        let found = self.book.possible().find(same)?;
        match self.side {
            Side::Hub => found.by_hub.clone(),
            Side::User => found.by_user.clone(),
        }
    }

    /// Takes over a newer state with both signatures, and sees whether this side lost it.
    pub(super) fn learn(&mut self, shown: &Signed, keys: &impl Keys) -> Vec<Effect> {
        let version = shown.version();
        let same_epoch = shown.content.state.epoch == self.book.held.content.state.epoch;
        if version <= self.book.held_version()
            || !same_epoch
            || lock::check_list(&shown.content.state, &shown.content.locks).is_err()
            || !self.channel.is_co_signed(shown, keys)
        {
            return Vec::new();
        }
        // The last signer holds what it signs; the first signer at least knows it.
        let mut half = self.book.half.iter();
        let signed_here =
            !self.signs_last() && half.any(|half| half.content.leaf == shown.content.leaf);
        let mut effects = Vec::new();
        if !signed_here && self.book.standing == Standing::Open {
            // Its own signature on what it does not know: what else may be missing?
            self.book.standing = Standing::Fenced(Fence::Proven);
            effects.push(Effect::Raise(Fence::Proven));
        }
        self.book.hold(shown.clone());
        effects.push(Effect::Store);
        effects
    }

    fn receive_signed(
        &mut self,
        version: Version,
        attestation: Attestation,
        view: &ChainView,
        keys: &impl Keys,
    ) -> Result<Vec<Effect>, Refuse> {
        if version == self.book.held_version() && self.signs_last() {
            // A doubled answer: the completion may have been lost.
            return Ok(vec![self.completion(keys)]);
        }
        let open = self.book.open.as_ref();
        let open = open.filter(|open| open.content.state.version == version);
        let proposal = open.ok_or(Refuse::NotOpen(version))?.clone();
        self.may_sign(view)?;
        let leaf = proposal.content.leaf;
        if !self
            .channel
            .attested(leaf, &attestation, self.other_signer(), keys)
        {
            return Err(Refuse::BadSignature);
        }
        // Credits and withdraws may have been signed since the proposal was made.
        if let Err(why) = self.check(&proposal, self.book.held_version(), view) {
            return Ok(self.shelve(proposal, attestation, why));
        }
        let own = Attestation::alone(keys.sign(self.channel.leaf_digest(leaf)));
        self.book
            .hold(self.joined(proposal.content, own, attestation));
        Ok(vec![
            Effect::Store,
            Effect::Completed(proposal.orders),
            self.completion(keys),
        ])
    }

    /// Keeps a signed state that this side does not complete: evidence against its signer.
    fn shelve(&mut self, proposal: Proposal, theirs: Attestation, why: Refuse) -> Vec<Effect> {
        let mut half = Signed::unsigned(proposal.content);
        match self.side {
            Side::Hub => half.by_user = Some(theirs),
            Side::User => half.by_hub = Some(theirs),
        }
        self.book.half.push(half);
        self.book.open = None;
        vec![Effect::Store, Effect::GivenUp(why, proposal.orders)]
    }

    fn joined(&self, content: Content, own: Attestation, theirs: Attestation) -> Signed {
        let (by_hub, by_user) = match self.side {
            Side::Hub => (own, theirs),
            Side::User => (theirs, own),
        };
        Signed {
            content,
            by_hub: Some(by_hub),
            by_user: Some(by_user),
        }
    }

    /// The held state for the first signer, in self-custody with the `Revoke` of its base.
    fn completion(&self, keys: &impl Keys) -> Effect {
        let held = &self.book.held;
        let revoke = (!self.channel.params.custodial).then(|| {
            let base = held.content.state.ack_version;
            (base, self.revocation(base, keys))
        });
        Effect::Release(Message::Complete {
            signed: Box::new(held.clone()),
            revoke,
        })
    }

    fn revocation(&self, version: Version, keys: &impl Keys) -> Signature {
        keys.sign(self.channel.digest(&self.revoke_of(version)))
    }

    pub(super) fn revoke_of(&self, version: Version) -> Revoke {
        Revoke {
            channel_id: self.channel.id,
            epoch: self.book.held.content.state.epoch,
            version,
        }
    }

    fn receive_complete(
        &mut self,
        signed: Signed,
        revoke: Option<(Version, Signature)>,
        keys: &impl Keys,
    ) -> Result<Vec<Effect>, Refuse> {
        let mut effects = self.learn(&signed, keys);
        if let Some((version, signature)) = revoke {
            effects.extend(self.receive_revoke(version, signature, keys)?);
        }
        // In self-custody the base is given up as soon as the newer state is held.
        let held = &self.book.held.content;
        if !self.channel.params.custodial
            && held.leaf == signed.content.leaf
            && held.state.version > 0
            && self.book.standing == Standing::Open
        {
            let base = held.state.ack_version;
            effects.push(Effect::Release(Message::Revoke {
                version: base,
                signature: self.revocation(base, keys),
            }));
        }
        Ok(effects)
    }

    fn receive_revoke(
        &mut self,
        version: Version,
        signature: Signature,
        keys: &impl Keys,
    ) -> Result<Vec<Effect>, Refuse> {
        let digest = self.channel.digest(&self.revoke_of(version));
        if !keys.verify(digest, &signature, self.other_signer()) {
            return Err(Refuse::BadSignature);
        }
        if self
            .book
            .revoke
            .is_some_and(|(newest, _)| newest >= version)
        {
            return Ok(Vec::new());
        }
        self.book.revoke = Some((version, signature));
        Ok(vec![Effect::Store])
    }

    fn answer_ask(&self, held: Version, keys: &impl Keys) -> Vec<Effect> {
        if self.book.held_version() > held {
            vec![self.completion(keys)]
        } else {
            self.retry()
        }
    }

    fn receive_refusal(
        &mut self,
        version: Version,
        why: Refuse,
        max_signed: Version,
        held: Signed,
        keys: &impl Keys,
    ) -> Result<Vec<Effect>, Refuse> {
        let mut effects = self.learn(&held, keys);
        // A version from far above is a lie: the other side can use up its own versions only.
        if max_signed > self.book.max_signed && max_signed < MAX_VERSION {
            self.book.max_signed = max_signed;
            effects.push(Effect::Store);
        }
        let refused = self
            .book
            .open
            .take_if(|open| open.content.state.version == version);
        if let Some(open) = refused {
            effects.push(Effect::Store);
            effects.push(Effect::GivenUp(why, open.orders));
        }
        Ok(effects)
    }

    /// Asks for a close with the held state; nothing is signed here afterwards (P13, N2.8).
    ///
    /// # Errors
    /// [`Refuse::Fenced`] and [`Refuse::Unsettled`], for what is held may be revoked.
    pub fn close(&mut self) -> Result<Vec<Effect>, Refuse> {
        if let Standing::Fenced(_) = self.book.standing {
            return Err(Refuse::Fenced);
        }
        if self.book.held_version() < self.book.close_from {
            return Err(Refuse::Unsettled(self.book.close_from));
        }
        self.book.standing = Standing::Closing;
        let posted = Posted {
            signed: self.book.held.clone(),
            credit: self.book.credit.filter(|_| self.side == Side::User),
        };
        Ok(vec![Effect::Store, Effect::Post(Box::new(posted))])
    }

    /// The epoch is settled at a final block: the channel begins anew.
    pub fn settled(&mut self, epoch: Epoch) -> Vec<Effect> {
        if epoch > self.book.held.content.state.epoch {
            self.book = Book::new(&self.channel, epoch);
        }
        vec![Effect::Store]
    }
}

fn takes_from_user(kind: LegKind) -> bool {
    matches!(kind, LegKind::Redeem | LegKind::Debit | LegKind::Withdraw)
}
