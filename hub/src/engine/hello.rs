//! Replicas introduce themselves (N5): the hub finds out whether its database was set back.

use super::ledger::Ledger;
use super::{Core, Fault, Hub, Work, limits};
use crate::store;
use hub_client::{BatchMark, ErrorBody, Hello, Welcome};
use hub_core::Hash32;
use std::sync::atomic::Ordering;

impl Hub {
    /// Compares the replica's newest batch with the journal. One that the journal doesn't have,
    /// or has with another root, means that this database was restored: the fence is raised.
    pub async fn hello(&self, hello: Hello) -> Result<Welcome, ErrorBody> {
        self.work(hello).await
    }
}

impl Work for Hello {
    type Output = Welcome;

    async fn run(&mut self, core: &Core, ledger: &mut Ledger) -> Result<Welcome, Fault> {
        let (mut tx, _) = core.begin(ledger, None).await?;
        let mark = self.newest;
        match core.contradiction(&mut tx, mark).await? {
            Some(Contradiction::Lost(why)) if !is_restored(ledger) => {
                tracing::error!(why, "fence raised: nothing is signed until it is lifted");
                let now = runtime::clock::now();
                let raised = store::hubs::raise_restored(&mut tx, core.hub_id(), &why, None, now);
                ledger.fence = raised.await?;
            }
            Some(Contradiction::OtherRoot(why)) if ledger.fence.is_none() => {
                tracing::error!(why, "fence raised: nothing is signed until it is lifted");
                let now = runtime::clock::now();
                store::hubs::raise_fence(&mut tx, core.hub_id(), &why, now).await?;
                ledger.fence = Some(why);
            }
            _ => {}
        }
        store::hubs::note_account(&mut tx, core.hub_id(), mark).await?;
        tx.commit().await?;
        core.greeted.store(true, Ordering::SeqCst);
        Ok(Welcome {
            session: core.session(),
            newest: ledger.newest,
            low_water: ledger.low_water(),
            caps: core.parts.limits.caps(),
            import_above: is_restored(ledger).then_some(ledger.newest.batch_id),
        })
    }
}

/// Begins the reason of a fence that is up because this database was set back.
pub const HUB_RESTORED: &str = "HUB_RESTORED";

/// Whether the hub waits for what its database lost.
pub(super) fn is_restored(ledger: &Ledger) -> bool {
    let why = ledger.fence.as_deref().unwrap_or_default();
    why.starts_with(HUB_RESTORED)
}

/// What the account side's newest batch says against the journal.
#[derive(Debug)]
enum Contradiction {
    /// It is not here.
    Lost(String),
    /// It is another one here.
    OtherRoot(String),
}

/// Whether a batch that the journal doesn't have was lost by a restore that an operator has not
/// dealt with yet: when he did, the floor jumped above it.
pub(crate) fn is_lost(batch_id: u64, floor: u64) -> bool {
    batch_id >= floor.saturating_sub(limits::RESTORE_JUMP - 1)
}

impl Core {
    async fn contradiction(
        &self,
        tx: &mut sqlx::Transaction<'static, sqlx::Postgres>,
        mark: BatchMark,
    ) -> Result<Option<Contradiction>, Fault> {
        if mark.batch_id == 0 {
            return Ok(None);
        }
        let marks = store::hubs::marks(tx, self.hub_id()).await?;
        let here = store::journal::seal_of(tx, self.hub_id(), mark.batch_id).await?;
        Ok(match here {
            Some(seal) if seal.root == mark.root => None,
            // A burned number that was never signed here has no root.
            Some(_) if mark.root == Hash32::ZERO => None,
            Some(_) => Some(Contradiction::OtherRoot(format!(
                "batch {} has another root in the account database: one of the databases was \
                 restored or edited. Compare both with the newest anchor before lifting",
                mark.batch_id
            ))),
            None if !is_lost(mark.batch_id, marks.floor) => None,
            None => Some(Contradiction::Lost(format!(
                "{HUB_RESTORED}: the account database has batch {}, which is not in the journal. \
                 Account-service gives back what was lost; compare with the newest anchor, then \
                 lift the fence",
                mark.batch_id
            ))),
        })
    }
}
