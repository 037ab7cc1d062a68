//! What became of the hub's batches: handing it over, finding out, and the restart protocol.

use super::lane::Lane;
use super::{import, limits};
use crate::store::batches::{self, StoredFate};
use crate::store::hubs_write;
use hub_client::{BatchMark, Fate, FatesRequest, FundingMode, Hello, HubError, JournalEntry};
use hub_core::{ChannelId, Hash32};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Journal entries read at once.
const JOURNAL_PAGE: u32 = 1_000;
/// Fates of an earlier run that are read at once; more come with the next scan.
const UNHANDED_PAGE: i64 = 4_096;
/// Batches compared below the newest one: minutes of work, more than a failover can lose.
const LOOK_BACK: u64 = 10_000;
/// Pages of lost batches whose channels are named, and channels named: enough to begin with.
const LOST_PAGES: usize = 64;
const LOST_NAMED: usize = 20;
/// How often the hub's journal is compared with ours.
const SCAN_INTERVAL: Duration = Duration::from_secs(2);

/// Why a hub can't be worked with just now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FateError {
    /// The hub.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The database.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Another hub answers where this one was.
    #[error("the hub has other keys, another contract or another funding mode than before")]
    OtherHub,
    /// The hub restarts faster than it can be greeted.
    #[error("the hub's session changed three times in a row")]
    Restless,
}

fn fate_of(batch_id: u64, stored: StoredFate) -> Fate {
    match stored {
        StoredFate::Committed(user_signature) => Fate::Committed {
            batch_id,
            user_signature,
        },
        StoredFate::Burned => Fate::Burned { batch_id },
    }
}

/// Decides an open fate by the primary key: burned, unless it was committed.
pub(crate) async fn resolve(lane: &Lane, batch_id: u64, root: Hash32) -> sqlx::Result<Fate> {
    let (hub_id, now) = (lane.terms.hub_id, runtime::clock::now());
    let stored = batches::burn_or_read(&lane.pool, hub_id, batch_id, root, now).await?;
    Ok(fate_of(batch_id, stored))
}

/// Reads the fates of these batches for the next request; whether all of them have one.
pub(crate) async fn load(lane: &Lane, wanted: &[u64]) -> sqlx::Result<bool> {
    let found = batches::read(&lane.pool, lane.terms.hub_id, wanted).await?;
    let complete = found.len() == wanted.len();
    lane.add_fates(found.into_iter().map(|(id, stored)| fate_of(id, stored)));
    Ok(complete)
}

/// Raises the fence for every replica and for restarts to come; only an operator takes it back.
pub(crate) async fn fence(lane: &Lane, why: String) {
    let stored = hubs_write::fence(&lane.pool, lane.terms.hub_id, &why).await;
    if let Err(error) = &stored {
        // The next comparison with the database tries again.
        tracing::error!(%error, "the fence is not stored");
    }
    lane.raise_fence(why, stored.is_ok());
}

/// One replica's fence is everybody's, and so is an operator's leave to go on: then the hub's
/// journal is compared again first, which raises the fence anew where nothing was mended.
pub(crate) async fn read_fence(lane: &Lane) -> Result<(), FateError> {
    let hub_id = lane.terms.hub_id;
    match (
        hubs_write::read_fence(&lane.pool, hub_id).await?,
        lane.fence(),
    ) {
        (Some(why), _) => lane.raise_fence(why, true),
        (None, None) => {}
        (None, Some(fence)) if !fence.stored => {
            hubs_write::fence(&lane.pool, hub_id, &fence.why).await?;
            lane.raise_fence(fence.why, true);
        }
        (None, Some(_)) => {
            hello(lane).await?;
            if hubs_write::read_fence(&lane.pool, hub_id).await?.is_none() {
                lane.lower_fence();
            }
        }
    }
    Ok(())
}

/// Notes that the hub has these fates now.
pub(crate) fn handed(lane: &Lane, fates: &[Fate]) {
    lane.forget_fates(fates);
    lane.add_handed(fates.iter().map(Fate::batch_id));
}

/// Introduces this replica to the hub's session (N5). The mark is read after the session is
/// known, so that nothing committed in between is missing from it.
pub(crate) async fn hello(lane: &Lane) -> Result<(), FateError> {
    for _ in 0..3 {
        let first = greet(lane).await?;
        let second = greet(lane).await?;
        if first.session == second.session {
            check_not_behind(lane, second.newest.batch_id).await?;
            lane.set_caps(second.caps);
            lane.set_import_above(second.import_above);
            if second.session != lane.session() {
                read_terms(lane).await?;
            }
            lane.begin_session(second.session, second.low_water);
            return Ok(());
        }
    }
    Err(FateError::Restless)
}

