//! The peer: pgbench makes plain double-entry transfers in the very server that ours run on.

use anyhow::{Context as _, ensure};
use sqlx::postgres::PgConnectOptions;
use stack::tools;
use std::process::Stdio;
use std::str::FromStr as _;

/// Numbers of clients to try; the best one counts.
pub const CLIENTS: [u32; 4] = [1, 16, 32, 64];

/// Transfers a second of pgbench with so many clients.
pub async fn run(url: &str, accounts: usize, clients: u32, seconds: u64) -> anyhow::Result<f64> {
    let options = PgConnectOptions::from_str(url).context("DATABASE_URL")?;
    let script = tools::workspace_root().join("load-tests/peer/transfer.sql");
    let output = tokio::process::Command::new(tools::postgres_bin()?.join("pgbench"))
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
        .arg(format!("--client={clients}"))
        .arg(format!("--time={seconds}"))
        .arg(format!("--define=accounts={accounts}"))
        .arg(format!("--file={}", script.display()))
        .args(["--host", options.get_host()])
        .args(["--port", &options.get_port().to_string()])
        .args(["--username", options.get_username()])
        .arg(crate::store::PEER_DATABASE)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("pgbench; it comes with the package postgresql")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && printed.contains("number of failed transactions: 0 "),
        "pgbench failed: {printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    rate(&printed).with_context(|| format!("pgbench printed no rate: {printed}"))
}

fn rate(printed: &str) -> Option<f64> {
    let line = printed.lines().find(|line| line.starts_with("tps = "))?;
    line.split(' ').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_rate_is_found_in_what_pgbench_prints() {
        let printed =
            "latency average = 2.7 ms\ntps = 5830.120000 (without initial connection time)\n";
        assert_eq!(super::rate(printed), Some(5830.12));
        assert_eq!(super::rate("no"), None);
    }
}
