//! The channel machine: folds many operations into one new state per channel.
//!
//! Both sides run it on their own heads with the same operations and must reach the same
//! states; a refused operation changes nothing and does not disturb the others.

use crate::merkle;
use crate::types::{Leg, LegKind, MAX_VERSION};
use crate::{Action, Amount, ChannelId, Domain, Hash32, Operation, State, Typed, Version};
use std::collections::BTreeMap;

/// What a side knows of a channel beside its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// W: withdrawals executed in this epoch, at a final block. Zero is always a safe guess.
    pub executed: Amount,
    /// What `withdrawn` must not fall below: executed plus every signed `Withdraw` that is
    /// neither executed nor expired at a final block (N2.5).
    pub withdraw_floor: Amount,
    /// Deposits of this epoch at a final block.
    pub final_deposits: Amount,
    /// K: the newest `Credit` signed.
    pub credit_signed: Amount,
    /// Whether a close was asked for or seen: nothing is signed any more (P13).
    pub closing: bool,
}

impl Facts {
    /// What the hub balance must keep for pending withdrawals and unfolded credits (N2.4).
    pub fn reserve(&self, state: &State) -> Amount {
        let pending = state.withdrawn.less(self.executed);
        let unfolded = self.credit_signed.less(state.credited);
        // A sum beyond u128 can't be covered by any balance, so the cap refuses as well.
        pending.checked_add(unfolded).unwrap_or(Amount::MAX)
    }
}

/// Why an operation is not applied. Every refusal leaves all states as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing to move.
    #[error("the amount is zero")]
    AmountZero,
    /// The user side holds less than is asked for.
    #[error("channel {channel} has {available}, {required} is needed")]
    InsufficientFunds {
        /// The channel that would pay.
        channel: ChannelId,
        /// What its user side holds free.
        available: Amount,
        /// What the operation takes.
        required: Amount,
    },
    /// The hub side can't give that much.
    #[error("channel {channel} can receive {receivable}, not {required}")]
    CapacityExceeded {
        /// The channel that would receive.
        channel: ChannelId,
        /// What its hub side can still give.
        receivable: Amount,
        /// What the operation gives.
        required: Amount,
    },
    /// Payer and payee are one channel.
    #[error("payer and payee are the same channel")]
    SameChannel,
    /// The channel is not in this fold: unknown, or of another hub.
    #[error("channel {0} is unknown")]
    UnknownChannel(ChannelId),
    /// The channel to open is there already.
    #[error("channel {0} is already open")]
    AlreadyOpen(ChannelId),
    /// The channel's parameters break a rule of opening.
    #[error("a channel needs a capacity above zero and below 2^96")]
    BadParams,
    /// The channel is being closed; nothing is signed in it.
    #[error("channel {0} is closing")]
    Closing(ChannelId),
    /// More deposits folded than are final.
    #[error("channel {channel} has {unfolded} of final deposits left to fold, not {required}")]
    DepositNotFinal {
        /// The channel.
        channel: ChannelId,
        /// Final deposits not yet folded.
        unfolded: Amount,
        /// What the operation folds.
        required: Amount,
    },
    /// The withdrawal could still be paid out on chain.
    #[error("channel {channel} can take back {reversible} of its withdrawals, not {required}")]
    WithdrawStillLive {
        /// The channel.
        channel: ChannelId,
        /// What is neither executed nor executable.
        reversible: Amount,
        /// What the operation gives back.
        required: Amount,
    },
    /// The channel has used up its versions.
    #[error("channel {0} has no versions left in this epoch")]
    VersionsExhausted(ChannelId),
}

/// One channel on its way to its next state.
#[derive(Debug, Clone)]
struct Draft {
    base: State,
    next: State,
    facts: Facts,
    legs: Vec<Hash32>,
    opened: bool,
}

/// Balances of one leg's channel after its operation, for the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegOutcome {
    /// The channel.
    pub channel: ChannelId,
    /// What happened to it.
    pub kind: LegKind,
    /// The user balance after the operation.
    pub user_balance_after: Amount,
}

/// A set of channels and the operations applied to them so far.
#[derive(Debug, Clone, Default)]
pub struct Fold {
    drafts: BTreeMap<ChannelId, Box<Draft>>,
    /// What was done since [`Fold::begin`], while it counts.
    done: Option<Vec<Done>>,
}

/// A change of a fold, as it is taken back.
#[derive(Debug, Clone)]
enum Done {
    /// A channel came in, in place of what was there.
    Inserted(ChannelId, Option<Box<Draft>>),
    /// A null state was made a new channel.
    Opened(ChannelId),
    /// A leg was added to a channel that was at this state.
    Stepped(State),
}

impl Fold {
    /// An empty fold.
    pub fn new() -> Self {
        Self::default()
    }

