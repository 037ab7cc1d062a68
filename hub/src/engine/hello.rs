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
        if let Some(why) = core.contradiction(&mut tx, mark).await?
            && ledger.fence.is_none()
        {
            let now = runtime::clock::now();
            tracing::error!(why, "fence raised: nothing is signed until it is lifted");
            store::hubs::raise_fence(&mut tx, core.hub_id(), &why, now).await?;
            ledger.fence = Some(why);
        }
        store::hubs::note_account(&mut tx, core.hub_id(), mark).await?;
        tx.commit().await?;
        core.greeted.store(true, Ordering::SeqCst);
        Ok(Welcome {
            session: core.session,
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

impl Core {
    async fn contradiction(
        &self,
        tx: &mut sqlx::Transaction<'static, sqlx::Postgres>,
        mark: BatchMark,
    ) -> Result<Option<String>, Fault> {
        if mark.batch_id == 0 {
            return Ok(None);
        }
        let marks = store::hubs::marks(tx, self.hub_id()).await?;
        let here = store::journal::seal_of(tx, self.hub_id(), mark.batch_id).await?;
        Ok(match here {
            Some(seal) if seal.root == mark.root => None,
            // A burned number that was never signed here has no root.
            Some(_) if mark.root == Hash32::ZERO => None,
            Some(_) => Some(format!(
                "batch {} has another root in the account database: one of the databases was \
                 restored or edited. Compare both with the newest anchor before lifting",
                mark.batch_id
            )),
            // Lost by a restore that an operator has dealt with: the floor is a jump above it.
            None if mark.batch_id < marks.floor.saturating_sub(limits::RESTORE_JUMP - 1) => None,
            None => Some(format!(
                "{HUB_RESTORED}: the account database has batch {}, which is not in the journal. \
                 Account-service gives back what was lost; compare with the newest anchor, then \
                 lift the fence",
                mark.batch_id
            )),
        })
    }
}
