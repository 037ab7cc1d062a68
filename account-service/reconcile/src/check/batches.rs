//! R3, the rest of R2 and, where operations are traced, the better part of R4: goes over all
//! batches once.

use super::{Context, Hubs, legs};
use crate::findings::{Findings, Row};
use crate::report::{CheckId, Class};
use crate::run::Error;
use crate::store::batches::{self, Batch, Committed, HeadRef};
use crate::store::heads::Head;
use futures_util::{StreamExt as _, TryStreamExt as _};
use hub_client::Terms;
use hub_core::merkle::{self, Tree};
use hub_core::{
    Amount, ChannelId, Hash32, Signature, State, StateBatch, Typed as _, encoding, signature,
};
use sqlx::postgres::PgRow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// Batches under way: one is at most a megabyte of states and as much of operations.
const AHEAD: usize = 8;

/// What users have by the signed states, by hub, in minor units.
pub type SignedTotals = HashMap<Uuid, Amount>;

type Damaged = Arc<HashMap<ChannelId, Head>>;

/// A batch after its check.
struct Checked {
    hub_id: Uuid,
    batch_id: u64,
    id: Option<Uuid>,
    /// Whether a break names it.
    named: bool,
    /// The root that counts: the signed one, or that of a burned batch.
    root: Option<Hash32>,
    /// What it says about the batch before, when it is sound.
    prev_root: Option<Hash32>,
    findings: Findings,
    user_total: Amount,
    /// Damaged heads that it has named, with what the user has by the signed state.
    heads: Vec<(ChannelId, Amount)>,
    /// Channels with operations that were not signed.
    operations: Vec<ChannelId>,
}

/// Goes over all batches; says what users have by the signed states.
pub async fn run(context: &mut Context) -> Result<SignedTotals, Error> {
    let max = context.options.max_breaks;
    let trace = context.options.trace_operations;
    let (damaged, hubs) = (context.named.heads.clone(), context.hubs.clone());
    let mut totals = SignedTotals::new();
    let mut named: HashSet<ChannelId> = HashSet::new();
    let mut previous: Option<(Uuid, u64, Option<Hash32>)> = None;
    batches::join_by_hash(&mut context.tx, true).await?;
    {
        let (findings, context_named) = (&mut context.findings, &mut context.named);
        let mut checked = batches::all(&mut context.tx, trace)
            .map_err(Error::from)
            .map(|row| {
                let (hubs, damaged) = (hubs.clone(), damaged.clone());
                async move {
                    let row = row?;
                    let work = move || check_row(&row, &hubs, &damaged, trace);
                    tokio::task::spawn_blocking(work).await.map_err(Error::from)
                }
            })
            .buffered(AHEAD);
        while let Some(result) = checked.next().await {
            let mut batch = result??;
            link(previous, &mut batch);
            if batch.named && context_named.batches.len() < max {
                let key = format!("{}/{}", batch.hub_id, batch.batch_id);
                context_named.batches.insert(key);
            }
            previous = Some((batch.hub_id, batch.batch_id, batch.root));
            findings.merge(batch.findings, max);
            let total = totals.entry(batch.hub_id).or_default();
            *total = total.checked_add(batch.user_total).unwrap_or(Amount::MAX);
            named.extend(batch.heads.iter().map(|(channel, _)| *channel));
            context_named.signed.extend(batch.heads);
            let room = max.saturating_sub(context_named.operations.len());
            let operations = batch.operations.into_iter().take(room);
            context_named.operations.extend(operations);
        }
    }
    batches::join_by_hash(&mut context.tx, false).await?;
    unsigned(context, &mut totals).await?;
    for (channel, head) in damaged.iter().filter(|(id, _)| !named.contains(*id)) {
        let row = Row::account("heads", channel);
        let expected = format!("columns that hash to {}", head.state_hash);
        let found = format!("columns that hash to {}", head.state.hash_struct());
        let class = (CheckId::R2, Class::Tamper);
        context.findings.found(class, row, expected, found);
    }
    Ok(totals)
}

/// What names a batch that was never committed, or a state that was not kept.
async fn unsigned(context: &mut Context, totals: &mut SignedTotals) -> Result<(), Error> {
    let all = [
        ("batches", batches::missing(&mut context.tx).await?),
        ("kept_leaves", batches::not_kept(&mut context.tx).await?),
    ];
    for (table, missing) in all {
        let mut findings = Findings::default();
        for one in missing {
            let class = (CheckId::R3, Class::MissingInternal);
            findings.found(class, Row::account(table, one.key), one.expected, one.found);
        }
        context.merge(findings);
    }
    for (hub_id, amount) in batches::unsigned_totals(&mut context.tx).await? {
        let total = totals.entry(hub_id).or_default();
        *total = total.checked_add(amount).unwrap_or(Amount::MAX);
    }
    Ok(())
}