/// Whether this still is the database that this process knows, also when nobody moves money: after
/// a failover it may lack what was acknowledged. Where the hub was set back with it, only this
/// process knows.
async fn check_database(lane: &Lane) -> Result<(), FateError> {
    if let Some(mark) = lane.committed_mark() {
        let root = batches::root(&lane.pool, lane.terms.hub_id, mark.batch_id).await?;
        if root != Some(mark.root) {
            let why = format!(
                "batch {} was committed and answered by this process, and is not in this database \
                 any more: it was set back; restore a newer backup, or import the states",
                mark.batch_id
            );
            fence(lane, why).await;
        }
    }
    let incarnation = batches::incarnation(&lane.pool).await?;
    if incarnation != lane.incarnation() {
        tracing::info!(?incarnation, "comparing this database with the hub");
        hello(lane).await?;
        lane.set_incarnation(incarnation);
    }
    Ok(())
}

/// What channels are opened with may change whenever the hub restarts.
async fn read_terms(lane: &Lane) -> Result<(), FateError> {
    let terms = lane.client.terms().await?;
    if !lane.terms.same_identity(&terms) {
        return Err(FateError::OtherHub);
    }
    if terms != *lane.opening_terms() {
        hubs_write::upsert(&lane.pool, &terms, runtime::clock::now()).await?;
        lane.set_opening_terms(terms);
    }
    Ok(())
}

async fn greet(lane: &Lane) -> Result<hub_client::Welcome, FateError> {
    let (batch_id, root) = batches::newest(&lane.pool, lane.terms.hub_id).await?;
    let newest = BatchMark { batch_id, root };
    Ok(lane.client.hello(&Hello { newest }).await?)
}

/// A batch that the hub holds with our signature and that is not here was acknowledged and is
/// lost: only an operator can go on.
async fn check_not_behind(lane: &Lane, hub_newest: u64) -> Result<(), FateError> {
    let (newest, _) = batches::newest(&lane.pool, lane.terms.hub_id).await?;
    // Newer batches may lie above a hole.
    let mut after = newest.saturating_sub(LOOK_BACK);
    let mut lost = BTreeSet::new();
    while after < hub_newest {
        let page = lane.client.journal(after, JOURNAL_PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.batch_id;
        let committed = page
            .iter()
            .filter(|entry| matches!(entry.fate, Some(Fate::Committed { .. })));
        let ids: Vec<_> = committed.map(|entry| entry.batch_id).collect();
        let here = batches::read(&lane.pool, lane.terms.hub_id, &ids).await?;
        let here: HashSet<_> = here.into_iter().map(|(id, _)| id).collect();
        lost.extend(ids.into_iter().filter(|id| !here.contains(id)));
    }
    if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
        // Without the names the fence is as needed.
        let channels = channels_of(lane, &lost).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the channels of lost batches can't be named");
            BTreeSet::new()
        });
        let why = format!(
            "the hub holds our signature on {} batches ({first} to {last}) that this database \
             doesn't have; restore a newer backup, or import the states. Channels: {}",
            lost.len(),
            named(&channels)
        );
        fence(lane, why).await;
    }
    Ok(())
}

/// The channels in these batches, as the hub has them, of the first few pages.
async fn channels_of(lane: &Lane, lost: &BTreeSet<u64>) -> Result<BTreeSet<ChannelId>, FateError> {
    let mut channels = BTreeSet::new();
    let mut after = lost.first().map_or(0, |first| first - 1);
    for _ in 0..LOST_PAGES {
        let page = lane.client.attestations(lane.terms.hub, after).await?;
        after = page.last;
        for batch in page.batches.iter().filter(|b| lost.contains(&b.batch_id)) {
            let states = batch.states();
            let states = states.map_err(|error| HubError::Unknown(error.to_string()))?;
            channels.extend(states.iter().map(|state| state.channel_id));
        }
        if !page.more {
            break;
        }
    }
    Ok(channels)
}

