//! Sending.

use super::{AmqpError, Broker, Link};
use futures_util::future::try_join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation};
use std::time::Duration;
use tokio::sync::Mutex;
use uuid::Uuid;

/// How long a window may wait for its confirms. A broker that blocks publishers for lack of
/// memory or disk answers nothing; the messages stay where they came from.
const CONFIRM_LIMIT: Duration = Duration::from_secs(10);
/// AMQP's delivery mode 2: survives a restart of the broker.
const PERSISTENT: u8 = 2;

/// A message to send.
#[derive(Debug, Clone)]
pub struct Message {
    /// By which receivers drop duplicates.
    pub id: Uuid,
    /// The exchange, without the deployment's prefix.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// From the request that caused it.
    pub correlation_id: String,
    /// JSON.
    pub body: Vec<u8>,
}

/// What the broker did with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is in at least one queue, on disk, on a majority of the nodes.
    Stored,
    /// No queue is bound for it.
    Unroutable,
    /// The broker could not store it.
    Refused,
}

/// Sends messages on a connection of its own.
#[derive(Debug)]
pub struct Publisher {
    broker: Broker,
    link: Mutex<Option<Link>>,
}

impl Publisher {
    /// Not connected yet.
    pub fn new(broker: Broker) -> Self {
        Self {
            broker,
            link: Mutex::new(None),
        }
    }

    /// Sends messages in this order and waits for all confirms. After an error the fate of each
    /// is unknown, the connection is gone, and the same messages must be sent again.
    pub async fn publish(&self, messages: &[Message]) -> Result<Vec<Fate>, AmqpError> {
        let mut slot = self.link.lock().await;
        let link = match slot.take() {
            Some(link) => link,
            None => self.connect().await?,
        };
        let timer = self.broker.metrics.confirm_seconds.start_timer();
        let fates = tokio::time::timeout(CONFIRM_LIMIT, self.send(&link, messages))
            .await
            .unwrap_or(Err(AmqpError::Silent(CONFIRM_LIMIT)))?;
        timer.observe_duration();
        *slot = Some(link);
        let count = |fate| fates.iter().filter(|f| **f == fate).count() as u64;
        self.broker.metrics.nacks.inc_by(count(Fate::Refused));
        self.broker.metrics.returned.inc_by(count(Fate::Unroutable));
        Ok(fates)
    }

    async fn connect(&self) -> Result<Link, AmqpError> {
        let link = self.broker.open().await?;
        link.channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(link)
    }

    async fn send(&self, link: &Link, messages: &[Message]) -> Result<Vec<Fate>, AmqpError> {
        let options = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        let mut confirms = Vec::with_capacity(messages.len());
        for message in messages {
            let properties = BasicProperties::default()
                .with_delivery_mode(PERSISTENT)
                .with_content_type("application/json".into())
                .with_message_id(message.id.to_string().into())
                .with_correlation_id(short(&message.correlation_id).into());
            let exchange = self.broker.topology.name(&message.exchange);
            let confirm = link
                .channel
                .basic_publish(
                    exchange.into(),
                    message.routing_key.as_str().into(),
                    options,
                    &message.body,
                    properties,
                )
                .await?;
            confirms.push(confirm);
        }
        let confirmed = try_join_all(confirms).await?;
        Ok(confirmed.iter().map(fate).collect())
    }
}

fn fate(confirmation: &Confirmation) -> Fate {
    match confirmation {
        Confirmation::Ack(None) => Fate::Stored,
        Confirmation::Ack(Some(_)) => Fate::Unroutable,
        // Without confirms nothing is known to be stored.
        Confirmation::Nack(_) | Confirmation::NotRequested => Fate::Refused,
    }
}

/// AMQP's short strings hold 255 bytes.
fn short(text: &str) -> &str {
    let mut end = text.len().min(255);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_correlation_id_is_cut_between_characters() {
        assert_eq!(short("abc"), "abc");
        assert_eq!(short(&"é".repeat(200)).len(), 254);
    }
}
