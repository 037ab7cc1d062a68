//! Lists of transfers: one key for the whole request, and room counted in operations.

use crate::chain::channel;
use crate::harness::{Answer, Server, transfer, until_blocked};
use account_service::engine::limits;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use reqwest::Method;
use runtime::pg::PgChannelId;
use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};
use std::time::Duration;

const PATH: &str = "/v1/transfer-batches";

async fn send(server: &Server, key: &str, body: &Value) -> Answer {
    let request = server.request(Method::POST, PATH);
    let request = request.header("Idempotency-Key", key).json(body);
    server.send(request).await
}

/// Two accounts, the first with this much.
async fn two(server: &Server, balance: &str) -> (String, String) {
    let payer = server.account(&server.admin, balance).await;
    (payer, server.account(&server.admin, "0").await)
}

/// Keeps every batch with this account from its end.
async fn stall(server: &Server, account: &str) -> Transaction<'static, Postgres> {
    let channel = channel(server, account).await;
    let mut transaction = server.pool.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM account.heads WHERE channel_id = $1 FOR UPDATE")
        .bind(PgChannelId(channel))
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_refused_by_its_last_item_keeps_its_key_from_any_other_body() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let (payer, payee) = two(&server, "100").await;
    let mut items = vec![transfer(&payer, &payee, "1"); 19];
    items.push(transfer(&payer, &payee, "1000"));
    let body = json!({"mode": "atomic", "items": items});
    let refused = send(&server, "key", &body).await;
    refused.is(422, "INSUFFICIENT_FUNDS");
    assert_eq!(refused.json()["index"], 19);
    let mut shorter = body.clone();
    shorter["items"].as_array_mut().unwrap().pop();
    let mut longer = body.clone();
    let more = transfer(&payer, &payee, "1");
    longer["items"].as_array_mut().unwrap().push(more);
    let mut independent = body.clone();
    independent["mode"] = json!("independent");
    for other in [&shorter, &longer, &independent] {
        let answer = send(&server, "key", other).await;
        answer.is(422, "IDEMPOTENCY_MISMATCH");
        assert_eq!(server.available(&payer).await, "100");
    }
    // Whatever the balance is by then.
    let issue = json!({"account_id": payer, "amount": "5000"});
    server.post("/v1/issuances", &issue).await.ok(201);
    let again = send(&server, "key", &body).await;
    again.is(422, "INSUFFICIENT_FUNDS");
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    for field in ["index", "errors", "detail", "available", "required"] {
        assert_eq!(again.json()[field], refused.json()[field], "{field}");
    }
    assert_eq!(server.available(&payer).await, "5100");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_runs_is_in_flight_as_a_whole() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let (payer, payee) = two(&server, "100").await;
    let body = json!({"mode": "independent", "items": vec![transfer(&payer, &payee, "1"); 3]});
    let stalled = stall(&server, &payer).await;
    let first = send(&server, "key", &body);
    let meanwhile = async {
        until_blocked(&server.pool).await;
        let again = send(&server, "key", &body).await;
        let mut other = body.clone();
        other["items"].as_array_mut().unwrap().pop();
        let other = send(&server, "key", &other).await;
        stalled.rollback().await.unwrap();
        (again, other)
    };
    let (first, (again, other)) = tokio::join!(first, meanwhile);
    again.is(409, "IDEMPOTENCY_IN_FLIGHT");
    assert!(again.header("retry-after").is_some());
    other.is(409, "IDEMPOTENCY_IN_FLIGHT");
    first.ok(201);
    let again = send(&server, "key", &body).await;
    assert_eq!((again.status, &again.text), (201, &first.text));
    assert_eq!(server.available(&payer).await, "97");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_meet_back_pressure_at_as_many_operations_as_single_transfers() {
    const LISTS: usize = 30;
    const ITEMS: usize = 1_000;
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let (payer, payee) = two(&server, "1000000").await;
    let body = json!({"mode": "atomic", "items": vec![transfer(&payer, &payee, "1"); ITEMS]});
    let single =
        limits::QUEUE + limits::WAITING_GROUPS + limits::OVERLAPPING_BATCHES * limits::BATCH_MAX;
    let room = single.div_ceil(ITEMS);
    assert!(room < LISTS);
    let stalled = stall(&server, &payer).await;
    let keys: Vec<_> = (0..LISTS).map(|at| format!("list-{at}")).collect();
    let mut answers: FuturesUnordered<_> =
        keys.iter().map(|key| send(&server, key, &body)).collect();
    // Nothing is posted meanwhile, so what is answered now was turned away.
    for turned_away in 0..LISTS - room {
        let next = tokio::time::timeout(Duration::from_secs(8), answers.next()).await;
        let answer = next.unwrap_or_else(|_| panic!("only {turned_away} were turned away"));
        answer.unwrap().is(503, "BACKPRESSURE");
    }
    stalled.rollback().await.unwrap();
    while let Some(answer) = answers.next().await {
        answer.ok(201);
    }
    drop(answers);
    let moved = (room * ITEMS).to_string();
    assert_eq!(server.available(&payee).await, moved);
    // Room is given back with the answers.
    send(&server, "afterwards", &body).await.ok(201);
    server.stop().await;
}
