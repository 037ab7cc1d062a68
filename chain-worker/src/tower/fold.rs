//! From batches as they were copied to a copy for each channel.
//!
//! Invariant: the newest co-signed state of a channel and epoch that was ever copied is in
//! `chain.copies` or in a batch of `chain.copied_batches`. Batches are folded when there are many
//! more states in them than there are channels: then most of those states are out of date, and one
//! row stands for all that a channel went through. A channel with a close is looked for in them at
//! once, before anything is decided about it.

use super::copy::{Copy, Opened};
use crate::error::StepError;
use crate::store::disputes::Open;
use crate::store::{copied, copies};
use crate::worker::{Lead, Worker};
use chain_messages::tower::AttestedBatch;
use futures_util::TryStreamExt as _;
use hub_core::{Address, ChannelId, Epoch};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

/// States that are worth folding at all: some 14 MB.
const FEW: u64 = 65_536;
/// States for each channel that are kept before they are folded: of so many all but one are out of
/// date then, and folding costs next to nothing for each.
const FOR_EACH_CHANNEL: u64 = 32;
/// That is less where there are very many channels, to bound what is kept: a gigabyte, or 860 bytes
/// for each channel.
const MANY: u64 = 5_000_000;
const AT_LEAST: u64 = 4;
/// How often the channels are counted.
const COUNT_EVERY: Duration = Duration::from_secs(60);
/// Rows of one statement.
const ROWS: usize = 1_000;

/// What was looked through for closes, by hub.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Searched {
    wanted: HashSet<(ChannelId, Epoch)>,
    kept: u64,
}

/// How much of a hub is copied. Counting is not cheap, so it is kept up to date.
#[derive(Debug, Default)]
pub struct Held {
    /// States that are not folded; not known at first.
    states: Option<u64>,
    /// Channels there are copies of, and when they were counted.
    channels: Option<(u64, Instant)>,
}

impl Held {
    /// So many states more were copied.
    pub fn add(&mut self, states: u64) {
        self.states = self.states.map(|before| before + states);
    }
}

/// Folds a hub's batches when there is much of them. Returns how many channels there are copies
/// of.
///
/// # Errors
/// As the database fails.
pub async fn tend(
    worker: &Worker,
    hub: Address,
    lead: Lead,
    held: &mut Held,
) -> Result<u64, StepError> {
    let channels = match held.channels {
        Some((channels, at)) if at.elapsed() < COUNT_EVERY => channels,
        _ => {
            let channels = copies::count(&worker.pool, hub).await?;
            held.channels = Some((channels, Instant::now()));
            channels
        }
    };
    let states = match held.states {
        Some(states) => states,
        None => copied::count(&worker.pool, hub).await?,
    };
    held.states = Some(states);
    if is_due(states, channels) {
        held.states = None;
        fold(worker, hub, lead).await?;
    }
    Ok(channels)
}

/// Whether so many states of so many channels should be folded.
fn is_due(states: u64, channels: u64) -> bool {
    let wanted = channels.saturating_mul(FOR_EACH_CHANNEL).min(MANY);
    states > wanted.max(channels.saturating_mul(AT_LEAST)).max(FEW)
}

/// Folds all of a hub's batches. Only the task that copies from the hub calls it, so nothing comes
/// meanwhile. A crash in the middle leaves rows that the next fold finds again and leaves alone.
///
/// # Errors
/// As the database fails; no batch is forgotten then.
async fn fold(worker: &Worker, hub: Address, lead: Lead) -> Result<(), StepError> {
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    let mut newest = 0;
    let mut batches = copied::newest_first(&worker.pool, hub);
    while let Some((_, batch)) = batches.try_next().await? {
        newest = newest.max(batch.batch_id);
        // A hub signs the versions of a channel in the order of its batches: the first is newest.
        if let Some(opened) = open(&batch, |key| !seen.contains(&key)) {
            found.extend(opened.copies(|key| seen.insert(key)));
        }
        if found.len() >= ROWS {
            store(worker, lead, std::mem::take(&mut found)).await?;
        }
    }
    drop(batches);
    store(worker, lead, found).await?;
    let mut tx = worker.begin(lead).await?;
    copied::forget(&mut tx, hub, newest).await?;
    tx.commit().await?;
    tracing::debug!(%hub, channels = seen.len(), up_to = newest, "copied batches folded");
    Ok(())
}

