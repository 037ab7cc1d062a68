//! The model and the deployed contract agree on random histories; wrong models are found out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use differential::bug::Bug;
use differential::history::{Report, run};
use std::collections::BTreeMap;

/// Histories of a plain run; `DIFFERENTIAL_HISTORIES` sets another number, for the night.
const HISTORIES: u64 = 300;
/// Histories within which every planted bug must have shown.
const BUG_HISTORIES: u64 = 400;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

/// Histories of the seeds, shared out to two threads; what occurred in them.
fn run_all(seeds: std::ops::Range<u64>) -> BTreeMap<String, u64> {
    let share = |rest: u64| {
        let seeds: Vec<_> = seeds.clone().filter(|seed| seed % 2 == rest).collect();
        std::thread::spawn(move || {
            let reports = seeds.into_iter().map(|seed| match run(seed, None) {
                Ok(report) => report,
                Err(difference) => panic!("{difference}"),
            });
            reports.collect::<Vec<Report>>()
        })
    };
    let mut seen = BTreeMap::new();
    for thread in [share(0), share(1)] {
        for report in thread.join().unwrap() {
            for (name, count) in report.seen {
                *seen.entry(name).or_default() += count;
            }
        }
    }
    seen
}

#[test]
fn model_and_contract_agree_on_every_call_and_every_payment() {
    if let Some(seed) = variable("DIFFERENTIAL_SEED") {
        run(seed, None).unwrap_or_else(|difference| panic!("{difference}"));
        return;
    }
    let first = variable("DIFFERENTIAL_FIRST").unwrap_or(0);
    let histories = variable("DIFFERENTIAL_HISTORIES").unwrap_or(HISTORIES);
    let seen = run_all(first..first + histories);
    let calls: u64 = seen.values().sum();
    println!("{histories} histories, {calls} outcomes");
    for (name, count) in &seen {
        println!("{count:>8} {name}");
    }
    if histories < HISTORIES {
        return;
    }
    let missing: Vec<_> = OUTCOMES
        .iter()
        .filter(|name| !seen.contains_key(**name))
        .collect();
    assert!(missing.is_empty(), "never seen: {missing:?}");
}

#[test]
fn every_planted_bug_is_found() {
    for bug in Bug::ALL {
        let found = (0..BUG_HISTORIES).find_map(|seed| run(seed, Some(bug)).err());
        let found = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
        println!("{bug:?}: seed {}: {}", found.seed, found.what);
    }
}

/// What a plain run must have seen, or the histories are too tame.
const OUTCOMES: &[&str] = &[
    "acceptClose AlreadyPenalized",
    "acceptClose BadSignature",
    "acceptClose accepted",
    "addCredit NotNewer",
    "addCredit accepted",
    "cashCheque accepted",
    "challenge BadAttestation",
    "challenge DeadlinePassed",
    "challenge NotNewer",
    "challenge accepted",
    "claimDelayed NotDue",
    "claimDelayed accepted",
    "close BadAttestation",
    "close BadParams",
    "close NotAParty",
    "close NotNullState",
    "close SumMismatch",
    "close accepted",
    "coopSettle TotalsMoved",
    "coopSettle accepted",
    "deposit Paused",
    "deposit accepted",
    "payOwed accepted",
    "penalize NotRevoked",
    "penalize accepted",
    "penalizeLate accepted",
    "proveEquivocation accepted",
    "settle DeadlineAhead",
    "settle accepted",
    "unlock NothingResolvable",
    "unlock WrongLockList",
    "unlock accepted",
    "withdraw Expired",
    "withdraw FundsShort",
    "withdraw HubSignature",
    "withdraw NotOpen",
    "withdraw Payee",
    "withdraw UserSignature",
    "withdraw WrongEpoch",
    "withdraw WrongTotal",
    "withdraw accepted",
];
