//! R4, operation by operation: each is one of those whose root its states carry.

use crate::findings::{Findings, Row};
use crate::report::{CheckId, Class};
use hub_core::fold::transfers_root;
use hub_core::types::{Leg, LegKind};
use hub_core::{Amount, ChannelId, Hash32, OperationId, State, Typed as _};
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

/// A posted operation.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Its id.
    pub id: Uuid,
    /// Stored kind.
    pub kind: i16,
    /// How much.
    pub amount: Amount,
    /// The side of the payer.
    pub payer: Option<Side>,
    /// The side of the payee.
    pub payee: Option<Side>,
}

/// One side of an operation, as its row has it.
#[derive(Debug, Clone, Copy)]
pub struct Side {
    /// Channel of the account; `None` when there is no such account.
    pub channel: Option<ChannelId>,
    /// Version of the state it is part of.
    pub version: Option<u64>,
    /// User balance after it.
    pub balance: Option<Amount>,
    /// Index of the state in the batch.
    pub leaf: Option<u32>,
}

/// Kinds of operations that stand for what nobody can tell any more: one of them takes the place
/// of all the legs that a state has beyond those that are known.
const GAINED: i16 = 9;
const LOST: i16 = 10;

/// One operation as it should be part of one state.
#[derive(Debug, Clone, Copy)]
struct Placed {
    operation: Uuid,
    kind: LegKind,
    amount: Amount,
    counterparty: Hash32,
    balance: Amount,
}

impl Placed {
    fn hash(&self) -> Hash32 {
        Leg {
            operation: OperationId(*self.operation.as_bytes()).word(),
            kind: self.kind,
            amount: self.amount,
            counterparty: self.counterparty,
        }
        .hash_struct()
    }

    /// User balance before it, if there is one.
    fn before(&self) -> Option<Amount> {
        match self.kind {
            LegKind::Redeem | LegKind::Debit | LegKind::Withdraw => {
                self.balance.checked_add(self.amount)
            }
            LegKind::Issue | LegKind::Credit | LegKind::Deposit | LegKind::Refund => {
                self.balance.checked_sub(self.amount)
            }
        }
    }
}

/// Checks the operations of a batch whose states are those that were signed. Gives the channels
/// in which they are not what was signed.
pub fn check(
    batch: Uuid,
    operations: &[Operation],
    states: &[State],
    findings: &mut Findings,
) -> Vec<ChannelId> {
    let mut named = BTreeSet::new();
    let mut broken = BTreeSet::new();
    let mut placed: Vec<(u32, Placed)> = Vec::with_capacity(2 * operations.len());
    let mut untold = BTreeSet::new();
    for operation in operations {
        findings.compared(CheckId::R4, 1);
        match place(operation, states) {
            Ok(legs) => {
                for (leaf, leg) in legs.into_iter().flatten() {
                    if matches!(operation.kind, GAINED | LOST) {
                        untold.insert(leaf);
                    }
                    placed.push((leaf, leg));
                }
            }
            Err(found) => {
                broken.insert(operation.id);
                named.extend(channels(operation));
                let row = Row::account("operations", operation.id);
                let expected = format!("a place in batch {batch}");
                findings.found((CheckId::R4, Class::Tamper), row, expected, found);
            }
        }
    }
    placed.sort_unstable_by_key(|(leaf, leg)| (*leaf, leg.operation));
    let (leaves, mut legs): (Vec<u32>, Vec<Placed>) = placed.into_iter().unzip();
    let mut begin = 0;
    for (leaf, state) in (0_u32..).zip(states) {
        let count = leaves[begin..].iter().take_while(|at| **at == leaf).count();
        let legs = &mut legs[begin..begin + count];
        begin += count;
        let sound = if untold.contains(&leaf) {
            !matches!(chain(state.user_balance, legs), Order::Broken)
        } else {
            matches(state, legs)
        };
        if sound || named.contains(&state.channel_id) {
            continue;
        }
        named.insert(state.channel_id);
        // A wrong operation breaks the states of both its sides, and is one break.
        if legs.len() == 1 && !broken.insert(legs[0].operation) {
            continue;
        }
        name(batch, leaf, state, legs, findings);
    }
    named.into_iter().collect()
}

