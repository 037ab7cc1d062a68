//! Gives a hub whose database was set back what it lost (N5): co-signed batches with the orders
//! in them, and the `Withdraw`s it has signed. The hub checks every signature; an operator lifts
//! its fence.

use super::fates::FateError;
use super::lane::Lane;
use crate::store::{batches, import, tower};
use chain_messages::tower::AttestedBatch;
use hub_client::{ImportBatch, ImportOrder, ImportRequest, ImportWithdraw};
use hub_core::{ChannelId, OperationId};
use uuid::Uuid;

/// Batches read at once.
const BATCHES: i64 = 16;
/// Bytes of states in one request, beyond the first batch: with parameters five times as much,
/// which stays below the hub's limit.
const STATES: usize = 512 << 10;
/// `Withdraw`s in one request: 600 bytes each.
const WITHDRAWS: i64 = 1_000;

/// Sends everything above what the hub has, oldest first, and says when that was all.
pub(super) async fn give_back(lane: &Lane) -> Result<(), FateError> {
    let Some(above) = lane.import_above() else {
        return Ok(());
    };
    let (newest, _) = batches::newest(&lane.pool, lane.terms.hub_id).await?;
    give_batches(lane, above).await?;
    give_withdraws(lane, above).await?;
    let done = ImportRequest {
        batches: Vec::new(),
        withdraws: Vec::new(),
        complete: Some(newest),
    };
    let imported = lane.client.import(&done).await?.newest;
    lane.set_import_above(None);
    tracing::warn!(
        above,
        newest = imported.batch_id,
        "the hub has back what it lost"
    );
    Ok(())
}

async fn give_batches(lane: &Lane, above: u64) -> Result<(), FateError> {
    let mut after = above;
    loop {
        let page = import::committed(&lane.pool, lane.terms.hub_id, after, BATCHES).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.batch_id;
        let mut request = Vec::new();
        let mut size = 0;
        for batch in page {
            if size > 0 && size + batch.states.len() > STATES {
                send(lane, std::mem::take(&mut request)).await?;
                size = 0;
            }
            size += batch.states.len();
            request.push(complete(lane, batch).await?);
        }
        send(lane, request).await?;
    }
}

async fn send(lane: &Lane, batches: Vec<ImportBatch>) -> Result<(), FateError> {
    let request = ImportRequest {
        batches,
        withdraws: Vec::new(),
        complete: None,
    };
    lane.client.import(&request).await?;
    Ok(())
}

/// A batch with what its states alone don't say.
async fn complete(lane: &Lane, batch: import::Committed) -> Result<ImportBatch, FateError> {
    let attested = AttestedBatch {
        batch_id: batch.batch_id,
        prev_root: batch.prev_root,
        hub_signature: batch.hub_signature,
        user_signature: batch.user_signature,
        states: batch.states,
    };
    let states = attested
        .states()
        .map_err(|error| sqlx::Error::Decode(error.into()))?;
    let first = states.iter().filter(|state| state.ack_version == 0);
    let opened: Vec<ChannelId> = first.map(|state| state.channel_id).collect();
    let orders = import::orders(&lane.pool, &[batch.id], batch.created_at).await?;
    Ok(ImportBatch {
        attested,
        request_id: batch.id,
        opened: tower::params(&lane.pool, &opened).await?,
        orders: orders
            .into_iter()
            .map(|order| ImportOrder {
                order: order.order,
                channel: order.channel,
                amount: order.amount,
                to: order.to,
            })
            .collect(),
    })
}

async fn give_withdraws(lane: &Lane, above: u64) -> Result<(), FateError> {
    let (hub_id, mut after) = (lane.terms.hub_id, Uuid::nil());
    loop {
        let page = import::signed(&lane.pool, hub_id, above, after, WITHDRAWS).await?;
        let Some((last, ..)) = page.last() else {
            return Ok(());
        };
        after = *last;
        let withdraws = page
            .into_iter()
            .map(|(id, withdraw, hub_signature, executed)| ImportWithdraw {
                order: OperationId(*id.as_bytes()),
                withdraw,
                hub_signature,
                executed,
            });
        let request = ImportRequest {
            batches: Vec::new(),
            withdraws: withdraws.collect(),
            complete: None,
        };
        lane.client.import(&request).await?;
    }
}