    /// Brings in a channel at its held state (N2: the newest state with both signatures).
    pub fn insert(&mut self, held: State, facts: Facts) {
        let draft = Box::new(Draft {
            base: held,
            next: held,
            facts,
            legs: Vec::new(),
            opened: false,
        });
        let before = self.drafts.insert(held.channel_id, draft);
        self.note(|| Done::Inserted(held.channel_id, before));
    }

    /// Begins to remember what is done, so that [`Fold::undo`] takes it back.
    pub fn begin(&mut self) {
        self.done = Some(Vec::new());
    }

    /// Keeps what was done since [`Fold::begin`].
    pub fn keep(&mut self) {
        self.done = None;
    }

    /// Takes back what was done since [`Fold::begin`].
    pub fn undo(&mut self) {
        for done in self.done.take().into_iter().flatten().rev() {
            match done {
                Done::Inserted(channel, Some(before)) => {
                    self.drafts.insert(channel, before);
                }
                Done::Inserted(channel, None) => {
                    self.drafts.remove(&channel);
                }
                Done::Opened(channel) => {
                    if let Some(draft) = self.drafts.get_mut(&channel) {
                        draft.opened = false;
                    }
                }
                Done::Stepped(state) => {
                    if let Some(draft) = self.drafts.get_mut(&state.channel_id) {
                        draft.legs.pop();
                        draft.next = state;
                    }
                }
            }
        }
    }

    fn note(&mut self, done: impl FnOnce() -> Done) {
        if let Some(list) = &mut self.done {
            list.push(done());
        }
    }

    /// Whether the channel is in the fold.
    pub fn contains(&self, channel: &ChannelId) -> bool {
        self.drafts.contains_key(channel)
    }

    /// The channel's balances as of the operations applied so far.
    pub fn current(&self, channel: &ChannelId) -> Option<&State> {
        self.drafts.get(channel).map(|draft| &draft.next)
    }

    /// Applies one operation, or refuses it and changes nothing.
    pub fn apply(
        &mut self,
        domain: &Domain,
        operation: &Operation,
    ) -> Result<Vec<LegOutcome>, Refusal> {
        if let Action::Open { params } = operation.action {
            return self.open(domain, &params);
        }
        let amount = operation.action.amount();
        if amount.is_zero() {
            return Err(Refusal::AmountZero);
        }
        if let Action::Transfer { payer, payee, .. } = operation.action
            && payer == payee
        {
            return Err(Refusal::SameChannel);
        }
        // Each channel's outcome is computed before any is written, so that a refusal of the
        // second leg leaves the first one as it was.
        let mut done = Vec::with_capacity(2);
        for (channel, kind, counterparty) in operation.action.legs() {
            let draft = self
                .drafts
                .get(&channel)
                .ok_or(Refusal::UnknownChannel(channel))?;
            let leg = Leg {
                operation: operation.id.word(),
                kind,
                amount,
                counterparty,
            };
            done.push((leg, step(&draft.next, &draft.facts, kind, amount)?));
        }
        // Nothing below may fail.
        let outcomes = done
            .into_iter()
            .filter_map(|(leg, next)| {
                let draft = self.drafts.get_mut(&next.channel_id)?;
                if let Some(list) = &mut self.done {
                    list.push(Done::Stepped(draft.next));
                }
                draft.next = next;
                draft.legs.push(leg.hash_struct());
                Some(LegOutcome {
                    channel: next.channel_id,
                    kind: leg.kind,
                    user_balance_after: next.user_balance,
                })
            })
            .collect();
        Ok(outcomes)
    }

    fn open(
        &mut self,
        domain: &Domain,
        params: &crate::ChannelParams,
    ) -> Result<Vec<LegOutcome>, Refusal> {
        if params.capacity.is_zero() || !params.capacity.fits_balance() {
            return Err(Refusal::BadParams);
        }
        let id = params.channel_id(domain);
        if let Some(draft) = self.drafts.get_mut(&id) {
            // A null state is where an epoch begins: the first one, or the next after a settlement.
            if draft.base.version > 0 || draft.opened || !draft.legs.is_empty() {
                return Err(Refusal::AlreadyOpen(id));
            }
            draft.opened = true;
            self.note(|| Done::Opened(id));
            return Ok(Vec::new());
        }
        self.insert(State::null(id, 0, params.capacity), Facts::default());
        if let Some(draft) = self.drafts.get_mut(&id) {
            draft.opened = true;
        }
        Ok(Vec::new())
    }

