//! The benchmarks: a peer, a plain double-entry ledger in the same server, and ours in turn.

mod growth;
mod machine;
mod measure;
mod micro;
mod peer;
mod report;
mod scenarios;

pub use measure::Round;
pub use report::Report;

use crate::{Bed, System};
use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum};
use stack::tools;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Single transfers over HTTP, accounts chosen evenly (P1).
    Single,
    /// Single transfers in an open loop: so many a second, whatever comes back (P4).
    Steady,
    /// Transfer batches (P2).
    Batch,
    /// Every transfer pays the same account (P3).
    Hot,
    /// Opening accounts, many at once and one by one (P5).
    Open,
    /// Single transfers again and again while accounts and journal grow (P6); see --steps.
    Growth,
    /// SIGKILL, and how long until all is ready and fast again (P10); after the other scenarios.
    Restart,
    /// The parts of a batch by themselves, without any server.
    Micro,
}

/// Measures the speed of the system beside a plain ledger in the same Postgres.
///
/// Starts servers and services of its own, on free ports, from the programs beside this one.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench", max_term_width = 100)]
pub struct Args {
    /// What to measure; each of them in every round.
    #[arg(value_enum, required = true)]
    pub scenarios: Vec<Scenario>,
    /// Accounts to choose from.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(16..=10_000_000))]
    pub accounts: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 15)]
    pub seconds: u64,
    /// Seconds of load between a checkpoint and each measurement, the peer's too. Right after a
    /// checkpoint every page that is touched goes to the log as a whole, once; that is part of the
    /// first seconds, and of next to nothing in the minutes until the next checkpoint.
    #[arg(long, default_value_t = 10)]
    pub warm: u64,
    /// Rounds; medians count.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Kept connections that send one request after the other.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub connections: u32,
    /// Transfers a second of the steady load.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,
    /// Transfers of a transfer batch.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub batch: u32,
    /// Connections that send transfer batches or openings of many accounts.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub batch_connections: u32,
    /// What growth goes through: numbers of accounts, each with a number of operations in the
    /// journal to reach before it is measured.
    #[arg(
        long,
        value_name = "ACCOUNTS[:OPERATIONS],...",
        value_delimiter = ',',
        default_value = "10000,1000000"
    )]
    pub steps: Vec<Step>,
    /// Transfer batches in which each item stands for itself, instead of all or none.
    #[arg(long)]
    pub independent: bool,
    /// Seconds for each number of pgbench's clients; 0 leaves the peer out.
    #[arg(long, default_value_t = 5)]
    pub peer_seconds: u64,
    /// Leave the reconciliation at the end out.
    #[arg(long)]
    pub no_reconciliation: bool,
    /// Where the system's data is, `.local/bench` of the checkout when not given.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Go on with the data that an earlier run has left there, and leave it there again.
    #[arg(long)]
    pub keep: bool,
    /// Write the results to FILE.md and FILE.json as well.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Measure a build without optimisation too: it shows that the benchmark works, nothing else.
    #[arg(long)]
    pub unoptimised: bool,
}

/// A size of the system at which it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Accounts.
    pub accounts: u32,
    /// Rows of the journal, at least.
    pub operations: u64,
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (accounts, operations) = text.split_once(':').unwrap_or((text, "0"));
        let (accounts, operations) = (accounts.parse().ok(), operations.parse().ok());
        let step = accounts
            .zip(operations)
            .filter(|(accounts, _)| *accounts >= 16);
        let (accounts, operations) =
            step.ok_or("write ACCOUNTS or ACCOUNTS:OPERATIONS, 16 accounts at least")?;
        Ok(Self {
            accounts,
            operations,
        })
    }
}

impl Args {
    fn measured(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    fn warm_up(&self) -> Duration {
        Duration::from_secs(self.warm)
    }
}

/// Time spent on each part.
const MICRO: Duration = Duration::from_millis(500);

/// Runs the benchmarks and returns their results.
pub async fn run(args: &Args) -> anyhow::Result<Report> {
    ensure!(
        !cfg!(debug_assertions) || args.unoptimised,
        "this build is not optimised: use cargo run --release, or say --unoptimised"
    );
    if args.scenarios == [Scenario::Micro] {
        return Report::of_micro(micro::run(MICRO)?, args);
    }
    let default = || tools::workspace_root().join(".local/bench");
    let dir = args.dir.clone().unwrap_or_else(default);
    let parent = dir.parent().context("--dir needs a folder to lie in")?;
    std::fs::create_dir_all(parent)?;
    // Two benchmarks in one folder would be one system.
    let _lock = stack::lock_file(&dir.with_extension("lock")).await?;
    if !args.keep {
        System::remove(&dir).await?;
    }
    std::fs::create_dir_all(&dir)?;
    let result = on(args, System::up_in(&dir).await?).await;
    if !args.keep {
        System::remove(&dir).await?;
    }
    result
}

async fn on(args: &Args, system: System) -> anyhow::Result<Report> {
    let mut bed = Bed::on(system).await?;
    let mut report = Report::begin(args, &bed).await?;
    if args.scenarios.contains(&Scenario::Micro) {
        report.micro(micro::run(MICRO)?);
    }
    if args.scenarios.contains(&Scenario::Growth) {
        growth::run(args, &mut bed, &mut report).await?;
    }
    bed.fill(args.accounts).await?;
    scenarios::all(args, &mut bed, &mut report).await?;
    if args.scenarios.contains(&Scenario::Restart) {
        scenarios::restart(args, &mut bed, &mut report).await?;
    }
    report.finish(args, &bed).await?;
    Ok(report)
}
