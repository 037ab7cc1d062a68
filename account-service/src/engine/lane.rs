//! One lane per hub: takes groups from the queue, keeps batches on disjoint channels apart,
//! and remembers the heads it committed.

use super::attempt::{self, Finished};
use super::job::Group;
use super::limits;
use super::metrics::EngineMetrics;
use super::open_fates::OpenFates;
use super::types::{Outcome, RetryReason};
use super::{ByChannel, Channels};
use crate::store::heads::Head;
use hub_client::{BatchMark, Fate, HubClient, IssueCaps, Terms};
use hub_core::{Amount, ChannelId, Version};
use signer::Signer;
use sqlx::PgPool;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use uuid::Uuid;

/// What all batches of a hub share.
pub(crate) struct Lane {
    pub terms: Terms,
    pub client: HubClient,
    /// Where the hub is.
    pub url: String,
    pub custody: Signer,
    pub pool: PgPool,
    pub metrics: EngineMetrics,
    pub batch_max: usize,
    /// Wakes whoever publishes the outbox.
    pub outbox: Arc<Notify>,
    /// Wakes whoever hands fates to the hub.
    pub fates_ready: Notify,
    /// Which versions were committed, for the cache of balances.
    pub committed: Option<mpsc::Sender<Vec<(ChannelId, Version)>>>,
    pub draining: AtomicBool,
    running: AtomicBool,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    session: Uuid,
    headroom: Option<Amount>,
    caps: Option<IssueCaps>,
    import_above: Option<u64>,
    opening: Option<Arc<Terms>>,
    fates: OpenFates,
    handed: Vec<u64>,
    low_water: u64,
    committed: Option<BatchMark>,
    incarnation: Option<String>,
    fence: Option<Fence>,
}

/// Why nothing is signed.
#[derive(Debug, Clone)]
pub(crate) struct Fence {
    pub why: String,
    /// Whether the database has it: then an operator can lift it there.
    pub stored: bool,
}

/// Parts of a lane that are set once.
pub(crate) struct LaneParts {
    pub terms: Terms,
    pub client: HubClient,
    pub url: String,
    pub custody: Signer,
    pub pool: PgPool,
    pub metrics: EngineMetrics,
    pub batch_max: usize,
    pub outbox: Arc<Notify>,
    pub committed: Option<mpsc::Sender<Vec<(ChannelId, Version)>>>,
}

