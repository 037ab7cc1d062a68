//! Memory stays bounded, and the time a run takes is printed.

use crate::books::{Books, Fate, Order};
use crate::world::World;
use std::fs;
use std::time::Instant;

const ACCOUNTS: usize = 20_000;
/// Accounts and operations of one batch.
const BATCH: usize = 1_000;
/// What a run may take on top of the process that asks for it, in bytes.
const LIMIT: u64 = 128 << 20;

/// Highest and current memory of this process, in bytes.
fn memory(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_accounts_fit_into_bounded_memory() {
    let mut books = Books::new();
    let all: Vec<_> = (0..ACCOUNTS).map(|_| books.account(0)).collect();
    for chunk in all.chunks(BATCH) {
        let opens: Vec<_> = chunk.iter().map(|at| Order::Open(*at)).collect();
        books.post(0, &opens, Fate::Committed);
    }
    for chunk in all.chunks(BATCH) {
        let issues: Vec<_> = chunk.iter().map(|at| Order::Issue(*at, 40)).collect();
        books.post(0, &issues, Fate::Committed);
    }
    for (round, chunk) in all.chunks(BATCH).enumerate() {
        let pay = |at: &usize| Order::Transfer(*at, (at * 7 + round + 1) % ACCOUNTS, 3);
        let transfers: Vec<_> = chunk
            .iter()
            .map(pay)
            .filter(|order| !matches!(order, Order::Transfer(a, b, _) if a == b))
            .collect();
        books.post(0, &transfers, Fate::Committed);
    }
    books.close();
    let world = World::of(books).await;
    // What the books took is the test's own.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");
    let began = Instant::now();
    let report = world.report().await;
    let took = began.elapsed();
    let grown = memory("VmHWM").saturating_sub(before);
    println!(
        "{ACCOUNTS} accounts: {took:?}, {} MiB, {:?}",
        grown >> 20,
        report.checks
    );
    assert!(report.is_clean(), "{:#?}", report.breaks);
    assert!(grown < LIMIT, "{} MiB", grown >> 20);
}
