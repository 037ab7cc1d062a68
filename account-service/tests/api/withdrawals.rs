//! Withdrawal orders of one channel: signed one after the other, in whatever order they come to
//! be seen, and never hidden by others that can't be signed.

use crate::chain::{channel, place, tell_hub, tell_us};
use crate::harness::{CUSTODY, Hub, Server, until_blocked};
use account_service::engine::{Order, Outcome, Request, Route};
use account_service::store::settlement::{self, Validity, WithdrawSignatures};
use chain_messages::{Certainty, Event};
use hub_core::{Amount, ChannelId, Domain, Hash32, OperationId};
use serde_json::json;
use signer::Signer;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Longest that the settlement may take: some of its rounds.
const PATIENCE: Duration = Duration::from_secs(30);
/// Who is paid.
const PAYEE: &str = "0x0707070707070707070707070707070707070707";

async fn order(server: &Server, account: &str, amount: &str) -> Uuid {
    let body = json!({"account_id": account, "amount": amount, "to_address": PAYEE});
    let order = server.post("/v1/withdrawals", &body).await.ok(202);
    Uuid::parse_str(&order["id"].as_str().unwrap()[4..]).unwrap()
}

/// An order with an id made long before it is accepted: by a replica whose clock is behind, or
/// that waited for its hub.
async fn late_order(server: &Server, id: Uuid, account: &str, amount: u128) {
    let request = Request {
        id,
        owner: Uuid::now_v7(),
        all_owners: true,
        route: Route::Withdrawals,
        key: id.to_string(),
        request_hash: Hash32([1; 32]),
        client_ref: None,
        correlation_id: "test".to_owned(),
        order: Order::Withdraw {
            account: Uuid::parse_str(&account[4..]).unwrap(),
            amount: Amount::new(amount),
            to: Some(PAYEE.parse().unwrap()),
        },
        extra: None,
        dry_run: false,
    };
    let outcome = server.engine.submit(request).await;
    assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
}

/// The previous total in the order's terms, if they are fixed.
async fn previous(server: &Server, id: Uuid) -> Option<String> {
    sqlx::query_scalar("SELECT prev_total::text FROM account.withdrawals WHERE id = $1")
        .bind(id)
        .fetch_one(&server.pool)
        .await
        .unwrap()
}

