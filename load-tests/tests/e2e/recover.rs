//! Account-service's database is set back to a backup in the middle of the business: what both
//! sides had signed comes back from the hub and the chain, and the business goes on.

use crate::chain::{CUSTOMER, PATIENCE, is_clean, pay_in, until};
use crate::{funded, printed};
use load_tests::{System, program};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use std::process::Output;
use std::time::{Duration, Instant};

async fn run(database: &mut PgConnection, statement: String) {
    let done = sqlx::query(AssertSqlSafe(statement.clone())).execute(database);
    done.await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// The tables of account-service, without the parts of partitioned ones.
async fn tables(database: &PgPool) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'account' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
         ORDER BY c.relname",
    )
    .fetch_all(database)
    .await
    .unwrap();
    assert!(tables.len() > 12, "{tables:?}");
    tables
}

/// As of one moment, as backups are.
async fn back_up(database: &PgPool) {
    let tables = tables(database).await;
    let mut tx = database.begin().await.unwrap();
    let snapshot = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
    run(&mut tx, snapshot.into()).await;
    run(&mut tx, "CREATE SCHEMA backup".into()).await;
    for table in tables {
        let copy = format!("CREATE TABLE backup.{table} AS TABLE account.{table}");
        run(&mut tx, copy).await;
    }
    tx.commit().await.unwrap();
}

async fn set_back(database: &PgPool) {
    let tables = tables(database).await;
    let all: Vec<_> = tables
        .iter()
        .map(|table| format!("account.{table}"))
        .collect();
    let mut tx = database.begin().await.unwrap();
    run(&mut tx, format!("TRUNCATE {}", all.join(", "))).await;
    for table in tables {
        let restore = format!("INSERT INTO account.{table} SELECT * FROM backup.{table}");
        run(&mut tx, restore).await;
    }
    tx.commit().await.unwrap();
}

/// Account-service's own command line, with the settings it serves with.
struct Operator {
    settings: Vec<(String, String)>,
    hub: String,
}

impl Operator {
    /// Learns the settings of the process that runs.
    fn of(system: &System) -> Self {
        let pid = system.pid("account-service").unwrap();
        let read = |what: &str| {
            let text = std::fs::read(format!("/proc/{pid}/{what}")).unwrap();
            String::from_utf8(text).unwrap()
        };
        let settings = read("environ");
        let settings = settings.split('\0').filter_map(|one| one.split_once('='));
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        // The vault hub is named first.
        let line = read("cmdline");
        let hub = line.split('\0').find(|arg| arg.starts_with("--hub="));
        Self {
            settings: settings.collect(),
            hub: hub.unwrap().to_owned(),
        }
    }

    async fn run(&self, args: &[&str]) -> Output {
        let mut service = tokio::process::Command::new(program("account-service"));
        let settings = self.settings.iter().map(|(name, value)| (name, value));
        service.env_clear().envs(settings).args(args);
        service.output().await.unwrap()
    }

    async fn refused(&self, args: &[&str], why: &str) {
        let output = self.run(args).await;
        let text = printed(&output);
        assert!(!output.status.success() && text.contains(why), "{text}");
    }

    async fn told(&self, args: &[&str], what: &str) {
        let output = self.run(args).await;
        let text = printed(&output);
        assert!(output.status.success() && text.contains(what), "{text}");
    }
}

