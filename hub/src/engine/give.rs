//! What an account database that was set back is given (N5): committed batches with both
//! signatures and what the states alone don't say, and the `Withdraw`s signed here.

use super::refusal::{internal, malformed};
use super::{Core, Hub, limits};
use crate::store;
use hub_client::{CommittedPage, ErrorBody, ImportBatch, ImportWithdraw, SignedOrders, SignedPage};
use std::sync::Arc;

impl Hub {
    /// Committed batches above `after`, oldest first.
    pub async fn committed(&self, after: u64) -> Result<CommittedPage, ErrorBody> {
        let core = Arc::clone(&self.core);
        self.run(async move { core.committed(after).await.map_err(database) })
            .await
    }

    /// The `Withdraw`s that were signed for these orders, as far as there are any.
    pub async fn signed_orders(&self, request: SignedOrders) -> Result<SignedPage, ErrorBody> {
        if request.orders.len() > limits::ORDERS {
            return Err(malformed("too many orders in one request"));
        }
        let core = Arc::clone(&self.core);
        self.run(async move { core.signed_orders(&request).await.map_err(database) })
            .await
    }
}

impl Core {
    async fn committed(&self, after: u64) -> sqlx::Result<CommittedPage> {
        let mut connection = self.parts.pool.acquire().await?;
        let hub_id = self.hub_id();
        let rows = store::give::page(&mut connection, hub_id, after, limits::GIVEN_BATCHES).await?;
        let more = u32::try_from(rows.len()) == Ok(limits::GIVEN_BATCHES);
        let mut batches = Vec::with_capacity(rows.len());
        for (request_id, row) in rows {
            let batch_id = row.batch_id;
            let attested = self.attest(row);
            let states = attested.states();
            let states = states.map_err(|error| sqlx::Error::Decode(error.into()))?;
            let first = states.iter().filter(|state| state.ack_version == 0);
            let first: Vec<_> = first.map(|state| state.channel_id).collect();
            batches.push(ImportBatch {
                attested,
                request_id,
                opened: store::attest::params(&mut connection, hub_id, &first).await?,
                orders: store::give::orders(&mut connection, hub_id, batch_id).await?,
            });
        }
        Ok(CommittedPage { batches, more })
    }

    /// The signature is made again: it is the same one.
    async fn signed_orders(&self, request: &SignedOrders) -> sqlx::Result<SignedPage> {
        let mut connection = self.parts.pool.acquire().await?;
        let mut withdraws = Vec::new();
        for order in &request.orders {
            let found = store::orders::signed(&mut connection, self.hub_id(), *order).await?;
            withdraws.extend(found.map(|(withdraw, executed)| ImportWithdraw {
                order: *order,
                hub_signature: self.parts.signer.sign(&self.parts.terms.domain, &withdraw),
                withdraw,
                executed,
            }));
        }
        Ok(SignedPage { withdraws })
    }
}

fn database(error: sqlx::Error) -> ErrorBody {
    tracing::error!(%error, "database");
    internal()
}
