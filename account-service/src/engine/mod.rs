//! The posting engine: takes money orders, makes co-signed states of them, one batch at a time.
//!
//! * [`Engine::submit`] finds the accounts, keeps out a second request with the same key, and
//!   queues a job in the lane of the account's hub;
//! * `lane` groups jobs into batches whose channels no other running batch touches;
//! * `decide` (no I/O) folds a batch into new states and refusals;
//! * `attempt` asks the hub to sign while the database writes, signs last, commits, answers;
//! * `fates` tells the hub what became of its batches, and compares journals after restarts.
//!
//! Invariants: nothing is answered before its commit; a custody signature whose commit is not
//! known never leaves the process; a batch is committed or burned by the primary key of
//! `account.batches`; an edited head row freezes its channel and nothing else.

mod accounts;
mod answer;
mod attempt;
mod closing;
mod connect;
mod decide;
#[cfg(test)]
mod decide_tests;
mod dry_run;
mod fates;
mod import;
mod job;
mod lane;
pub mod limits;
pub mod metrics;
mod open_fates;
mod prepare;
mod refusals;
mod settle;
pub mod types;
mod write;

pub use metrics::EngineMetrics;
pub use settle::handle_event;
pub use types::*;

use crate::store::directory::Account;
use crate::store::journal::KeyId;
use accounts::LookUp;
use hub_client::{IssueCaps, Terms};
use hub_core::{Address, ChannelId, Version};
use job::{Group, GroupResult, Job, Room};
use lane::Lane;
use signer::Signer;
use sqlx::PgPool;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::{Notify, mpsc, oneshot};
use uuid::Uuid;

/// By channel. Ids are hashes and made by ourselves, so a hasher that is only fast will do.
pub(crate) type ByChannel<V> = HashMap<ChannelId, V, foldhash::fast::RandomState>;
/// Channels, in no order.
pub(crate) type Channels = HashSet<ChannelId, foldhash::fast::RandomState>;

/// What the engine needs.
pub struct EngineConfig {
    /// Database, as role `chub_account`.
    pub pool: PgPool,
    /// The hubs.
    pub hubs: Vec<HubEndpoint>,
    /// The key that signs for all custodial channels.
    pub custody: Signer,
    /// Addresses no withdrawal may name: the token and the channel contract.
    pub barred_payees: Vec<Address>,
    /// Operations of one batch at most.
    pub batch_max: usize,
    /// Headroom below which a vault is topped up before anything waits; zero for never.
    pub vault_threshold: hub_core::Amount,
    /// Seconds a signed `Withdraw` can be executed.
    pub withdraw_validity_s: u64,
    /// Metrics.
    pub metrics: EngineMetrics,
    /// Woken when there may be something in the outbox.
    pub outbox: Arc<Notify>,
    /// Is told which versions each batch committed, for the cache of balances.
    pub committed: Option<mpsc::Sender<Vec<(ChannelId, Version)>>>,
}

/// Where a hub is.
#[derive(Debug, Clone)]
pub struct HubEndpoint {
    /// For example `http://127.0.0.1:18082`.
    pub url: String,
    /// Bearer token with scopes `propose` and `read`.
    pub token: String,
}

/// A hub as it is connected now.
#[derive(Debug, Clone)]
pub struct ConnectedHub {
    /// What channels are opened with.
    pub terms: Arc<Terms>,
    /// Where it is.
    pub url: String,
    /// What can be issued before funding is needed, in minor units; none in mint mode.
    pub headroom: Option<hub_core::Amount>,
    /// What it issues at most, in minor units.
    pub caps: Option<IssueCaps>,
}

/// The database did not answer.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct EngineError(#[from] sqlx::Error);

/// A hub that is connected.
#[derive(Clone)]
struct LaneHandle {
    lane: Arc<Lane>,
    queue: mpsc::Sender<Group>,
    room: Room,
}

struct Inner {
    config: EngineConfig,
    lanes: RwLock<HashMap<Uuid, LaneHandle>>,
    accounts: RwLock<HashMap<Uuid, Arc<Account>>>,
    look_ups: mpsc::Sender<LookUp>,
    in_flight: Mutex<HashSet<KeyId>>,
    draining: std::sync::atomic::AtomicBool,
}

/// The posting engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// A key that is in use as long as this is there: it leaves the set of running requests however
/// the request ends.
pub struct InFlight<'a> {
    engine: &'a Engine,
    key: KeyId,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.engine.in_flight().remove(&self.key);
    }
}

