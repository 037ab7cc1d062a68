//! The same load while the system grows.

use super::report::{Line, Report};
use super::{Args, Step, measure};
use crate::Bed;
use crate::generator::{TransferBatches, Transfers};
use crate::store;
use std::time::Duration;

/// How often the journal is looked at while it is filled: counting reads all of it.
const LOOK: Duration = Duration::from_secs(10);

/// Measures single transfers at each step.
pub async fn run(args: &Args, bed: &mut Bed, report: &mut Report) -> anyhow::Result<()> {
    for step in &args.steps {
        bed.fill(step.accounts).await?;
        fill_journal(args, bed, step).await?;
        let counts = store::counts(&bed.pool).await?;
        let what = format!(
            "single transfers, {} channels, {:.1} million operations, {} MiB",
            counts.channels,
            counts.operations as f64 / 1e6,
            counts.bytes >> 20
        );
        for round in 1..=args.rounds {
            let orders = Transfers::uniform(&bed.accounts, u64::from(round));
            let load = bed.load(args.connections)?;
            let found = measure::run(args, bed, load, orders, 1).await?;
            report.add(Line::of("P6", what.clone()), found);
        }
    }
    Ok(())
}

async fn fill_journal(args: &Args, bed: &mut Bed, step: &Step) -> anyhow::Result<()> {
    let wanted = i64::try_from(step.operations)?;
    if store::counts(&bed.pool).await?.operations >= wanted {
        return Ok(());
    }
    let orders = TransferBatches {
        transfers: Transfers::uniform(&bed.accounts, 0),
        size: u64::from(args.batch),
        atomic: true,
    };
    let running = bed.load(args.batch_connections)?.start(orders)?;
    while store::counts(&bed.pool).await?.operations < wanted {
        tokio::time::sleep(LOOK).await;
    }
    running.stop().await?;
    Ok(())
}
