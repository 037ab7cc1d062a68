//! The hub's database is set back to a backup in the middle of the business: it signs nothing
//! until it has back what it lost and an operator has looked, and never two states of one version.

use crate::chain::{CUSTOMER, is_clean, until};
use crate::{funded, transfer};
use hub_core::{Hash32, Typed as _, encoding::decode_states};
use load_tests::{Answer, System, program};
use reqwest::Method;
use serde_json::json;
use sqlx::PgPool;
use std::collections::HashMap;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const TABLES: [&str; 9] = [
    "hubs",
    "channels",
    "heads",
    "journal",
    "orders",
    "withdrawals",
    "channel_facts",
    "chain_marks",
    "inbox",
];

async fn run(database: &PgPool, statement: String) {
    sqlx::query(sqlx::AssertSqlSafe(statement.clone()))
        .execute(database)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// As a backup is: all tables as they were at one moment.
async fn copy(database: &PgPool, name: &str) {
    let mut tx = database.begin().await.unwrap();
    let mut statements = vec![
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ".to_owned(),
        format!("DROP SCHEMA IF EXISTS {name} CASCADE"),
        format!("CREATE SCHEMA {name}"),
    ];
    let copies = TABLES.map(|table| format!("CREATE TABLE {name}.{table} AS TABLE hub.{table}"));
    statements.extend(copies);
    for statement in statements {
        let done = sqlx::query(sqlx::AssertSqlSafe(statement.clone()));
        let done = done.execute(&mut *tx).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    tx.commit().await.unwrap();
}

async fn restore(database: &PgPool, name: &str) {
    for table in TABLES {
        run(database, format!("DELETE FROM hub.{table}")).await;
        run(
            database,
            format!("INSERT INTO hub.{table} SELECT * FROM {name}.{table}"),
        )
        .await;
    }
}

/// The hub's own command, with the settings it serves with.
async fn fence(system: &System, args: &[&str]) -> Output {
    let pid = system.pid("hub-vault").unwrap();
    let settings = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let settings = String::from_utf8(settings).unwrap();
    let settings = settings.split('\0').filter_map(|one| one.split_once('='));
    let mut hub = tokio::process::Command::new(program("hub"));
    hub.env_clear().envs(settings).arg("fence").args(args);
    hub.output().await.unwrap()
}

/// A transfer that is done, sooner or later.
async fn paid(system: &System, from: &Answer, to: &Answer) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let key = format!("restore-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let order = json!({"from": from.text("id"), "to": to.text("id"), "amount": "1"});
    let begun = Instant::now();
    loop {
        let sent = system.call_with_key(Method::POST, "/v1/transfers", order.clone(), &key);
        let moved = sent.await.unwrap();
        if moved.status.as_u16() == 201 {
            return;
        }
        assert_eq!(moved.status.as_u16(), 503, "{moved:?}");
        assert!(begun.elapsed() < PATIENCE, "{moved:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn withdrawn(system: &System, account: &Answer, amount: &str) {
    let order = json!({"account_id": account.text("id"), "amount": amount, "to_address": CUSTOMER});
    let order = system.post("/v1/withdrawals", order).await.unwrap();
    let path = format!("/v1/withdrawals/{}", order.text("id"));
    until(system, &path, |one| one.text("status") == "completed").await;
}

/// Every state ever signed, in these journals, by what must not be signed twice.
async fn signed_once(database: &PgPool, journals: &[&str]) {
    let mut seen: HashMap<_, Hash32> = HashMap::new();
    for journal in journals {
        let rows: Vec<Vec<u8>> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "SELECT states FROM {journal}.journal"
        )))
        .fetch_all(database)
        .await
        .unwrap();
        assert!(!rows.is_empty(), "{journal}");
        for state in rows
            .iter()
            .flat_map(|states| decode_states(states).unwrap())
        {
            let hash = state.hash_struct();
            let place = (state.channel_id, state.epoch, state.version);
            let first = *seen.entry(place).or_insert(hash);
            assert_eq!(first, hash, "two states of {place:?} were signed");
        }
    }
}

/// Lifts the hub's fence: that works when everything is back, and not before. It is up once the
/// hub has heard from account-service; until then there is nothing to lift.
async fn lifted(system: &System) {
    let begun = Instant::now();
    loop {
        let status = fence(system, &["status"]).await;
        if String::from_utf8_lossy(&status.stdout).contains("HUB_RESTORED") {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", crate::printed(&status));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let begun = Instant::now();
    loop {
        let lifted = fence(system, &["lift", "--confirm"]).await;
        if lifted.status.success() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", crate::printed(&lifted));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Starts what doesn't run, while others use the system.
async fn start_again(system: &System) {
    let mut stack = tokio::process::Command::new(program("stack"));
    let started = stack.arg("--dir").arg(system.dir()).arg("up").output();
    let started = started.await.unwrap();
    assert!(started.status.success(), "{}", crate::printed(&started));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_was_set_back_gets_back_what_it_lost_and_signs_over_nothing() {
    let mut system = System::up().await.unwrap();
    let database = system.database().await.unwrap();
    let (a, b) = (
        funded(&system, "1000").await.unwrap(),
        funded(&system, "1000").await.unwrap(),
    );
    paid(&system, &a, &b).await;
    copy(&database, "backup").await;

    // What the backup doesn't have: transfers, an account, a payout and its events.
    for _ in 0..5 {
        paid(&system, &a, &b).await;
        paid(&system, &b, &a).await;
    }
    let late = funded(&system, "500").await.unwrap();
    paid(&system, &late, &a).await;
    withdrawn(&system, &b, "100").await;

    // Both hubs share the schema.
    for hub in ["hub-vault", "hub-mint"] {
        system.kill9(hub).unwrap();
    }
    copy(&database, "lost").await;
    restore(&database, "backup").await;
    system.restart().await.unwrap();

    let begun = Instant::now();
    loop {
        let moved = transfer(&system, &a, &b).await.unwrap();
        assert_eq!(moved.status.as_u16(), 503, "{moved:?}");
        if moved.code() == "RESTORE_FENCE" {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{moved:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!fence(&system, &["lift"]).await.status.success());
    lifted(&system).await;
    // The business goes on, on channels old and new, and over the chain.
    paid(&system, &a, &b).await;
    paid(&system, &late, &b).await;
    let new = funded(&system, "10").await.unwrap();
    paid(&system, &new, &late).await;
    withdrawn(&system, &b, "50").await;
    withdrawn(&system, &late, "7").await;
    for (account, amount) in [(&a, "999"), (&b, "853"), (&late, "492"), (&new, "9")] {
        let path = format!("/v1/accounts/{}/balances", account.text("id"));
        let balances = system.get(&path).await.unwrap();
        assert_eq!(balances.text("available"), amount, "{balances:?}");
    }
    signed_once(&database, &["lost", "hub"]).await;
    is_clean(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_taken_and_a_hub_killed_under_load_come_back_while_account_service_lives_on() {
    const PAYERS: usize = 8;
    let system = Arc::new(System::up().await.unwrap());
    let database = system.database().await.unwrap();
    let mut accounts = Vec::new();
    for _ in 0..PAYERS {
        accounts.push(funded(&system, "1000").await.unwrap());
    }
    let accounts = Arc::new(accounts);
    let done = Arc::new(AtomicBool::new(false));
    let payers: Vec<_> = (0..PAYERS)
        .map(|n| {
            let (system, accounts, done) = (system.clone(), accounts.clone(), done.clone());
            tokio::spawn(async move {
                let mut paid_out = 0_usize;
                while !done.load(Ordering::Relaxed) {
                    paid(&system, &accounts[n], &accounts[(n + 1) % PAYERS]).await;
                    paid_out += 1;
                }
                paid_out
            })
        })
        .collect();
    // A backup that has batches whose fates are on their way.
    let begun = Instant::now();
    loop {
        copy(&database, "backup").await;
        let open = "SELECT count(*) FROM backup.journal WHERE fate IS NULL";
        let open: i64 = sqlx::query_scalar(open).fetch_one(&database).await.unwrap();
        if open > 0 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "every batch has its fate");
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    for hub in ["hub-vault", "hub-mint"] {
        system.kill9(hub).unwrap();
    }
    copy(&database, "lost").await;
    restore(&database, "backup").await;
    start_again(&system).await;
    lifted(&system).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    done.store(true, Ordering::Relaxed);
    let mut paid_out = Vec::new();
    for payer in payers {
        paid_out.push(payer.await.unwrap());
    }
    for (n, account) in accounts.iter().enumerate() {
        let before = paid_out[(n + PAYERS - 1) % PAYERS];
        let path = format!("/v1/accounts/{}/balances", account.text("id"));
        let balances = system.get(&path).await.unwrap();
        let wanted = 1_000 + before - paid_out[n];
        assert_eq!(
            balances.text("available"),
            wanted.to_string(),
            "account {n}"
        );
    }
    signed_once(&database, &["lost", "hub"]).await;
    is_clean(&system).await;
}