fn named(channels: &BTreeSet<ChannelId>) -> String {
    let names: Vec<_> = channels
        .iter()
        .take(LOST_NAMED)
        .map(ChannelId::to_string)
        .collect();
    match channels.len().saturating_sub(LOST_NAMED) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// Hands fates over, soon after they are known and again until the hub has them; compares the
/// hub's journal with ours. Runs until the lane drains.
pub(crate) async fn run(lane: Arc<Lane>) {
    let mut unresolved = HashMap::new();
    let mut next_scan = Instant::now();
    while !lane.draining.load(Ordering::Relaxed) {
        let _ = tokio::time::timeout(SCAN_INTERVAL, lane.fates_ready.notified()).await;
        tokio::time::sleep(limits::FATES_DELAY).await;
        if let Err(error) = flush(&lane, Instant::now()).await {
            tracing::warn!(%error, "fates not handed over yet");
        }
        if Instant::now() >= next_scan {
            next_scan = Instant::now() + SCAN_INTERVAL;
            if let Err(error) = mark_handed(&lane).await {
                tracing::warn!(%error, "not noted yet which fates the hub has");
            }
            if let Err(error) = scan(&lane, &mut unresolved).await {
                tracing::warn!(%error, "the hub's journal was not compared");
            }
        }
    }
    let all = Instant::now() + limits::FATES_RESENT;
    let done = flush(&lane, all).await;
    if let Err(error) = done.and(mark_handed(&lane).await) {
        tracing::warn!(%error, "fates are handed over after the next start");
    }
}

/// Fates of earlier runs that the hub may not have.
pub(crate) async fn load_unhanded(lane: &Lane) -> sqlx::Result<()> {
    let rows = batches::unhanded(&lane.pool, lane.terms.hub_id, UNHANDED_PAGE).await?;
    lane.add_fates(rows.into_iter().map(|(id, stored)| fate_of(id, stored)));
    Ok(())
}

/// Asks the hub for its headroom where somebody waits for it or nobody knows it.
pub(crate) async fn refresh_headroom(lane: &Lane, wanted: bool) -> Result<(), FateError> {
    let vault = lane.terms.mode == FundingMode::Vault;
    if vault && (wanted || lane.headroom().is_none()) {
        let request = FatesRequest { fates: Vec::new() };
        lane.set_headroom(lane.client.fates(&request).await?.headroom);
    }
    Ok(())
}

/// Hands over what no request has carried by `now`. While batches follow each other there is
/// nothing: each takes along the fates of those before it.
async fn flush(lane: &Lane, now: Instant) -> Result<(), FateError> {
    loop {
        let fates = lane.due_fates(limits::FATES_PER_REQUEST, now);
        if fates.is_empty() {
            return Ok(());
        }
        let request = FatesRequest {
            fates: fates.clone(),
        };
        let marks = lane.client.fates(&request).await?;
        lane.set_headroom(marks.headroom);
        lane.raise_low_water(marks.session, marks.low_water);
        handed(lane, &fates);
    }
}

/// Notes in the database what the hub has; what is not noted is told once more after a start.
async fn mark_handed(lane: &Lane) -> Result<(), FateError> {
    let done = lane.take_handed();
    if done.is_empty() {
        return Ok(());
    }
    let marked = batches::mark_handed(&lane.pool, lane.terms.hub_id, &done).await;
    if marked.is_err() {
        // For the next time: a batch without its mark keeps its week of states.
        lane.add_handed(done);
    }
    Ok(marked?)
}

/// Looks for batches the hub signed and never heard of again: their fate is here, or they are
/// burned once no transaction can commit them any more.
async fn scan(
    lane: &Lane,
    unresolved: &mut HashMap<u64, (Instant, Hash32)>,
) -> Result<(), FateError> {
    read_fence(lane).await?;
    check_database(lane).await?;
    let marks = lane
        .client
        .fates(&FatesRequest { fates: Vec::new() })
        .await?;
    // A hub that was restarted, and maybe restored, is met here even when nobody moves money.
    if marks.session != lane.session() {
        hello(lane).await?;
    }
    let page = lane.client.journal(lane.low_water(), JOURNAL_PAGE).await?;
    let open: Vec<&JournalEntry> = page.iter().filter(|entry| entry.fate.is_none()).collect();
    let open_count = open.len();
    let ids: Vec<_> = open.iter().map(|entry| entry.batch_id).collect();
    let known = batches::read(&lane.pool, lane.terms.hub_id, &ids).await?;
    let known: HashMap<_, _> = known.into_iter().collect();
    unresolved.retain(|id, _| ids.contains(id) && !known.contains_key(id));
    for entry in open {
        if let Some(stored) = known.get(&entry.batch_id) {
            lane.add_fates([fate_of(entry.batch_id, *stored)]);
            continue;
        }
        let (seen, root) = *unresolved
            .entry(entry.batch_id)
            .or_insert_with(|| (Instant::now(), entry.root));
        if seen.elapsed() > limits::TRANSACTION_LIMIT {
            let fate = resolve(lane, entry.batch_id, root).await?;
            if matches!(fate, Fate::Burned { .. }) {
                lane.metrics.burned.inc();
            }
            lane.add_fates([fate]);
        }
    }
    if lane.import_above().is_some() && open_count == 0 {
        import::give_back(lane).await?;
    }
    Ok(())
}