impl Lane {
    pub fn new(parts: LaneParts) -> Self {
        Self {
            terms: parts.terms,
            client: parts.client,
            url: parts.url,
            custody: parts.custody,
            pool: parts.pool,
            metrics: parts.metrics,
            batch_max: parts.batch_max,
            outbox: parts.outbox,
            committed: parts.committed,
            fates_ready: Notify::new(),
            draining: AtomicBool::new(false),
            running: AtomicBool::new(true),
            shared: Mutex::default(),
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        // Nothing that holds the lock can panic half-way through a change.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn session(&self) -> Uuid {
        self.shared().session
    }

    /// Begins to work with a session of the hub. In another one its database may be an older one,
    /// and the mark is wherever that is.
    pub fn begin_session(&self, session: Uuid, low_water: u64) {
        let mut shared = self.shared();
        if shared.session != session {
            shared.session = session;
            shared.low_water = low_water;
        }
        shared.low_water = shared.low_water.max(low_water);
    }

    /// The newest batch that was committed by this process since a fence was lifted.
    pub fn committed_mark(&self) -> Option<BatchMark> {
        self.shared().committed
    }

    /// Remembers a batch whose commit was confirmed.
    pub fn note_committed(&self, mark: BatchMark) {
        let mut shared = self.shared();
        let newest = shared.committed.map_or(0, |newest| newest.batch_id);
        if mark.batch_id > newest {
            shared.committed = Some(mark);
        }
    }

    /// Which database was compared with the hub last.
    pub fn incarnation(&self) -> Option<String> {
        self.shared().incarnation.clone()
    }

    pub fn set_incarnation(&self, incarnation: Option<String>) {
        self.shared().incarnation = incarnation;
    }

    pub fn headroom(&self) -> Option<Amount> {
        self.shared().headroom
    }

    pub fn set_headroom(&self, headroom: Option<Amount>) {
        self.shared().headroom = headroom;
    }

    /// What the hub issues at most, as its session says.
    pub fn caps(&self) -> Option<IssueCaps> {
        self.shared().caps
    }

    pub fn set_caps(&self, caps: IssueCaps) {
        self.shared().caps = Some(caps);
    }

    /// Above which batch a restored hub lacks what is here, if it does.
    pub fn import_above(&self) -> Option<u64> {
        self.shared().import_above
    }

    pub fn set_import_above(&self, above: Option<u64>) {
        self.shared().import_above = above;
    }

    /// What channels are opened with now. Who signs what, where, is as in `terms` for ever.
    pub fn opening_terms(&self) -> Arc<Terms> {
        let opening = self.shared().opening.clone();
        opening.unwrap_or_else(|| Arc::new(self.terms.clone()))
    }

    pub fn set_opening_terms(&self, terms: Terms) {
        self.shared().opening = Some(Arc::new(terms));
    }

    /// Fates for a request that is sent anyway: the oldest that the hub has not confirmed.
    pub fn carry_fates(&self, limit: usize) -> Vec<Fate> {
        self.shared().fates.carry(limit, Instant::now())
    }

    /// Fates that have to go by themselves at `now`.
    pub fn due_fates(&self, limit: usize, now: Instant) -> Vec<Fate> {
        self.shared().fates.due(limit, now)
    }

    pub fn add_fates(&self, fates: impl IntoIterator<Item = Fate>) {
        self.shared().fates.add(fates, Instant::now());
        self.fates_ready.notify_one();
    }

    /// Drops fates that the hub has confirmed.
    pub fn forget_fates(&self, fates: &[Fate]) {
        self.shared().fates.confirm(fates);
    }

    /// Notes batches whose fates the hub has, for the next write of those marks.
    pub fn add_handed(&self, batches: impl IntoIterator<Item = u64>) {
        self.shared().handed.extend(batches);
    }

    pub fn take_handed(&self) -> Vec<u64> {
        std::mem::take(&mut self.shared().handed)
    }

    /// All batches up to this one have a fate at the hub.
    pub fn low_water(&self) -> u64 {
        self.shared().low_water
    }

    /// Takes in the mark of an answer; one of an earlier session says nothing of this one.
    pub fn raise_low_water(&self, session: Uuid, low_water: u64) {
        let mut shared = self.shared();
        if shared.session == session {
            shared.low_water = shared.low_water.max(low_water);
        }
    }

    /// Whether the lane still takes groups or has some under way.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// Stops everything that signs or moves money, until an operator has looked.
    pub fn raise_fence(&self, why: String, stored: bool) {
        let mut shared = self.shared();
        if let Some(fence) = &mut shared.fence {
            fence.stored |= stored;
            return;
        }
        tracing::error!(hub = %self.terms.hub_id, why, "restore fence raised");
        self.metrics.fenced.inc();
        shared.fence = Some(Fence { why, stored });
    }

    /// Goes on after an operator lifted the fence.
    pub fn lower_fence(&self) {
        let mut shared = self.shared();
        if shared.fence.take().is_some() {
            // The operator has dealt with what was lost.
            shared.committed = None;
            tracing::warn!(hub = %self.terms.hub_id, "restore fence lifted by an operator");
            self.metrics.fenced.dec();
        }
    }

    pub fn fence(&self) -> Option<Fence> {
        self.shared().fence.clone()
    }
}

/// What the lane remembers of channels between batches.
#[derive(Default)]
struct Memory {
    heads: ByChannel<Box<Head>>,
    floors: ByChannel<Version>,
    busy: Channels,
    /// Groups of all running batches.
    in_flight: usize,
}

impl Memory {
    fn finish(&mut self, finished: Finished) {
        self.in_flight = self.in_flight.saturating_sub(finished.groups);
        for channel in &finished.channels {
            self.busy.remove(channel);
            self.heads.remove(channel);
            self.floors.remove(channel);
        }
        if self.heads.len() > limits::CACHED_HEADS {
            // Rare and cheap to refill; a finer order of eviction buys nothing.
            self.heads.clear();
        }
        self.floors.extend(finished.floors);
        self.heads.extend(
            finished
                .heads
                .into_iter()
                .map(|head| (head.state.channel_id, Box::new(head))),
        );
    }
}

/// Runs the lane until its queue is closed and empty.
pub(crate) async fn run(lane: Arc<Lane>, mut queue: mpsc::Receiver<Group>) {
    let mut waiting = VecDeque::new();
    let mut memory = Memory::default();
    let mut running = JoinSet::new();
    let mut open = true;
    let mut pace = Pace::default();
    loop {
        while waiting.len() < limits::WAITING_GROUPS
            && let Ok(group) = queue.try_recv()
        {
            waiting.push_back(group);
        }
        while running.len() < limits::OVERLAPPING_BATCHES
            && (running.is_empty() || pace.is_ripe(waiting.len(), running.len(), memory.in_flight))
        {
            let groups = pick(&mut waiting, &memory.busy, lane.batch_max);
            pace.picked();
            if groups.is_empty() {
                break;
            }
            start(&lane, groups, &mut memory, &mut running);
        }
        lane.metrics
            .waiting
            .set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
        if !open && waiting.is_empty() && running.is_empty() {
            lane.running.store(false, Ordering::Release);
            return;
        }
        let ripe_at = tokio::time::Instant::from_std(pace.ripe_at());
        let ripens = running.len() < limits::OVERLAPPING_BATCHES && !waiting.is_empty();
        tokio::select! {
            () = tokio::time::sleep_until(ripe_at), if ripens => {}
            group = queue.recv(), if open && waiting.len() < limits::WAITING_GROUPS => match group {
                Some(group) => waiting.push_back(group),
                None => open = false,
            },
            Some(finished) = running.join_next() => match finished {
                Ok(finished) => memory.finish(finished),
                Err(error) => {
                    // A panic is a bug; which channels it held is unknown, so start over
                    // from the database.
                    tracing::error!(%error, "a batch task died");
                    running.abort_all();
                    while running.join_next().await.is_some() {}
                    memory = Memory::default();
                }
            },
        }
    }
}

/// Whether it is worth while to start a batch beside one that runs. Right after a batch its
/// callers come back one by one: a batch of the first few would cost nearly as much as one of all.
struct Pace {
    /// When something was picked, or nothing could be.
    since: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            since: Instant::now(),
        }
    }
}

