//! The relay between a service's outbox table and the broker.
//!
//! A row is unpublished until the broker has confirmed it, and unpublished rows are found by that
//! mark alone: a cursor over ids would skip for ever whatever a slow transaction commits late.
//! Each pass locks its rows in id order and without waiting. So one relay at a time works on a
//! table, replicas that lose the race try again later, and messages leave in the order of their
//! ids; had they skipped each other's rows, two windows would overtake each other.

use crate::amqp::{AmqpError, Backoff, Fate, Message, Publisher};
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;
use prometheus::{Gauge, IntCounter, IntGauge};
use sqlx::{PgConnection, PgPool};
use std::sync::Arc;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::sync::Notify;
use uuid::Uuid;

/// Messages on their way at a time: enough to hide the broker's fsync, few enough that a lost
/// connection repeats little.
const WINDOW: i64 = 200;
/// Pause after a pass that published something.
const POLL_MIN: Duration = Duration::from_millis(5);
/// Longest pause while nothing is there. A nudge ends every pause.
const POLL_MAX: Duration = Duration::from_millis(50);
/// How often the gauges are set.
const STATS_EVERY: Duration = Duration::from_secs(1);
/// Up to this many unpublished rows are counted.
const PENDING_SHOWN: i64 = 10_000;
/// Published rows are kept this long, for people who look into a fault.
const KEEP: time::Duration = time::Duration::days(3);
/// How often old rows are removed, and how many at a time.
const PURGE_EVERY: Duration = Duration::from_secs(60);
const PURGE_ROWS: i64 = 5_000;
/// What Postgres answers when a row is locked and we don't wait.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Whose outbox. The statements are constants, so that no table name is ever put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outbox {
    /// `account.outbox`
    Account,
    /// `chain.outbox`
    Chain,
}

struct Statements {
    lease: &'static str,
    mark: &'static str,
    stats: &'static str,
    purge: &'static str,
}

macro_rules! statements {
    ($table:literal) => {
        Statements {
            lease: concat!(
                "SELECT id, exchange, routing_key, correlation_id, body::text FROM ",
                $table,
                " WHERE published_at IS NULL ORDER BY id LIMIT $1 FOR UPDATE NOWAIT"
            ),
            mark: concat!(
                "UPDATE ",
                $table,
                " SET published_at = $2 WHERE id = ANY($1) AND published_at IS NULL"
            ),
            stats: concat!(
                "SELECT count(*), min(created_at) FROM (SELECT created_at FROM ",
                $table,
                " WHERE published_at IS NULL ORDER BY id LIMIT $1) AS pending"
            ),
            purge: concat!(
                "DELETE FROM ",
                $table,
                " WHERE id IN (SELECT id FROM ",
                $table,
                " WHERE id < $1 AND published_at IS NOT NULL ORDER BY id LIMIT $2)"
            ),
        }
    };
}

impl Outbox {
    fn statements(self) -> &'static Statements {
        static ACCOUNT: Statements = statements!("account.outbox");
        static CHAIN: Statements = statements!("chain.outbox");
        match self {
            Self::Account => &ACCOUNT,
            Self::Chain => &CHAIN,
        }
    }
}

/// Why a pass stopped. Nothing is lost: what is not marked is sent again.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The database.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The broker.
    #[error(transparent)]
    Broker(#[from] AmqpError),
    /// The broker did not store this message; neither it nor later ones are marked.
    #[error("the broker did not store message {id} for {exchange}: {fate:?}")]
    NotStored {
        /// The message.
        id: Uuid,
        /// Its exchange.
        exchange: String,
        /// What became of it.
        fate: Fate,
    },
}

/// What is counted about an outbox.
#[derive(Debug, Clone)]
pub struct OutboxMetrics {
    pending: IntGauge,
    oldest: Gauge,
    published: IntCounter,
}

impl OutboxMetrics {
    /// Registers them; once for each process.
    pub fn new(metrics: &Metrics) -> prometheus::Result<Self> {
        Ok(Self {
            pending: metrics.gauge(
                "outbox_pending",
                "Messages not yet confirmed by the broker; counting ends at 10,000.",
            )?,
            oldest: metrics.float_gauge(
                "outbox_oldest_age_seconds",
                "Age of the oldest message that is not yet confirmed.",
            )?,
            published: metrics.counter("outbox_published_total", "Messages confirmed.")?,
        })
    }
}

/// Publishes one table.
#[derive(Debug)]
pub struct Relay {
    /// A pool whose role may read and write the table.
    pub pool: PgPool,
    /// The table.
    pub outbox: Outbox,
    /// Where messages go.
    pub publisher: Publisher,
    /// Exchanges for subscribers outside the system: nobody has to listen, and their messages go
    /// out as they are in the row. All others are wrapped in an envelope with id and correlation.
    pub public: &'static [&'static str],
    /// Notified by whoever commits a row.
    pub nudge: Arc<Notify>,
    /// What is counted.
    pub metrics: OutboxMetrics,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    exchange: String,
    routing_key: String,
    correlation_id: String,
    body: String,
}

