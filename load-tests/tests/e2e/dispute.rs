//! A thief with the custody key posts states in which accounts had more, while every service is
//! dead: the watchtower comes back in time, the thief gets nothing, and business goes on.

use crate::chain::{CUSTOMER, is_clean, pass, rpc, tokens, until};
use crate::{PATIENCE, funded, printed};
use chain::calls::{self, dispute};
use chain::{CoSigned, Node, Wallet};
use hub_core::ChannelId;
use hub_core::proof::ChannelProof;
use load_tests::{Answer, System, program};
use serde_json::json;
use signer::Signer;
use sqlx::PgPool;
use stack::Record;
use stack::tools::workspace_root;
use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Channels that the thief closes.
const ROBBED: usize = 12;
/// Seconds to answer a close on the local stack.
const WINDOW: u64 = 60;

/// A service of the system that the test runs by itself, as the system ran it.
struct Alone {
    process: Child,
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Kills a service and gives back how to start it again.
fn take_out(system: &System, name: &str) -> Command {
    let record = Record::load(&system.dir().join("run"), name).unwrap();
    let read = |what: &str| {
        let path = format!("/proc/{}/{what}", record.identity.pid);
        let text = String::from_utf8(std::fs::read(path).unwrap()).unwrap();
        let parts = text.split_terminator('\0').map(str::to_owned);
        parts.collect::<Vec<_>>()
    };
    let (line, environment) = (read("cmdline"), read("environ"));
    let pairs: HashMap<_, _> = environment
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    system.kill9(name).unwrap();
    let mut command = Command::new(program(name));
    command.args(&line[1..]).env_clear().envs(pairs);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn count(database: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(database).await.unwrap()
}

fn channel(account: &Answer) -> String {
    account.body["channel"]["id"].as_str().unwrap().to_owned()
}

/// Accounts with 1,000 each, of which 300 are paid away later; and the proofs of before.
async fn robbed(system: &System) -> (Vec<Answer>, Vec<ChannelProof>) {
    let sink = funded(system, "0").await.unwrap();
    let (mut accounts, mut proofs) = (Vec::new(), Vec::new());
    for _ in 0..ROBBED {
        let account = funded(system, "1000").await.unwrap();
        let path = format!("/v1/channels/{}/states/latest/proof", channel(&account));
        let proof = system.get(&path).await.unwrap();
        proofs.push(serde_json::from_value(proof.body).unwrap());
        accounts.push(account);
    }
    for _ in 0..3 {
        for account in &accounts {
            let order = json!({"from": account.text("id"), "to": sink.text("id"), "amount": "100"});
            system.post("/v1/transfers", order).await.unwrap();
        }
    }
    (accounts, proofs)
}

/// Posts all of them at once, with the custody key as the sender.
async fn close_all(system: &System, proofs: &[ChannelProof]) {
    let thief = Signer::from_file(&system.dir().join("secrets/custody.key")).unwrap();
    let coin = json!([thief.address(), "0xde0b6b3a7640000"]);
    rpc(system, "anvil_setBalance", coin).await;
    let contract = system.env("CHANNELS_ADDRESS").parse().unwrap();
    let closes: Vec<_> = proofs
        .iter()
        .map(|proof| {
            let posted = CoSigned::from_proof(proof);
            dispute::close(contract, &proof.channel_params, &posted, None, None)
        })
        .collect();
    let node = Node::new(system.env("CHAIN_RPC")).unwrap();
    let wallet = Wallet::new(node, thief);
    let batch = calls::batch(contract, &closes);
    wallet.call(&batch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_closes_of_a_thief_are_answered_with_all_services_dead_and_the_next_epoch_is_usable()
{
    let mut system = System::up().await.unwrap();
    let database = system.database().await.unwrap();
    let day = workspace_root().join("deploy/demo/business-day.csv");
    let day = std::fs::read_to_string(day).unwrap();
    let morning: String = day
        .lines()
        .take(300)
        .map(|line| format!("{line}\n"))
        .collect();
    let file = system.dir().join("morning.csv");
    std::fs::write(&file, morning).unwrap();
    let import = system
        .acctl(&["import", file.to_str().unwrap(), "--run-id", "morning"])
        .await
        .unwrap();
    assert!(import.status.success(), "{}", printed(&import));
    let (accounts, stale) = robbed(&system).await;
    eventually("everything is copied", async || {
        let behind = "SELECT count(*) FROM account.batches b JOIN account.hubs h USING (hub_id)
            WHERE b.fate = 1 AND NOT EXISTS (SELECT 1 FROM chain.copied_batches c
                WHERE c.batch_id = b.batch_id AND '0x' || encode(c.hub, 'hex') = lower(h.terms ->> 'hub'))";
        count(&database, behind).await == 0
    })
    .await;

    let mut worker = take_out(&system, "chain-worker");
    for service in ["account-service", "hub-vault", "hub-mint"] {
        system.kill9(service).unwrap();
    }
    close_all(&system, &stale).await;
    pass(&system, WINDOW / 2).await;
    let worker = Alone {
        process: worker.spawn().unwrap(),
    };
    eventually("all are answered", async || {
        let answered = "SELECT count(*) FROM chain.logs WHERE status IN (1, 2)
            AND body ->> 'log' = 'challenged' AND (body ->> 'penalized')::boolean";
        count(&database, answered).await == ROBBED as i64
    })
    .await;
    let answers = "SELECT count(*) FROM chain.transactions WHERE kind = 4";
    assert_eq!(count(&database, answers).await, 1, "one transaction");
    pass(&system, WINDOW + 1).await;
    eventually("all are settled", async || {
        let settled =
            "SELECT count(*) FROM chain.logs WHERE status = 2 AND body ->> 'log' = 'settled'
            AND body -> 'paid' ->> 'user_pay' = '0' AND body -> 'paid' ->> 'bounty' = '35'";
        count(&database, settled).await == ROBBED as i64
    })
    .await;
    drop(worker);

    system.restart().await.unwrap();
    for account in &accounts {
        let path = format!("/v1/channels/{}", channel(account));
        let open = until(&system, &path, |one| one.body["epoch"] == 1).await;
        assert_eq!(open.text("status"), "open", "{open:?}");
        assert_eq!(open.text("user_balance"), "0");
    }
    // Usable: money comes, moves and is proven in the new epoch.
    let (payer, payee) = (&accounts[0], &accounts[1]);
    let issue = json!({"account_id": payer.text("id"), "amount": "500"});
    let issued = system.post("/v1/issuances", issue).await.unwrap();
    let path = format!("/v1/issuances/{}", issued.text("id"));
    until(&system, &path, |one| one.text("status") == "completed").await;
    let order = json!({"from": payer.text("id"), "to": payee.text("id"), "amount": "200"});
    system.post("/v1/transfers", order).await.unwrap();
    let path = format!("/v1/channels/{}/states/latest/proof", channel(payee));
    let proof = system.get(&path).await.unwrap();
    let proof: ChannelProof = serde_json::from_value(proof.body).unwrap();
    let id: ChannelId = channel(payee).parse().unwrap();
    let state = proof.state_typed_data.message;
    assert_eq!((state.channel_id, state.epoch), (id, 1));
    assert_eq!(state.user_balance.units(), 200);
    let path = format!("/v1/accounts/{}/entries?type=settlement", payee.text("id"));
    let left = system.get(&path).await.unwrap();
    assert_eq!(left.body["data"][0]["amount"], "700", "{left:?}");
    assert_eq!(left.body["data"][0]["balance_after"], "0");
    is_clean(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_close_is_paid_out_on_chain_in_both_modes_and_the_account_goes_on() {
    let system = System::up().await.unwrap();
    let database = system.database().await.unwrap();
    let hubs = system.get("/v1/hubs").await.unwrap();
    let mut accounts = Vec::new();
    for hub in hubs.body["data"].as_array().unwrap() {
        let open = json!({"hub_id": hub["id"], "chain_address": CUSTOMER});
        let account = system.post("/v1/accounts", open).await.unwrap();
        let issue = json!({"account_id": account.text("id"), "amount": "1000"});
        let issued = system.post("/v1/issuances", issue).await.unwrap();
        let path = format!("/v1/issuances/{}", issued.text("id"));
        until(&system, &path, |one| one.text("status") == "completed").await;
        let path = format!("/v1/channels/{}/close", channel(&account));
        let ordered = system.post(&path, json!({})).await.unwrap();
        assert_eq!(ordered.text("status"), "closing", "{ordered:?}");
        accounts.push(account);
    }
    let before = tokens(&system, CUSTOMER).await;
    eventually("both are posted", async || {
        let closed =
            "SELECT count(*) FROM chain.logs WHERE status = 2 AND body ->> 'log' = 'closed'";
        count(&database, closed).await == 2
    })
    .await;
    pass(&system, WINDOW + 1).await;
    eventually("both are settled", async || {
        let settled =
            "SELECT count(*) FROM chain.logs WHERE status = 2 AND body ->> 'log' = 'settled'";
        count(&database, settled).await == 2
    })
    .await;
    pass(&system, WINDOW + 1).await;
    eventually("both are paid", async || {
        tokens(&system, CUSTOMER).await == before + 2_000
    })
    .await;
    for account in &accounts {
        let path = format!("/v1/channels/{}", channel(account));
        until(&system, &path, |one| one.body["epoch"] == 1).await;
        let order = json!({"account_id": account.text("id"), "amount": "70"});
        system.post("/v1/issuances", order).await.unwrap();
        let path = format!("/v1/accounts/{}/balances", account.text("id"));
        until(&system, &path, |one| one.text("available") == "70").await;
    }
    let done = "SELECT count(*) FROM chain.commands WHERE kind = 3 AND status = 3";
    assert_eq!(count(&database, done).await, 2);
    is_clean(&system).await;
}
