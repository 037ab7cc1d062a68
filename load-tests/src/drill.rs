//! Overload and sudden death under load: what was acknowledged must be there afterwards, once.

use crate::generator::{Load, Orders, Outcome, Pace, TransferBatches, Transfers};
use crate::{Bed, store};
use anyhow::ensure;
use reqwest::Method;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Keys asked for in one statement.
const KEYS: usize = 100_000;
/// Requests that got no answer and are sent again, at most: each waits for its answer.
const ASKED_AGAIN: usize = 500;
/// Longest that a restarted system may take until it answers a request again.
const BACK: Duration = Duration::from_secs(30);

/// Compares what callers were told with the journal: each key that was acknowledged stands there
/// as done, once. Returns how many keys were acknowledged.
pub async fn all_there(bed: &Bed, outcome: &Outcome) -> anyhow::Result<usize> {
    for keys in outcome.acknowledged.chunks(KEYS) {
        let found = store::effects(&bed.pool, keys).await?;
        for key in keys {
            let effects = found.get(key).copied().unwrap_or_default();
            ensure!(
                effects == 1,
                "{key} was acknowledged and has {effects} effects"
            );
        }
    }
    Ok(outcome.acknowledged.len())
}

/// Sends requests that got no answer again, with the keys they had: each must now have its one
/// effect. Returns how many.
pub async fn settle_unknown(
    bed: &Bed,
    load: &Load,
    orders: &impl Orders,
    outcome: &Outcome,
) -> anyhow::Result<usize> {
    let unknown = || outcome.unknown.iter().take(ASKED_AGAIN);
    let mut keys = Vec::new();
    for number in unknown() {
        let mut body = Vec::new();
        let path = orders.write(*number, &mut body);
        let body: Value = serde_json::from_slice(&body)?;
        let key = load.key(*number);
        let answer = bed
            .system
            .call_with_key(Method::POST, path, body, &key)
            .await?;
        ensure!(answer.status == 201, "{key} again: {answer:?}");
        keys.push(key);
    }
    let found = store::effects(&bed.pool, &keys).await?;
    for key in &keys {
        ensure!(
            found.get(key) == Some(&1),
            "{key} has {:?} effects",
            found.get(key)
        );
    }
    Ok(keys.len())
}

/// What a drill of overload found.
#[derive(Debug, Clone)]
pub struct Overload {
    /// Transfers a second before, with as many connections as fill the batches.
    pub capacity: f64,
    /// Transfers offered a second, by lists and one by one, while there was load.
    pub offered: f64,
    /// Transfers done a second meanwhile.
    pub done: f64,
    /// Transfers refused a second, by code.
    pub refused: BTreeMap<String, f64>,
    /// Answers 503 and 429 to single transfers that did not say when to come back.
    pub without_retry_after: u64,
    /// Of single transfers that were accepted, in milliseconds: half, 99 %, all.
    pub accepted_ms: [f64; 3],
    /// Of single transfers that were refused, 99 %, in milliseconds.
    pub refused_p99_ms: f64,
    /// Most memory of each process in each third of the overload, in MiB.
    pub resident_mib: [BTreeMap<String, f64>; 3],
    /// From the end of the load until the last answer.
    pub drain: Duration,
    /// Transfers a second right after.
    pub recovered: f64,
    /// Single transfers after that: 99 %, in milliseconds.
    pub recovered_p99_ms: f64,
    /// Operations that were acknowledged during the overload; each was found once.
    pub acknowledged: usize,
    /// Exchanges that broke.
    pub broken: u64,
}

/// How a drill of overload is made.
#[derive(Debug, Clone, Copy)]
pub struct OverloadPlan {
    /// Length of each of its parts: before, overload, after.
    pub seconds: u64,
    /// Connections of single transfers.
    pub singles: u32,
    /// How many times the capacity is offered.
    pub times: f64,
    /// Transfers a second to offer at least: a capacity measured beside other work may be too low
    /// to fill a queue by its multiple.
    pub least: f64,
    /// Connections that offer lists of 1,000 transfers, each for itself.
    pub lists: u32,
}

/// Transfers of a list.
const LIST: u64 = 1_000;

