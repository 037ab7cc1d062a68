//! One batch: its root and signatures, the heads that name it, the operations of its states.

use super::ledger::{self, Accounts, Changes};
use super::{Hubs, legs};
use crate::findings::{Findings, Row};
use crate::report::{CheckId, Class};
use crate::store::batches::{self, Batch, Committed, HeadRef};
use crate::store::heads::Head;
use crate::store::operations::Operation;
use hub_client::Terms;
use hub_core::{
    Amount, ChannelId, Hash32, Signature, State, StateBatch, Typed as _, encoding, merkle,
    signature,
};
use sqlx::postgres::PgRow;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// Head rows that are not the state they say they are.
type Damaged = Arc<HashMap<ChannelId, Head>>;

/// A batch after its check.
pub(super) struct Checked {
    pub hub_id: Uuid,
    pub batch_id: u64,
    pub id: Option<Uuid>,
    /// Whether a break names it.
    pub named: bool,
    /// The root that counts: the signed one, or that of a burned batch.
    pub root: Option<Hash32>,
    /// What it says about the batch before, when it is sound.
    pub prev_root: Option<Hash32>,
    pub findings: Findings,
    pub user_total: Amount,
    /// Damaged heads that it has named, with what the user has by the signed state.
    pub heads: Vec<(ChannelId, Amount)>,
    /// Channels with operations that were not signed.
    pub operations: Vec<ChannelId>,
}

impl Checked {
    /// Before anything is compared.
    pub fn of(batch: &Batch) -> Self {
        Self {
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
        }
    }
}

/// What the work on one batch needs.
#[derive(Clone)]
pub(super) struct Known {
    pub hubs: Hubs,
    pub damaged: Damaged,
    pub accounts: Arc<Accounts>,
    pub trace: bool,
}

pub(super) fn row_of(hub_id: Uuid, batch_id: u64, id: Option<Uuid>) -> Row {
    let key = id.map_or_else(|| format!("{hub_id}/{batch_id}"), |id| id.to_string());
    Row::account("batches", key)
}

/// Compares a batch with what names it.
pub(super) fn check_row(
    row: &PgRow,
    heads: &[HeadRef],
    operations: &[Operation],
    known: &Known,
) -> sqlx::Result<(Checked, Changes)> {
    let (operations, changes) = ledger::take_apart(operations, &known.accounts);
    let batch = batches::batch_of(row)?;
    let mut checked = Checked::of(&batch);
    if let Some(committed) = &batch.committed {
        let (hubs, damaged) = (&known.hubs, &known.damaged);
        let named = Named {
            id: committed.id,
            heads,
        };
        let Some(stored) = &committed.states else {
            check_kept(&batch, committed, hubs, (named, damaged), &mut checked);
            return Ok((checked, changes));
        };
        let states = encoding::decode_states(stored).unwrap_or_default();
        let hashes: Vec<_> = states.iter().map(State::hash_struct).collect();
        let sound = check_signed(&batch, committed, hubs, &states, &hashes, &mut checked);
        let states = (states.as_slice(), hashes.as_slice());
        check_heads(named, |_| sound, states, damaged, &mut checked);
        let (states, _) = states;
        if sound && known.trace && committed.whole {
            let findings = &mut checked.findings;
            checked.operations = legs::check(committed.id, &operations, states, findings);
        }
    }
    Ok((checked, changes))
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
    let made = merkle::root(hashes.to_vec());
    let sorted = states
        .windows(2)
        .all(|pair| pair[0].channel_id < pair[1].channel_id);
    let depth = made.map(|_| merkle::depth_of(hashes.len()));
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
    (named, damaged): (Named<'_>, &Damaged),
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
    let missing = |head: &&HeadRef| !edited && !here(head.channel);
    for head in named.heads.iter().filter(missing) {
        let class = (CheckId::R3, Class::MissingInternal);
        let row = Row::account("kept_leaves", committed.id);
        let expected = format!("the newest state of channel {}", head.channel);
        checked.findings.found(class, row, expected, "none");
    }
    check_heads(named, here, (&states, &hashes), damaged, checked);
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

/// A batch and the heads that name it.
#[derive(Clone, Copy)]
struct Named<'a> {
    id: Uuid,
    heads: &'a [HeadRef],
}

/// Each head that names this batch is the state that the batch has of its channel, as far as its
/// states of these channels are sound.
fn check_heads(
    batch: Named<'_>,
    sound: impl Fn(ChannelId) -> bool,
    (states, hashes): (&[State], &[Hash32]),
    damaged: &Damaged,
    checked: &mut Checked,
) {
    let mut total = Amount::ZERO;
    for head in batch.heads {
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
        head_break(batch.id, head, row, signed, &mut checked.findings);
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
