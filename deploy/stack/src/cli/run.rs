use std::io::Write;

use stack::{DATABASE, Kind, Stack, StackConfig};
use tokio::signal::unix::{SignalKind, signal};

use super::{Outcome, dev_env::Values, io};

/// Servers that end with this process.
pub async fn run() -> Outcome {
    let mut terminate = signal(SignalKind::terminate()).map_err(io("waiting for SIGTERM"))?;
    let stack = Stack::start(StackConfig::private(&Kind::ALL)?).await?;
    stack.endpoints().create_database(DATABASE).await?;
    for (name, value) in Values::of_servers(stack.endpoints()).pairs() {
        println!("{name}={value}");
    }
    std::io::stdout()
        .flush()
        .map_err(io("printing the addresses"))?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(io("waiting for an interrupt"))?,
        _ = terminate.recv() => {}
    }
    stack.stop().await?;
    Ok(true)
}