/// Offers many times the capacity for a while, in an open loop, and checks that nothing
/// acknowledged is lost.
pub async fn overload(bed: &mut Bed, plan: OverloadPlan) -> anyhow::Result<Overload> {
    let seconds = Duration::from_secs(plan.seconds);
    let transfers = |seed| Transfers::uniform(&bed.accounts.clone(), seed);
    let (before, singles, lists, after) = (transfers(1), transfers(2), transfers(3), transfers(4));
    let total = store::total(&bed.pool).await?;
    let (capacity, _) = rate(bed, plan, before).await?;
    let operations = store::counts(&bed.pool).await?.operations;

    let remembered = Load {
        remember: true,
        ..bed.load(plan.singles)?
    };
    let per_second = (capacity * plan.times).max(plan.least) / LIST as f64;
    let flood = Load {
        pace: Pace::Open { per_second },
        ..Load {
            remember: true,
            ..bed.load(plan.lists)?
        }
    };
    let orders = TransferBatches {
        transfers: lists,
        size: LIST,
        atomic: false,
    };
    let begun = Instant::now();
    let flood = flood.start(orders)?;
    let single = remembered.start(singles)?;
    flood.measure();
    single.measure();
    let mut resident_mib = <[BTreeMap<String, f64>; 3]>::default();
    while begun.elapsed() < seconds {
        let third = 3 * begun.elapsed().as_millis() / seconds.as_millis();
        let third = usize::try_from(third)?.min(2);
        for (name, mib) in bed.processes.resident_mib() {
            let most = resident_mib[third].entry(name).or_default();
            *most = mib.max(*most);
        }
        tokio::time::sleep(seconds / 60).await;
    }
    let ended = Instant::now();
    let offering = (ended - begun).as_secs_f64();
    let (single, flood) = tokio::try_join!(single.stop(), flood.stop())?;
    let drain = ended.elapsed();
    let took = begun.elapsed().as_secs_f64();
    let (recovered, recovered_p99_ms) = rate(bed, plan, after).await?;

    let acknowledged = all_there(bed, &single).await? + all_there(bed, &flood).await?;
    let broken: u64 = single.broken.values().chain(flood.broken.values()).sum();
    let grown = store::counts(&bed.pool).await?.operations - operations;
    if broken == 0 {
        // What was refused for overload leaves no trace; what came after is not counted apart.
        ensure!(
            grown >= i64::try_from(acknowledged)?,
            "{acknowledged} acknowledged, {grown} in the journal"
        );
    }
    ensure!(
        store::total(&bed.pool).await? == total,
        "money came or went"
    );
    let mut refused: BTreeMap<String, f64> = BTreeMap::new();
    for (code, count) in single.codes.iter().chain(&flood.refused_items) {
        *refused.entry(code.clone()).or_default() += *count as f64 / took;
    }
    for (code, count) in &flood.codes {
        *refused.entry(code.clone()).or_default() += (count * LIST) as f64 / took;
    }
    Ok(Overload {
        capacity,
        offered: ((flood.sent + flood.unsent) * LIST + single.sent) as f64 / offering,
        done: acknowledged as f64 / took,
        refused,
        without_retry_after: single.without_retry_after,
        accepted_ms: [
            single.latency.quantile_ms(0.5),
            single.latency.quantile_ms(0.99),
            single.latency.max_ms(),
        ],
        refused_p99_ms: single.refused_latency.quantile_ms(0.99),
        resident_mib,
        drain,
        recovered,
        recovered_p99_ms,
        acknowledged,
        broken,
    })
}

/// Single transfers a second, and the latency of 99 % of them.
async fn rate(bed: &mut Bed, plan: OverloadPlan, orders: Transfers) -> anyhow::Result<(f64, f64)> {
    let running = bed.load(plan.singles)?.start(orders)?;
    running.measure();
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(plan.seconds)).await;
    running.pause();
    let took = begun.elapsed().as_secs_f64();
    let outcome = running.stop().await?;
    let troubles = outcome.troubles();
    ensure!(troubles.is_empty(), "without overload: {troubles}");
    Ok((
        outcome.done() as f64 / took,
        outcome.latency.quantile_ms(0.99),
    ))
}

/// What a drill of sudden death found.
#[derive(Debug, Clone, Copy)]
pub struct Killed {
    /// Transfers acknowledged in all; each was found once.
    pub acknowledged: usize,
    /// Requests without an answer that were sent again and then had their one effect.
    pub settled: usize,
    /// From the kill until the first answer after it, the longest of all.
    pub back: Duration,
}

/// SIGKILL to one process under full load, several times; it is started again at once, and the
/// load goes on.
pub async fn kill(
    bed: &mut Bed,
    process: &str,
    times: u32,
    connections: u32,
) -> anyhow::Result<Killed> {
    let total = store::total(&bed.pool).await?;
    let load = Load {
        remember: true,
        ..bed.load(connections)?
    };
    let orders = Transfers::uniform(&bed.accounts, u64::from(connections));
    let running = load.clone().start(orders.clone())?;
    running.measure();
    let mut longest = Duration::ZERO;
    for _ in 0..times {
        let from = running.answered();
        wait(|| running.answered() > from + 500, "no load").await?;
        bed.system.kill9(process)?;
        let killed = Instant::now();
        bed.restart().await?;
        // Requests that were refused meanwhile are answers too: only a done one counts.
        let probe = Load {
            limit: Some(1),
            ..bed.load(1)?
        };
        loop {
            let once = probe.clone().all(orders.clone()).await?;
            if once.done() == 1 {
                break;
            }
            ensure!(killed.elapsed() < BACK, "not back: {}", once.troubles());
        }
        longest = longest.max(killed.elapsed());
    }
    let outcome = running.stop().await?;
    let acknowledged = all_there(bed, &outcome).await?;
    let settled = settle_unknown(bed, &load, &orders, &outcome).await?;
    ensure!(
        store::total(&bed.pool).await? == total,
        "money came or went"
    );
    Ok(Killed {
        acknowledged,
        settled,
        back: longest,
    })
}

async fn wait(mut until: impl FnMut() -> bool, what: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !until() {
        ensure!(begun.elapsed() < BACK, "{what} for {BACK:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
