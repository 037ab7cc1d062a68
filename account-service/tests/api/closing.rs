//! Channels that are closed on chain, by others or by our own order, and what comes after.

use crate::chain::{channel, place, tell_hub, tell_us, until_available};
use crate::harness::{Server, transfer, until_blocked};
use account_service::store::accounts::{self, AccountStatus, Lookup};
use chain_messages::{Certainty, CloseCommand, Command, Event};
use hub_client::HubClient;
use hub_core::proof::ChannelProof;
use hub_core::{Amount, ChannelId, State, signature};
use serde_json::{Value, json};
use sqlx::types::Json;
use std::time::{Duration, Instant};

/// A final block's time far beyond every validity.
const FAR: u64 = 4_000_000_000;
/// Longest that some rounds of the settlement may take.
const PATIENCE: Duration = Duration::from_secs(30);

async fn newest(server: &Server, channel: ChannelId) -> ChannelProof {
    let path = format!("/v1/channels/{channel}/states/latest/proof");
    let proof: ChannelProof = serde_json::from_value(server.get(&path).await.ok(200)).unwrap();
    proof.verify().unwrap();
    proof
}

fn closed(state: State, certainty: Certainty) -> Event {
    Event::Closed {
        state,
        by_hub: false,
        deadline: 100,
        certainty,
        place: place(1),
    }
}

fn settled(state: &State) -> Event {
    Event::Settled {
        channel_id: state.channel_id,
        epoch: state.epoch,
        paid: Amount::ZERO,
        place: place(2),
    }
}

async fn shown(server: &Server, channel: ChannelId) -> Value {
    server.get(&format!("/v1/channels/{channel}")).await.ok(200)
}