/// The batch names the root of the one before, if that is here: burned ones are, open ones not.
fn link(previous: Option<(Uuid, u64, Option<Hash32>)>, batch: &mut Checked) {
    let Some((hub_id, batch_id, Some(root))) = previous else {
        return;
    };
    let follows = hub_id == batch.hub_id && batch_id + 1 == batch.batch_id;
    if let Some(prev_root) = batch.prev_root.filter(|prev| follows && *prev != root) {
        batch.named = true;
        batch.findings.found(
            (CheckId::R3, Class::StaleState),
            row_of(batch.hub_id, batch.batch_id, batch.id),
            format!("prev_root={root}"),
            format!("prev_root={prev_root}"),
        );
    }
}

fn row_of(hub_id: Uuid, batch_id: u64, id: Option<Uuid>) -> Row {
    let key = id.map_or_else(|| format!("{hub_id}/{batch_id}"), |id| id.to_string());
    Row::account("batches", key)
}

fn check_row(row: &PgRow, hubs: &Hubs, damaged: &Damaged, trace: bool) -> sqlx::Result<Checked> {
    let batch = batches::batch_of(row)?;
    let mut checked = Checked {
        hub_id: batch.hub_id,
        batch_id: batch.batch_id,
        id: batch.committed.as_ref().map(|committed| committed.id),
        named: false,
        root: batch.root,
        prev_root: None,
        findings: Findings::default(),
        user_total: Amount::ZERO,
        heads: Vec::new(),
        operations: Vec::new(),
    };
    if let Some(committed) = &batch.committed {
        let Some(stored) = &committed.states else {
            check_kept(&batch, committed, hubs, damaged, &mut checked);
            return Ok(checked);
        };
        let states = encoding::decode_states(stored).unwrap_or_default();
        let hashes: Vec<_> = states.iter().map(State::hash_struct).collect();
        let sound = check_signed(&batch, committed, hubs, &states, &hashes, &mut checked);
        let states = (states.as_slice(), hashes.as_slice());
        check_heads(committed, |_| sound, states, damaged, &mut checked);
        let (states, _) = states;
        if sound && trace && committed.whole {
            checked.operations = legs::check(committed, states, &mut checked.findings);
        }
    }
    Ok(checked)
}

/// Root, depth, order and signatures. Whether the states are what was signed.
fn check_signed(
    batch: &Batch,
    committed: &Committed,
    hubs: &Hubs,
    states: &[State],
    hashes: &[Hash32],
    checked: &mut Checked,
) -> bool {
    checked.findings.compared(CheckId::R3, 1);
    let row = row_of(batch.hub_id, batch.batch_id, Some(committed.id));
    let Some(terms) = hubs.get(&batch.hub_id) else {
        without_terms(batch, &mut checked.findings);
        return false;
    };
    let tree = Tree::new(hashes.to_vec());
    let made = tree.as_ref().map(Tree::root);
    let sorted = states
        .windows(2)
        .all(|pair| pair[0].channel_id < pair[1].channel_id);
    let depth = tree.as_ref().map(Tree::depth);
    let shown = |root: Option<Hash32>| root.map_or("none".to_owned(), |root| root.to_string());
    let signers = |root| signers(batch, committed, terms, (root, depth));
    if made.is_some() && sorted && made == batch.root && depth == committed.depth {
        checked.root = made;
        let found = signers(made);
        let expected = Signers::of(terms);
        if found == expected {
            checked.prev_root = committed.prev_root;
            return true;
        }
        checked.named = true;
        let class = (CheckId::R3, Class::SignatureInvalid);
        checked.findings.found(class, row, expected, found);
        // Which of its parts was changed can't be known; the states still have their root.
        return true;
    }
    checked.named = true;
    // The signatures say whether the states or the root beside them were changed.
    let tamper = (CheckId::R3, Class::Tamper);
    let states_signed = sorted && made.is_some() && signers(made) == Signers::of(terms);
    if states_signed {
        checked.root = made;
        let expected = format!("root={} depth={:?}", shown(made), depth.unwrap_or_default());
        let found = format!(
            "root={} depth={:?}",
            shown(batch.root),
            committed.depth.unwrap_or_default()
        );
        checked.findings.found(tamper, row, expected, found);
    } else {
        let expected = format!("states of root {}", shown(batch.root));
        let found = format!("{} states of root {}", states.len(), shown(made));
        let row = Row::account("batch_states", committed.id);
        checked.findings.found(tamper, row, expected, found);
    }
    states_signed
}