async fn until(server: &Server, id: Uuid, status: &str) {
    let path = format!("/v1/withdrawals/wdr_{}", id.simple());
    let begun = Instant::now();
    loop {
        let shown = server.get(&path).await.ok(200);
        if shown["status"] == status {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "not {status}: {shown}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Hub and account-service learn that an order was executed, at a final block.
async fn paid(server: &Server, hub: &Hub, channel_id: ChannelId, id: Uuid, total: u128) {
    let event = Event::Withdrawn {
        channel_id,
        epoch: 0,
        request_id: OperationId(*id.as_bytes()).word(),
        to: PAYEE.parse().unwrap(),
        amount: Amount::new(1),
        total: Amount::new(total),
        certainty: Certainty::Final,
        confirmations: 6,
        place: place(total.try_into().unwrap()),
    };
    tell_hub(hub, event.clone()).await;
    tell_us(server, event).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_comes_late_with_a_lower_id_waits_for_the_open_one_and_is_paid_after_it() {
    let (server, hub) = Server::with_hub(|_| {}).await;
    let account = server.account(&server.admin, "1000").await;
    let channel = channel(&server, &account).await;
    let late = Uuid::now_v7();
    tokio::time::sleep(Duration::from_millis(2)).await;
    let first = order(&server, &account, "100").await;
    assert!(late < first);
    until(&server, first, "submitted").await;
    late_order(&server, late, &account, 50).await;
    // Some rounds of the settlement.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(previous(&server, late).await, None);
    paid(&server, &hub, channel, first, 100).await;
    until(&server, first, "completed").await;
    until(&server, late, "submitted").await;
    assert_eq!(previous(&server, late).await.unwrap(), "100");
    paid(&server, &hub, channel, late, 150).await;
    until(&server, late, "completed").await;
    assert_eq!(server.available(&account).await, "850");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_that_nobody_can_execute_any_more_are_fixed_anew() {
    let (server, hub) = Server::with_hub(|_| {}).await;
    let account = server.account(&server.admin, "1000").await;
    let channel = channel(&server, &account).await;
    let first = order(&server, &account, "100").await;
    until(&server, first, "submitted").await;
    let second = order(&server, &account, "50").await;
    let third = order(&server, &account, "25").await;
    // Two orders with one previous total: only one of them can ever be executed.
    sqlx::query(
        "UPDATE account.withdrawals SET prev_total = 0, valid_until = extract(epoch FROM now()) + 600
         WHERE id = $1",
    )
    .bind(second)
    .execute(&server.pool)
    .await
    .unwrap();
    paid(&server, &hub, channel, first, 100).await;
    until(&server, second, "submitted").await;
    assert_eq!(previous(&server, second).await.unwrap(), "100");
    paid(&server, &hub, channel, second, 150).await;
    until(&server, third, "submitted").await;
    paid(&server, &hub, channel, third, 175).await;
    until(&server, third, "completed").await;
    assert_eq!(server.available(&account).await, "825");
    server.stop().await;
}

/// A hub that nobody settles for, and an order in a channel of it.
async fn alone(server: &Server, hub: Uuid, id: Uuid) {
    let statements = [
        "INSERT INTO account.hubs (hub_id, terms, connected_at) SELECT $1, '{}', now()
         WHERE $2 IS NOT NULL ON CONFLICT DO NOTHING",
        "INSERT INTO account.withdrawals (id, hub_id, account_id, channel_id, epoch, amount,
            to_address, status, correlation_id, created_at, updated_at)
         VALUES ($2, $1, $1, decode(repeat('05', 32), 'hex'), 0, 1, decode(repeat('07', 20), 'hex'),
            1, 'test', now(), now())",
    ];
    for statement in statements {
        let query = sqlx::query(statement).bind(hub).bind(id);
        query.execute(&server.pool).await.unwrap();
    }
}

fn validity() -> Validity {
    Validity {
        now: 1_000,
        seconds: 600,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_fix_the_terms_of_one_order_of_a_channel_at_a_time() {
    let server = Server::start().await;
    let hub = Uuid::now_v7();
    let late = Uuid::now_v7();
    let first = Uuid::now_v7();
    alone(&server, hub, first).await;
    let mut other = server.pool.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM account.withdrawals WHERE id = $1 FOR UPDATE")
        .bind(first)
        .execute(&mut *other)
        .await
        .unwrap();
    let fix = || {
        let pool = server.pool.clone();
        tokio::spawn(async move { settlement::fix_terms(&pool, hub, validity(), 200).await })
    };
    // One replica has chosen and waits; another one sees an order that was not there then.
    let one = fix();
    until_blocked(&server.pool).await;
    alone(&server, hub, late).await;
    let mut two = fix();
    // It ends by itself, or waits for the first.
    let _ = tokio::time::timeout(Duration::from_secs(2), &mut two).await;
    other.rollback().await.unwrap();
    one.await.unwrap().unwrap();
    if !two.is_finished() {
        two.await.unwrap().unwrap();
    }
    let fixed: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM account.withdrawals WHERE hub_id = $1 AND prev_total IS NOT NULL",
    )
    .bind(hub)
    .fetch_one(&server.pool)
    .await
    .unwrap();
    assert_eq!(fixed, 1, "two orders with one previous total");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_the_hub_does_not_sign_hide_none_that_it_does() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let stuck = server.account(&server.admin, "0").await;
    let account = server.account(&server.admin, "100").await;
    // Unknown to the hub, and older than every time-ordered id: more than one page of them.
    let done = sqlx::query(
        "INSERT INTO account.withdrawals (id, hub_id, account_id, channel_id, epoch, amount,
            to_address, status, prev_total, valid_until, correlation_id, created_at, updated_at)
         SELECT ('00000000' || substr(gen_random_uuid()::text, 9))::uuid, hub_id, id, channel_id, 0, 1,
            decode(repeat('07', 20), 'hex'), 1, 0, extract(epoch FROM now()) + 600, 'test', now(), now()
         FROM account.accounts, generate_series(1, 201) WHERE id = $1",
    )
    .bind(Uuid::parse_str(&stuck[4..]).unwrap())
    .execute(&server.pool)
    .await
    .unwrap();
    assert_eq!(done.rows_affected(), 201);
    let order = order(&server, &account, "30").await;
    until(&server, order, "submitted").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_signed_on_terms_that_changed_meanwhile_is_not_submitted() {
    let server = Server::start().await;
    let hub = Uuid::now_v7();
    let order = Uuid::now_v7();
    alone(&server, hub, order).await;
    let fix = async || {
        let fixed = settlement::fix_terms(&server.pool, hub, validity(), 200).await;
        fixed.unwrap();
        let after = Uuid::nil();
        let page = settlement::signable(&server.pool, hub, 200, after).await;
        page.unwrap().pop().unwrap()
    };
    let before = fix().await;
    assert_eq!(before.withdraw.prev_total, Amount::ZERO);
    let mut connection = server.pool.acquire().await.unwrap();
    settlement::raise_executed(&mut connection, ChannelId([5; 32]), 0, Amount::new(7))
        .await
        .unwrap();
    let anew = fix().await;
    assert_eq!(anew.withdraw.prev_total, Amount::new(7));
    let signer = Signer::from_bytes(&CUSTODY).unwrap();
    let domain = Domain {
        chain_id: 1,
        verifying_contract: PAYEE.parse().unwrap(),
    };
    for (order, rows) in [(&before, 0), (&anew, 1), (&anew, 0)] {
        let signature = signer.sign(&domain, &order.withdraw);
        let signatures = WithdrawSignatures {
            hub: signature,
            user: signature,
        };
        let now = runtime::clock::now();
        let done = settlement::submit(&mut connection, order, signatures, now).await;
        assert_eq!(done.unwrap(), rows);
    }
    drop(connection);
    server.stop().await;
}
