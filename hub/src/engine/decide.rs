//! Whether a batch is signed, and what is written for it.
//!
//! No I/O and no clock: everything known comes in, everything to write goes out. Everything the
//! account side says is derived again here; nothing of it is believed.

use super::head::{Head, increase};
use super::limits::{self, Limits};
use super::orders::{KnownOrder, OrderEntry, OrderKind};
use super::refusal::{
    body, headroom, machine_rule, malformed, operations_rule, rule, version_used,
};
use hub_client::{
    BatchRequest, ErrorBody, HubRefusal, ISSUE_LIMIT, ISSUE_PER_ORDER, Proposal, Terms, UsedVersion,
};
use hub_core::fold::Successor;
use hub_core::merkle::Tree;
use hub_core::rules::{Breach, check_conservation, check_successor, touched};
use hub_core::{
    Action, Amount, ChannelId, ChannelParams, Facts, Fold, Hash32, Operation, OperationId, State,
    Typed as _, Version,
};
use std::collections::{HashMap, HashSet};

/// What the hub knows when it decides.
#[derive(Debug)]
pub struct View<'a> {
    /// What channels are opened with.
    pub terms: &'a Terms,
    /// What the operator allows.
    pub limits: &'a Limits,
    /// Heads of the proposed channels, as far as they have one. All of them are intact.
    pub heads: &'a HashMap<ChannelId, Head>,
    /// Facts of the proposed channels, as far as there are any.
    pub facts: &'a HashMap<ChannelId, Facts>,
    /// The withdrawal orders that the operations name, as far as they are known.
    pub orders: &'a HashMap<OperationId, KnownOrder>,
    /// What may be issued and abandoned.
    pub budget: Budget<'a>,
    /// Time of the newest final block, Unix seconds.
    pub final_timestamp: u64,
    /// No version up to here is signed in a channel that is not known: one that was lost may have
    /// had it.
    pub version_floor: Version,
}

/// What may be issued and abandoned.
#[derive(Debug)]
pub struct Budget<'a> {
    /// What the vault still covers; none in mint mode.
    pub headroom: Option<Amount>,
    /// What was issued in the last 60 minutes.
    pub issued: Amount,
    /// What abandoned batches could yield in all.
    pub abandoned: Amount,
    /// The same by channel.
    pub abandoned_by: &'a HashMap<ChannelId, Amount>,
}

/// A batch that may be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Root over the new states.
    pub root: Hash32,
    /// Levels of the tree.
    pub depth: u8,
    /// The new states, in channel id order.
    pub moves: Vec<Move>,
    /// Channels to open, in id order.
    pub opened: Vec<(ChannelId, ChannelParams)>,
    /// Withdrawal orders and refunds in the batch.
    pub orders: Vec<OrderEntry>,
    /// Sum of the issuances.
    pub issued: Amount,
}

/// One channel's step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The head before; none for a channel that is opened.
    pub before: Option<Head>,
    /// The head after, while the batch has no fate.
    pub after: Head,
}

/// Decides one batch.
pub fn decide(view: &View<'_>, request: &BatchRequest) -> Result<Plan, ErrorBody> {
    check_form(request)?;
    let opened = check_openings(view, &request.operations)?;
    check_channels(request, &opened)?;
    check_heads(view, request, &opened)?;
    let orders = check_orders(view, &request.operations)?;
    let issued = check_issuances(view, &request.operations)?;
    let successors = derive(view, request)?;
    let hashes = compare(&successors, &request.proposals)?;
    check_rules(view, &successors, &request.operations)?;
    let moves = moves(view, &successors, &hashes)?;
    check_abandoned(view, &moves, &request.operations)?;
    let tree = Tree::new(hashes).ok_or_else(|| malformed("a batch has 1 to 4,096 states"))?;
    let mut opened: Vec<_> = opened.into_iter().collect();
    opened.sort_unstable_by_key(|(channel, _)| *channel);
    Ok(Plan {
        root: tree.root(),
        depth: tree.depth(),
        moves,
        opened,
        orders,
        issued,
    })
}

