//! Databases that are set back while their services go on: what a failover loses is found out
//! without anybody restarting anything.

use crate::fence::until_fenced;
use crate::harness::{Hub, Server, transfer};
use hub::config::FenceAction;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const HUB: [&str; 9] = [
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
const ACCOUNT: [&str; 10] = [
    "hubs",
    "accounts",
    "heads",
    "channel_facts",
    "operations",
    "operation_keys",
    "batches",
    "withdrawals",
    "deposits",
    "outbox",
];

async fn backup(server: &Server, schema: &str, tables: &[&str]) {
    let into = format!("{schema}_backup");
    let create = format!("CREATE SCHEMA {into}");
    server.bed.sql(&create).await.unwrap();
    for table in tables {
        let copy = format!("CREATE TABLE {into}.{table} AS TABLE {schema}.{table}");
        server.bed.sql(&copy).await.unwrap();
    }
}

/// At once, as a failover is.
async fn set_back(server: &Server, schema: &str, tables: &[&str]) {
    let mut all = String::new();
    for table in tables {
        let copy = format!(
            "DELETE FROM {schema}.{table};
             INSERT INTO {schema}.{table} SELECT * FROM {schema}_backup.{table};"
        );
        all.push_str(&copy);
    }
    server.bed.sql(&all).await.unwrap();
}

async fn pay(server: &Server, from: &str, to: &str, amount: &str) {
    let body = transfer(from, to, amount);
    server.post("/v1/transfers", &body).await.ok(201);
}

/// Lifts the hub's fence as soon as it has back what it lost.
async fn lift(hub: &Hub) {
    let begun = Instant::now();
    let action = FenceAction::Lift {
        confirm: true,
        without_import: false,
    };
    loop {
        match hub::fence::run(&hub.serve, &action).await {
            Ok(()) => return,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until the hub says that it lacks something.
async fn until_restored(server: &Server) {
    let begun = Instant::now();
    loop {
        let rows = server.bed.sql("SELECT fence FROM hub.hubs").await.unwrap();
        let fence = rows[0][0].as_deref().unwrap_or_default();
        if fence.starts_with("HUB_RESTORED") {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "nobody noticed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A transfer that is done, sooner or later.
async fn paid_in_the_end(server: &Server, from: &str, to: &str) {
    let begun = Instant::now();
    loop {
        let body = transfer(from, to, "1");
        let answer = server.post("/v1/transfers", &body).await;
        if answer.status == 201 {
            return;
        }
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(begun.elapsed() < PATIENCE, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn comes_back(restart: bool) {
    let (server, mut hub) = Server::with_hub(|_| {}).await;
    let a = server.account(&server.admin, "100").await;
    let b = server.account(&server.admin, "100").await;
    pay(&server, &a, &b, "7").await;
    backup(&server, "hub", &HUB).await;
    // As under load: the newest batch of the backup has no fate there.
    let newest = "UPDATE hub_backup.journal SET fate = NULL, user_signature = NULL
                  WHERE batch_id = (SELECT max(batch_id) FROM hub_backup.journal)";
    server.bed.sql(newest).await.unwrap();
    for _ in 0..5 {
        pay(&server, &b, &a, "1").await;
    }
    let late = server.account(&server.admin, "50").await;
    pay(&server, &late, &b, "10").await;
    // The replica knows by now that all of it has a fate at the hub.
    tokio::time::sleep(Duration::from_secs(3)).await;
    if restart {
        hub.stop().await;
    }
    set_back(&server, "hub", &HUB).await;
    if restart {
        hub.restart_with(|_| {}).await;
    }
    until_restored(&server).await;
    lift(&hub).await;
    for (from, to) in [(&a, &b), (&b, &late), (&late, &a)] {
        paid_in_the_end(&server, from, to).await;
    }
    assert_eq!(server.available(&a).await, "98");
    assert_eq!(server.available(&b).await, "112");
    assert_eq!(server.available(&late).await, "40");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_hub_gets_everything_back_from_a_replica_that_lived_on() {
    comes_back(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_whose_database_fails_over_under_it_gets_everything_back() {
    comes_back(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_databases_set_back_at_once_are_noticed_by_the_process_that_answered() {
    let (server, mut hub) = Server::with_hub(|_| {}).await;
    let a = server.account(&server.admin, "100").await;
    let b = server.account(&server.admin, "100").await;
    backup(&server, "hub", &HUB).await;
    backup(&server, "account", &ACCOUNT).await;
    pay(&server, &a, &b, "30").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // A hub that is started anew remembers nothing.
    hub.stop().await;
    set_back(&server, "account", &ACCOUNT).await;
    set_back(&server, "hub", &HUB).await;
    hub.restart_with(|_| {}).await;
    let why = until_fenced(&server).await;
    assert!(why.contains("was committed and answered"), "{why}");
    let answer = server.post("/v1/transfers", &transfer(&a, &b, "1")).await;
    answer.is(503, "RESTORE_FENCE");
    // An operator who knows what was lost can go on with the rest.
    crate::fence::lift(&server, true).await.unwrap();
    server.until_ready().await;
    server.stop().await;
}
