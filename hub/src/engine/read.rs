//! Reading: the journal and single heads.

use super::ledger::Ledger;
use super::refusal::{internal, not_found};
use super::{Core, Fault, Hub, Work, limits};
use crate::store::{self, journal::StoredFate};
use hub_client::{ChannelHead, ErrorBody, Fate, JournalEntry};
use hub_core::ChannelId;
use std::sync::Arc;

impl Hub {
    /// Journal entries above `after`, oldest first.
    pub async fn journal(&self, after: u64, limit: u32) -> Result<Vec<JournalEntry>, ErrorBody> {
        let core = Arc::clone(&self.core);
        self.run(async move {
            let limit = limit.clamp(1, limits::JOURNAL_PAGE);
            let mut connection = core.parts.pool.acquire().await.map_err(database)?;
            let page = store::journal::page(&mut connection, core.hub_id(), after, limit).await;
            let page = page.map_err(database)?;
            Ok(page.iter().map(|entry| core.to_wire(entry)).collect())
        })
        .await
    }

    /// One channel's head.
    pub async fn channel(&self, channel: ChannelId) -> Result<ChannelHead, ErrorBody> {
        self.work(ReadHead(channel)).await
    }
}

struct ReadHead(ChannelId);

impl Work for ReadHead {
    type Output = ChannelHead;

    async fn run(&mut self, core: &Core, ledger: &mut Ledger) -> Result<ChannelHead, Fault> {
        let (mut tx, _) = core.begin(ledger, None).await?;
        let heads = core.heads(&mut tx, ledger, &[self.0]).await?;
        tx.commit().await?;
        match heads.get(&self.0) {
            Some(head) => Ok(head.to_wire()),
            None => Err(not_found(format!("channel {} is not open here", self.0)).into()),
        }
    }
}

impl Core {
    /// The signature is made again: it is the same one.
    fn to_wire(&self, entry: &store::journal::Entry) -> JournalEntry {
        let message = self.message(entry.batch_id, &entry.seal);
        JournalEntry {
            batch_id: entry.batch_id,
            request_id: entry.request_id,
            prev_root: entry.seal.prev_root,
            root: entry.seal.root,
            depth: entry.seal.depth,
            signature: self.parts.signer.sign(&self.parts.terms.domain, &message),
            fate: entry.fate.map(|fate| match fate {
                StoredFate::Committed(user_signature) => Fate::Committed {
                    batch_id: entry.batch_id,
                    user_signature,
                },
                StoredFate::Burned => Fate::Burned {
                    batch_id: entry.batch_id,
                },
            }),
        }
    }
}

fn database(error: sqlx::Error) -> ErrorBody {
    tracing::error!(%error, "database");
    internal()
}
