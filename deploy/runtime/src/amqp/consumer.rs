//! Receiving.

use super::{AmqpError, Backoff, Broker, Link};
use crate::shutdown::Shutdown;
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use std::future::Future;
use std::time::Duration;
use uuid::Uuid;

/// First pause before a handler's next try; doubled up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(50);
/// Longest pause between two tries.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Tries before the message goes back to the broker, which counts deliveries and in the end calls
/// it dead: about two minutes, longer than a restart of any server. Until then the order holds.
const TRIES: u32 = 30;
/// How often the dead-letter queue is looked at.
const DEAD_CHECK: Duration = Duration::from_secs(15);

/// A message as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// The sender's id, when it is one.
    pub id: Option<Uuid>,
    /// The routing key.
    pub routing_key: String,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// The body.
    pub body: Vec<u8>,
}

/// What a handler did with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its effect is committed, or was before.
    Ack,
    /// Something else is in the way, for example the database: try again. Nothing was done.
    Requeue(String),
    /// It can never be handled. It goes to the dead-letter queue, for a person to look at.
    Dead(String),
}

/// Which queue to read, and how.
#[derive(Debug, Clone)]
pub struct Consumer {
    /// The broker.
    pub broker: Broker,
    /// The queue, without the deployment's prefix.
    pub queue: &'static str,
    /// Messages the broker may send ahead.
    pub prefetch: u16,
}

/// Hands a queue's messages to `handler`, one after the other, until the drain begins. A message
/// is acknowledged after its handler has returned; one whose process dies comes again.
pub async fn consume<H, F>(consumer: Consumer, shutdown: Shutdown, handler: H)
where
    H: Fn(Received) -> F,
    F: Future<Output = Outcome>,
{
    let mut backoff = Backoff::default();
    while !shutdown.is_draining() {
        let session = async {
            let link = consumer.broker.open().await?;
            backoff.reset();
            tracing::info!(queue = consumer.queue, "consuming");
            read(&consumer, &link, &shutdown, &handler).await
        };
        let outcome = tokio::select! {
            outcome = session => outcome,
            () = shutdown.begun() => return,
        };
        if let Err(error) = outcome {
            tracing::warn!(queue = consumer.queue, %error, "consumer lost the broker");
            tokio::select! {
                () = tokio::time::sleep(backoff.step()) => {}
                () = shutdown.begun() => {}
            }
        }
    }
}

async fn read<H, F>(
    consumer: &Consumer,
    link: &Link,
    shutdown: &Shutdown,
    handler: &H,
) -> Result<(), AmqpError>
where
    H: Fn(Received) -> F,
    F: Future<Output = Outcome>,
{
    let channel = &link.channel;
    channel
        .basic_qos(consumer.prefetch, BasicQosOptions::default())
        .await?;
    let queue = consumer.broker.topology.name(consumer.queue);
    let mut stream = channel
        .basic_consume(
            queue.into(),
            String::new().into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let mut dead_check = tokio::time::interval(DEAD_CHECK);
    while !shutdown.is_draining() {
        let next = tokio::select! {
            next = stream.next() => next,
            _ = dead_check.tick() => {
                count_dead(consumer, link).await?;
                continue;
            }
        };
        match next {
            Some(delivery) => handle(consumer, delivery?, handler).await?,
            // The broker cancelled us, for example because the queue was deleted.
            None => return Ok(()),
        }
    }
    Ok(())
}

async fn handle<H, F>(consumer: &Consumer, delivery: Delivery, handler: &H) -> Result<(), AmqpError>
where
    H: Fn(Received) -> F,
    F: Future<Output = Outcome>,
{
    let labels = [consumer.queue];
    let metrics = &consumer.broker.metrics;
    if delivery.redelivered {
        metrics.redeliveries.with_label_values(&labels).inc();
    }
    let message = received(&delivery);
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    for _ in 0..TRIES {
        match handler(message.clone()).await {
            Outcome::Ack => {
                delivery.acker.ack(BasicAckOptions::default()).await?;
                return Ok(());
            }
            Outcome::Dead(reason) => {
                tracing::error!(queue = consumer.queue, id = ?message.id, reason, "message is dead");
                let reject = BasicRejectOptions { requeue: false };
                delivery.acker.reject(reject).await?;
                return Ok(());
            }
            Outcome::Requeue(reason) => {
                metrics.retries.with_label_values(&labels).inc();
                tracing::warn!(queue = consumer.queue, id = ?message.id, reason, "message waits");
                tokio::time::sleep(backoff.step()).await;
            }
        }
    }
    let nack = BasicNackOptions {
        multiple: false,
        requeue: true,
    };
    delivery.acker.nack(nack).await?;
    Ok(())
}

fn received(delivery: &Delivery) -> Received {
    let id = delivery.properties.message_id().as_ref();
    Received {
        id: id.and_then(|id| id.as_str().parse().ok()),
        routing_key: delivery.routing_key.to_string(),
        redelivered: delivery.redelivered,
        body: delivery.data.clone(),
    }
}

async fn count_dead(consumer: &Consumer, link: &Link) -> Result<(), AmqpError> {
    let name = consumer.broker.topology.dead_name(consumer.queue);
    let passive = QueueDeclareOptions::durable().passive();
    let queue = link
        .channel
        .queue_declare(name.into(), passive, FieldTable::default())
        .await?;
    consumer
        .broker
        .metrics
        .dead
        .with_label_values(&[consumer.queue])
        .set(i64::from(queue.message_count()));
    Ok(())
}