fn check_form(request: &BatchRequest) -> Result<(), ErrorBody> {
    if request.operations.is_empty() || request.operations.len() > limits::OPERATIONS {
        return Err(malformed("a batch has 1 to 4,096 operations"));
    }
    if request.proposals.len() > hub_core::merkle::MAX_LEAVES {
        return Err(malformed("a batch has 1 to 4,096 states"));
    }
    let ascending = request
        .proposals
        .is_sorted_by(|one, next| one.channel < next.channel);
    if !ascending {
        return Err(malformed(
            "proposals come in channel id order, one per channel",
        ));
    }
    let mut seen = HashSet::with_capacity(request.operations.len());
    if !request.operations.iter().all(|op| seen.insert(op.id)) {
        return Err(malformed("an operation is named twice"));
    }
    Ok(())
}

/// The channels that are opened; each on the hub's own terms.
fn check_openings(
    view: &View<'_>,
    operations: &[Operation],
) -> Result<HashMap<ChannelId, ChannelParams>, ErrorBody> {
    let mut opened = HashMap::new();
    for operation in operations {
        let Action::Open { params } = operation.action else {
            continue;
        };
        let channel = params.channel_id(&view.terms.domain);
        // A channel that begins its next epoch has the terms of its time; its id commits to them.
        if !view.heads.contains_key(&channel) && !on_terms(view.terms, &params) {
            return Err(operations_rule(
                "TERMS",
                vec![operation.id],
                "channels of this hub are opened on other terms",
            ));
        }
        if opened.insert(channel, params).is_some() {
            return Err(malformed("a channel is opened twice"));
        }
    }
    Ok(opened)
}

fn on_terms(terms: &Terms, params: &ChannelParams) -> bool {
    let ours = ChannelParams {
        hub: terms.hub,
        hub_signer: terms.hub_signer,
        user_signer: terms.custody_signer,
        custodial: true,
        capacity: terms.capacity,
        challenge_period: terms.challenge_period,
        self_delay: terms.self_delay,
        penalty_cap: terms.penalty_cap,
        bounty_bps: terms.bounty_bps,
        // The customer's own: payout address and account.
        user: params.user,
        salt: params.salt,
    };
    *params == ours && params.user != hub_core::Address::ZERO
}

/// There is one proposal for each channel touched or opened, and no other.
fn check_channels(
    request: &BatchRequest,
    opened: &HashMap<ChannelId, ChannelParams>,
) -> Result<(), ErrorBody> {
    let mut channels = touched(&request.operations);
    channels.extend(opened.keys());
    channels.sort_unstable();
    channels.dedup();
    let proposed = request.proposals.iter().map(|proposal| proposal.channel);
    if proposed.eq(channels) {
        Ok(())
    } else {
        Err(malformed(
            "proposals and operations are about different channels",
        ))
    }
}

/// Bases and versions, in the order in which the account side can mend them.
fn check_heads(
    view: &View<'_>,
    request: &BatchRequest,
    opened: &HashMap<ChannelId, ChannelParams>,
) -> Result<(), ErrorBody> {
    let closing: Vec<_> = request
        .proposals
        .iter()
        .map(|proposal| proposal.channel)
        .filter(|channel| view.facts.get(channel).is_some_and(|facts| facts.closing))
        .collect();
    if !closing.is_empty() {
        let error = HubRefusal::Closing { channels: closing };
        return Err(body(error, "nothing is signed in a channel that closes"));
    }
    let mut unknown = Vec::new();
    let mut used = Vec::new();
    for proposal in &request.proposals {
        let Some(head) = view.heads.get(&proposal.channel) else {
            check_new(view, proposal, opened, &mut unknown, &mut used)?;
            continue;
        };
        check_base(head, proposal, &mut unknown)?;
        if proposal.version <= head.max_signed {
            used.push(UsedVersion {
                channel: proposal.channel,
                max_signed: head.max_signed,
            });
        } else if proposal.version - head.max_signed > limits::VERSION_GAP {
            return Err(rule(
                "VERSION_GAP",
                format!(
                    "channel {} skips more than {} versions",
                    proposal.channel,
                    limits::VERSION_GAP
                ),
            ));
        }
    }
    if !unknown.is_empty() {
        unknown.sort_unstable();
        unknown.dedup();
        let error = HubRefusal::BaseUnknown { batches: unknown };
        return Err(body(error, "send the fates of these batches"));
    }
    if !used.is_empty() {
        return Err(version_used(used));
    }
    Ok(())
}

