//! RabbitMQ, supervised: whatever goes wrong, the connection is dropped and built anew with its
//! exchanges and queues, and nothing that was not confirmed or acknowledged counts as done.
//!
//! * [`Topology`]: what must exist on the broker, declared on every connection;
//! * [`Publisher`]: persistent, mandatory messages with confirms, a window at a time;
//! * [`consume`]: one message after the other, acknowledged after its handler has committed.

mod consumer;
mod publisher;
mod topology;

pub use consumer::{Consumer, Outcome, Received, consume};
pub use publisher::{Fate, Message, Publisher};
pub use topology::Topology;

use crate::telemetry::{Metrics, SECONDS};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties};
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGaugeVec};
use std::time::Duration;

/// Seconds between heartbeats: a peer that vanished is noticed in two of them.
const HEARTBEAT_SECS: u16 = 10;
/// How long connecting and declaring may take; a broker that just started takes some seconds.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// First pause after a failure; doubled each time up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Longest pause: the broker is ready again 5 to 12 s after a crash, so a longer one adds nothing.
const BACKOFF_MAX: Duration = Duration::from_secs(3);

/// Why something did not reach the broker, or may not have.
#[derive(Debug, thiserror::Error)]
pub enum AmqpError {
    /// The URL is none of a broker.
    #[error("not an AMQP URL: {0}")]
    Url(String),
    /// The broker did not answer in time.
    #[error("the broker did not answer within {0:?}")]
    Silent(Duration),
    /// The connection broke, or the broker refused.
    #[error(transparent)]
    Broker(#[from] lapin::Error),
}

/// What is counted about the broker.
#[derive(Debug, Clone)]
pub struct BrokerMetrics {
    confirm_seconds: Histogram,
    nacks: IntCounter,
    returned: IntCounter,
    redeliveries: IntCounterVec,
    retries: IntCounterVec,
    dead: IntGaugeVec,
    /// Messages that a receiver had handled before, to be counted by whoever owns the inbox.
    pub duplicates: IntCounter,
}

impl BrokerMetrics {
    /// Registers them; once for each process.
    pub fn new(metrics: &Metrics) -> prometheus::Result<Self> {
        Ok(Self {
            confirm_seconds: metrics.histogram(
                "publish_confirm_seconds",
                "Time from the first message of a window to its last confirm.",
                &SECONDS,
            )?,
            nacks: metrics.counter("publish_nacks_total", "Messages the broker refused.")?,
            returned: metrics.counter(
                "publish_returned_total",
                "Messages that no queue was bound for.",
            )?,
            redeliveries: metrics.counter_vec(
                "consumer_redeliveries_total",
                "Messages delivered again.",
                &["queue"],
            )?,
            retries: metrics.counter_vec(
                "consumer_retries_total",
                "Handler runs that failed and were tried again.",
                &["queue"],
            )?,
            dead: metrics.gauge_vec(
                "dead_letters",
                "Messages in the dead-letter queue.",
                &["queue"],
            )?,
            duplicates: metrics.counter(
                "consumer_duplicates_dropped_total",
                "Messages that had been handled before.",
            )?,
        })
    }
}

/// A broker and what must exist on it. Each publisher and consumer has its own connection.
#[derive(Debug, Clone)]
pub struct Broker {
    uri: AMQPUri,
    topology: Topology,
    metrics: BrokerMetrics,
}

impl Broker {
    /// Names the broker; nothing is connected yet.
    pub fn new(url: &str, topology: Topology, metrics: BrokerMetrics) -> Result<Self, AmqpError> {
        let mut uri: AMQPUri = url.parse().map_err(AmqpError::Url)?;
        uri.query.heartbeat = Some(HEARTBEAT_SECS);
        Ok(Self {
            uri,
            topology,
            metrics,
        })
    }

    /// What is counted.
    pub fn metrics(&self) -> &BrokerMetrics {
        &self.metrics
    }

    /// A fresh connection on which everything is declared.
    async fn open(&self) -> Result<Link, AmqpError> {
        let opening = async {
            let properties = ConnectionProperties::default();
            let connection = Connection::connect_uri(self.uri.clone(), properties).await?;
            let channel = connection.create_channel().await?;
            self.topology.declare(&channel).await?;
            Ok(Link {
                channel,
                _connection: connection,
            })
        };
        tokio::time::timeout(OPEN_LIMIT, opening)
            .await
            .unwrap_or(Err(AmqpError::Silent(OPEN_LIMIT)))
    }
}

/// A channel with the connection that carries it; both end when it is dropped.
#[derive(Debug)]
struct Link {
    channel: Channel,
    _connection: Connection,
}

/// Pauses that double until something works.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    first: Duration,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(BACKOFF_MIN, BACKOFF_MAX)
    }
}

impl Backoff {
    /// Pauses from `first` to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            next: first,
            first,
            longest,
        }
    }

    /// The pause to make now; the next one is twice as long.
    pub fn step(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.longest);
        now
    }

    /// Something worked.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_over_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(3));
        let pauses: Vec<_> = (0..4).map(|_| backoff.step().as_millis()).collect();
        assert_eq!(pauses, [1, 2, 3, 3]);
        backoff.reset();
        assert_eq!(backoff.step().as_millis(), 1);
    }
}