fn channels(operation: &Operation) -> impl Iterator<Item = ChannelId> + use<> {
    let sides = [operation.payer, operation.payee];
    sides.into_iter().flatten().filter_map(|side| side.channel)
}

type Legs = [Option<(u32, Placed)>; 2];

/// Where an operation belongs by its row, or what is wrong with the row.
fn place(operation: &Operation, states: &[State]) -> Result<Legs, String> {
    let counterparty = |side: Option<Side>| {
        side.and_then(|side| side.channel)
            .map_or(Hash32::ZERO, Hash32::from)
    };
    let (payer, payee) = (operation.payer, operation.payee);
    let (debit, credit) = match operation.kind {
        1 => (None, Some(LegKind::Issue)),
        2 => (Some(LegKind::Redeem), None),
        3 => (Some(LegKind::Debit), Some(LegKind::Credit)),
        4 => (Some(LegKind::Withdraw), None),
        5 => (None, Some(LegKind::Deposit)),
        6 => (None, Some(LegKind::Refund)),
        // An opening moves nothing and is no leg; it still names its state.
        7 => return opening(operation, states).map(|()| [None, None]),
        // What came back after a restore: one side, and legs that nobody can tell any more.
        GAINED => (None, Some(LegKind::Credit)),
        LOST => (Some(LegKind::Debit), None),
        // Nor is a balance that left with the epoch before the state that it names.
        8 => return ending(operation, states).map(|()| [None, None]),
        other => return Err(format!("kind={other}")),
    };
    let leg = |kind: Option<LegKind>, side: Option<Side>, other: Option<Side>, name: &str| {
        let (kind, side) = match (kind, side) {
            (None, None) => return Ok(None),
            (Some(kind), Some(side)) => (kind, side),
            (None, Some(_)) => return Err(format!("kind={} with a {name}", operation.kind)),
            (Some(_), None) => return Err(format!("kind={} without a {name}", operation.kind)),
        };
        let (leaf, balance) = located(side, states, name)?;
        let placed = Placed {
            operation: operation.id,
            kind,
            amount: operation.amount,
            counterparty: counterparty(other),
            balance,
        };
        Ok(Some((leaf, placed)))
    };
    Ok([
        leg(debit, payer, payee, "payer")?,
        leg(credit, payee, payer, "payee")?,
    ])
}

fn opening(operation: &Operation, states: &[State]) -> Result<(), String> {
    let side = operation.payee.ok_or("kind=7 without a payee")?;
    located(side, states, "payee").map(drop)
}

fn ending(operation: &Operation, states: &[State]) -> Result<(), String> {
    let side = operation.payer.ok_or("kind=8 without a payer")?;
    let (leaf, balance) = located(side, states, "payer")?;
    let state = usize::try_from(leaf).ok().and_then(|at| states.get(at));
    match state {
        Some(state) if state.ack_version == 0 && balance.is_zero() => Ok(()),
        _ => Err(format!(
            "kind=8 payer_balance={balance}, not the first state of an epoch"
        )),
    }
}

/// The state that a side names, which must be of its channel and version; and the balance.
fn located(side: Side, states: &[State], name: &str) -> Result<(u32, Amount), String> {
    let leaf = side.leaf.ok_or_else(|| format!("no {name}_leaf"))?;
    let state = usize::try_from(leaf).ok().and_then(|at| states.get(at));
    let state = state.ok_or_else(|| format!("{name}_leaf={leaf}"))?;
    if side.channel != Some(state.channel_id) {
        return Err(format!(
            "{name}_leaf={leaf}, which is a state of channel {}",
            state.channel_id
        ));
    }
    match (side.version, side.balance) {
        (Some(version), Some(balance)) if version == state.version => Ok((leaf, balance)),
        (version, balance) => Err(format!(
            "{name}_version={version:?} {name}_balance={balance:?}, the state is version {}",
            state.version
        )),
    }
}

