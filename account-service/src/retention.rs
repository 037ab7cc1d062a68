//! What is given up when it is old. By default nothing is: an operator says how long keys and
//! journal are kept, and what is needed stays however old it is.
//!
//! First go idempotency keys, then whole weeks of operations, then whole weeks of states that are
//! older than every operation kept; of those each state that something still needs is kept with its
//! path. So within the time that is kept everything is whole: entries, states, proofs and replays;
//! and before it, each channel's newest state and the one where the journal begins.

use crate::store::leaves::{self, Copied};
use crate::store::partitions;
use crate::store::retention::{self as store, Step, Week};
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};
use runtime::shutdown::Shutdown;
use runtime::telemetry::Metrics;
use sqlx::PgPool;
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// How far ahead there are partitions: enough weeks for somebody to notice that none are made.
const PARTITIONS_AHEAD: time::Duration = time::Duration::weeks(4);
/// How often partitions are made, old rows given up and figures read.
const EVERY: Duration = Duration::from_secs(3_600);
/// How often it is tried again when something did not work.
const TRY_AGAIN: Duration = Duration::from_secs(60);
/// Keys given up in one transaction: some 50 ms.
const KEYS: i64 = 5_000;
/// Batches looked at in one transaction: up to 14 MB of states, 100 ms to hash them.
const BATCHES: i64 = 16;
/// Kept leaves looked at in one transaction: some 20 ms.
const LEAVES: i64 = 1_000;
/// How often a week is tried whose lock others hold, and the pause between: who posts holds it for
/// some 30 ms at a time, a long read for minutes, until the next round.
const BUSY: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);
/// How much older than the oldest operation kept a batch must be: a batch gets its id after its
/// operations, by a clock that may have been set back meanwhile.
const MARGIN: time::Duration = time::Duration::DAY;

/// How long things are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub struct Keep {
    /// Days that idempotency keys are kept at least; for ever when left out
    #[arg(long, env = "KEEP_KEYS_DAYS", value_parser = clap::value_parser!(u16).range(30..=36_500))]
    pub keep_keys_days: Option<u16>,
    /// Days that operations and superseded states are kept at least, in whole weeks; for ever when left out
    #[arg(long, env = "KEEP_JOURNAL_DAYS", value_parser = clap::value_parser!(u16).range(30..=36_500))]
    pub keep_journal_days: Option<u16>,
    /// Put old weeks of operations and states into the schema account_archive instead of dropping them
    #[arg(long, env = "ARCHIVE_JOURNAL")]
    pub archive_journal: bool,
}

impl Keep {
    /// Days after which keys go: a key must not outlive its operation.
    fn keys(&self) -> Option<u16> {
        match (self.keep_keys_days, self.keep_journal_days) {
            (Some(keys), Some(journal)) => Some(keys.min(journal)),
            (keys, journal) => keys.or(journal),
        }
    }
}

/// What is counted.
#[derive(Debug, Clone)]
pub struct RetentionMetrics {
    weeks_ahead: IntGauge,
    astray: IntGauge,
    oldest_week: IntGauge,
    oldest_states: IntGauge,
    bytes: IntGaugeVec,
    gone: IntCounterVec,
    blocked: IntGaugeVec,
}

impl RetentionMetrics {
    /// Registers them.
    pub fn register(metrics: &Metrics) -> prometheus::Result<Self> {
        Ok(Self {
            weeks_ahead: metrics.gauge(
                "partitions_ahead",
                "Weeks to come that have their partition; page somebody below 2.",
            )?,
            astray: metrics.gauge(
                "partition_missing",
                "1 while new operations or states have no partition of their week; nothing stops.",
            )?,
            oldest_week: metrics.gauge(
                "journal_oldest_week_seconds",
                "Start of the oldest week of operations kept, Unix seconds.",
            )?,
            oldest_states: metrics.gauge(
                "states_oldest_week_seconds",
                "Start of the oldest week of states kept as a whole, Unix seconds.",
            )?,
            bytes: metrics.gauge_vec(
                "table_bytes",
                "Bytes on disk with indexes: journal, keys, states, leaves, batches.",
                &["table"],
            )?,
            gone: metrics.counter_vec(
                "retention_gone_total",
                "What was given up: keys, weeks of operations, weeks of states, kept leaves.",
                &["what"],
            )?,
            blocked: metrics.gauge_vec(
                "retention_blocked",
                "1 while the oldest week of operations or of states is past its time and needed, by what.",
                &["what", "by"],
            )?,
        })
    }
}