impl Pace {
    /// As many wait as a running batch has on average, and not just a few, or the first of them has
    /// waited long enough.
    fn is_ripe(&self, waiting: usize, running: usize, in_flight: usize) -> bool {
        let are_many = waiting >= limits::WORTH_A_BATCH && waiting * running >= in_flight;
        waiting > 0 && (are_many || self.ripe_at() <= Instant::now())
    }

    fn ripe_at(&self) -> Instant {
        self.since + limits::LINGER
    }

    fn picked(&mut self) {
        self.since = Instant::now();
    }
}

fn start(
    lane: &Arc<Lane>,
    groups: Vec<Group>,
    memory: &mut Memory,
    running: &mut JoinSet<Finished>,
) {
    if lane.fence().is_some() {
        for group in groups {
            group.answer_all(&Outcome::Retry(RetryReason::RestoreFence));
        }
        return;
    }
    let mut channels: Vec<_> = groups
        .iter()
        .flat_map(|group| &group.channels)
        .copied()
        .collect();
    channels.sort_unstable();
    channels.dedup();
    memory.in_flight += groups.len();
    memory.busy.extend(&channels);
    let heads = channels
        .iter()
        .filter_map(|channel| memory.heads.get(channel).map(|head| (*channel, **head)))
        .collect();
    let floors = channels
        .iter()
        .filter_map(|channel| memory.floors.get(channel).map(|floor| (*channel, *floor)))
        .collect();
    let batch = attempt::Batch {
        channels,
        groups,
        heads,
        floors,
    };
    running.spawn(attempt::run(lane.clone(), batch));
}

/// Takes groups, in order, whose channels no running batch holds. A group that has to wait
/// keeps later ones on its channels waiting too, so that nothing overtakes. Looks at as many jobs as
/// there may be groups: at every single one, and of long lists, which hardly ever are free, at a few.
fn pick(waiting: &mut VecDeque<Group>, busy: &Channels, max: usize) -> Vec<Group> {
    let mut picked = Vec::new();
    let (mut jobs, mut looked) = (0, 0);
    let mut blocked = Channels::default();
    let mut rest = Vec::new();
    while looked < limits::WAITING_GROUPS
        && let Some(group) = waiting.pop_front()
    {
        looked += group.jobs.len();
        if jobs > 0 && jobs + group.jobs.len() > max {
            rest.push(group);
            break;
        }
        let mut channels = group.channels.iter();
        if channels.all(|channel| !busy.contains(channel) && !blocked.contains(channel)) {
            jobs += group.jobs.len();
            picked.push(group);
        } else {
            blocked.extend(&group.channels);
            rest.push(group);
        }
    }
    for group in rest.into_iter().rev() {
        waiting.push_front(group);
    }
    picked
}
