//! RabbitMQ: the outbox goes out, the chain-worker's events come in.

use crate::engine::{Engine, handle_event};
use chain_messages::{Envelope, Event, topology};
use runtime::amqp::{
    Broker, BrokerMetrics, Consumer, Outcome, Publisher, Received, Topology, consume,
};
use runtime::outbox::{Outbox, OutboxMetrics, Relay};
use runtime::shutdown::Shutdown;
use runtime::telemetry::Metrics;
use sqlx::PgPool;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Events the broker may send ahead: one is handled at a time, in order.
const PREFETCH: u16 = 50;

/// What the broker's tasks work with.
pub struct Parts<'a> {
    /// Where the broker is.
    pub url: &'a str,
    /// Begins every name on the broker.
    pub prefix: &'a str,
    /// The database, as role `chub_account`.
    pub pool: &'a PgPool,
    /// The posting engine.
    pub engine: &'a Engine,
    /// Woken when there may be something in the outbox.
    pub outbox: &'a Arc<Notify>,
    /// Where the figures go.
    pub metrics: &'a Metrics,
    /// Ends both tasks.
    pub shutdown: &'a Shutdown,
}

/// Starts relay and consumer. The broker may come later; until then the outbox grows.
pub fn start(parts: &Parts<'_>, tasks: &mut JoinSet<()>) -> anyhow::Result<()> {
    let topology = Topology::chain(parts.prefix);
    let broker = Broker::new(parts.url, topology, BrokerMetrics::new(parts.metrics)?)?;
    let relay = Relay {
        pool: parts.pool.clone(),
        outbox: Outbox::Account,
        publisher: Publisher::new(broker.clone()),
        public: &[],
        nudge: parts.outbox.clone(),
        metrics: OutboxMetrics::new(parts.metrics)?,
    };
    tasks.spawn(relay.run(parts.shutdown.clone()));
    let consumer = Consumer {
        broker,
        queue: topology::ACCOUNT_QUEUE,
        prefetch: PREFETCH,
    };
    let engine = parts.engine.clone();
    let shutdown = parts.shutdown.clone();
    tasks.spawn(consume(consumer, shutdown, move |message| {
        let engine = engine.clone();
        async move { handle(&engine, message).await }
    }));
    Ok(())
}

async fn handle(engine: &Engine, message: Received) -> Outcome {
    let event: Envelope<Event> = match serde_json::from_slice(&message.body) {
        Ok(event) => event,
        Err(error) => return Outcome::Dead(format!("not an event of the chain-worker: {error}")),
    };
    match handle_event(engine, &event).await {
        Ok(()) => Outcome::Ack,
        Err(error) => Outcome::Requeue(error.to_string()),
    }
}