/// Looks after old and new rows.
#[derive(Debug)]
pub struct Retention {
    pool: PgPool,
    keep: Keep,
    metrics: RetentionMetrics,
    /// Where the journal began when all kept leaves were looked at last.
    freed: Option<Uuid>,
}

impl Retention {
    /// On a pool of role `chub_account`.
    pub fn new(pool: PgPool, keep: Keep, metrics: RetentionMetrics) -> Self {
        Self {
            pool,
            keep,
            metrics,
            freed: None,
        }
    }

    /// Runs until the shutdown begins.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            let worked = tokio::select! {
                worked = self.round(runtime::clock::now()) => worked,
                // Every step is a transaction of its own: what was begun is rolled back.
                () = shutdown.begun() => return,
            };
            let pause = match worked {
                Ok(()) => EVERY,
                Err(error) => {
                    tracing::warn!(%error, "partitions and old rows not looked after yet");
                    TRY_AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.begun() => return,
            }
        }
    }

    /// Makes the partitions of the weeks to come, gives up what is too old at `now`, reads the
    /// figures.
    pub async fn round(&mut self, now: OffsetDateTime) -> sqlx::Result<()> {
        let made = partitions::make(&self.pool, now + PARTITIONS_AHEAD).await;
        let kept = self.give_up(now).await;
        self.read_figures(now).await?;
        tracing::debug!(made = made?, "partitions");
        kept
    }

    async fn give_up(&mut self, now: OffsetDateTime) -> sqlx::Result<()> {
        let past = |days: u16| now - time::Duration::days(i64::from(days));
        if let Some(days) = self.keep.keys() {
            let before = past(days);
            let step = || store::drop_keys(&self.pool, before, KEYS);
            self.repeat("keys", step).await?;
        }
        if let Some(days) = self.keep.keep_journal_days {
            self.metrics.blocked.reset();
            let (before, archive) = (past(days), self.keep.archive_journal);
            let step = || store::drop_oldest_week(&self.pool, before, archive);
            while self.drop_week("weeks", step).await? {}
            self.drop_states(archive).await?;
        }
        Ok(())
    }

    /// Whether a week is gone, and the next one may be.
    async fn drop_week<F>(&self, what: &'static str, step: impl Fn() -> F) -> sqlx::Result<bool>
    where
        F: Future<Output = sqlx::Result<Week>>,
    {
        let mut busy = 0;
        loop {
            match step().await? {
                Week::Dropped => {
                    tracing::info!(what, "a week is past its time");
                    self.metrics.gone.with_label_values(&[what]).inc();
                    return Ok(true);
                }
                Week::None => return Ok(false),
                Week::Needed(by) if by == "busy" && busy < BUSY => {
                    busy += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Week::Needed(by) => {
                    self.blocked(what, &by);
                    return Ok(false);
                }
            }
        }
    }

    fn blocked(&self, what: &'static str, by: &str) {
        tracing::info!(what, by, "the oldest week stays");
        self.metrics.blocked.with_label_values(&[what, by]).set(1);
    }

    /// Weeks of states that are older than every operation kept, one after the other.
    async fn drop_states(&mut self, archive: bool) -> sqlx::Result<()> {
        let from = store::marks(&self.pool).await?.journal_from;
        let before = below(from, MARGIN);
        while self.copy_week(before).await? {
            let step = || leaves::drop_oldest_week(&self.pool, archive);
            if !self.drop_week("states", step).await? {
                break;
            }
        }
        // Leaves are needed no more when the journal begins later.
        if self.freed != Some(from) {
            self.free_leaves().await?;
            self.freed = Some(from);
        }
        Ok(())
    }

    /// Whether all states of the oldest week were looked at, and it may go.
    async fn copy_week(&self, before: Uuid) -> sqlx::Result<bool> {
        loop {
            let started = std::time::Instant::now();
            match leaves::copy(&self.pool, before, BATCHES).await? {
                Copied::Some { .. } => tokio::time::sleep(started.elapsed()).await,
                Copied::Week => return Ok(true),
                Copied::None | Copied::Busy => return Ok(false),
                Copied::Needed(by) => {
                    self.blocked("states", by);
                    return Ok(false);
                }
            }
        }
    }

    /// Once over all kept leaves.
    async fn free_leaves(&self) -> sqlx::Result<()> {
        let mut after = (Uuid::nil(), -1);
        loop {
            let started = std::time::Instant::now();
            let Some((last, gone)) = leaves::free(&self.pool, after, LEAVES).await? else {
                return Ok(());
            };
            after = last;
            self.metrics
                .gone
                .with_label_values(&["leaves"])
                .inc_by(gone);
            tokio::time::sleep(started.elapsed()).await;
        }
    }

    /// Step after step with pauses as long as the steps, so that callers hardly notice.
    async fn repeat<F>(&self, what: &'static str, step: impl Fn() -> F) -> sqlx::Result<()>
    where
        F: Future<Output = sqlx::Result<Step>>,
    {
        loop {
            let started = std::time::Instant::now();
            match step().await? {
                Step::Done { gone, .. } => {
                    self.metrics.gone.with_label_values(&[what]).inc_by(gone);
                    tokio::time::sleep(started.elapsed()).await;
                }
                Step::Finished | Step::Busy => return Ok(()),
            }
        }
    }

    async fn read_figures(&self, now: OffsetDateTime) -> sqlx::Result<()> {
        let figures = store::figures(&self.pool, now).await?;
        let metrics = &self.metrics;
        metrics.weeks_ahead.set(figures.weeks_ahead);
        metrics.astray.set(i64::from(figures.astray));
        metrics.oldest_week.set(figures.oldest_week);
        metrics.oldest_states.set(figures.oldest_states);
        for (table, bytes) in [
            ("journal", figures.journal_bytes),
            ("keys", figures.key_bytes),
            ("states", figures.state_bytes),
            ("leaves", figures.leaf_bytes),
            ("batches", figures.batch_bytes),
        ] {
            metrics.bytes.with_label_values(&[table]).set(bytes);
        }
        if figures.astray {
            tracing::error!("new rows lie in no week's partition; see why none is made");
        }
        Ok(())
    }
}

/// The smallest id so much older than another one.
fn below(id: Uuid, age: time::Duration) -> Uuid {
    let ms = (id.as_u128() >> 80).saturating_sub(age.whole_milliseconds().max(0).cast_unsigned());
    Uuid::from_u128(ms << 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_never_outlive_their_operations() {
        let keep = |keys, journal| Keep {
            keep_keys_days: keys,
            keep_journal_days: journal,
            archive_journal: false,
        };
        for (keys, journal, expected) in [
            (None, None, None),
            (Some(30), None, Some(30)),
            (None, Some(90), Some(90)),
            (Some(30), Some(90), Some(30)),
            (Some(365), Some(90), Some(90)),
        ] {
            assert_eq!(keep(keys, journal).keys(), expected);
        }
    }

    #[test]
    fn an_id_so_much_older_is_below_and_nothing_is_below_the_first() {
        let now = OffsetDateTime::from_unix_timestamp(1_790_000_000).unwrap();
        let id = store::first_id(now);
        assert_eq!(below(id, MARGIN), store::first_id(now - MARGIN));
        assert_eq!(below(Uuid::nil(), MARGIN), Uuid::nil());
    }
}
