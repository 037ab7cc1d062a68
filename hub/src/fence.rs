//! What an operator does when the fence is up.

use crate::config::{FenceAction, Serve};
use crate::engine::{HUB_RESTORED, is_lost, limits};
use crate::store;
use anyhow::Context as _;

/// Shows or lifts the fence of the hub that the arguments name. A serving process notices with
/// its next request.
pub async fn run(serve: &Serve, action: &FenceAction) -> anyhow::Result<()> {
    let pool = runtime::pg::connect(&serve.database_url, 1)
        .await
        .context("connecting to Postgres")?;
    let mut tx = pool.begin().await?;
    match action {
        FenceAction::Status => {
            let marks = store::hubs::marks(&mut tx, serve.hub_id)
                .await
                .context("no such hub has run here")?;
            let newest = store::journal::newest(&mut tx, serve.hub_id).await?;
            println!(
                "fence: {}",
                marks.fence.as_deref().unwrap_or("none, the hub signs")
            );
            println!("newest batch here: {} {}", newest.batch_id, newest.root);
            println!(
                "newest batch a replica named: {} {}",
                marks.account.batch_id, marks.account.root
            );
            println!("imported up to: {}", marks.imported);
            println!("batch floor: {}", marks.floor);
        }
        FenceAction::Raise { why } => {
            let now = runtime::clock::now();
            store::hubs::raise_fence(&mut tx, serve.hub_id, why, now).await?;
            tx.commit().await?;
            println!("raised");
        }
        FenceAction::Lift {
            confirm,
            without_import,
        } => {
            anyhow::ensure!(
                *confirm,
                "compare both databases with the newest anchor first, then add --confirm"
            );
            // What a hello finds out meanwhile comes before or after.
            store::hubs::lock(&mut tx, serve.hub_id).await?;
            let marks = store::hubs::marks(&mut tx, serve.hub_id)
                .await
                .context("no such hub has run here")?;
            let newest = marks.account.batch_id;
            let restored = marks.fence.is_some_and(|why| why.starts_with(HUB_RESTORED));
            // Whatever the fence was raised for: what account-service has must be here.
            let here = store::journal::seal_of(&mut tx, serve.hub_id, newest).await?;
            let lost = newest > 0 && here.is_none() && is_lost(newest, marks.floor);
            let imported = marks.imported > 0 && marks.imported >= newest;
            let lacks = (restored || lost) && !imported;
            anyhow::ensure!(
                !lacks || *without_import,
                "account-service has batches up to {}, imported are those up to {}: wait until it \
                 has given back the rest, or add --without-import, and their channels stay refused",
                newest,
                marks.imported
            );
            let lifted =
                store::hubs::lift_fence(&mut tx, serve.hub_id, limits::RESTORE_JUMP).await?;
            // Whoever lifts too early would else believe that the fence to come was lifted.
            anyhow::ensure!(
                lifted,
                "there is no fence, so nothing was lifted; after a restore it comes up when \
                 account-service greets this hub: wait until `hub fence status` shows it, then \
                 lift it"
            );
            tx.commit().await?;
            println!("lifted; versions and batch numbers jumped by 2^32");
        }
    }
    Ok(())
}