/// Finds the newest states of channels with a close in what is not folded. What was looked through
/// for the same closes before is not looked through again.
///
/// # Errors
/// As the database fails.
pub async fn find(worker: &Worker, closes: &[Open], lead: Lead) -> Result<(), StepError> {
    let mut wanted: HashMap<Address, HashSet<(ChannelId, Epoch)>> = HashMap::new();
    for close in closes {
        let keys = wanted.entry(close.hub).or_default();
        keys.insert((close.channel, close.epoch));
    }
    for (hub, wanted) in wanted {
        let pulled = worker.tower.last_pull(hub);
        let mut searched = worker.tower.searched(hub);
        if searched.wanted != wanted {
            searched = Searched { wanted, kept: 0 };
        }
        let mut found = Vec::new();
        let mut batches = copied::since(&worker.pool, hub, searched.kept);
        while let Some((kept, batch)) = batches.try_next().await? {
            searched.kept = searched.kept.max(kept);
            let is_wanted = |key| searched.wanted.contains(&key);
            if let Some(opened) = open(&batch, is_wanted) {
                found.extend(opened.copies(is_wanted));
            }
        }
        drop(batches);
        store(worker, lead, found).await?;
        worker.tower.found(hub, searched, pulled);
    }
    Ok(())
}

/// A batch with any of the wanted states in it.
fn open(
    batch: &AttestedBatch,
    mut wanted: impl FnMut((ChannelId, Epoch)) -> bool,
) -> Option<Opened> {
    let states = batch.states().unwrap_or_default();
    let mut keys = states.iter().map(|state| (state.channel_id, state.epoch));
    if !states.is_empty() && !keys.any(&mut wanted) {
        return None;
    }
    match Opened::new(batch) {
        Ok(opened) => Some(opened),
        Err(error) => {
            // It was checked when it came, so somebody has edited it since. Others are as good as
            // they were.
            tracing::error!(%error, "a copied batch is damaged");
            None
        }
    }
}

/// The newest of each channel and epoch. Rows are written in one order, whoever writes them.
fn newest(found: Vec<Copy>) -> Vec<Copy> {
    let mut newest: BTreeMap<_, Copy> = BTreeMap::new();
    for copy in found {
        let key = (copy.state.channel_id, copy.state.epoch);
        match newest.get(&key) {
            Some(known) if known.state.version >= copy.state.version => {}
            _ => drop(newest.insert(key, copy)),
        }
    }
    newest.into_values().collect()
}

async fn store(worker: &Worker, lead: Lead, found: Vec<Copy>) -> Result<(), StepError> {
    for rows in newest(found).chunks(ROWS) {
        let mut tx = worker.begin(lead).await?;
        copies::store(&mut tx, rows).await?;
        tx.commit().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub_core::{Amount, Hash32, Signature, State};

    fn batch(id: u64, states: &[(u8, u32, u64)]) -> AttestedBatch {
        let states: Vec<_> = states
            .iter()
            .map(|(channel, epoch, version)| State {
                version: *version,
                ..State::null(ChannelId([*channel; 32]), *epoch, Amount::new(100))
            })
            .collect();
        AttestedBatch {
            batch_id: id,
            prev_root: Hash32::ZERO,
            hub_signature: Signature([0; 65]),
            user_signature: Signature([0; 65]),
            states: AttestedBatch::encode(&states),
        }
    }

    #[test]
    fn the_newest_version_of_each_channel_and_epoch_is_left_whatever_the_order() {
        let batches = [
            batch(1, &[(1, 0, 1), (2, 0, 1), (3, 0, 1)]),
            batch(2, &[(1, 0, 2), (3, 1, 1)]),
        ];
        let copies = |batches: &[&AttestedBatch]| -> Vec<_> {
            let opened = batches.iter().filter_map(|batch| open(batch, |_| true));
            let found = opened.flat_map(|opened| opened.copies(|_| true)).collect();
            let left = newest(found).into_iter().map(|copy| copy.state);
            left.map(|state| (state.channel_id.0[0], state.epoch, state.version))
                .collect()
        };
        let wanted = [(1, 0, 2), (2, 0, 1), (3, 0, 1), (3, 1, 1)];
        assert_eq!(copies(&[&batches[0], &batches[1]]), wanted);
        assert_eq!(copies(&[&batches[1], &batches[0]]), wanted);
    }

    #[test]
    fn a_damaged_batch_is_passed_over() {
        let mut damaged = batch(1, &[(1, 0, 1), (2, 0, 1)]);
        damaged.states.truncate(300);
        assert!(open(&damaged, |_| true).is_none());
        damaged.states.clear();
        assert!(open(&damaged, |_| true).is_none());
    }

    #[test]
    fn batches_are_folded_when_most_of_their_states_are_out_of_date() {
        assert!(!is_due(FEW, 10));
        assert!(is_due(FEW + 1, 10));
        assert!(!is_due(3_200_000, 100_000));
        assert!(is_due(3_200_001, 100_000));
        // A gigabyte is kept, and more only for more than a million channels.
        assert!(is_due(MANY + 1, 1_000_000));
        assert!(!is_due(8_000_000, 2_000_000));
        assert!(is_due(8_000_001, 2_000_000));
    }
}
