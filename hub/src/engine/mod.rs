//! The hub: one process, one ledger in memory, one transaction per batch.

mod attest;
mod batch;
pub mod decide;
mod digest;
mod events;
mod fates;
mod give;
pub mod head;
pub mod heads;
mod hello;
mod import;
pub mod ledger;
pub mod limits;
mod load;
pub mod orders;
mod read;
pub(crate) mod refusal;
mod withdraw;

pub use digest::operations_digest;
pub use hello::HUB_RESTORED;
pub(crate) use hello::is_lost;
pub use load::StartError;

use crate::metrics::HubMetrics;
use crate::store;
use hub_client::{BatchMark, ErrorBody, FundingMode, HubRefusal, Marks, Terms};
use ledger::Ledger;
use limits::Limits;
use runtime::shutdown::Trigger;
use signer::Signer;
use sqlx::{PgPool, Postgres, Transaction};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

/// What a hub is made of.
#[derive(Debug)]
pub struct HubParts {
    /// What channels are opened with.
    pub terms: Terms,
    /// The hub key.
    pub signer: Signer,
    /// What the operator allows.
    pub limits: Limits,
    /// The database, as role `chub_hub`.
    pub pool: PgPool,
    /// Figures.
    pub metrics: HubMetrics,
    /// Stops the process when another one has taken the hub over.
    pub stop: Trigger,
}

/// The hub. Clones are the same hub.
#[derive(Debug, Clone)]
pub struct Hub {
    core: Arc<Core>,
    /// Work goes on here to its end even if the caller goes away, and not on the threads that
    /// parse requests.
    runtime: Handle,
}

#[derive(Debug)]
struct Core {
    parts: HubParts,
    /// Another one begins when the database proves to be set back.
    session: RwLock<Uuid>,
    greeted: AtomicBool,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Memory {
    /// `None` when it must be read anew.
    ledger: Option<Ledger>,
    /// The newest batch that was ever committed here: a database that doesn't have it was set
    /// back.
    seen: BatchMark,
}

/// A piece of work with the ledger. It may be run again after [`Fault::Stale`].
trait Work: Send + 'static {
    /// What comes of it.
    type Output: Send + 'static;

    /// Does it. Whatever changes the ledger ends in a commit, or in a fault that drops the
    /// ledger.
    fn run(
        &mut self,
        core: &Core,
        ledger: &mut Ledger,
    ) -> impl Future<Output = Result<Self::Output, Fault>> + Send;
}

/// Why a piece of work did not succeed.
#[derive(Debug)]
enum Fault {
    /// The answer is no; nothing happened beyond fates that were taken in.
    Refused(Box<ErrorBody>),
    /// The rows are not what this process remembers.
    Stale,
    /// One database contradicts the other: nothing is signed any more.
    Fence(String),
    /// The database failed; what it did may not be known.
    Database(sqlx::Error),
}

impl From<ErrorBody> for Fault {
    fn from(body: ErrorBody) -> Self {
        Self::Refused(Box::new(body))
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        // Unique keys: another process of this hub was first.
        match &error {
            sqlx::Error::Database(database) if database.is_unique_violation() => Self::Stale,
            _ => Self::Database(error),
        }
    }
}

/// Tries with a newly read ledger before a request is given back.
const TRIES: u32 = 3;

impl Hub {
    /// The hub's terms.
    pub fn terms(&self) -> &Terms {
        &self.core.parts.terms
    }

    /// This process's session.
    pub fn session(&self) -> Uuid {
        self.core.session()
    }

    /// Whether it can work: the database answers, and the hub is still this process's.
    pub async fn ready(&self) -> Result<(), String> {
        let core = Arc::clone(&self.core);
        let check = async move {
            let mut connection = core.parts.pool.acquire().await?;
            store::hubs::own(&mut connection, core.hub_id(), None, 0).await
        };
        match self.runtime.spawn(check).await {
            Ok(Ok(own)) if own.session != self.session() => {
                Err("another process has taken this hub over".to_owned())
            }
            Ok(Ok(own)) => match own.fence {
                // Fenced is a state to be seen, not one that a restart mends.
                Some(why) => {
                    tracing::debug!(why, "fenced");
                    Ok(())
                }
                None => Ok(()),
            },
            Ok(Err(error)) => {
                tracing::warn!(%error, "database");
                Err("the database does not answer".to_owned())
            }
            Err(_) => Err("stopping".to_owned()),
        }
    }

