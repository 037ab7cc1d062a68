//! Connects the engine to a hub: terms, restart protocol, then the lane and its helpers.

use super::job::Room;
use super::lane::{self, Lane, LaneParts};
use super::{Engine, HubEndpoint, LaneHandle, fates, limits, settle};
use crate::store;
use hub_client::HubClient;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Between two tries to reach a hub.
const RETRY: Duration = Duration::from_millis(500);
/// How often a draining lane is looked at.
const IDLE_CHECK: Duration = Duration::from_millis(20);

/// Why a hub is not connected yet.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error(transparent)]
    Client(#[from] hub_client::BuildError),
    #[error(transparent)]
    Hub(#[from] hub_client::HubError),
    #[error(transparent)]
    Fates(#[from] fates::FateError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("the hub accepts the custody signer {wanted}, this service signs as {ours}")]
    OtherCustodySigner {
        wanted: hub_core::Address,
        ours: hub_core::Address,
    },
}

/// Tries until the hub is connected.
pub(super) async fn keep_connected(engine: Engine, endpoint: HubEndpoint) {
    loop {
        match connect(&engine, &endpoint).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, url = endpoint.url, "hub is not connected"),
        }
        if engine.inner.draining.load(Ordering::Relaxed) {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn connect(engine: &Engine, endpoint: &HubEndpoint) -> Result<(), ConnectError> {
    let config = &engine.inner.config;
    let client = HubClient::new(&endpoint.url, &endpoint.token, limits::HUB_TIMEOUT)?;
    let terms = client.terms().await?;
    if terms.custody_signer != config.custody.address() {
        return Err(ConnectError::OtherCustodySigner {
            wanted: terms.custody_signer,
            ours: config.custody.address(),
        });
    }
    store::hubs_write::upsert(&config.pool, &terms, runtime::clock::now()).await?;
    let hub_id = terms.hub_id;
    let lane = Arc::new(Lane::new(LaneParts {
        terms,
        client,
        url: endpoint.url.clone(),
        custody: config.custody.clone(),
        pool: config.pool.clone(),
        metrics: config.metrics.clone(),
        batch_max: config.batch_max.clamp(1, limits::BATCH_MAX),
        outbox: config.outbox.clone(),
        committed: config.committed.clone(),
    }));
    fates::hello(&lane).await?;
    fates::read_fence(&lane).await?;
    fates::load_unhanded(&lane).await?;
    let (queue, groups) = mpsc::channel(limits::QUEUE);
    tokio::spawn(lane::run(lane.clone(), groups));
    tokio::spawn(fates::run(lane.clone()));
    tokio::spawn(settle::run(engine.clone(), lane.clone()));
    let room = Room::default();
    let handle = LaneHandle { lane, queue, room };
    let mut lanes = engine
        .inner
        .lanes
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    lanes.insert(hub_id, handle);
    tracing::info!(hub = %hub_id, url = endpoint.url, "hub connected");
    Ok(())
}

/// Waits until a lane without a queue has finished its batches, then ends its helpers.
pub(super) async fn wait_until_idle(lane: &Arc<Lane>) {
    while lane.is_running() {
        tokio::time::sleep(IDLE_CHECK).await;
    }
    lane.draining.store(true, Ordering::Relaxed);
    lane.fates_ready.notify_one();
    while Arc::strong_count(lane) > 1 {
        tokio::time::sleep(IDLE_CHECK).await;
    }
}