impl Relay {
    /// Publishes until the drain begins.
    pub async fn run(self, shutdown: Shutdown) {
        let mut idle = Backoff::new(POLL_MIN, POLL_MAX);
        let mut trouble = Backoff::default();
        let (mut counted, mut purged) = (None::<Instant>, None::<Instant>);
        while !shutdown.is_draining() {
            if counted.is_none_or(|at| at.elapsed() >= STATS_EVERY) {
                counted = Some(Instant::now());
                self.note(self.count().await);
            }
            if purged.is_none_or(|at| at.elapsed() >= PURGE_EVERY) {
                purged = Some(Instant::now());
                self.note(self.purge().await);
            }
            let pause = match self.pass().await {
                Ok(0) => idle.step(),
                Ok(_) => {
                    idle.reset();
                    trouble.reset();
                    continue;
                }
                Err(error) => {
                    tracing::warn!(outbox = ?self.outbox, %error, "outbox waits");
                    trouble.step()
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.nudge.notified() => {}
                () = shutdown.begun() => {}
            }
        }
    }

    /// Publishes one window; returns how many messages were confirmed and marked. Zero also when
    /// another relay is at work.
    pub async fn pass(&self) -> Result<usize, RelayError> {
        let statements = self.outbox.statements();
        let mut tx = self.pool.begin().await?;
        let leased = sqlx::query_as::<_, Row>(statements.lease)
            .bind(WINDOW)
            .fetch_all(&mut *tx)
            .await;
        let rows = match leased {
            Ok(rows) => rows,
            Err(error) if is_locked(&error) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        if rows.is_empty() {
            return Ok(0);
        }
        let messages: Vec<_> = rows.into_iter().map(|row| self.message(row)).collect();
        let fates = self.publisher.publish(&messages).await?;
        let done = messages
            .iter()
            .zip(&fates)
            .take_while(|(message, fate)| self.is_done(message, **fate))
            .count();
        let ids: Vec<Uuid> = messages[..done].iter().map(|message| message.id).collect();
        mark(&mut tx, statements.mark, &ids).await?;
        tx.commit().await?;
        self.metrics.published.inc_by(done as u64);
        match messages.get(done) {
            None => Ok(done),
            Some(message) => Err(RelayError::NotStored {
                id: message.id,
                exchange: message.exchange.clone(),
                fate: fates[done],
            }),
        }
    }

    fn is_done(&self, message: &Message, fate: Fate) -> bool {
        match fate {
            Fate::Stored => true,
            Fate::Unroutable => self.is_public(&message.exchange),
            Fate::Refused => false,
        }
    }

    fn is_public(&self, exchange: &str) -> bool {
        self.public.contains(&exchange)
    }

    fn message(&self, row: Row) -> Message {
        let body = if self.is_public(&row.exchange) {
            row.body
        } else {
            envelope(row.id, &row.correlation_id, &row.body)
        };
        Message {
            id: row.id,
            exchange: row.exchange,
            routing_key: row.routing_key,
            correlation_id: row.correlation_id,
            body: body.into_bytes(),
        }
    }

    async fn count(&self) -> sqlx::Result<()> {
        let (pending, oldest): (i64, Option<OffsetDateTime>) =
            sqlx::query_as(self.outbox.statements().stats)
                .bind(PENDING_SHOWN)
                .fetch_one(&self.pool)
                .await?;
        self.metrics.pending.set(pending);
        let age = oldest.map_or(0.0, |at| (crate::clock::now() - at).as_seconds_f64());
        self.metrics.oldest.set(age.max(0.0));
        Ok(())
    }

    async fn purge(&self) -> sqlx::Result<()> {
        sqlx::query(self.outbox.statements().purge)
            .bind(first_id_at(crate::clock::now() - KEEP))
            .bind(PURGE_ROWS)
            .execute(&self.pool)
            .await
            .map(drop)
    }

    fn note(&self, outcome: sqlx::Result<()>) {
        if let Err(error) = outcome {
            tracing::warn!(outbox = ?self.outbox, %error, "outbox upkeep failed");
        }
    }
}

async fn mark(tx: &mut PgConnection, statement: &'static str, ids: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query(statement)
        .bind(ids)
        .bind(crate::clock::now())
        .execute(tx)
        .await
        .map(drop)
}

fn is_locked(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| code == LOCK_NOT_AVAILABLE)
}

/// The lowest UUIDv7 of a moment. Rows have such ids, so that old ones are found by the primary key.
fn first_id_at(moment: OffsetDateTime) -> Uuid {
    let millis = (moment.unix_timestamp_nanos() / 1_000_000).max(0) as u128;
    Uuid::from_u128(millis << 80)
}

/// The JSON of `chain_messages::Envelope` around a body that is JSON already.
fn envelope(id: Uuid, correlation_id: &str, body: &str) -> String {
    let correlation_id = serde_json::Value::from(correlation_id);
    format!(r#"{{"id":"{id}","correlation_id":{correlation_id},"body":{body}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chain_messages::{Envelope, Event};

    #[test]
    fn ids_made_later_are_above_the_bound_of_a_moment_and_earlier_ones_below() {
        let now = crate::clock::now();
        let id = Uuid::now_v7();
        assert!(first_id_at(now - time::Duration::seconds(1)) < id);
        assert!(id < first_id_at(now + time::Duration::seconds(1)));
    }

    #[test]
    fn the_envelope_is_the_one_receivers_read() {
        let event = Event::Finalized {
            block: 7,
            timestamp: 1_700_000_000,
        };
        let id = Uuid::now_v7();
        let text = envelope(id, "a\"b\\c", &serde_json::to_string(&event).unwrap());
        let read: Envelope<Event> = serde_json::from_str(&text).unwrap();
        assert_eq!(read.id, id);
        assert_eq!(read.correlation_id, "a\"b\\c");
        assert_eq!(read.body, event);
    }
}
