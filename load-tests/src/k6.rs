//! Runs the scenarios of `load-tests/k6` with the real k6.

use crate::System;
use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use stack::tools;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Every scenario of `k6/scenarios.js`.
pub const SCENARIOS: [&str; 8] = [
    "steady",
    "ramp",
    "spike",
    "soak",
    "hot_source",
    "hot_destination",
    "contention",
    "mixed",
];

/// How long and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As operations would run it, with thresholds for latencies.
    Full,
    /// Some seconds; nothing is judged by the clock.
    Short,
}

/// What k6 measured.
#[derive(Debug, Clone)]
pub struct Summary {
    metrics: Value,
}

impl Summary {
    /// A value of a metric, for example `value("http_req_duration", "p(99)")`; zero when k6 has
    /// none.
    pub fn value(&self, metric: &str, field: &str) -> f64 {
        self.metrics[metric][field].as_f64().unwrap_or_default()
    }
}

fn folder() -> PathBuf {
    tools::workspace_root().join("load-tests")
}

/// Gets the pinned k6 if it is not there yet, and says where it is.
pub async fn install() -> anyhow::Result<PathBuf> {
    let script = folder().join("k6/install");
    let output = tokio::process::Command::new(&script)
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| script.display().to_string())?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(folder().join(".k6/k6"))
}

/// Runs a scenario against a system. An error when a threshold is missed, a request is answered
/// as it should not be, or the reconciliation at the end finds a break.
pub async fn run(system: &System, scenario: &str, form: Form) -> anyhow::Result<Summary> {
    ensure!(
        SCENARIOS.contains(&scenario),
        "{scenario} is none of {}",
        SCENARIOS.join(", ")
    );
    let k6 = install().await?;
    let export = system.dir().join(format!("k6-{scenario}.json"));
    let output = command(&k6, system, scenario, form)
        .arg(format!("--summary-export={}", export.display()))
        .arg(folder().join("k6/scenarios.js"))
        .output()
        .await
        .context("k6")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{scenario}: {}\n{printed}\n{complained}", output.status);
    }
    if form == Form::Full {
        println!("{printed}");
    }
    let text = std::fs::read_to_string(&export)?;
    let summary: Value = serde_json::from_str(&text)?;
    Ok(Summary {
        metrics: summary["metrics"].clone(),
    })
}

fn command(k6: &Path, system: &System, scenario: &str, form: Form) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(k6);
    command.args(["run", "--no-usage-report", "--quiet", "--no-color"]);
    for name in ["ACCOUNT_API", "ACCOUNT_API_KEY"] {
        command.env(name, system.env(name));
    }
    let form = if form == Form::Short { "short" } else { "full" };
    command.env("SCENARIO", scenario).env("FORM", form);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}
