//! The whole system from outside: its own stack, the public API, SQL and signals.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod chain;
mod dispute;
mod exit;
mod k6;
mod kill;
mod observe;
mod overload;
mod recover;
mod restore;
mod story;
mod tamper;

use load_tests::{Answer, System};
use serde_json::json;
use std::process::Output;
use std::time::{Duration, Instant};

/// What a program printed, for a failing test's message.
fn printed(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Longest that a first issuance may wait: a new system's vault counts once it is final.
const PATIENCE: Duration = Duration::from_secs(60);

/// Opens an account of the vault hub and credits it.
async fn funded(system: &System, amount: &str) -> anyhow::Result<Answer> {
    let account = system.post("/v1/accounts", json!({})).await?;
    if amount != "0" {
        let order = json!({"account_id": account.text("id"), "amount": amount});
        let mut issued = system.post("/v1/issuances", order).await?;
        let path = format!("/v1/issuances/{}", issued.text("id"));
        let begun = Instant::now();
        while issued.text("status") != "completed" {
            assert!(begun.elapsed() < PATIENCE, "{issued:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
            issued = system.get(&path).await?;
        }
    }
    Ok(account)
}

/// A transfer of one unit; whatever comes of it.
async fn transfer(system: &System, from: &Answer, to: &Answer) -> anyhow::Result<Answer> {
    let order = json!({"from": from.text("id"), "to": to.text("id"), "amount": "1"});
    system
        .call(reqwest::Method::POST, "/v1/transfers", order)
        .await
}
