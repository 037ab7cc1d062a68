//! What the chain reports, in whatever order, and what of it the hub does not know yet.

use crate::harness::{Hub, Server, testbed, transfer};
use account_service::engine::handle_event;
use chain_messages::{Certainty, Envelope, Event, Place};
use hub_client::ChainEventsRequest;
use hub_core::{Amount, ChannelId, Hash32, OperationId};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// Longest that the settlement may take: some of its rounds.
const PATIENCE: Duration = Duration::from_secs(30);
/// A final block's time far beyond every validity.
const FAR: u64 = 4_000_000_000;

pub async fn channel(server: &Server, account: &str) -> ChannelId {
    let path = format!("/v1/accounts/{account}");
    let shown = server.get(&path).await.ok(200);
    shown["channel"]["id"].as_str().unwrap().parse().unwrap()
}

pub async fn tell_us(server: &Server, body: Event) {
    handle_event(&server.engine, &envelope(body)).await.unwrap();
}

pub async fn tell_hub(hub: &Hub, body: Event) {
    let events = vec![envelope(body)];
    let request = ChainEventsRequest {
        count: None,
        events,
    };
    hub.client().chain_events(&request).await.unwrap();
}

fn envelope(body: Event) -> Envelope<Event> {
    Envelope {
        id: Uuid::now_v7(),
        correlation_id: "test".to_owned(),
        body,
    }
}

pub fn place(log_index: u64) -> Place {
    Place {
        block: 7,
        block_hash: Hash32([7; 32]),
        tx_hash: Hash32([8; 32]),
        log_index,
    }
}

fn deposited(channel_id: ChannelId, log_index: u64, certainty: Certainty) -> Event {
    Event::Deposited {
        channel_id,
        epoch: 0,
        amount: Amount::new(400),
        total: Amount::new(400),
        certainty,
        place: place(log_index),
    }
}

/// A deposit in a block that may still go.
pub fn seen_deposit(channel_id: ChannelId, log_index: u64) -> Event {
    deposited(channel_id, log_index, Certainty::Seen)
}

