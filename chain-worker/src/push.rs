//! Tells each hub what is final, in the order of the chain, until it has accepted it.

use crate::config::Hub;
use crate::error::StepError;
use crate::store::commands::{self, NewCommand};
use crate::store::hubs::{self, Finalized};
use crate::worker::{Lead, Worker};
use chain_messages::{Command, Envelope, Event};
use hub_client::{ChainEventsRequest, EventCount, HubClient, HubError, HubRefusal};
use hub_core::Amount;
use runtime::amqp::Backoff;
use runtime::shutdown::Shutdown;
use std::time::Duration;
use uuid::Uuid;

/// Events told at once; a few hundred bytes each.
const PAGE: i64 = 200;
/// How long a hub may take.
const HUB_LIMIT: Duration = Duration::from_secs(10);
/// Longest pause while nothing is new; news end it.
const IDLE: Duration = Duration::from_millis(500);

/// Tells one hub, while this worker leads, until the drain begins.
///
/// # Errors
/// When no HTTP client can be made.
pub async fn run(worker: &Worker, hub: &Hub, shutdown: Shutdown) -> anyhow::Result<()> {
    let client = HubClient::new(&hub.url, &hub.token, HUB_LIMIT)?;
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    while !shutdown.is_draining() {
        let news = worker.push.notified();
        let lead = *worker.lead.borrow();
        let pause = match lead {
            None => IDLE,
            Some(lead) => match tell(worker, hub, &client, lead).await {
                Ok(true) => {
                    backoff.reset();
                    continue;
                }
                Ok(false) => {
                    backoff.reset();
                    IDLE
                }
                Err(error) => {
                    tracing::warn!(hub = %hub.address(), error = %error, "a hub can't be told");
                    backoff.step()
                }
            },
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = news, if lead.is_some() && pause == IDLE => {}
            () = shutdown.begun() => {}
        }
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum TellError {
    #[error(transparent)]
    Step(#[from] StepError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Hub(#[from] HubError),
}

/// Tells a hub one page; `true` when something was told.
async fn tell(
    worker: &Worker,
    hub: &Hub,
    client: &HubClient,
    lead: Lead,
) -> Result<bool, TellError> {
    let address = hub.address();
    let backlog = {
        let mut db = worker.pool.acquire().await?;
        hubs::backlog(&mut db, address, PAGE).await?
    };
    let Some(backlog) = backlog else {
        return Ok(false);
    };
    let lag = backlog.left + backlog.events.len() as u64;
    let label = address.to_string();
    let gauge = worker.metrics.push_lag.with_label_values(&[label.as_str()]);
    gauge.set(lag.try_into().unwrap_or(i64::MAX));
    let mut events = backlog.events;
    let block = match backlog.finalized {
        Some(finalized) => {
            events.push(final_mark(&finalized));
            finalized.block
        }
        None => backlog.pushed_block,
    };
    if events.is_empty() {
        return Ok(false);
    }
    let count = events.len();
    let request = ChainEventsRequest {
        count: Some(EventCount {
            before: backlog.told,
            up_to: backlog.up_to.cast_unsigned(),
        }),
        events,
    };
    let marks = match client.chain_events(&request).await {
        Err(HubError::Refused(HubRefusal::EventsMissing { after })) => {
            tracing::warn!(
                hub = label,
                after,
                "the hub was set back: events are told again"
            );
            let mut tx = worker.begin(lead).await?;
            hubs::rewind(&mut tx, address, after).await?;
            tx.commit().await.map_err(StepError::from)?;
            return Ok(true);
        }
        answer => answer?,
    };
    let mut tx = worker.begin(lead).await?;
    hubs::pushed(&mut tx, address, backlog.up_to, block).await?;
    tx.commit().await.map_err(StepError::from)?;
    tracing::debug!(hub = label, count, block, "told");
    if let Some(headroom) = marks.headroom {
        refill(worker, hub, lead, headroom).await?;
    }
    Ok(true)
}

/// The same final block always has the same id, so that a hub that was told twice can tell.
fn final_mark(finalized: &Finalized) -> Envelope<Event> {
    let mut id = [0; 16];
    id.copy_from_slice(&finalized.hash.0[..16]);
    Envelope {
        id: Uuid::from_bytes(id),
        correlation_id: format!("block:{}", finalized.block),
        body: Event::Finalized {
            block: finalized.block,
            timestamp: finalized.timestamp,
        },
    }
}

/// Orders funding when headroom is low. Not while any is under way, and only if the hub knew
/// everything final when it named its headroom.
async fn refill(worker: &Worker, hub: &Hub, lead: Lead, headroom: Amount) -> Result<(), TellError> {
    if headroom >= worker.settings.vault_threshold {
        return Ok(());
    }
    let address = hub.address();
    let mut tx = worker.begin(lead).await?;
    let is_told = hubs::is_told(&mut tx, address).await?;
    if !is_told || commands::has_open_funding(&mut tx, address).await? {
        return Ok(());
    }
    let command = Command::FundVault {
        hub: address,
        needed: worker.settings.vault_threshold.less(headroom),
    };
    let id = Uuid::now_v7();
    let correlation_id = format!("refill:{id}");
    let new = NewCommand {
        id,
        command: &command,
        digest: None,
        correlation_id: &correlation_id,
    };
    commands::insert(&mut tx, new, runtime::clock::now()).await?;
    tx.commit().await?;
    tracing::info!(correlation_id, hub = %address, %headroom, "headroom is low: vault refill");
    worker.wake.notify_one();
    Ok(())
}
