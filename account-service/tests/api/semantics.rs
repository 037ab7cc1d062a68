//! What is well-formed and still must not move anything: zeros, hubs as accounts, closing
//! channels, references and keys used twice, callers that go.

use crate::harness::{Server, transfer};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(20);
const PAYEE: &str = "0x0707070707070707070707070707070707070707";

fn one(account: &str, amount: &str) -> Value {
    json!({"account_id": account, "amount": amount})
}

fn payout(account: &str, amount: &str) -> Value {
    json!({"account_id": account, "amount": amount, "to_address": PAYEE})
}

async fn two(server: &Server, balance: &str) -> (String, String) {
    (
        server.account(&server.admin, balance).await,
        server.account(&server.admin, balance).await,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_moved_by_a_zero() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let (a, b) = two(&server, "10").await;
    let list =
        |mode: &str| json!({"mode": mode, "items": [transfer(&a, &b, "1"), transfer(&a, &b, "0")]});
    for (path, body) in [
        ("/v1/transfers".to_owned(), transfer(&a, &b, "0")),
        ("/v1/issuances".into(), one(&a, "0")),
        ("/v1/redemptions".into(), one(&a, "0")),
        ("/v1/withdrawals".into(), payout(&a, "0")),
        ("/v1/transfer-batches".into(), list("atomic")),
        (
            format!("/v1/accounts/{a}/deposit-addresses"),
            json!({"amount": "0"}),
        ),
    ] {
        let refused = server.post(&path, &body).await;
        refused.is(422, "AMOUNT_ZERO");
    }
    assert_eq!(server.available(&a).await, "10");
    let each = server
        .post("/v1/transfer-batches", &list("independent"))
        .await;
    let each = each.ok(207);
    assert_eq!(each["results"][1]["problem"]["code"], "AMOUNT_ZERO");
    assert_eq!(server.available(&a).await, "9");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_is_no_account() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let (a, _) = two(&server, "10").await;
    let hubs = server.get("/v1/hubs").await.ok(200);
    let hub = hubs["data"][0]["id"].as_str().unwrap();
    let as_account = hub.replace("hub_", "acc_");
    let before = server.fingerprint().await;
    for (from, to) in [(hub, a.as_str()), (a.as_str(), hub)] {
        let refused = server.post("/v1/transfers", &transfer(from, to, "1")).await;
        refused.is(400, "VALIDATION_FAILED");
    }
    assert_eq!(server.fingerprint().await, before);
    for (from, to) in [
        (as_account.as_str(), a.as_str()),
        (a.as_str(), as_account.as_str()),
    ] {
        let refused = server.post("/v1/transfers", &transfer(from, to, "1")).await;
        refused.is(404, "ACCOUNT_NOT_FOUND");
    }
    server
        .post("/v1/issuances", &one(&as_account, "1"))
        .await
        .is(404, "ACCOUNT_NOT_FOUND");
    assert_eq!(server.available(&a).await, "10");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closing_channel_is_read_and_moves_nothing() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let (a, b) = two(&server, "10").await;
    let channel = crate::chain::channel(&server, &a).await;
    let close = format!("/v1/channels/{channel}/close");
    server.post(&close, &json!({})).await.ok(202);
    for (path, body) in [
        ("/v1/transfers", transfer(&a, &b, "1")),
        ("/v1/transfers", transfer(&b, &a, "1")),
        ("/v1/issuances", one(&a, "1")),
        ("/v1/redemptions", one(&a, "1")),
        ("/v1/withdrawals", payout(&a, "1")),
    ] {
        server.post(path, &body).await.is(423, "CHANNEL_DISPUTED");
    }
    let atomic = json!({"mode": "atomic", "items": [transfer(&b, &a, "1")]});
    let refused = server.post("/v1/transfer-batches", &atomic).await;
    refused.is(422, "BATCH_REFUSED");
    assert_eq!(refused.json()["errors"][0]["code"], "CHANNEL_DISPUTED");
    for path in [
        format!("/v1/accounts/{a}"),
        format!("/v1/accounts/{a}/entries"),
        format!("/v1/channels/{channel}"),
        format!("/v1/channels/{channel}/states/latest/proof"),
    ] {
        server.get(&path).await.ok(200);
    }
    assert_eq!(server.available(&a).await, "10");
    assert_eq!(server.available(&b).await, "10");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_is_paid_out_once() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let (a, _) = two(&server, "100").await;
    let body = payout(&a, "100");
    let orders = join_all((0..20).map(|_| server.post("/v1/withdrawals", &body))).await;
    let done = orders.iter().filter(|answer| answer.status == 202).count();
    assert_eq!(done, 1);
    for refused in orders.iter().filter(|answer| answer.status != 202) {
        refused.is(422, "INSUFFICIENT_FUNDS");
    }
    server
        .post("/v1/withdrawals", &payout(&a, "1"))
        .await
        .is(422, "INSUFFICIENT_FUNDS");
    assert_eq!(server.available(&a).await, "0");
    let list = format!("/v1/withdrawals?account_id={a}");
    let list = server.get(&list).await.ok(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_its_owners_and_its_routes() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let other = server.key(Uuid::now_v7(), &["*:*"]).await;
    let (a, b) = two(&server, "10").await;
    let theirs = server.account(&other, "10").await;
    let theirs_too = server.account(&other, "0").await;
    let send = async |key: &str, path: &str, body: &Value| {
        let request = server.request_as(key, Method::POST, path);
        server
            .send(request.header("Idempotency-Key", "the-same").json(body))
            .await
    };
    let first = send(&server.admin, "/v1/transfers", &transfer(&a, &b, "1")).await;
    first.ok(201);
    // Another route and another owner: other operations, each done once.
    for (key, path, body) in [
        (&server.admin, "/v1/redemptions", one(&a, "2")),
        (&server.admin, "/v1/issuances", one(&b, "4")),
        (&other, "/v1/transfers", transfer(&theirs, &theirs_too, "3")),
    ] {
        let done = send(key, path, &body).await;
        assert!(done.header("idempotency-replayed").is_none(), "{path}");
        let done = done.ok(201);
        let again = send(key, path, &body).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "{path}");
        assert_eq!(again.ok(201), done);
        let mut more = body.clone();
        more["amount"] = json!("5");
        send(key, path, &more).await.is(422, "IDEMPOTENCY_MISMATCH");
    }
    assert_eq!(server.available(&a).await, "7");
    assert_eq!(server.available(&b).await, "15");
    assert_eq!(server.available(&theirs_too).await, "3");
    // The keys of a list's items can't be taken by somebody who guesses them.
    let list = json!({"mode": "atomic", "items": [transfer(&a, &b, "1")]});
    let request = server.request(Method::POST, "/v1/transfers");
    let taken = request
        .header("Idempotency-Key", "list#0")
        .json(&list["items"][0]);
    server.send(taken).await.ok(201);
    let request = server.request(Method::POST, "/v1/transfer-batches");
    let listed = request.header("Idempotency-Key", "list").json(&list);
    server.send(listed).await.ok(201);
    assert_eq!(server.available(&a).await, "5");
    server.stop().await;
}

/// One of two items was done, whichever, and the other was refused.
fn one_of_two(answer: &Value, code: &str) {
    let mut statuses: Vec<_> = (0..2)
        .map(|at| answer["results"][at]["status"].as_u64().unwrap())
        .collect();
    let refused = usize::from(statuses[0] == 201);
    assert_eq!(
        answer["results"][refused]["problem"]["code"], code,
        "{answer}"
    );
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409], "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_twice_in_one_batch_is_used_once() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let (a, b) = two(&server, "10").await;
    let mut item = transfer(&a, &b, "1");
    item["client_ref"] = json!("twice");
    let list = |mode: &str| json!({"mode": mode, "items": [item, item]});
    let refused = server.post("/v1/transfer-batches", &list("atomic")).await;
    refused.is(422, "BATCH_REFUSED");
    assert_eq!(refused.json()["errors"][0]["code"], "DUPLICATE_CLIENT_REF");
    assert_eq!(server.available(&a).await, "10");
    let each = server
        .post("/v1/transfer-batches", &list("independent"))
        .await;
    let each = each.ok(207);
    one_of_two(&each, "DUPLICATE_CLIENT_REF");
    assert_eq!(server.available(&a).await, "9");
    let open = json!({"items": [{"external_id": "e"}, {"external_id": "e"}]});
    let opened = server.post("/v1/account-batches", &open).await.ok(207);
    one_of_two(&opened, "DUPLICATE_EXTERNAL_ID");
    let listed = server.get("/v1/accounts?external_id=e").await.ok(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_leaves_a_whole_operation_or_none() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let (a, b) = two(&server, "100").await;
    let body = transfer(&a, &b, "1");
    let request = |key: &str| {
        let request = server.request(Method::POST, "/v1/transfers");
        request
            .header("Idempotency-Key", key.to_owned())
            .json(&body)
    };
    let mut gone = 0;
    for at in 0_u64..30 {
        // Shorter and longer than an operation takes, so that some go before and some after.
        let sent = request(&format!("gone-{at}")).timeout(Duration::from_micros(200 + at * 400));
        gone += u32::from(sent.send().await.is_err());
    }
    assert!(gone > 0, "nobody went");
    for at in 0..30 {
        let begun = Instant::now();
        loop {
            let again = server.send(request(&format!("gone-{at}"))).await;
            if again.status == 201 {
                break;
            }
            again.is(409, "IDEMPOTENCY_IN_FLIGHT");
            assert!(begun.elapsed() < PATIENCE, "never answered");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(server.available(&a).await, "70");
    assert_eq!(server.available(&b).await, "130");
    server.stop().await;
}
