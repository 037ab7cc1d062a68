//! What the hub gives up when it is old: states that newer co-signed ones have superseded, if an
//! operator says how long they are kept. Every batch's number, roots, digest, fate and custody
//! signature stay, so that a request is answered the same for ever and no number is used twice.

use crate::metrics::HubMetrics;
use crate::store::retention as store;
use runtime::shutdown::Shutdown;
use sqlx::PgPool;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use uuid::Uuid;

/// How often old batches are looked at.
const EVERY: Duration = Duration::from_secs(3_600);
/// Batches looked at in one transaction: up to 14 MB of states.
const BATCHES: i64 = 16;

/// Looks after old batches.
#[derive(Debug)]
pub struct Retention {
    pool: PgPool,
    hub_id: Uuid,
    keep_days: Option<u16>,
    metrics: HubMetrics,
}

impl Retention {
    /// Of one hub; `None` keeps everything.
    pub fn new(pool: PgPool, hub_id: Uuid, keep_days: Option<u16>, metrics: HubMetrics) -> Self {
        Self {
            pool,
            hub_id,
            keep_days,
            metrics,
        }
    }

    /// Runs until the shutdown begins.
    pub async fn run(self, shutdown: Shutdown) {
        loop {
            let worked = tokio::select! {
                worked = self.round(runtime::clock::now()) => worked,
                // Every step is a transaction of its own: what was begun is rolled back.
                () = shutdown.begun() => return,
            };
            if let Err(error) = worked {
                tracing::warn!(%error, "old batches not looked after yet");
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.begun() => return,
            }
        }
    }

    /// Erases what is too old at `now` and not needed, and reads the figures.
    pub async fn round(&self, now: OffsetDateTime) -> sqlx::Result<()> {
        if let Some(days) = self.keep_days {
            self.erase(now - time::Duration::days(i64::from(days)))
                .await?;
            self.look_again().await?;
        }
        let (kept, bytes) = store::figures(&self.pool, self.hub_id).await?;
        self.metrics.kept.set(kept);
        self.metrics.journal_bytes.set(bytes);
        Ok(())
    }

    /// Step after step with pauses as long as the steps, so that callers hardly notice.
    async fn erase(&self, before: OffsetDateTime) -> sqlx::Result<()> {
        loop {
            let started = Instant::now();
            let step = store::erase_states(&self.pool, self.hub_id, before, BATCHES).await?;
            let Some((looked @ 1.., gone)) = step else {
                return Ok(());
            };
            self.metrics.erased.inc_by(gone);
            tracing::debug!(looked, gone, "old batches");
            tokio::time::sleep(started.elapsed()).await;
        }
    }

    /// Once over all batches that were needed when they were looked at first.
    async fn look_again(&self) -> sqlx::Result<()> {
        let mut after = 0;
        while let Some((last, gone)) =
            store::look_again(&self.pool, self.hub_id, after, BATCHES).await?
        {
            self.metrics.erased.inc_by(gone);
            after = last;
        }
        Ok(())
    }
}