async fn until(server: &Server, channel: ChannelId, field: &str, wanted: Value) -> Value {
    let begun = Instant::now();
    loop {
        let found = shown(server, channel).await;
        if found[field] == wanted {
            return found;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{field} is not {wanted}: {found}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn pay(server: &Server, from: &str, to: &str) -> crate::harness::Answer {
    server.post("/v1/transfers", &transfer(from, to, "1")).await
}

async fn sent(server: &Server) -> Vec<CloseCommand> {
    let rows: Vec<Json<Command>> = sqlx::query_scalar(
        "SELECT body FROM account.outbox WHERE body ->> 'command' = 'close' ORDER BY id",
    )
    .fetch_all(&server.pool)
    .await
    .unwrap();
    let closes = rows.into_iter().filter_map(|row| match row.0 {
        Command::Close(close) => Some(*close),
        _ => None,
    });
    closes.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_at_first_sight_stops_the_channel_and_an_orphaned_one_gives_it_back() {
    let (server, hub) = Server::with_hub(|_| {}).await;
    let closing = server.account(&server.admin, "1000").await;
    let other = server.account(&server.admin, "1000").await;
    let channel = channel(&server, &closing).await;
    let state = newest(&server, channel).await.state_typed_data.message;
    for tell in [Certainty::Seen, Certainty::Orphaned, Certainty::Seen] {
        tell_us(&server, closed(state, tell)).await;
        tell_hub(&hub, closed(state, tell)).await;
        if tell == Certainty::Orphaned {
            pay(&server, &closing, &other).await.ok(201);
            pay(&server, &other, &closing).await.ok(201);
        } else {
            pay(&server, &closing, &other)
                .await
                .is(423, "CHANNEL_DISPUTED");
            pay(&server, &other, &closing)
                .await
                .is(423, "CHANNEL_DISPUTED");
        }
    }
    // An operator's freeze and unfreeze do not open it.
    for verb in ["freeze", "unfreeze"] {
        let path = format!("/v1/accounts/{closing}/{verb}");
        server.post(&path, &json!({})).await.ok(200);
    }
    pay(&server, &closing, &other)
        .await
        .is(423, "CHANNEL_DISPUTED");
    assert_eq!(shown(&server, channel).await["status"], "closing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_close_fixes_the_newest_state_goes_out_once_and_lapses_when_nobody_posts_it() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let closing = server.account(&server.admin, "1000").await;
    let other = server.account(&server.admin, "1000").await;
    let channel = channel(&server, &closing).await;
    let path = format!("/v1/channels/{channel}/close");
    for _ in 0..2 {
        let ordered = server.post(&path, &json!({})).await.ok(202);
        assert_eq!(ordered["status"], "closing");
    }
    pay(&server, &closing, &other)
        .await
        .is(423, "CHANNEL_DISPUTED");
    let begun = Instant::now();
    while sent(&server).await.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "never sent");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let commands = sent(&server).await;
    let [command] = &commands[..] else {
        panic!("{commands:?}");
    };
    let mut newest = newest(&server, channel).await;
    newest.newest = true;
    assert_eq!(command.proof, newest);
    let params = newest.channel_params;
    let domain: hub_core::Domain =
        serde_json::from_value(shown(&server, channel).await["domain"].clone()).unwrap();
    let digest = domain.digest(&command.intent);
    signature::verify(digest, &command.signature, params.user_signer).unwrap();

    let late = Event::Finalized {
        block: 9,
        timestamp: FAR,
    };
    tell_us(&server, late).await;
    until(&server, channel, "status", json!("open")).await;
    pay(&server, &closing, &other).await.ok(201);
    let nobody = ChannelId([9; 32]);
    let path = format!("/v1/channels/{nobody}/close");
    server
        .post(&path, &json!({}))
        .await
        .is(404, "CHANNEL_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_channel_goes_on_empty_in_the_next_epoch_and_nothing_of_the_last_one_comes_back()
{
    let (server, hub) = Server::with_hub(|_| {}).await;
    let account = server.account(&server.admin, "1000").await;
    let other = server.account(&server.admin, "1000").await;
    let channel = channel(&server, &account).await;
    // On their way when the close comes: an order that nobody pays, a deposit that the hub
    // does not know.
    let order = json!({"account_id": account, "amount": "100", "to_address": "0x9965507d1a55bcc2695c58ba16fb37d819b0a4dc"});
    let order = server.post("/v1/withdrawals", &order).await.ok(202);
    let deposit = Event::Deposited {
        channel_id: channel,
        epoch: 0,
        amount: Amount::new(40),
        total: Amount::new(40),
        certainty: Certainty::Final,
        place: place(3),
    };
    tell_us(&server, deposit).await;
    let before = newest(&server, channel).await.state_typed_data.message;
    let then = time::OffsetDateTime::now_utc();
    let then = then
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap();
    let then = format!("/v1/accounts/{account}/balances?at={then}");
    let balances_then = server.get(&then).await.ok(200);
    assert_eq!(balances_then["available"], "900");
    assert_eq!(balances_then["pending_in"], "40");
    assert_eq!(balances_then["state_version"], before.version);
    tell_us(&server, closed(before, Certainty::Seen)).await;
    tell_us(&server, settled(&before)).await;
    // The hub has not heard of it: nothing is promised on the old epoch meanwhile.
    pay(&server, &other, &account)
        .await
        .is(423, "CHANNEL_DISPUTED");
    tell_hub(&hub, closed(before, Certainty::Seen)).await;
    tell_hub(&hub, settled(&before)).await;
    until(&server, channel, "epoch", json!(1)).await;
    until_available(&server, &account, "0").await;

    let after = newest(&server, channel).await.state_typed_data.message;
    assert_eq!((after.epoch, after.ack_version), (1, 0));
    assert!(after.version > before.version, "history has one order");
    assert_eq!(after.user_balance, Amount::ZERO);
    // What it had before the settlement is told from that epoch's own state.
    assert_eq!(server.get(&then).await.ok(200), balances_then);
    let path = format!("/v1/withdrawals/{}", order["id"].as_str().unwrap());
    assert_eq!(server.get(&path).await.ok(200)["status"], "failed");
    let path = format!("/v1/deposits?account_id={account}");
    assert_eq!(
        server.get(&path).await.ok(200)["data"][0]["status"],
        "settled"
    );
    let path = format!("/v1/accounts/{account}/entries?type=settlement");
    let left = server.get(&path).await.ok(200);
    assert_eq!(left["data"].as_array().unwrap().len(), 1, "{left}");
    assert_eq!(left["data"][0]["amount"], "900");

    pay(&server, &other, &account).await.ok(201);
    pay(&server, &account, &other).await.ok(201);
    // Told again, nothing happens again.
    tell_us(&server, settled(&before)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(server.available(&account).await, "0");
    assert_eq!(shown(&server, channel).await["status"], "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deposited_after_an_account_was_closed_is_settled_on_chain() {
    let (server, hub) = Server::with_hub(|_| {}).await;
    let account = server.account(&server.admin, "0").await;
    let channel = channel(&server, &account).await;
    let close_account = format!("/v1/accounts/{account}/close");
    server.post(&close_account, &json!({})).await.ok(200);
    let close = format!("/v1/channels/{channel}/close");
    let nothing = server.post(&close, &json!({})).await;
    nothing.is(422, "ACCOUNT_CLOSED");
    let deposit = |certainty| Event::Deposited {
        channel_id: channel,
        epoch: 0,
        amount: Amount::new(40),
        total: Amount::new(40),
        certainty,
        place: place(3),
    };
    tell_us(&server, deposit(Certainty::Seen)).await;
    let early = server.post(&close, &json!({})).await;
    early.is(422, "ACCOUNT_CLOSED");
    tell_us(&server, deposit(Certainty::Final)).await;
    tell_hub(&hub, deposit(Certainty::Final)).await;
    server.post(&close, &json!({})).await.ok(202);
    server.post(&close, &json!({})).await.ok(202);
    let begun = Instant::now();
    while sent(&server).await.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "no close is sent");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let before = newest(&server, channel).await.state_typed_data.message;
    for event in [closed(before, Certainty::Seen), settled(&before)] {
        tell_us(&server, event.clone()).await;
        tell_hub(&hub, event).await;
    }
    until(&server, channel, "epoch", json!(1)).await;
    assert_eq!(shown(&server, channel).await["status"], "closed");
    let path = format!("/v1/deposits?account_id={account}");
    let deposits = server.get(&path).await.ok(200);
    assert_eq!(deposits["data"][0]["status"], "settled");
    let nothing = server.post(&close, &json!({})).await;
    nothing.is(422, "ACCOUNT_CLOSED");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_holds_over_the_beginning_of_an_epoch() {
    let (server, hub) = Server::with_hub(|_| {}).await;
    let account = server.account(&server.admin, "0").await;
    let other = server.account(&server.admin, "10").await;
    let channel = channel(&server, &account).await;
    let before = newest(&server, channel).await.state_typed_data.message;
    tell_us(&server, closed(before, Certainty::Seen)).await;
    tell_us(&server, settled(&before)).await;
    let wanted = Lookup {
        id: uuid::Uuid::parse_str(&account[4..]).unwrap(),
        owner: None,
    };
    let mut freeze = server.pool.begin().await.unwrap();
    accounts::lock(&mut freeze, wanted).await.unwrap().unwrap();
    let frozen = AccountStatus::Frozen;
    accounts::set_status(&mut freeze, wanted.id, channel, frozen)
        .await
        .unwrap();
    // The epoch begins as soon as the hub knows, and waits for the freeze.
    tell_hub(&hub, closed(before, Certainty::Seen)).await;
    tell_hub(&hub, settled(&before)).await;
    until_blocked(&server.pool).await;
    freeze.commit().await.unwrap();
    let after = until(&server, channel, "epoch", json!(1)).await;
    assert_eq!(after["status"], "frozen");
    pay(&server, &other, &account)
        .await
        .is(422, "ACCOUNT_FROZEN");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_show_the_tower_the_same_batches_and_only_to_a_key_for_it() {
    let (server, hub) = Server::with_hub(|_| {}).await;
    let payer = server.account(&server.admin, "1000").await;
    let payee = server.account(&server.admin, "0").await;
    pay(&server, &payer, &payee).await.ok(201);
    let channel = channel(&server, &payer).await;
    let operator = newest(&server, channel).await.channel_params.hub;
    let owner = uuid::Uuid::now_v7();
    let limit = Duration::from_secs(5);
    let ours = server.key(owner, &["admin:tower"]).await;
    let ours = HubClient::new(&server.url(""), &ours, limit).unwrap();
    let reader = server.key(owner, &["*:*"]).await;
    let reader = HubClient::new(&server.url(""), &reader, limit).unwrap();
    assert!(reader.attestations(operator, 0).await.is_err());
    let here = ours.attestations(operator, 0).await.unwrap();
    assert_eq!(here.next, here.last);
    assert!(here.batches.len() >= 3 && !here.more);
    let begun = Instant::now();
    while hub.client().attestations(operator, 0).await.unwrap() != here {
        // The hub learns of the last custody signature a moment later.
        assert!(begun.elapsed() < PATIENCE, "the hub shows others");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let above = ours.attestations(operator, here.last).await.unwrap();
    assert!(above.batches.is_empty());
    let asked = chain_messages::tower::ParamsRequest {
        channels: vec![channel, ChannelId([9; 32])],
    };
    let params = ours.params(&asked).await.unwrap();
    assert_eq!(params, hub.client().params(&asked).await.unwrap());
    assert_eq!(params.params.len(), 1);
    let domain: hub_core::Domain =
        serde_json::from_value(shown(&server, channel).await["domain"].clone()).unwrap();
    assert_eq!(params.params[0].channel_id(&domain), channel);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_of_the_next_epoch_is_kept_until_that_begins_and_a_settled_one_is_passed_over() {
    let (server, hub) = Server::with_hub(|_| {}).await;
    let twice = server.account(&server.admin, "1000").await;
    let once = server.account(&server.admin, "1000").await;
    let other = server.account(&server.admin, "1000").await;
    let tell = async |event: Event| {
        tell_us(&server, event.clone()).await;
        tell_hub(&hub, event).await;
    };
    let mut ends = Vec::new();
    for account in [&twice, &once] {
        let channel = channel(&server, account).await;
        let first = newest(&server, channel).await.state_typed_data.message;
        let capacity = first.total().unwrap();
        let next = State::null(channel, first.epoch + 1, capacity);
        // The customer is back before the settlement is final.
        tell(closed(first, Certainty::Seen)).await;
        tell(closed(next, Certainty::Seen)).await;
        ends.push((channel, first, next));
    }
    let [
        (twice_channel, first, next),
        (once_channel, other_first, gone),
    ] = ends[..]
    else {
        panic!("two channels");
    };
    tell(settled(&first)).await;
    tell(settled(&other_first)).await;
    // Several rounds later it still has not begun what is closed already.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (account, channel) in [(&twice, twice_channel), (&once, once_channel)] {
        assert_eq!(shown(&server, channel).await["status"], "closing");
        pay(&server, &other, account)
            .await
            .is(423, "CHANNEL_DISPUTED");
    }
    tell(settled(&next)).await;
    tell(closed(gone, Certainty::Orphaned)).await;
    until(&server, twice_channel, "epoch", json!(2)).await;
    until(&server, once_channel, "epoch", json!(1)).await;
    for (account, channel) in [(&twice, twice_channel), (&once, once_channel)] {
        until(&server, channel, "status", json!("open")).await;
        assert_eq!(server.available(account).await, "0");
        pay(&server, &other, account).await.ok(201);
        pay(&server, account, &other).await.ok(201);
    }
    server.stop().await;
}
