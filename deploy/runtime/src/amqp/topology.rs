//! Exchanges and queues.

use super::AmqpError;
use chain_messages::topology::{
    ACCOUNT_QUEUE, COMMANDS, DEAD_LETTER_SUFFIX, DELIVERY_LIMIT, EVENTS,
};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, ExchangeKind};

/// What must exist on the broker. Declaring it again changes nothing; declaring a queue with
/// other arguments is refused by the broker, so both ends build it from the same place.
#[derive(Debug, Clone)]
pub struct Topology {
    prefix: String,
    exchanges: Vec<(String, ExchangeKind)>,
    queues: Vec<String>,
    bindings: Vec<Binding>,
}

#[derive(Debug, Clone)]
struct Binding {
    queue: String,
    exchange: String,
    routing_key: String,
}

impl Topology {
    /// Nothing; every name added is prefixed with `prefix`.
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            exchanges: Vec::new(),
            queues: Vec::new(),
            bindings: Vec::new(),
        }
    }

    /// Commands to the chain-worker and events from it. Sender and receiver both declare the
    /// receiver's queue, so that nothing is lost when the sender is there first.
    pub fn chain(prefix: &str) -> Self {
        Self::new(prefix)
            .direct(COMMANDS)
            .queue(COMMANDS)
            .bind(COMMANDS, COMMANDS, COMMANDS)
            .topic(EVENTS)
            .queue(ACCOUNT_QUEUE)
            .bind(ACCOUNT_QUEUE, EVENTS, "#")
    }

    /// Adds a durable direct exchange.
    pub fn direct(mut self, exchange: &str) -> Self {
        self.exchanges
            .push((self.name(exchange), ExchangeKind::Direct));
        self
    }

    /// Adds a durable topic exchange.
    pub fn topic(mut self, exchange: &str) -> Self {
        self.exchanges
            .push((self.name(exchange), ExchangeKind::Topic));
        self
    }

    /// Adds a quorum queue that one consumer at a time reads, so that order holds with several
    /// replicas, and its dead-letter queue.
    pub fn queue(mut self, queue: &str) -> Self {
        self.queues.push(self.name(queue));
        self
    }

    /// Routes an exchange's messages with this key, or pattern, to a queue.
    pub fn bind(mut self, queue: &str, exchange: &str, routing_key: &str) -> Self {
        self.bindings.push(Binding {
            queue: self.name(queue),
            exchange: self.name(exchange),
            routing_key: routing_key.to_owned(),
        });
        self
    }

    /// A name on this deployment's broker.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Where a queue's dead messages go.
    pub fn dead_name(&self, queue: &str) -> String {
        dead(&self.name(queue))
    }

    pub(super) async fn declare(&self, channel: &Channel) -> Result<(), AmqpError> {
        for (exchange, kind) in &self.exchanges {
            let options = ExchangeDeclareOptions {
                durable: true,
                ..Default::default()
            };
            channel
                .exchange_declare(
                    exchange.as_str().into(),
                    kind.clone(),
                    options,
                    FieldTable::default(),
                )
                .await?;
        }
        for queue in &self.queues {
            let dead = dead(queue);
            declare_queue(channel, &dead, quorum()).await?;
            declare_queue(channel, queue, with_dead_letters(&dead)).await?;
        }
        for binding in &self.bindings {
            channel
                .queue_bind(
                    binding.queue.as_str().into(),
                    binding.exchange.as_str().into(),
                    binding.routing_key.as_str().into(),
                    QueueBindOptions::default(),
                    FieldTable::default(),
                )
                .await?;
        }
        Ok(())
    }
}

fn dead(queue: &str) -> String {
    format!("{queue}{DEAD_LETTER_SUFFIX}")
}

async fn declare_queue(
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
) -> Result<(), AmqpError> {
    channel
        .queue_declare(name.into(), QueueDeclareOptions::durable(), arguments)
        .await?;
    Ok(())
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments
}

/// A message moves to the dead-letter queue only when it is safe there; that needs
/// `reject-publish`, which without a length limit never rejects.
fn with_dead_letters(dead: &str) -> FieldTable {
    let mut arguments = quorum();
    arguments.insert(
        "x-delivery-limit".into(),
        AMQPValue::LongLongInt(DELIVERY_LIMIT),
    );
    arguments.insert("x-dead-letter-exchange".into(), text(""));
    arguments.insert("x-dead-letter-routing-key".into(), text(dead));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}