fn check_new(
    view: &View<'_>,
    proposal: &Proposal,
    opened: &HashMap<ChannelId, ChannelParams>,
    unknown: &mut Vec<u64>,
    used: &mut Vec<UsedVersion>,
) -> Result<(), ErrorBody> {
    let channel = proposal.channel;
    if proposal.base_version > 0 {
        unknown.push(proposal.base_batch);
        return Ok(());
    }
    if !opened.contains_key(&channel) {
        return Err(rule("UNKNOWN_CHANNEL", format!("{channel} is not open")));
    }
    let null = State::null(channel, 0, view.terms.capacity);
    if proposal.base_hash != null.hash_struct() {
        let error = HubRefusal::BaseDiffers { channel };
        return Err(body(error, "the base is not the null state"));
    }
    let floor = view.version_floor;
    if proposal.version == 0 || proposal.version.saturating_sub(floor) > limits::VERSION_GAP {
        return Err(rule(
            "VERSION_GAP",
            format!("{channel} begins at version {}", floor + 1),
        ));
    }
    if proposal.version <= floor {
        used.push(UsedVersion {
            channel,
            max_signed: floor,
        });
    }
    Ok(())
}

fn check_base(head: &Head, proposal: &Proposal, unknown: &mut Vec<u64>) -> Result<(), ErrorBody> {
    let channel = proposal.channel;
    let held_version = head.held().0.version;
    if proposal.base_version < held_version {
        let error = HubRefusal::BaseBehind {
            channel,
            held_version,
        };
        return Err(body(error, "the hub holds a newer co-signed state"));
    }
    if proposal.base_version > held_version {
        unknown.push(proposal.base_batch);
    } else if proposal.base_hash != head.held_hash() {
        let error = HubRefusal::BaseDiffers { channel };
        return Err(body(
            error,
            "the hub holds another state at the base's version",
        ));
    }
    Ok(())
}

