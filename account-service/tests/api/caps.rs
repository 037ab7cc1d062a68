//! What the hub's operator allows: refused at once where it is known, failed with a reason where
//! it changed while an issuance waited for funding.

use crate::chain::{channel, place, tell_hub, tell_us, until_available};
use crate::harness::{Hub, Server, testbed};
use chain_messages::Event;
use hub::config::Mode;
use hub_core::Amount;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

async fn vault_hub() -> (Server, Hub) {
    let bed = testbed().await;
    let hub = Hub::start_with(&bed, |serve| {
        serve.funding_mode = Mode::Vault;
        serve.issue_limit_per_order = Amount::new(1_000);
        serve.issue_limit_per_hour = Amount::new(1_500);
    })
    .await;
    let server = Server::on_hub(bed, &hub, |_| {}).await;
    (server, hub)
}

async fn fund(hub: &Hub, vault: u128) {
    let body = Event::VaultChanged {
        hub: hub.serve.hub_address,
        vault: Amount::new(vault),
        place: place(1),
    };
    tell_hub(hub, body).await;
}

fn issue(account: &str, amount: &str) -> Value {
    json!({"account_id": account, "amount": amount})
}

/// Waits until an issuance is no longer pending.
async fn ended(server: &Server, issued: &Value) -> Value {
    let path = format!("/v1/issuances/{}", issued["id"].as_str().unwrap());
    let begun = std::time::Instant::now();
    loop {
        let shown = server.get(&path).await.ok(200);
        if shown["status"] != "pending_funding" {
            return shown;
        }
        assert!(begun.elapsed() < PATIENCE, "{shown}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn pending(server: &Server, account: &str, amount: &str) -> Value {
    let issued = server.post("/v1/issuances", &issue(account, amount)).await;
    let issued = issued.ok(201);
    assert_eq!(issued["status"], "pending_funding");
    assert!(issued["failure"].is_null());
    issued
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuance_above_what_the_hub_ever_signs_is_refused_before_it_waits_for_funding() {
    let (server, hub) = vault_hub().await;
    let hubs = server.get("/v1/hubs").await.ok(200);
    let limits = &hubs["data"][0]["limits"];
    assert_eq!(limits["issue_per_order"], "1000");
    assert_eq!(limits["issue_per_hour"], "1500");
    let a = server.account(&server.admin, "0").await;
    let before = server.fingerprint().await;
    let mut dry = issue(&a, "1001");
    dry["dry_run"] = json!(true);
    let request = server.request(Method::POST, "/v1/issuances").json(&dry);
    server.send(request).await.is(422, "LIMIT_EXCEEDED");
    assert_eq!(server.fingerprint().await, before);
    let refused = server.post("/v1/issuances", &issue(&a, "1001")).await;
    refused.is(422, "LIMIT_EXCEEDED");
    let refused = refused.json();
    assert_eq!(refused["limit"], "ISSUE_PER_ORDER");
    assert_eq!(refused["available"], "1000");
    assert_eq!(refused["required"], "1001");
    let waiting: i64 =
        sqlx::query_scalar("SELECT count(*) FROM account.operations WHERE outcome = 3")
            .fetch_one(&server.pool)
            .await
            .unwrap();
    assert_eq!(waiting, 0);

    // What was issued within the hour is the hub's to know; it is named apart.
    fund(&hub, 10_000).await;
    let first = server.post("/v1/issuances", &issue(&a, "1000")).await;
    ended(&server, &first.ok(201)).await;
    until_available(&server, &a, "1000").await;
    let refused = server.post("/v1/issuances", &issue(&a, "501")).await;
    refused.is(422, "LIMIT_EXCEEDED");
    assert_eq!(refused.json()["limit"], "ISSUE_LIMIT");
    let last = server.post("/v1/issuances", &issue(&a, "500")).await;
    assert_eq!(last.ok(201)["status"], "completed");
    let metrics = server.get("/metrics").await.text;
    let named = "chub_batch_rollbacks_total{cause=\"issue_limit\"} 1";
    assert!(metrics.contains(named), "{metrics}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuance_that_waited_in_vain_fails_with_the_reason_and_stops_nothing() {
    let (server, mut hub) = vault_hub().await;
    let a = server.account(&server.admin, "0").await;
    let frozen = server.account(&server.admin, "0").await;
    let body = issue(&a, "900");
    let request = || {
        let request = server.request(Method::POST, "/v1/issuances");
        request.header("Idempotency-Key", "too-much").json(&body)
    };
    let too_much = server.send(request()).await.ok(201);
    assert_eq!(too_much["status"], "pending_funding");
    let later = pending(&server, &frozen, "10").await;
    let fits = pending(&server, &a, "100").await;
    let path = format!("/v1/accounts/{a}/close");
    let close = server.post(&path, &json!({})).await;
    close.is(422, "BALANCE_NOT_ZERO");
    let path = format!("/v1/accounts/{frozen}/freeze");
    server.post(&path, &json!({})).await.ok(200);

    // The operator lowers the cap; account-service learns it with the hub's new session.
    hub.restart_with(|serve| serve.issue_limit_per_order = Amount::new(100))
        .await;
    fund(&hub, 10_000).await;
    let failed = ended(&server, &too_much).await;
    assert_eq!(failed["status"], "failed", "{failed}");
    assert_eq!(failed["failure"]["code"], "LIMIT_EXCEEDED");
    assert_eq!(failed["failure"]["limit"], "ISSUE_PER_ORDER");
    assert_eq!(failed["entries"], json!([]));
    assert_eq!(ended(&server, &fits).await["status"], "completed");
    until_available(&server, &a, "100").await;

    // A frozen account's waits; unfrozen, it is completed.
    let path = format!("/v1/issuances/{}", later["id"].as_str().unwrap());
    let shown = server.get(&path).await.ok(200);
    assert_eq!(shown["status"], "pending_funding");
    let path = format!("/v1/accounts/{frozen}/unfreeze");
    server.post(&path, &json!({})).await.ok(200);
    assert_eq!(ended(&server, &later).await["status"], "completed");

    // The key gets the first answer again, and issues nothing.
    crate::cache::flushall(&server.bed.redis_url).await;
    let again = server.send(request()).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.ok(201), too_much);
    until_available(&server, &a, "100").await;
    let metrics = server.get("/metrics").await.text;
    let counted = "chub_operations_total{kind=\"issue\",outcome=\"failed\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuance_that_waited_is_replayed_as_it_was_first_answered() {
    let (server, hub) = vault_hub().await;
    let a = server.account(&server.admin, "0").await;
    let mut body = issue(&a, "100");
    body["reason"] = json!("a gift");
    let request = || {
        let request = server.request(Method::POST, "/v1/issuances");
        request.header("Idempotency-Key", "waits").json(&body)
    };
    let first = server.send(request()).await;
    assert_eq!(first.ok(201)["status"], "pending_funding");
    fund(&hub, 10_000).await;
    let completed = ended(&server, &first.json()).await;
    assert_eq!(completed["status"], "completed");
    assert_eq!(completed["reason"], "a gift");
    let again = server.send(request()).await;
    assert_eq!((again.status, &again.text), (201, &first.text));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    until_available(&server, &a, "100").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuance_to_a_channel_that_closes_keeps_no_other_waiting() {
    let (server, hub) = vault_hub().await;
    let closing = server.account(&server.admin, "0").await;
    let a = server.account(&server.admin, "0").await;
    let large = pending(&server, &closing, "1000").await;
    let later = pending(&server, &a, "10").await;
    let channel = channel(&server, &closing).await;
    let path = format!("/v1/channels/{channel}/close");
    server.post(&path, &json!({})).await.ok(202);
    fund(&hub, 100).await;
    assert_eq!(ended(&server, &later).await["status"], "completed");
    // It goes on once the channel does.
    let path = format!("/v1/issuances/{}", large["id"].as_str().unwrap());
    let shown = server.get(&path).await.ok(200);
    assert_eq!(shown["status"], "pending_funding");
    let nobody_closed = Event::Finalized {
        block: 9,
        timestamp: 4_000_000_000,
    };
    tell_us(&server, nobody_closed).await;
    fund(&hub, 10_000).await;
    assert_eq!(ended(&server, &large).await["status"], "completed");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_opened_on_the_terms_of_the_hubs_present_session() {
    let (server, mut hub) = Server::with_hub(|_| {}).await;
    let before = server.account(&server.admin, "10").await;
    hub.restart_with(|serve| serve.capacity = Amount::new(5_000))
        .await;
    let open = || {
        let request = server.request(Method::POST, "/v1/accounts");
        request
            .header("Idempotency-Key", "reopened")
            .json(&json!({}))
    };
    // Derived from the old terms, before anybody met the new session: to be sent again.
    server.send(open()).await.is(503, "HUB_UNAVAILABLE");
    let opened = server.send(open()).await.ok(201);
    let id = opened["id"].as_str().unwrap();
    let shown = server.get(&format!("/v1/accounts/{id}")).await.ok(200);
    assert_eq!(shown["channel"]["capacity"], "5000", "{opened}");
    let hubs = server.get("/v1/hubs").await.ok(200);
    assert_eq!(hubs["data"][0]["capacity"], "5000");
    // The channel that was there keeps its own.
    let body = crate::harness::transfer(&before, id, "10");
    server.post("/v1/transfers", &body).await.ok(201);
    assert_eq!(server.available(id).await, "10");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_hub_is_listed_with_where_it_is() {
    let bed = testbed().await;
    let one = Hub::start(&bed).await;
    let two = Hub::start_with(&bed, |serve| {
        serve.hub_address = "0x0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
            .parse()
            .unwrap();
    })
    .await;
    let server = Server::start_on(bed, |config, _| {
        config.hubs = vec![one.option(), two.option()];
    })
    .await;
    server.until_ready().await;
    let hubs = server.get("/v1/hubs").await.ok(200);
    for (hub, shown) in [&one, &two].iter().zip(hubs["data"].as_array().unwrap()) {
        let id = format!("hub_{}", hub.serve.hub_id.simple());
        assert_eq!(shown["id"], id);
        let url = format!("http://{}", hub.serve.listen);
        assert_eq!(shown["endpoint"], url);
    }
    server.stop().await;
}
