//! Runs one k6 scenario, or the drill of overload, against a system of its own; see
//! `load-tests/README.md`.

use clap::Parser;
use load_tests::drill::{self, OverloadPlan};
use load_tests::{Bed, System, k6};
use std::process::ExitCode;

/// Runs a load scenario against a system of its own, and reconciles at its end.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Args {
    /// A scenario of `k6/scenarios.js`, or `overload`.
    scenario: String,
    /// Some seconds only; nothing is judged by the clock.
    #[arg(long)]
    short: bool,
    /// Accounts of the drill of overload.
    #[arg(long, default_value_t = 100_000)]
    accounts: u32,
    /// Seconds of each part of the drill of overload: before, overload, after.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let result = if args.scenario == "overload" {
        overload(&args).await
    } else {
        scenario(&args).await
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn scenario(args: &Args) -> anyhow::Result<()> {
    let form = if args.short {
        k6::Form::Short
    } else {
        k6::Form::Full
    };
    k6::install().await?;
    let system = System::up().await?;
    let summary = k6::run(&system, &args.scenario, form).await?;
    println!(
        "{}: drained in {:.0} ms, reconciliation clean in {:.0} ms",
        args.scenario,
        summary.value("drain_ms", "value"),
        summary.value("reconciliation_ms", "value")
    );
    Ok(())
}

async fn overload(args: &Args) -> anyhow::Result<()> {
    let mut bed = Bed::on(System::up().await?).await?;
    bed.fill(if args.short { 200 } else { args.accounts })
        .await?;
    let plan = OverloadPlan {
        seconds: if args.short { 3 } else { args.seconds },
        singles: 256,
        times: 10.0,
        least: 20_000.0,
        lists: 128,
    };
    let found = drill::overload(&mut bed, plan).await?;
    println!("{found:#?}");
    println!("reconciliation clean in {:?}", bed.reconcile().await?);
    Ok(())
}
