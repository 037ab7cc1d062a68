//! One measurement: warm up, then count for a while, with everything that is used meanwhile.

use super::Args;
use crate::Bed;
use crate::generator::{Load, Orders};
use crate::{probe, store};
use std::collections::BTreeMap;
use std::time::Instant;

/// What one measurement found.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// Things done a second.
    pub per_second: f64,
    /// Half of the requests were answered in so many milliseconds.
    pub p50_ms: f64,
    /// 99 % of them were.
    pub p99_ms: f64,
    /// Longest.
    pub max_ms: f64,
    /// Microseconds of CPU for each thing done, by process.
    pub cpu_us: BTreeMap<String, f64>,
    /// Share of all cores' time that was used, by all of them together.
    pub busy: f64,
    /// Operations of an average batch.
    pub per_batch: f64,
    /// Batches a second; each has one signature of each party.
    pub batches_per_second: f64,
    /// States of an average batch.
    pub states_per_batch: f64,
    /// Milliseconds from a batch's start to its commit, on average.
    pub batch_ms: f64,
    /// Of these, until the hub had answered.
    pub hub_ms: f64,
    /// Of these, in COMMIT.
    pub commit_ms: f64,
    /// Bytes of Postgres' log for each thing done.
    pub log_bytes: f64,
    /// Syncs of that log a second.
    pub syncs_per_second: f64,
    /// What was refused or broke, in words.
    pub troubles: String,
}

struct Reading {
    at: Instant,
    cpu: BTreeMap<String, f64>,
    metrics: BTreeMap<String, f64>,
    log: (i64, i64),
}

impl Reading {
    async fn take(bed: &Bed) -> anyhow::Result<Self> {
        let metrics = probe::metrics(bed.system.env("ACCOUNT_API")).await?;
        let log = store::log_position(&bed.pool).await?;
        Ok(Self {
            at: Instant::now(),
            cpu: bed.processes.cpu(),
            metrics,
            log,
        })
    }
}

/// Runs a load whose requests do `items` things each, and measures it.
pub async fn run(
    args: &Args,
    bed: &Bed,
    load: Load,
    orders: impl Orders + 'static,
    items: u32,
) -> anyhow::Result<Round> {
    store::checkpoint(&bed.pool).await?;
    let running = load.start(orders)?;
    tokio::time::sleep(args.warm_up()).await;
    let before = Reading::take(bed).await?;
    running.measure();
    tokio::time::sleep(args.measured()).await;
    running.pause();
    let after = Reading::take(bed).await?;
    let outcome = running.stop().await?;
    let done = outcome.done() * u64::from(items);
    let seconds = (after.at - before.at).as_secs_f64();
    Ok(Round {
        per_second: done as f64 / seconds,
        p50_ms: outcome.latency.quantile_ms(0.5),
        p99_ms: outcome.latency.quantile_ms(0.99),
        max_ms: outcome.latency.max_ms(),
        troubles: if done == 0 {
            format!("nothing was done {}", outcome.troubles())
        } else {
            outcome.troubles()
        },
        ..used(&before, &after, done.max(1))
    })
}

fn used(before: &Reading, after: &Reading, done: u64) -> Round {
    let seconds = (after.at - before.at).as_secs_f64();
    let grown = |name: &str| {
        let value = |reading: &Reading| reading.metrics.get(name).copied().unwrap_or_default();
        value(after) - value(before)
    };
    let batches = grown("chub_batch_seconds_count").max(1.0);
    let mean_ms = |name: &str| {
        1e3 * grown(&format!("chub_{name}_sum")) / grown(&format!("chub_{name}_count")).max(1.0)
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu: f64 = after.cpu.values().sum::<f64>() - before.cpu.values().sum::<f64>();
    Round {
        cpu_us: probe::us_each(&before.cpu, &after.cpu, done),
        busy: cpu / seconds / cores as f64,
        per_batch: grown("chub_batch_size_sum") / grown("chub_batch_size_count").max(1.0),
        batches_per_second: batches / seconds,
        states_per_batch: grown("chub_states_signed_total") / batches,
        batch_ms: mean_ms("batch_seconds"),
        hub_ms: mean_ms("hub_seconds"),
        commit_ms: mean_ms("commit_seconds"),
        log_bytes: (after.log.0 - before.log.0) as f64 / done as f64,
        syncs_per_second: (after.log.1 - before.log.1) as f64 / seconds,
        ..Round::default()
    }
}