/// Waits until an account has this much.
pub async fn until_available(server: &Server, account: &str, wanted: &str) {
    let begun = std::time::Instant::now();
    loop {
        let available = server.available(account).await;
        if available == wanted {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{available}, not {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn deposits(server: &Server, account: &str) -> Vec<Value> {
    let path = format!("/v1/deposits?account_id={account}");
    let list = server.get(&path).await.ok(200);
    list["data"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_is_credited_once_in_whatever_order_it_is_reported() {
    use Certainty::{Final, Orphaned, Seen};
    let (server, hub) = Server::with_hub(|_| {}).await;
    let orders: [&[Certainty]; 4] = [
        &[Seen, Final],
        &[Final, Seen],
        &[Final, Seen, Final, Seen],
        &[Seen, Orphaned, Seen, Final],
    ];
    let mut accounts = Vec::new();
    for (at, order) in (0..).zip(orders) {
        let account = server.account(&server.admin, "0").await;
        let channel = channel(&server, &account).await;
        for certainty in order {
            tell_us(&server, deposited(channel, at, *certainty)).await;
        }
        // The hub has not seen it, so that it is not credited before all was reported.
        let found = deposits(&server, &account).await;
        assert_eq!(found.len(), 1, "{order:?} {found:?}");
        assert_eq!(found[0]["status"], "final", "{order:?} {found:?}");
        accounts.push((account, channel, at));
    }
    for (account, channel, at) in &accounts {
        assert_eq!(server.available(account).await, "0");
        tell_hub(&hub, deposited(*channel, *at, Certainty::Final)).await;
        until_available(&server, account, "400").await;
        tell_us(&server, deposited(*channel, *at, Certainty::Final)).await;
        tell_us(&server, deposited(*channel, *at, Certainty::Seen)).await;
        let found = deposits(&server, account).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["status"], "credited", "{found:?}");
    }
    // Whatever is posted now is posted behind some more rounds of the settlement.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (account, ..) in &accounts {
        assert_eq!(server.available(account).await, "400");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_hub_does_not_know_yet_is_answered_503_and_done_later_with_the_same_key() {
    let bed = testbed().await;
    let hub = Hub::start_with(&bed, |serve| serve.capacity = Amount::new(100)).await;
    let server = Server::on_hub(bed, &hub, |_| {}).await;
    let a = server.account(&server.admin, "100").await;
    let b = server.account(&server.admin, "0").await;
    let to = format!("0x{}", "07".repeat(20));
    let order = json!({"account_id": a, "amount": "100", "to_address": to});
    let order = server.post("/v1/withdrawals", &order).await.ok(202);
    let order = order["id"].as_str().unwrap().to_owned();
    let id = Uuid::parse_str(&order[4..]).unwrap();
    let issue = |account: &str, key: &str| {
        let body = json!({"account_id": account, "amount": "100"});
        let request = server.request(Method::POST, "/v1/issuances");
        request
            .header("Idempotency-Key", key.to_owned())
            .json(&body)
    };
    // What is on its way out keeps the hub side of the channel busy.
    let early = server.send(issue(&a, "early")).await;
    early.is(422, "CAPACITY_EXCEEDED");
    let paid = Event::Withdrawn {
        channel_id: channel(&server, &a).await,
        epoch: 0,
        request_id: OperationId(*id.as_bytes()).word(),
        to: to.parse().unwrap(),
        amount: Amount::new(100),
        total: Amount::new(100),
        certainty: Certainty::Final,
        confirmations: 6,
        place: place(1),
    };
    tell_us(&server, paid.clone()).await;
    for _ in 0..3 {
        let answer = server.send(issue(&a, "late")).await;
        answer.is(503, "HUB_UNAVAILABLE");
        assert!(answer.header("retry-after").is_some());
    }
    // Nobody else waits for it, not even in the same batch.
    let (deferred, other) = tokio::join!(
        server.send(issue(&a, "late")),
        server.send(issue(&b, "other"))
    );
    deferred.is(503, "HUB_UNAVAILABLE");
    other.ok(201);
    assert_eq!(server.available(&a).await, "0");
    tell_hub(&hub, paid).await;
    let done = server.send(issue(&a, "late")).await;
    assert_eq!(done.ok(201)["entries"][0]["balance_after"], "100");
    server.stop().await;
}

/// Rows that can't be posted, older than what can: more than one page of them.
async fn stuck(server: &Server, account: &str) {
    let id = Uuid::parse_str(&account[4..]).unwrap();
    for statement in [
        "INSERT INTO account.deposits (id, hub_id, account_id, channel_id, epoch, amount, status,
            block, block_hash, tx_hash, log_index, created_at, updated_at)
         SELECT gen_random_uuid(), hub_id, id, channel_id, 0, 1, 2, 1, decode(repeat('aa', 32), 'hex'),
            decode(repeat('bb', 32), 'hex'), n, now(), now()
         FROM account.accounts, generate_series(1, 201) n WHERE id = $1",
        "INSERT INTO account.withdrawals (id, hub_id, account_id, channel_id, epoch, amount,
            to_address, status, cancelled, correlation_id, created_at, updated_at)
         SELECT gen_random_uuid(), hub_id, id, channel_id, 0, 1, decode(repeat('07', 20), 'hex'), 1,
            true, 'test', now(), now()
         FROM account.accounts, generate_series(1, 201) WHERE id = $1",
        // Older than every time-ordered id.
        "UPDATE account.deposits SET id = ('00000000' || substr(id::text, 9))::uuid WHERE account_id = $1",
        "UPDATE account.withdrawals SET id = ('00000000' || substr(id::text, 9))::uuid WHERE account_id = $1",
    ] {
        let done = sqlx::query(statement).bind(id).execute(&server.pool).await;
        assert_eq!(done.unwrap().rows_affected(), 201, "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_posted_hides_nothing_that_can() {
    let (server, hub) = Server::with_hub(|_| {}).await;
    let frozen = server.account(&server.admin, "0").await;
    server
        .post(&format!("/v1/accounts/{frozen}/freeze"), &json!({}))
        .await
        .ok(200);
    stuck(&server, &frozen).await;
    let a = server.account(&server.admin, "100").await;
    let b = server.account(&server.admin, "0").await;
    let channel = channel(&server, &a).await;
    let deposit = deposited(channel, 900, Certainty::Final);
    tell_us(&server, deposit.clone()).await;
    tell_hub(&hub, deposit).await;
    until_available(&server, &a, "500").await;

    let to = format!("0x{}", "07".repeat(20));
    let order = json!({"account_id": a, "amount": "30", "to_address": to});
    let order = server.post("/v1/withdrawals", &order).await.ok(202);
    let path = format!("/v1/withdrawals/{}", order["id"].as_str().unwrap());
    let begun = std::time::Instant::now();
    while server.get(&path).await.ok(200)["status"] != "submitted" {
        assert!(begun.elapsed() < PATIENCE, "not submitted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.available(&a).await, "470");
    let expired = Event::Finalized {
        block: 9,
        timestamp: FAR,
    };
    tell_us(&server, expired.clone()).await;
    tell_hub(&hub, expired).await;
    until_available(&server, &a, "500").await;
    assert_eq!(server.get(&path).await.ok(200)["status"], "failed");
    server
        .post("/v1/transfers", &transfer(&a, &b, "1"))
        .await
        .ok(201);
    server.stop().await;
}
