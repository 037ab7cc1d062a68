//! The chain-worker.

use chain_worker::{config::Args, run};
use clap::Parser as _;
use runtime::shutdown::Shutdown;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    runtime::telemetry::init_logs();
    let (shutdown, trigger) = Shutdown::on_signal()?;
    run::run(args, shutdown, trigger).await
}