/// Both signatures of a batch without states: they still hold the chain of roots together.
fn check_erased(batch: &Batch, committed: &Committed, hubs: &Hubs, checked: &mut Checked) {
    checked.findings.compared(CheckId::R3, 1);
    let row = row_of(batch.hub_id, batch.batch_id, Some(committed.id));
    let Some(terms) = hubs.get(&batch.hub_id) else {
        return without_terms(batch, &mut checked.findings);
    };
    let (found, expected) = (
        signers(batch, committed, terms, (batch.root, committed.depth)),
        Signers::of(terms),
    );
    if found == expected {
        checked.prev_root = committed.prev_root;
    } else {
        checked.named = true;
        // Which of its parts was changed can't be known, so nothing follows for the next one.
        checked.root = None;
        let class = (CheckId::R3, Class::SignatureInvalid);
        checked.findings.found(class, row, expected, found);
    }
}

/// A batch whose week is gone: what was kept of it has the signed root.
fn check_kept(
    batch: &Batch,
    committed: &Committed,
    hubs: &Hubs,
    damaged: &Damaged,
    checked: &mut Checked,
) {
    check_erased(batch, committed, hubs, checked);
    let (mut kept, mut edited) = (Vec::new(), false);
    let signed = |made| {
        let terms = hubs.get(&batch.hub_id);
        terms.is_some_and(|terms| {
            signers(batch, committed, terms, (made, committed.depth)) == Signers::of(terms)
        })
    };
    for leaf in &committed.kept {
        checked.findings.compared(CheckId::R3, 1);
        let state = encoding::decode_state(&leaf.state).ok();
        let path: Option<Vec<_>> = leaf.path.chunks(32).map(Hash32::from_slice).collect();
        let hash = state.map(|state| state.hash_struct());
        let made = hash
            .zip(path)
            .and_then(|(hash, path)| merkle::root_of(hash, leaf.leaf, &path));
        // If the root itself was edited, and is named, the signatures still tell.
        let is_signed = made.is_some() && (made == batch.root || signed(made));
        match state.zip(hash).filter(|_| is_signed) {
            Some(state) => kept.push(state),
            None => {
                edited = true;
                let shown =
                    |root: Option<Hash32>| root.map_or("none".into(), |root| root.to_string());
                checked.findings.found(
                    (CheckId::R3, Class::Tamper),
                    leaf_row(committed.id, leaf.leaf),
                    format!("a state of root {}", shown(batch.root)),
                    format!("one of root {}", shown(made)),
                );
            }
        }
    }
    kept.sort_unstable_by_key(|(state, _)| state.channel_id);
    let (states, hashes): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
    let here = |channel: ChannelId| {
        let at = states.binary_search_by_key(&channel, |state| state.channel_id);
        at.is_ok()
    };
    // Whose an edited one was can't be known.
    for head in committed
        .heads
        .iter()
        .filter(|head| !edited && !here(head.channel))
    {
        let class = (CheckId::R3, Class::MissingInternal);
        let row = Row::account("kept_leaves", committed.id);
        let expected = format!("the newest state of channel {}", head.channel);
        checked.findings.found(class, row, expected, "none");
    }
    check_heads(committed, here, (&states, &hashes), damaged, checked);
}

fn leaf_row(batch: Uuid, leaf: u32) -> Row {
    Row::account("kept_leaves", format!("{batch}/{leaf}"))
}

fn without_terms(batch: &Batch, findings: &mut Findings) {
    let class = (CheckId::R3, Class::MissingInternal);
    let row = Row::account("hubs", batch.hub_id);
    let expected = format!("terms, for batch {}", batch.batch_id);
    findings.found(class, row, expected, "none");
}

/// Who signed.
#[derive(PartialEq, Eq)]
struct Signers {
    hub: Option<hub_core::Address>,
    custody: Option<hub_core::Address>,
}

impl Signers {
    fn of(terms: &Terms) -> Self {
        Self {
            hub: Some(terms.hub_signer),
            custody: Some(terms.custody_signer),
        }
    }
}

impl std::fmt::Display for Signers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown =
            |who: Option<hub_core::Address>| who.map_or("nobody".to_owned(), |who| who.to_string());
        write!(
            f,
            "hub_signature by {}, user_signature by {}",
            shown(self.hub),
            shown(self.custody)
        )
    }
}