impl Engine {
    /// Starts the engine; hubs are connected in the background, and again when they come back.
    pub fn start(config: EngineConfig) -> Self {
        let (look_ups, asked) = mpsc::channel(limits::QUEUE);
        tokio::spawn(accounts::run(config.pool.clone(), asked));
        let endpoints = config.hubs.clone();
        let engine = Self {
            inner: Arc::new(Inner {
                config,
                lanes: RwLock::default(),
                accounts: RwLock::default(),
                look_ups,
                in_flight: Mutex::default(),
                draining: false.into(),
            }),
        };
        for endpoint in endpoints {
            tokio::spawn(connect::keep_connected(engine.clone(), endpoint));
        }
        engine
    }

    /// Posts one request.
    pub async fn submit(&self, request: Request) -> Outcome {
        let mut outcomes = match self.submit_group(vec![request], false).await {
            Ok(outcomes) => outcomes,
            Err(refused) => return *refused.outcome,
        };
        outcomes
            .pop()
            .unwrap_or(Outcome::Retry(RetryReason::Internal))
    }

    /// Posts many requests. Atomic: all of them, or none and which one refused. Otherwise each
    /// for itself, in order per account.
    pub async fn submit_all(
        &self,
        requests: Vec<Request>,
        atomic: bool,
    ) -> Result<Vec<Outcome>, GroupRefused> {
        if atomic {
            return self.submit_group(requests, true).await;
        }
        let each = requests.into_iter().map(|request| self.submit(request));
        Ok(futures_util::future::join_all(each).await)
    }

