//! The hub process.

use clap::Parser as _;
use hub::config::{Args, Command};
use runtime::shutdown::Shutdown;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match args.command {
        Some(Command::Fence { action }) => hub::fence::run(&args.serve, &action).await,
        None => {
            runtime::telemetry::init_logs();
            let (shutdown, trigger) = Shutdown::on_signal()?;
            let running = hub::run::start(&args.serve, shutdown, trigger).await?;
            running.finished().await
        }
    }
}