/// Whether these operations, in the order of their ids, are those of the state, with the balances
/// that they led to. Brings them into the order in which they were applied.
fn matches(state: &State, legs: &mut [Placed]) -> bool {
    let root = |legs: &[Placed]| transfers_root(legs.iter().map(Placed::hash).collect());
    let ended = |legs: &[Placed]| {
        legs.last()
            .is_none_or(|leg| leg.balance == state.user_balance)
    };
    let chained = |legs: &[Placed]| {
        let mut pairs = legs.windows(2);
        pairs.all(|pair| pair[1].before() == Some(pair[0].balance))
    };
    if root(legs) == state.transfers_root {
        return ended(legs) && chained(legs);
    }
    // Ids are made before the order is decided; the balances show it, unless two operations
    // could change places, and then their sum is all that can be said.
    match chain(state.user_balance, legs) {
        Order::Broken => false,
        Order::Ambiguous => true,
        Order::Only(order) => {
            legs.copy_from_slice(&order);
            root(legs) == state.transfers_root
        }
    }
}

/// The order that balances give.
enum Order {
    /// None: an operation is missing, or not what was applied.
    Broken,
    /// Several.
    Ambiguous,
    /// One.
    Only(Vec<Placed>),
}

/// Walks back from the balance that the state has.
fn chain(end: Amount, legs: &[Placed]) -> Order {
    if legs.is_empty() {
        return Order::Broken;
    }
    let mut by_balance: HashMap<Amount, Vec<Placed>> = HashMap::new();
    for leg in legs {
        by_balance.entry(leg.balance).or_default().push(*leg);
    }
    if by_balance.values().any(|same| same.len() > 1) {
        // Balances repeat: whether they can be chained at all is a question of counts.
        return if is_closed(end, legs) {
            Order::Ambiguous
        } else {
            Order::Broken
        };
    }
    let mut order = Vec::with_capacity(legs.len());
    let mut at = Some(end);
    while let Some(leg) = at.and_then(|balance| by_balance.remove(&balance)?.pop()) {
        at = leg.before();
        order.push(leg);
    }
    if order.len() < legs.len() {
        return Order::Broken;
    }
    order.reverse();
    Order::Only(order)
}

/// Each balance before is another's balance after, but for one start and the given end.
fn is_closed(end: Amount, legs: &[Placed]) -> bool {
    let mut surplus: HashMap<Amount, i64> = HashMap::new();
    for leg in legs {
        *surplus.entry(leg.balance).or_default() += 1;
        let Some(before) = leg.before() else {
            return false;
        };
        *surplus.entry(before).or_default() -= 1;
    }
    surplus.retain(|_, count| *count != 0);
    let ends = legs.iter().any(|leg| leg.balance == end);
    let starts: i64 = surplus.values().filter(|count| **count < 0).sum();
    ends && (surplus.is_empty() || (starts == -1 && surplus.get(&end) == Some(&1)))
}

/// Names what is wrong: the one operation, or the state that its operations don't lead to.
fn name(batch: Uuid, leaf: u32, state: &State, legs: &[Placed], findings: &mut Findings) {
    let expected = format!(
        "operations that lead to user_balance={} with transfers_root={}",
        state.user_balance, state.transfers_root
    );
    let place = || Row::account("operations", format!("{batch}/{leaf}"));
    match legs {
        [] => {
            let class = (CheckId::R4, Class::MissingInternal);
            findings.found(class, place(), expected, "none");
        }
        [leg] => {
            let row = Row::account("operations", leg.operation);
            let found = format!(
                "kind={:?} amount={} balance={} counterparty={}",
                leg.kind, leg.amount, leg.balance, leg.counterparty
            );
            findings.found((CheckId::R4, Class::Tamper), row, expected, found);
        }
        legs => {
            let shown: Vec<_> = legs
                .iter()
                .take(8)
                .map(|leg| leg.operation.to_string())
                .collect();
            let found = format!("{} operations: {}", legs.len(), shown.join(" "));
            findings.found((CheckId::R4, Class::Tamper), place(), expected, found);
        }
    }
}
