//! The whole system from outside: its own stack, the public API, SQL and signals.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod chain;
mod kill;
mod story;
mod tamper;

use load_tests::{Answer, System};
use serde_json::json;
use std::process::Output;

/// What a program printed, for a failing test's message.
fn printed(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Opens an account of the vault hub and credits it.
async fn funded(system: &System, amount: &str) -> anyhow::Result<Answer> {
    let account = system.post("/v1/accounts", json!({})).await?;
    if amount != "0" {
        let order = json!({"account_id": account.text("id"), "amount": amount});
        let issued = system.post("/v1/issuances", order).await?;
        assert_eq!(issued.text("status"), "completed", "{issued:?}");
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