fn signers(
    batch: &Batch,
    committed: &Committed,
    terms: &Terms,
    (root, depth): (Option<Hash32>, Option<u8>),
) -> Signers {
    let message = StateBatch {
        root: root.unwrap_or_default(),
        depth: depth.unwrap_or_default(),
        batch_id: batch.batch_id,
        prev_root: committed.prev_root.unwrap_or_default(),
        hub: terms.hub,
    };
    let digest = terms.domain.digest(&message);
    let by = |signature: Option<Signature>| signature::recover(digest, &signature?).ok();
    Signers {
        hub: by(committed.hub_signature),
        custody: by(committed.user_signature),
    }
}

/// Each head that names this batch is the state that the batch has of its channel, as far as its
/// states of these channels are sound.
fn check_heads(
    committed: &Committed,
    sound: impl Fn(ChannelId) -> bool,
    (states, hashes): (&[State], &[Hash32]),
    damaged: &Damaged,
    checked: &mut Checked,
) {
    let mut total = Amount::ZERO;
    for head in &committed.heads {
        let at = states.binary_search_by_key(&head.channel, |state| state.channel_id);
        let sound = sound(head.channel);
        let signed = at
            .ok()
            .filter(|_| sound)
            .map(|at| (&states[at], hashes[at]));
        let amount = signed.map_or(head.user_total, |(state, _)| user_total(state));
        total = total.checked_add(amount).unwrap_or(Amount::MAX);
        if !sound {
            continue;
        }
        let row = damaged.get(&head.channel);
        if row.is_none() && signed.is_some_and(|(_, hash)| hash == head.state_hash) {
            continue;
        }
        checked.heads.push((head.channel, amount));
        head_break(committed.id, head, row, signed, &mut checked.findings);
    }
    checked.user_total = total;
}

fn head_break(
    batch: Uuid,
    head: &HeadRef,
    row: Option<&Head>,
    signed: Option<(&State, Hash32)>,
    findings: &mut Findings,
) {
    let place = Row::account("heads", head.channel);
    let (Some((state, hash)), Some(row)) = (signed, row) else {
        let class = (CheckId::R2, Class::StaleState);
        let expected = match signed {
            Some((state, hash)) => format!(
                "state_hash={hash} version={} user_balance={}",
                state.version, state.user_balance
            ),
            None => format!("a state of batch {batch}"),
        };
        let found = format!("state_hash={}", head.state_hash);
        return findings.found(class, place, expected, found);
    };
    let difference = Difference::of(state, hash, row);
    findings.found(
        (CheckId::R2, difference.class),
        place,
        difference.expected,
        difference.found,
    );
}

fn user_total(state: &State) -> Amount {
    state
        .user_balance
        .checked_add(state.user_locked)
        .unwrap_or(Amount::MAX)
}

/// The columns in which a head row differs from the signed state.
pub(super) struct Difference {
    pub class: Class,
    pub expected: String,
    pub found: String,
}

impl Difference {
    pub fn of(signed: &State, hash: Hash32, row: &Head) -> Self {
        let columns = |state: &State, hash: Hash32| {
            [
                ("epoch", state.epoch.to_string()),
                ("version", state.version.to_string()),
                ("ack_version", state.ack_version.to_string()),
                ("locks_hash", state.locks_hash.to_string()),
                ("transfers_root", state.transfers_root.to_string()),
                ("state_hash", hash.to_string()),
                ("hub_balance", state.hub_balance.to_string()),
                ("user_balance", state.user_balance.to_string()),
                ("hub_locked", state.hub_locked.to_string()),
                ("user_locked", state.user_locked.to_string()),
                ("withdrawn", state.withdrawn.to_string()),
                ("deposited", state.deposited.to_string()),
                ("credited", state.credited.to_string()),
            ]
        };
        let pairs = columns(signed, hash)
            .into_iter()
            .zip(columns(&row.state, row.state_hash));
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        let mut class = Class::AmountMismatch;
        for ((name, should), (_, is)) in pairs {
            if should != is {
                class = match name {
                    "epoch" | "version" => Class::StaleState,
                    "ack_version" | "locks_hash" | "transfers_root" | "state_hash" => Class::Tamper,
                    _ => class,
                };
                expected.push(format!("{name}={should}"));
                found.push(format!("{name}={is}"));
            }
        }
        Self {
            class,
            expected: expected.join(" "),
            found: found.join(" "),
        }
    }
}
