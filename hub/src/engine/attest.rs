//! What the watchtower copies, so that it can answer a close while this process is gone.

use super::refusal::{internal, malformed};
use super::{Core, Hub};
use crate::store::{self, attest::Committed};
use chain_messages::tower::{
    AttestedBatch, AttestedPage, CHANNELS, PAGE, ParamsPage, ParamsRequest,
};
use hub_client::ErrorBody;
use std::sync::Arc;

impl Hub {
    /// Committed batches above `after`, oldest first.
    pub async fn attestations(&self, after: u64) -> Result<AttestedPage, ErrorBody> {
        let core = Arc::clone(&self.core);
        self.run(async move { core.attested(after).await.map_err(database) })
            .await
    }

    /// The parameters of channels that were opened here.
    pub async fn params(&self, request: ParamsRequest) -> Result<ParamsPage, ErrorBody> {
        if request.channels.len() > CHANNELS {
            return Err(malformed("too many channels in one request"));
        }
        let core = Arc::clone(&self.core);
        self.run(async move {
            let found = async {
                let mut connection = core.parts.pool.acquire().await?;
                store::attest::params(&mut connection, core.hub_id(), &request.channels).await
            };
            let params = found.await.map_err(database)?;
            Ok(ParamsPage { params })
        })
        .await
    }
}

impl Core {
    async fn attested(&self, after: u64) -> sqlx::Result<AttestedPage> {
        let mut connection = self.parts.pool.acquire().await?;
        let low_water = store::attest::low_water(&mut connection, self.hub_id(), after).await?;
        let rows = store::attest::page(&mut connection, self.hub_id(), after, PAGE).await?;
        let more = u32::try_from(rows.len()) == Ok(PAGE);
        let last = rows.last().map_or(after, |row| row.batch_id);
        Ok(AttestedPage {
            last,
            next: if more { low_water.min(last) } else { low_water },
            more,
            batches: rows.into_iter().map(|row| self.attest(row)).collect(),
        })
    }

    /// The signature is made again: it is the same one.
    pub(super) fn attest(&self, row: Committed) -> AttestedBatch {
        let message = self.message(row.batch_id, &row.seal);
        AttestedBatch {
            batch_id: row.batch_id,
            prev_root: row.seal.prev_root,
            hub_signature: self.parts.signer.sign(&self.parts.terms.domain, &message),
            user_signature: row.user_signature,
            states: row.states,
        }
    }
}

fn database(error: sqlx::Error) -> ErrorBody {
    tracing::error!(%error, "database");
    internal()
}
