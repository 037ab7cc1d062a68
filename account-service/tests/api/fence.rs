//! The fence: no money moves behind it, restarts don't lift it, an operator does.

use crate::harness::{Server, transfer};
use account_service::fence::{self, FenceAction};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `/readyz` names the fence, and returns what it says.
pub async fn until_fenced(server: &Server) -> String {
    let begun = std::time::Instant::now();
    loop {
        let ready = server.get("/readyz").await;
        if ready.status == 503 && ready.text.contains("restore fence") {
            return ready.text;
        }
        assert!(begun.elapsed() < PATIENCE, "{ready:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn hub_id(server: &Server) -> String {
    let hubs = server.get("/v1/hubs").await.ok(200);
    hubs["data"][0]["id"].as_str().unwrap().to_owned()
}

pub async fn lift(server: &Server, confirm: bool) -> anyhow::Result<()> {
    let hub = hub_id(server).await;
    fence::run(&server.pool, &FenceAction::Lift { hub, confirm }).await
}

/// Every route that moves money or opens something.
async fn all_refused(server: &Server, admin: &str, a: &str, b: &str) {
    let to = format!("0x{}", "07".repeat(20));
    for (path, body) in [
        ("/v1/accounts", json!({})),
        ("/v1/account-batches", json!({"items": [{}]})),
        ("/v1/issuances", json!({"account_id": a, "amount": "1"})),
        ("/v1/redemptions", json!({"account_id": a, "amount": "1"})),
        ("/v1/transfers", transfer(a, b, "1")),
        (
            "/v1/transfer-batches",
            json!({"mode": "atomic", "items": [transfer(a, b, "1")]}),
        ),
        (
            "/v1/transfer-batches",
            json!({"mode": "independent", "items": [transfer(a, b, "1")]}),
        ),
        (
            "/v1/withdrawals",
            json!({"account_id": a, "amount": "1", "to_address": to}),
        ),
    ] {
        let request = server.request_as(admin, Method::POST, path);
        let key = format!("behind-the-fence-{}", body["mode"]);
        let request = request.header("Idempotency-Key", key).json(&body);
        let answer = server.send(request).await;
        // Items that are each for themselves are answered each for itself.
        if answer.status == 207 {
            let results = answer.ok(207);
            let problem = &results["results"][0]["problem"];
            assert_eq!(problem["code"], "RESTORE_FENCE", "{results}");
            continue;
        }
        answer.is(503, "RESTORE_FENCE");
        assert!(answer.header("retry-after").is_some(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_holds_for_every_replica_and_over_restarts_until_an_operator_lifts_it() {
    let (mut one, hub) = Server::with_hub(|_| {}).await;
    let two = one.replica(&hub).await;
    two.until_ready().await;
    let (a, b) = (
        one.account(&one.admin, "100").await,
        one.account(&one.admin, "0").await,
    );
    let admin = one.admin.clone();
    let raise = FenceAction::Raise {
        hub: hub_id(&one).await,
        why: "the database is about to be restored".to_owned(),
    };
    fence::run(&one.pool, &raise).await.unwrap();
    for server in [&one, &two] {
        let why = until_fenced(server).await;
        assert!(why.contains("about to be restored"), "{why}");
    }
    let before = one.fingerprint().await;
    all_refused(&one, &admin, &a, &b).await;
    all_refused(&two, &admin, &a, &b).await;
    assert_eq!(one.available(&a).await, "100");
    assert_eq!(one.fingerprint().await, before);
    two.stop().await;

    one.finish().await;
    let after = one.replica(&hub).await;
    until_fenced(&after).await;
    all_refused(&after, &admin, &a, &b).await;
    let metrics = after.get("/metrics").await.text;
    assert!(metrics.contains("chub_restore_fence 1"), "{metrics}");

    assert!(lift(&after, false).await.is_err());
    all_refused(&after, &admin, &a, &b).await;
    lift(&after, true).await.unwrap();
    after.until_ready().await;
    // The keys were left unused.
    let request = after.request_as(&admin, Method::POST, "/v1/transfers");
    let request = request.header("Idempotency-Key", "behind-the-fence-null");
    let done = after.send(request.json(&transfer(&a, &b, "1"))).await;
    done.ok(201);
    assert_eq!(after.available(&b).await, "1");
    let metrics = after.get("/metrics").await.text;
    assert!(metrics.contains("chub_restore_fence 0"), "{metrics}");
    after.stop().await;
}

const TABLES: [&str; 9] = [
    "hubs",
    "accounts",
    "heads",
    "channel_facts",
    "operations",
    "batches",
    "withdrawals",
    "deposits",
    "outbox",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_account_database_that_was_set_back_signs_nothing_and_names_what_is_gone() {
    let (mut one, hub) = Server::with_hub(|_| {}).await;
    let mut accounts = Vec::new();
    for _ in 0..3 {
        accounts.push(one.account(&one.admin, "100").await);
    }
    let [a, b, c] = &accounts[..] else {
        panic!("three accounts");
    };
    one.bed.sql("CREATE SCHEMA backup").await.unwrap();
    for table in TABLES {
        let copy = format!("CREATE TABLE backup.{table} AS TABLE account.{table}");
        one.bed.sql(&copy).await.unwrap();
    }
    let body = transfer(a, b, "30");
    let request = one.request(Method::POST, "/v1/transfers");
    let request = request.header("Idempotency-Key", "lost").json(&body);
    let lost = one.send(request).await.ok(201);
    let admin = one.admin.clone();
    one.finish().await;
    for table in TABLES {
        let restore = format!("INSERT INTO account.{table} SELECT * FROM backup.{table}");
        one.bed
            .sql(&format!("DELETE FROM account.{table}"))
            .await
            .unwrap();
        one.bed.sql(&restore).await.unwrap();
    }

    let after = one.replica(&hub).await;
    let why = until_fenced(&after).await;
    let entries = lost["entries"].as_array().unwrap();
    for entry in entries {
        let channel = entry["channel_id"].as_str().unwrap();
        assert!(why.contains(channel), "{channel} in {why}");
    }
    let untouched = crate::chain::channel(&after, c).await.to_string();
    assert!(!why.contains(&untouched), "{untouched} in {why}");
    all_refused(&after, &admin, a, b).await;
    // The acknowledged transfer is not done a second time in silence.
    let request = after.request_as(&admin, Method::POST, "/v1/transfers");
    let request = request.header("Idempotency-Key", "lost").json(&body);
    after.send(request).await.is(503, "RESTORE_FENCE");

    // Lifted although nothing was mended, it is up again before anything was signed.
    lift(&after, true).await.unwrap();
    let begun = std::time::Instant::now();
    loop {
        let stored: Option<String> = sqlx::query_scalar("SELECT fence FROM account.hubs")
            .fetch_one(&after.pool)
            .await
            .unwrap();
        if stored.is_some() {
            break;
        }
        let body = transfer(c, a, "1");
        let answer = after.post_as(&admin, "/v1/transfers", &body).await;
        answer.is(503, "RESTORE_FENCE");
        assert!(begun.elapsed() < PATIENCE, "the fence is not up again");
    }
    all_refused(&after, &admin, a, b).await;
    after.stop().await;
}