fn check_orders(view: &View<'_>, operations: &[Operation]) -> Result<Vec<OrderEntry>, ErrorBody> {
    let mut entries = Vec::new();
    let mut seen = HashSet::new();
    for operation in operations {
        let epoch = |channel| view.heads.get(&channel).map_or(0, |head| head.signed.epoch);
        let entry = match operation.action {
            Action::Withdraw {
                channel,
                amount,
                to,
            } => OrderEntry {
                order: operation.id,
                kind: OrderKind::Withdraw(to),
                channel,
                epoch: epoch(channel),
                amount,
            },
            Action::Refund {
                channel,
                order,
                amount,
            } => OrderEntry {
                order,
                kind: OrderKind::Refund,
                channel,
                epoch: epoch(channel),
                amount,
            },
            _ => continue,
        };
        let known = view.orders.get(&entry.order).copied().unwrap_or_default();
        let (name, forbidden) = match entry.kind {
            OrderKind::Withdraw(hub_core::Address::ZERO) => {
                ("PAYEE", Some("nobody is paid at the zero address"))
            }
            OrderKind::Withdraw(_) => ("ORDER_USED", known.forbids_withdraw()),
            OrderKind::Refund => ("REFUND", known.forbids_refund(&entry, view.final_timestamp)),
        };
        let twice = (!seen.insert(entry.order)).then_some("the batch names the order twice");
        if let Some(why) = forbidden.or(twice) {
            return Err(operations_rule(name, vec![operation.id], why));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// The operator's caps and the vault. Lists every issuance that does not fit, so that the rest
/// can go on at once.
fn check_issuances(view: &View<'_>, operations: &[Operation]) -> Result<Amount, ErrorBody> {
    let mut issued = Amount::ZERO;
    let (mut too_large, mut over, mut uncovered) = (Vec::new(), Vec::new(), Vec::new());
    let per_order = view.limits.caps().per_order;
    let left_in_hour = view.limits.issue_per_hour.less(view.budget.issued);
    for operation in operations {
        let Action::Issue { amount, .. } = operation.action else {
            continue;
        };
        let total = issued.checked_add(amount).unwrap_or(Amount::MAX);
        if amount > per_order {
            too_large.push(operation.id);
        } else if total > left_in_hour {
            over.push(operation.id);
        } else if view.budget.headroom.is_some_and(|left| total > left) {
            uncovered.push(operation.id);
        } else {
            issued = total;
        }
    }
    if !too_large.is_empty() {
        let detail = format!("an issuance is at most {per_order}");
        return Err(operations_rule(ISSUE_PER_ORDER, too_large, detail));
    }
    if !over.is_empty() {
        let detail = format!("{left_in_hour} can still be issued in this hour");
        return Err(operations_rule(ISSUE_LIMIT, over, detail));
    }
    match view.budget.headroom {
        Some(left) if !uncovered.is_empty() => Err(headroom(uncovered, left)),
        _ => Ok(issued),
    }
}

/// Folds the operations over the hub's own bases.
fn derive(view: &View<'_>, request: &BatchRequest) -> Result<Vec<Successor>, ErrorBody> {
    let mut fold = Fold::new();
    for proposal in &request.proposals {
        // A channel whose opening was never completed is opened again, from the same null
        // state, and one that was settled from that of its next epoch; versions used before stay
        // used.
        if let Some(head) = view.heads.get(&proposal.channel) {
            let facts = view.facts.get(&proposal.channel);
            fold.insert(*head.held().0, facts.copied().unwrap_or_default());
        }
    }
    let mut refused: Option<(&'static str, String)> = None;
    let mut operations = Vec::new();
    for operation in &request.operations {
        if let Err(refusal) = fold.apply(&view.terms.domain, operation) {
            let name = machine_rule(&refusal);
            let first = refused.get_or_insert_with(|| (name, refusal.to_string()));
            // What another rule refuses may follow from the first refusal.
            if first.0 == name {
                operations.push(operation.id);
            }
        }
    }
    if let Some((name, why)) = refused {
        return Err(operations_rule(name, operations, why));
    }
    let versions: HashMap<_, _> = request
        .proposals
        .iter()
        .map(|proposal| (proposal.channel, proposal.version))
        .collect();
    // The version asked for; it was checked against all that were used.
    let below = |channel: &ChannelId| versions.get(channel).map_or(0, |v| v.saturating_sub(1));
    fold.finish(below)
        .map_err(|refusal| rule(machine_rule(&refusal), refusal.to_string()))
}

/// The hashes of the derived states, which must be the proposed ones.
fn compare(successors: &[Successor], proposals: &[Proposal]) -> Result<Vec<Hash32>, ErrorBody> {
    if successors.len() != proposals.len() {
        return Err(rule("STATE_HASH", "the operations lead to other channels"));
    }
    let hashes: Vec<_> = successors
        .iter()
        .map(|next| next.state.hash_struct())
        .collect();
    for ((next, hash), proposal) in successors.iter().zip(&hashes).zip(proposals) {
        let state = &next.state;
        let same = state.channel_id == proposal.channel
            && state.version == proposal.version
            && *hash == proposal.state_hash;
        if !same {
            return Err(rule(
                "STATE_HASH",
                format!(
                    "the operations lead to another state of channel {}",
                    proposal.channel
                ),
            ));
        }
    }
    Ok(hashes)
}

/// N2 and P11 once more, apart from the machine.
fn check_rules(
    view: &View<'_>,
    successors: &[Successor],
    operations: &[Operation],
) -> Result<(), ErrorBody> {
    let no_facts = Facts::default();
    for next in successors {
        let channel = &next.state.channel_id;
        let max_signed = view.heads.get(channel).map_or(0, |head| head.max_signed);
        let capacity = next.base.total().unwrap_or(Amount::ZERO);
        let facts = view.facts.get(channel).unwrap_or(&no_facts);
        check_successor(&next.base, &next.state, max_signed, capacity, facts)
            .map_err(|breach| broken(&breach))?;
    }
    let changes = successors.iter().map(|next| (&next.base, &next.state));
    check_conservation(changes, operations).map_err(|breach| broken(&breach))
}

fn broken(breach: &Breach) -> ErrorBody {
    let name = match breach {
        Breach::NotConserved { .. } => "NOT_CONSERVED",
        Breach::BrokenSum { .. } => "BROKEN_SUM",
        Breach::Reserve { .. } => "RESERVE",
        Breach::DepositNotFinal { .. } => "DEPOSIT_NOT_FINAL",
        Breach::WithdrawStillLive { .. } => "WITHDRAW_STILL_LIVE",
        _ => "N2",
    };
    rule(name, breach.to_string())
}

fn moves(
    view: &View<'_>,
    successors: &[Successor],
    hashes: &[Hash32],
) -> Result<Vec<Move>, ErrorBody> {
    let step = |next: &Successor, hash: &Hash32| {
        let before = view.heads.get(&next.state.channel_id).copied();
        let increase = increase(&next.base, &next.state)?;
        let pending = before.map_or(Amount::ZERO, |head| head.pending());
        let after = Head {
            max_signed: next.state.version,
            signed: next.state,
            signed_hash: *hash,
            // Given with the batch's number.
            signed_batch: 0,
            committed: false,
            below: next.base,
            below_batch: before.map_or(0, |head| head.held().1),
            pending_increase: pending.max(increase),
        };
        Some(Move { before, after })
    };
    successors
        .iter()
        .zip(hashes)
        .map(|(next, hash)| step(next, hash).ok_or_else(|| broken(&Breach::Overflow)))
        .collect()
}

/// Above the limit only batches go on that could not add to what abandoned ones may yield:
/// completing them brings it down. Names the operations that have to wait for that.
fn check_abandoned(
    view: &View<'_>,
    moves: &[Move],
    operations: &[Operation],
) -> Result<(), ErrorBody> {
    if view.budget.abandoned <= view.limits.burn {
        return Ok(());
    }
    let counted = |channel: &ChannelId| {
        let counted = view.budget.abandoned_by.get(channel);
        counted.copied().unwrap_or(Amount::ZERO)
    };
    let adds = |step: &Move| step.after.pending_increase > counted(&step.after.signed.channel_id);
    if !moves.iter().any(adds) {
        return Ok(());
    }
    Err(operations_rule(
        "BURN_LIMIT",
        adding(view, operations, counted),
        format!(
            "abandoned batches could yield {}, the limit is {}: complete newer states in \
             their channels, or raise the limit",
            view.budget.abandoned, view.limits.burn
        ),
    ))
}

/// The operations without which no channel gains more than is counted of it already.
fn adding(
    view: &View<'_>,
    operations: &[Operation],
    counted: impl Fn(&ChannelId) -> Amount,
) -> Vec<OperationId> {
    // Channels of which a half-signed state gives more than is counted can't be moved at all.
    let stuck = |channel: &ChannelId| {
        let head = view.heads.get(channel);
        head.is_some_and(|head| head.pending() > counted(channel))
    };
    let mut left: HashMap<ChannelId, Amount> = HashMap::new();
    let mut adding = Vec::new();
    for operation in operations {
        let (payer, payee, amount) = match operation.action {
            Action::Transfer {
                payer,
                payee,
                amount,
            } => (Some(payer), Some(payee), amount),
            Action::Issue { channel, amount } => (None, Some(channel), amount),
            Action::Redeem { channel, amount } => (Some(channel), None, amount),
            // What is paid out or in is in the entitlement before and after.
            _ => (None, None, Amount::ZERO),
        };
        let after = payee.map(|channel| {
            let left = left.get(&channel).copied();
            let left = left.unwrap_or_else(|| counted(&channel));
            (channel, left.checked_sub(amount))
        });
        let touched = operation.action.legs().map(|(channel, ..)| channel);
        if touched.into_iter().any(|channel| stuck(&channel)) || matches!(after, Some((_, None))) {
            adding.push(operation.id);
            continue;
        }
        if let Some((channel, Some(after))) = after {
            left.insert(channel, after);
        }
        if let Some(channel) = payer {
            let before = left.get(&channel).copied();
            let before = before.unwrap_or_else(|| counted(&channel));
            // More than fits forbids nothing.
            let after = before.checked_add(amount).unwrap_or(Amount::MAX);
            left.insert(channel, after);
        }
    }
    adding
}