/// An order that is done, sooner or later.
async fn done(system: &System, path: &str, order: Value, key: &str) {
    let begun = Instant::now();
    loop {
        let sent = system.call_with_key(Method::POST, path, order.clone(), key);
        let answer = sent.await.unwrap();
        if answer.status.as_u16() == 201 {
            return;
        }
        assert_eq!(answer.status.as_u16(), 503, "{answer:?}");
        assert!(begun.elapsed() < PATIENCE, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn pay(system: &System, from: &str, to: &str, amount: &str, key: &str) {
    let order = json!({"from": from, "to": to, "amount": amount});
    done(system, "/v1/transfers", order, key).await;
}

async fn ordered(system: &System, account: &str, amount: &str) -> String {
    let order = json!({"account_id": account, "amount": amount, "to_address": CUSTOMER});
    let order = system.post("/v1/withdrawals", order).await.unwrap();
    format!("/v1/withdrawals/{}", order.text("id"))
}

async fn completed(system: &System, path: &str) {
    until(system, path, |one| one.text("status") == "completed").await;
}

async fn has(system: &System, account: &str, amount: &str) {
    let path = format!("/v1/accounts/{account}/balances");
    let balances = system.get(&path).await.unwrap();
    assert_eq!(
        balances.text("available"),
        amount,
        "{account}: {balances:?}"
    );
}

/// What happens after the backup: every kind of operation. Returns the path of an order that was
/// taken back.
async fn business(system: &System, a: &str, b: &str) -> String {
    for at in 0..5 {
        pay(system, a, b, "3", &format!("there-{at}")).await;
        pay(system, b, a, "2", &format!("back-{at}")).await;
    }
    let redeem = json!({"account_id": a, "amount": "7"});
    done(system, "/v1/redemptions", redeem, "redeemed").await;
    let late = funded(system, "500").await.unwrap();
    pay(system, late.text("id"), a, "11", "from-late").await;
    // One order of a channel is under way at a time, so the second can be taken back.
    let paid = ordered(system, b, "100").await;
    let regretted = ordered(system, b, "50").await;
    let cancel = format!("{regretted}/cancel");
    let cancelled = system.post(&cancel, json!({})).await.unwrap();
    assert_eq!(cancelled.text("status"), "cancelled", "{cancelled:?}");
    completed(system, &paid).await;
    pay_in(system, b, 40).await;
    let path = format!("/v1/accounts/{b}/balances");
    until(system, &path, |one| one.text("available") == "945").await;
    regretted
}

/// The account that was opened after the backup, under its new name.
async fn recovered(system: &System) -> String {
    let list = system.get("/v1/accounts").await.unwrap();
    let accounts = list.body["data"].as_array().unwrap();
    let found: Vec<_> = accounts
        .iter()
        .filter(|account| account["metadata"]["recovered"] == true)
        .collect();
    assert_eq!(found.len(), 1, "{list:?}");
    found[0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_database_that_was_set_back_takes_back_what_both_sides_signed() {
    let mut system = System::up().await.unwrap();
    let database = system.database().await.unwrap();
    let (first, second) = (
        funded(&system, "1000").await.unwrap(),
        funded(&system, "1000").await.unwrap(),
    );
    let (a, b) = (first.text("id").to_owned(), second.text("id").to_owned());
    let early = ordered(&system, &a, "30").await;
    completed(&system, &early).await;
    // Signed and paid after the backup, in which it only waits.
    let waiting = ordered(&system, &a, "20").await;
    back_up(&database).await;
    let regretted = business(&system, &a, &b).await;
    completed(&system, &waiting).await;

    let hubs = system.get("/v1/hubs").await.unwrap();
    let vault = &hubs.body["data"][0];
    assert_eq!(vault["funding_mode"], "vault");
    let hub = vault["id"].as_str().unwrap();
    let operator = Operator::of(&system);
    system.kill9("account-service").unwrap();
    set_back(&database).await;

    let recover = ["recover", &operator.hub];
    operator.refused(&recover, "fence").await;
    let raise = ["fence", "raise", hub, "--why", "set back to the backup"];
    operator.told(&raise, "raised").await;
    operator.refused(&recover, "--owner").await;
    let owner: String = sqlx::query_scalar("SELECT owner::text FROM account.api_keys LIMIT 1")
        .fetch_one(&database)
        .await
        .unwrap();
    let owner = format!("--owner={owner}");
    let recover = ["recover", &operator.hub, &owner];
    operator.told(&recover, "1 accounts").await;
    operator.told(&recover, "0 batches are back").await;
    let lift = ["fence", "lift", hub, "--confirm"];
    operator.told(&lift, "lifted").await;
    operator.refused(&lift, "there is no fence").await;
    // It compares itself with the hub before it is ready, and finds nothing missing.
    system.restart().await.unwrap();

    let late = recovered(&system).await;
    let path = format!("/v1/accounts/{late}/balances");
    until(&system, &path, |one| one.text("available") == "489").await;
    has(&system, &a, "949").await;
    has(&system, &b, "945").await;
    for (path, status) in [
        (&early, "completed"),
        (&waiting, "completed"),
        (&regretted, "cancelled"),
    ] {
        let order = system.get(path).await.unwrap();
        assert_eq!(order.text("status"), status, "{order:?}");
    }
    // The business goes on, on channels old and new and over the chain.
    pay(&system, &a, &late, "9", "on-1").await;
    pay(&system, &late, &b, "5", "on-2").await;
    completed(&system, &ordered(&system, &b, "50").await).await;
    completed(&system, &ordered(&system, &late, "3").await).await;
    has(&system, &a, "940").await;
    has(&system, &b, "900").await;
    has(&system, &late, "490").await;
    is_clean(&system).await;
}