    /// The new states, ordered by channel id, of all channels that an operation touched.
    /// `max_signed` names the highest version this side knows to be used in a channel, which
    /// may lie above the held one (P12).
    pub fn finish(
        self,
        max_signed: impl Fn(&ChannelId) -> Version,
    ) -> Result<Vec<Successor>, Refusal> {
        self.drafts
            .into_values()
            .filter(|draft| draft.opened || !draft.legs.is_empty())
            .map(|draft| {
                let used = draft.base.version.max(max_signed(&draft.base.channel_id));
                draft.seal(used)
            })
            .collect()
    }
}

/// A new state and what it was derived from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Successor {
    /// The co-signed state it builds on; the null state for a new channel.
    pub base: State,
    /// The new state.
    pub state: State,
    /// Whether the channel is opened by it.
    pub opened: bool,
}

/// The balances after one leg in one channel, or why not. Version, `ackVersion` and
/// `transfersRoot` stay the base's: whoever seals the state sets them.
pub fn step(state: &State, facts: &Facts, kind: LegKind, amount: Amount) -> Result<State, Refusal> {
    let channel = state.channel_id;
    if facts.closing {
        return Err(Refusal::Closing(channel));
    }
    let mut next = *state;
    match kind {
        LegKind::Redeem | LegKind::Debit | LegKind::Withdraw => take_from_user(&mut next, amount)?,
        LegKind::Issue | LegKind::Credit => give_to_user(&mut next, facts, amount)?,
        LegKind::Deposit => {
            let unfolded = facts.final_deposits.less(next.deposited);
            if amount > unfolded {
                return Err(Refusal::DepositNotFinal {
                    channel,
                    unfolded,
                    required: amount,
                });
            }
            give_to_user(&mut next, facts, amount)?;
        }
        LegKind::Refund => {
            let reversible = next.withdrawn.less(facts.withdraw_floor);
            if amount > reversible {
                return Err(Refusal::WithdrawStillLive {
                    channel,
                    reversible,
                    required: amount,
                });
            }
            // The reserve for it is freed by the same step that spends it.
            next.withdrawn = next.withdrawn.less(amount);
            give_to_user(&mut next, facts, amount)?;
        }
    }
    match kind {
        LegKind::Withdraw => next.withdrawn = grow(channel, next.withdrawn, amount)?,
        LegKind::Deposit => next.deposited = grow(channel, next.deposited, amount)?,
        _ => {}
    }
    Ok(next)
}

/// A cumulative total that grew; it is bounded long before u128 ends.
fn grow(channel: ChannelId, total: Amount, amount: Amount) -> Result<Amount, Refusal> {
    total
        .checked_add(amount)
        .ok_or_else(|| over_capacity(channel, Amount::ZERO, amount))
}

fn over_capacity(channel: ChannelId, receivable: Amount, required: Amount) -> Refusal {
    Refusal::CapacityExceeded {
        channel,
        receivable,
        required,
    }
}

pub(crate) fn take_from_user(next: &mut State, amount: Amount) -> Result<(), Refusal> {
    let refusal = Refusal::InsufficientFunds {
        channel: next.channel_id,
        available: next.user_balance,
        required: amount,
    };
    next.user_balance = next.user_balance.checked_sub(amount).ok_or(refusal)?;
    next.hub_balance = next.hub_balance.checked_add(amount).ok_or(refusal)?;
    Ok(())
}

pub(crate) fn give_to_user(next: &mut State, facts: &Facts, amount: Amount) -> Result<(), Refusal> {
    let receivable = next.hub_balance.less(facts.reserve(next));
    let refusal = over_capacity(next.channel_id, receivable, amount);
    if amount > receivable {
        return Err(refusal);
    }
    next.hub_balance = next.hub_balance.checked_sub(amount).ok_or(refusal)?;
    next.user_balance = next.user_balance.checked_add(amount).ok_or(refusal)?;
    Ok(())
}

impl Draft {
    fn seal(self: Box<Self>, used: Version) -> Result<Successor, Refusal> {
        if used >= MAX_VERSION {
            return Err(Refusal::VersionsExhausted(self.base.channel_id));
        }
        let mut state = self.next;
        state.version = used + 1;
        state.ack_version = self.base.version;
        state.transfers_root = transfers_root(self.legs);
        Ok(Successor {
            base: self.base,
            state,
            opened: self.opened,
        })
    }
}

/// Root over the legs of one state. More legs than one tree holds are rolled up in chunks, in
/// order: the roots of full trees are the leaves of the tree above them.
pub fn transfers_root(mut legs: Vec<Hash32>) -> Hash32 {
    if legs.is_empty() {
        return Hash32::ZERO;
    }
    while legs.len() > merkle::MAX_LEAVES {
        legs = legs
            .chunks(merkle::MAX_LEAVES)
            .filter_map(|chunk| merkle::root(chunk.to_vec()))
            .collect();
    }
    merkle::root(legs).unwrap_or(Hash32::ZERO)
}