    /// Does work with the ledger, to its end, whatever becomes of the caller.
    async fn work<W: Work>(&self, work: W) -> Result<W::Output, ErrorBody> {
        let core = Arc::clone(&self.core);
        self.run(async move { core.with_ledger(work).await }).await
    }

    /// Runs something to its end, whatever becomes of the caller.
    async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, ErrorBody>> + Send + 'static,
    ) -> Result<T, ErrorBody> {
        let core = &self.core;
        let answer = self.runtime.spawn(task).await.unwrap_or_else(|error| {
            tracing::error!(%error, "work ended in a fault");
            Err(refusal::internal())
        });
        if let Err(body) = &answer {
            let code = refusal::code(&body.error);
            core.parts.metrics.refusals.with_label_values(&[code]).inc();
            if body.error == HubRefusal::Internal {
                tracing::error!(detail = body.detail, "internal");
            } else {
                tracing::info!(code, detail = body.detail, "refused");
            }
        }
        answer
    }
}

impl Core {
    fn hub_id(&self) -> Uuid {
        self.parts.terms.hub_id
    }

    fn session(&self) -> Uuid {
        // Nothing panics while it is written.
        *self.session.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn marks(&self, ledger: &Ledger) -> Marks {
        Marks {
            session: self.session(),
            low_water: ledger.low_water(),
            headroom: self.headroom(ledger),
        }
    }

    fn headroom(&self, ledger: &Ledger) -> Option<hub_core::Amount> {
        (self.parts.terms.mode == FundingMode::Vault).then(|| ledger.headroom())
    }

    fn show(&self, ledger: &Ledger) {
        let metrics = &self.parts.metrics;
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        metrics.low_water.set(number(ledger.low_water()));
        metrics
            .half_signed
            .set(i64::try_from(ledger.open.len()).unwrap_or(i64::MAX));
        metrics
            .abandoned
            .set(crate::metrics::tokens(ledger.abandoned_total()));
        let headroom = self.headroom(ledger).unwrap_or_default();
        metrics.headroom.set(crate::metrics::tokens(headroom));
        metrics.fenced.set(i64::from(ledger.fence.is_some()));
        let behind = ledger.behind.len();
        metrics
            .behind
            .set(i64::try_from(behind).unwrap_or(i64::MAX));
    }

    /// Does a piece of work with the ledger, and once more with one read anew when it proves
    /// stale. After a failure of the database nothing remembered is trusted.
    async fn with_ledger<W: Work>(&self, mut work: W) -> Result<W::Output, ErrorBody> {
        let mut memory = self.memory.lock().await;
        for _ in 0..TRIES {
            let fault = match self.loaded(&mut memory).await {
                Ok(ledger) => match work.run(self, ledger).await {
                    Ok(done) => {
                        self.show(ledger);
                        memory.seen = ledger.newest;
                        return Ok(done);
                    }
                    Err(fault) => fault,
                },
                Err(fault) => fault,
            };
            match fault {
                Fault::Refused(body) => return Err(*body),
                Fault::Stale => memory.ledger = None,
                Fault::Fence(why) => {
                    memory.ledger = None;
                    return Err(self.raise_fence(&why).await);
                }
                Fault::Database(error) => {
                    memory.ledger = None;
                    tracing::error!(%error, "database");
                    return Err(refusal::internal());
                }
            }
        }
        tracing::error!("the rows of the hub change faster than they can be read");
        Err(refusal::internal())
    }

    async fn loaded<'a>(
        &self,
        memory: &'a mut MutexGuard<'_, Memory>,
    ) -> Result<&'a mut Ledger, Fault> {
        let ledger = match memory.ledger.take() {
            Some(ledger) => ledger,
            None => {
                self.parts.metrics.reloads.inc();
                let ledger = load::load(&self.parts.pool, self.hub_id()).await?;
                if self.is_set_back(&ledger, memory.seen).await? {
                    let why = self.begin_restored(memory.seen).await?;
                    // The row knows it from here on.
                    memory.seen = ledger.newest;
                    return Err(refusal::fenced(&why).into());
                }
                memory.seen = ledger.newest;
                ledger
            }
        };
        Ok(memory.ledger.insert(ledger))
    }

    /// Whether the journal lacks the newest batch that was committed here, as after a failover to
    /// a standby that was behind. Others may have been journaled above it since.
    async fn is_set_back(&self, ledger: &Ledger, seen: BatchMark) -> sqlx::Result<bool> {
        // Up to the floor an operator has dealt with what was lost.
        if seen.batch_id <= ledger.floor {
            return Ok(false);
        }
        let mut connection = self.parts.pool.acquire().await?;
        let here = store::journal::seal_of(&mut connection, self.hub_id(), seen.batch_id).await?;
        Ok(here.is_none_or(|seal| seal.root != seen.root))
    }

    /// Fences this hub, as one that was restored before it started, and begins another session:
    /// replicas say hello again, and hear what the hub lacks now.
    async fn begin_restored(&self, seen: BatchMark) -> Result<String, Fault> {
        let why = format!(
            "{HUB_RESTORED}: batch {} was signed here, and is not in the journal any more. \
             Account-service gives back what was lost; compare with the newest anchor, then lift \
             the fence",
            seen.batch_id
        );
        tracing::error!(why, "fence raised: nothing is signed until it is lifted");
        let session = Uuid::new_v4();
        let sessions = Some((self.session(), session));
        let mut connection = self.parts.pool.acquire().await?;
        let now = runtime::clock::now();
        let hub_id = self.hub_id();
        let raised = store::hubs::raise_restored(&mut connection, hub_id, &why, sessions, now);
        let Some(why) = raised.await? else {
            return Err(self.taken_over().into());
        };
        *self.session.write().unwrap_or_else(PoisonError::into_inner) = session;
        self.greeted.store(false, Ordering::SeqCst);
        self.parts.metrics.fenced.set(1);
        Ok(why)
    }

    fn taken_over(&self) -> ErrorBody {
        tracing::error!("another process has taken this hub over; stopping");
        self.parts.stop.drain();
        refusal::unavailable("another process has taken this hub over")
    }

    /// Begins a transaction in which nobody else can take the hub over. Fails as stale when the
    /// rows changed behind this process, and for good when the hub is another's.
    async fn begin(
        &self,
        ledger: &mut Ledger,
        request_id: Option<Uuid>,
    ) -> Result<(Transaction<'static, Postgres>, Option<store::hubs::Earlier>), Fault> {
        let mut tx = self.parts.pool.begin().await?;
        let newest = ledger.newest;
        let own = store::hubs::own(&mut tx, self.hub_id(), request_id, newest.batch_id).await?;
        if own.session != self.session() {
            return Err(self.taken_over().into());
        }
        // A database that was set back is met before anything is written above the hole.
        let newest_is_here = newest.batch_id == 0 || own.newest == Some(newest.root);
        if own.generation != ledger.generation || !newest_is_here {
            return Err(Fault::Stale);
        }
        ledger.fence = own.fence;
        Ok((tx, own.earlier))
    }

    /// Nothing is signed behind a fence, nor before a replica introduced itself.
    fn check_signing(&self, ledger: &Ledger) -> Result<(), ErrorBody> {
        if let Some(why) = &ledger.fence {
            return Err(refusal::fenced(why));
        }
        if self.greeted.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err(self.other_session())
        }
    }

    fn other_session(&self) -> ErrorBody {
        let error = HubRefusal::Session {
            session: self.session(),
        };
        refusal::body(error, "say hello to this session first")
    }

    /// Makes the fence durable. If that fails too, the next request meets the same
    /// contradiction again.
    async fn raise_fence(&self, why: &str) -> ErrorBody {
        tracing::error!(
            why,
            "fence raised: nothing is signed until an operator lifts it"
        );
        self.parts.metrics.fenced.set(1);
        let raised = async {
            let mut connection = self.parts.pool.acquire().await?;
            let now = runtime::clock::now();
            store::hubs::raise_fence(&mut connection, self.hub_id(), why, now).await
        };
        if let Err(error) = raised.await {
            tracing::error!(%error, "the fence is not stored");
        }
        refusal::fenced(why)
    }
}
