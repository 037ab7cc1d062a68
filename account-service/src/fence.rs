//! What an operator does when a restore fence is up.

use crate::ids::IdKind;
use crate::store::hubs_write;
use anyhow::Context as _;
use clap::Subcommand;
use sqlx::PgPool;

/// The fence that stops money after a database was restored.
#[derive(Debug, Clone, Subcommand)]
pub enum FenceAction {
    /// Show each hub's fence, with what is missing
    Status,
    /// Raise it by hand: before a restore, or when something looks wrong
    Raise {
        /// The hub, hub_…
        hub: String,
        /// Why
        #[arg(long)]
        why: String,
    },
    /// Lift it; replicas compare the databases again first, and raise it anew where they differ
    Lift {
        /// The hub, hub_…
        hub: String,
        /// I have compared both databases with the newest anchor
        #[arg(long)]
        confirm: bool,
    },
}

/// Does it. Serving replicas notice within seconds.
pub async fn run(pool: &PgPool, action: &FenceAction) -> anyhow::Result<()> {
    match action {
        FenceAction::Status => {
            for (hub, why) in hubs_write::fences(pool).await? {
                let why = why.as_deref().unwrap_or("no fence");
                println!("{} {why}", IdKind::Hub.text(hub));
            }
        }
        FenceAction::Raise { hub, why } => {
            hubs_write::fence(pool, known(pool, hub).await?, why).await?;
            println!("raised");
        }
        FenceAction::Lift { hub, confirm } => {
            let hub = known(pool, hub).await?;
            anyhow::ensure!(
                *confirm,
                "compare both databases with the newest anchor first, then add --confirm"
            );
            let lifted = hubs_write::lift_fence(pool, hub).await?;
            // Whoever lifts too early would else believe that the fence to come was lifted.
            anyhow::ensure!(
                lifted,
                "there is no fence, so nothing was lifted; after a restore a replica raises it when \
                 it compares the databases: wait until `account-service fence status` shows it, \
                 then lift it"
            );
            println!("lifted");
        }
    }
    Ok(())
}

async fn known(pool: &PgPool, hub: &str) -> anyhow::Result<uuid::Uuid> {
    let id = IdKind::Hub
        .parse(hub)
        .context("a hub is hub_ and 32 lower-case hexadecimal digits")?;
    let fences = hubs_write::fences(pool).await?;
    anyhow::ensure!(
        fences.iter().any(|(known, _)| *known == id),
        "{hub} was never connected to this database"
    );
    Ok(id)
}