    /// Keeps the key of a list in use while its items, each with a key of its own, are posted in
    /// one batch or in many. `None` when it is in use here.
    pub fn hold(&self, owner: Uuid, route: Route, key: &str) -> Option<InFlight<'_>> {
        // Keys of items end in a number, so that none is this one.
        self.begin(KeyId::new(owner, route, &format!("{key}#")))
    }

    fn begin(&self, key: KeyId) -> Option<InFlight<'_>> {
        let new = self.in_flight().insert(key);
        new.then(|| InFlight { engine: self, key })
    }

    async fn submit_group(&self, requests: Vec<Request>, atomic: bool) -> GroupResult {
        if requests.len() > 1 {
            self.recall(&requests).await;
        }
        let mut keys = Vec::with_capacity(requests.len());
        let mut jobs = Vec::with_capacity(requests.len());
        for (at, request) in requests.into_iter().enumerate() {
            let (key, dry_run) = (
                KeyId::new(request.owner, request.route, &request.key),
                request.dry_run,
            );
            if !dry_run {
                let Some(in_flight) = self.begin(key) else {
                    let outcome = Outcome::Retry(RetryReason::InFlight);
                    return Err(GroupRefused::new(at, outcome));
                };
                keys.push(in_flight);
            }
            let job = self.prepare(request).await.map_err(|error| {
                tracing::error!(%error, "accounts can't be read");
                GroupRefused::new(at, Outcome::Retry(RetryReason::of(&error.0)))
            })?;
            jobs.push(job);
        }
        if jobs.iter().any(|job| job.request.dry_run) {
            return Box::pin(dry_run::run(self, &jobs, atomic)).await;
        }
        let result = self.enqueue(jobs, atomic).await;
        drop(keys);
        result
    }

    async fn enqueue(&self, mut jobs: Vec<Job>, atomic: bool) -> GroupResult {
        let retry = |reason| Err(GroupRefused::new(0, Outcome::Retry(reason)));
        if self.inner.draining.load(Ordering::Relaxed) {
            return retry(RetryReason::Draining);
        }
        let hub = jobs.iter().find_map(Job::hub);
        for job in &mut jobs {
            // All jobs of a group post in one batch of one hub.
            if job.hub().is_some_and(|other| Some(other) != hub) {
                job.action = Err(refusals::cross_hub());
                (job.payer, job.payee) = (None, None);
            }
        }
        let lane = match hub {
            Some(hub) => self.lane(&hub),
            // A refusal that is about no hub is kept by any of them.
            None => self.lanes().values().next().cloned(),
        };
        let Some(handle) = lane else {
            return retry(RetryReason::HubUnavailable);
        };
        let Some(place) = handle.room.enter(jobs.len()) else {
            return retry(RetryReason::Backpressure);
        };
        let opened: Vec<_> = jobs.iter().filter_map(Job::opened).collect();
        let (reply, answer) = oneshot::channel();
        let group = Group::new(jobs, atomic, Some(place), reply);
        match handle.queue.try_send(group) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return retry(RetryReason::Backpressure),
            Err(mpsc::error::TrySendError::Closed(_)) => return retry(RetryReason::Draining),
        }
        let Ok(result) = answer.await else {
            return retry(RetryReason::Internal);
        };
        self.remember(&result, opened);
        result
    }

    /// Accounts just opened are used next, so they need not be read.
    fn remember(&self, result: &GroupResult, opened: Vec<Arc<Account>>) {
        let Ok(outcomes) = result else { return };
        let new: HashSet<_> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::Done {
                    operation,
                    replayed: false,
                } => operation.payee,
                _ => None,
            })
            .collect();
        let opened = opened.into_iter();
        self.keep(opened.filter(|account| new.contains(&account.id)));
    }

    /// Remembers accounts, and forgets all others when there are too many.
    fn keep(&self, found: impl IntoIterator<Item = Arc<Account>>) {
        let mut accounts = self.accounts();
        for account in found {
            let known = accounts.contains_key(&account.id);
            if !known && accounts.len() >= limits::CACHED_ACCOUNTS {
                accounts.clear();
            }
            accounts.insert(account.id, account);
        }
    }

    /// Whether every configured hub is connected and no fence is up; else why not.
    pub fn ready(&self) -> Result<(), String> {
        let lanes = self.lanes();
        let wanted = self.inner.config.hubs.len();
        if lanes.len() < wanted {
            return Err(format!("{} of {wanted} hubs are connected", lanes.len()));
        }
        for handle in lanes.values() {
            if let Some(fence) = handle.lane.fence() {
                return Err(format!("restore fence: {}", fence.why));
            }
        }
        Ok(())
    }

    /// The hubs that are connected.
    pub fn hubs(&self) -> Vec<ConnectedHub> {
        let lanes = self.lanes();
        let connected = lanes.values().map(|handle| ConnectedHub {
            terms: handle.lane.opening_terms(),
            url: handle.lane.url.clone(),
            headroom: handle.lane.headroom(),
            caps: handle.lane.caps(),
        });
        let mut hubs: Vec<_> = connected.collect();
        hubs.sort_by_key(|hub| hub.terms.hub_id);
        hubs
    }

    /// Takes no new requests, finishes those under way, hands the last fates over.
    pub async fn drain(&self) {
        self.inner.draining.store(true, Ordering::Relaxed);
        let handles: Vec<_> = {
            let mut lanes = self
                .inner
                .lanes
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            lanes.drain().map(|(_, handle)| handle).collect()
        };
        for handle in handles {
            let lane = handle.lane.clone();
            drop(handle);
            connect::wait_until_idle(&lane).await;
        }
    }

    fn lane(&self, hub: &Uuid) -> Option<LaneHandle> {
        self.lanes().get(hub).cloned()
    }

    fn lanes(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Uuid, LaneHandle>> {
        self.inner
            .lanes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn in_flight(&self) -> std::sync::MutexGuard<'_, HashSet<KeyId>> {
        self.inner
            .in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn accounts(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Uuid, Arc<Account>>> {
        self.inner
            .accounts
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn pool(&self) -> &PgPool {
        &self.inner.config.pool
    }

    fn custody_address(&self) -> Address {
        self.inner.config.custody.address()
    }

    fn is_barred(&self, payee: &Address) -> bool {
        *payee == Address::ZERO || self.inner.config.barred_payees.contains(payee)
    }

    /// Reads the accounts of many requests at once. What fails here fails again one by one.
    async fn recall(&self, requests: &[Request]) {
        let sides = |request: &Request| match &request.order {
            Order::Transfer { from, to, .. } => [Some(*from), Some(*to)],
            _ => [None, None],
        };
        let ids: HashSet<_> = requests.iter().flat_map(sides).flatten().collect();
        let all = ids.into_iter().map(|id| self.account(id));
        futures_util::future::join_all(all).await;
    }

    /// An account by id, from memory or the database.
    async fn account(&self, id: Uuid) -> Result<Option<Arc<Account>>, EngineError> {
        let known = {
            let accounts = &self.inner.accounts;
            let accounts = accounts.read().unwrap_or_else(PoisonError::into_inner);
            accounts.get(&id).cloned()
        };
        if known.is_some() {
            return Ok(known);
        }
        let (reply, answer) = oneshot::channel();
        let look_up = LookUp { id, reply };
        let asked = self.inner.look_ups.send(look_up).await;
        asked.map_err(|_| sqlx::Error::WorkerCrashed)?;
        let found = answer.await.map_err(|_| sqlx::Error::WorkerCrashed)??;
        self.keep(found.clone());
        Ok(found)
    }
}

impl Job {
    fn hub(&self) -> Option<Uuid> {
        self.payer
            .as_ref()
            .or(self.payee.as_ref())
            .map(|account| account.hub_id)
    }

    fn opened(&self) -> Option<Arc<Account>> {
        matches!(self.request.order, Order::Open(_))
            .then(|| self.payee.clone())
            .flatten()
    }
}
