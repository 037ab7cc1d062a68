//! What is measured, in turn, round after round.

use super::report::{Line, Report};
use super::{Args, Scenario, measure, peer};
use crate::Bed;
use crate::generator::{AccountBatches, Load, Pace, TransferBatches, Transfers};
use crate::store;

impl Scenario {
    fn in_rounds(self) -> bool {
        !matches!(self, Self::Growth | Self::Restart | Self::Micro)
    }
}

/// Measures everything asked for.
pub async fn all(args: &Args, bed: &mut Bed, report: &mut Report) -> anyhow::Result<()> {
    if !args.scenarios.iter().any(|scenario| scenario.in_rounds()) {
        return Ok(());
    }
    if args.peer_seconds > 0 {
        let url = bed.system.env("DATABASE_URL");
        store::make_peer(url, i64::from(args.accounts)).await?;
    }
    for round in 1..=args.rounds {
        if args.peer_seconds > 0 {
            peer_round(args, bed, report).await?;
        }
        for scenario in args.scenarios.iter().filter(|one| one.in_rounds()) {
            eprintln!("round {round} of {}: {scenario:?}", args.rounds);
            one(args, bed, report, *scenario, round).await?;
        }
    }
    Ok(())
}

async fn peer_round(args: &Args, bed: &Bed, report: &mut Report) -> anyhow::Result<()> {
    let url = bed.system.env("DATABASE_URL");
    let accounts = usize::try_from(args.accounts)?;
    let mut rates = Vec::new();
    for clients in peer::CLIENTS {
        store::checkpoint(&bed.pool).await?;
        if args.warm > 0 {
            peer::run(url, accounts, clients, args.warm).await?;
        }
        let rate = peer::run(url, accounts, clients, args.peer_seconds).await?;
        rates.push((clients, rate));
    }
    eprintln!("peer: {rates:?}");
    report.peer.push(rates);
    Ok(())
}

async fn one(
    args: &Args,
    bed: &mut Bed,
    report: &mut Report,
    scenario: Scenario,
    round: u32,
) -> anyhow::Result<()> {
    let transfers = Transfers::uniform(&bed.accounts, u64::from(round));
    match scenario {
        Scenario::Single => {
            let load = bed.load(args.connections)?;
            let what = format!("single transfers, {} connections", args.connections);
            let found = measure::run(args, bed, load, transfers, 1).await?;
            report.add(Line::of("P1", what), found);
        }
        Scenario::Steady => {
            let load = Load {
                pace: Pace::Open {
                    per_second: f64::from(args.rate),
                },
                ..bed.load(args.connections)?
            };
            let what = format!("single transfers, {} a second, open loop", args.rate);
            let found = measure::run(args, bed, load, transfers, 1).await?;
            report.add(Line::of("P4", what), found);
        }
        Scenario::Hot => {
            let hot = Transfers {
                hot_payee: true,
                ..transfers
            };
            let load = bed.load(args.connections)?;
            let what = format!("one hot merchant, {} connections", args.connections);
            let found = measure::run(args, bed, load, hot, 1).await?;
            report.add(Line::of("P3", what), found);
        }
        Scenario::Batch => {
            let orders = TransferBatches {
                transfers,
                size: u64::from(args.batch),
                atomic: !args.independent,
            };
            let load = bed.load(args.batch_connections)?;
            let mode = if args.independent {
                "independent"
            } else {
                "atomic"
            };
            let what = format!(
                "{mode} transfer batches of {}, {} connections",
                args.batch, args.batch_connections
            );
            let found = measure::run(args, bed, load, orders, args.batch).await?;
            report.add(Line::of("P2", what), found);
        }
        Scenario::Open => {
            let load = bed.load(args.batch_connections)?;
            let many = AccountBatches::new(&bed.hub, usize::try_from(args.batch)?);
            let what = format!(
                "opening {} accounts at once, {} connections",
                args.batch, args.batch_connections
            );
            let found = measure::run(args, bed, load, many, args.batch).await?;
            report.add(Line::of("P5", what), found);
            let load = bed.load(args.connections)?;
            let what = format!(
                "opening accounts one by one, {} connections",
                args.connections
            );
            let found = measure::run(args, bed, load, bed.openings(), 1).await?;
            report.add(Line::of("P5", what), found);
        }
        // These go through rounds of their own, or need none.
        Scenario::Growth | Scenario::Restart | Scenario::Micro => {}
    }
    Ok(())
}

/// SIGKILL to account-service and hub, and how long each takes to be ready; then the load at once,
/// with nothing remembered.
pub async fn restart(args: &Args, bed: &mut Bed, report: &mut Report) -> anyhow::Result<()> {
    for round in 1..=args.rounds {
        for process in ["account-service", "hub-mint"] {
            bed.system.kill9(process)?;
        }
        bed.restart().await?;
        let took = |process| bed.system.ready_after_s(process).unwrap_or(f64::NAN);
        let times = format!(
            "hub {:.1} s, account-service {:.1} s, with {} channels",
            took("hub-mint"),
            took("account-service"),
            store::counts(&bed.pool).await?.channels
        );
        report.note("ready after SIGKILL and restart", times);
        let cold = Args {
            warm: 0,
            ..args.clone()
        };
        let orders = Transfers::uniform(&bed.accounts, u64::from(1_000 + round));
        let load = bed.load(args.connections)?;
        let what = format!(
            "single transfers, the first {} s after a restart",
            args.seconds
        );
        let found = measure::run(&cold, bed, load, orders, 1).await?;
        report.add(Line::of("P10", what), found);
    }
    Ok(())
}
