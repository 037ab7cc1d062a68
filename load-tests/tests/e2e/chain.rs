//! Money that crosses the chain in both directions, and issuance that waits for its funding.

use crate::funded;
use load_tests::{Answer, System};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// An account of the local chain whose key the node keeps.
pub(crate) const CUSTOMER: &str = "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc";
/// Longest that a payment, its confirmations and what follows may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn rpc(system: &System, method: &str, params: Value) -> Value {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let sent = client
        .post(system.env("CHAIN_RPC"))
        .json(&request)
        .send()
        .await;
    let answer: Value = serde_json::from_slice(&sent.unwrap().bytes().await.unwrap()).unwrap();
    assert!(answer["error"].is_null(), "{method}: {answer}");
    answer["result"].clone()
}

/// Lets the chain's time pass.
pub(crate) async fn pass(system: &System, seconds: u64) {
    rpc(system, "evm_increaseTime", json!([seconds])).await;
    rpc(system, "evm_mine", json!([])).await;
}

/// What an account of the chain has of the token.
pub(crate) async fn tokens(system: &System, of: &str) -> u128 {
    let data = format!("0x70a08231{:0>64}", &of[2..]);
    let call = json!([{"to": system.env("TOKEN_ADDRESS"), "data": data}, "latest"]);
    let answer = rpc(system, "eth_call", call).await;
    u128::from_str_radix(answer.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

/// Sends a transaction of the customer's and waits until it is mined.
async fn send(system: &System, to: &str, data: &str) {
    let transaction = json!([{"from": CUSTOMER, "to": to, "data": data}]);
    let hash = rpc(system, "eth_sendTransaction", transaction).await;
    let begun = Instant::now();
    loop {
        let receipt = rpc(system, "eth_getTransactionReceipt", json!([hash])).await;
        if !receipt.is_null() {
            assert_eq!(receipt["status"], "0x1", "{receipt}");
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{hash} is not mined");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Pays tokens of the customer's into an account.
pub(crate) async fn pay_in(system: &System, account: &str, amount: u128) {
    let path = format!("/v1/accounts/{account}/deposit-addresses");
    let amount_text = json!({"amount": amount.to_string()});
    let how = system.post(&path, amount_text).await.unwrap();
    let (contract, token) = (how.text("contract"), how.text("token"));
    let approve = format!("0x095ea7b3{:0>64}{amount:064x}", &contract[2..]);
    send(system, token, &approve).await;
    send(system, contract, how.text("calldata")).await;
}

/// Asks until the answer is as wanted.
pub(crate) async fn until(system: &System, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let begun = Instant::now();
    loop {
        let answer = system.get(path).await.unwrap();
        if wanted(&answer) {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "{path}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) async fn is_clean(system: &System) {
    let run = system
        .post("/v1/reconciliation/runs", json!({}))
        .await
        .unwrap();
    let path = format!("/v1/reconciliation/runs/{}", run.text("id"));
    let run = until(system, &path, |run| run.text("status") != "running").await;
    let breaks = system.get(&format!("{path}/breaks")).await.unwrap();
    assert_eq!(run.text("status"), "clean", "{run:?} {breaks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn money_goes_out_to_the_chain_and_comes_back_and_issuance_waits_for_funding() {
    let system = System::up().await.unwrap();
    let hubs = system.get("/v1/hubs").await.unwrap();
    for hub in hubs.body["data"].as_array().unwrap() {
        let id = hub["id"].as_str().unwrap();
        there_and_back(&system, id).await;
    }
    issuance_beyond_the_vault_waits(&system).await;
    is_clean(&system).await;
}

/// 1,000 units out, 400 of them in again.
async fn there_and_back(system: &System, hub: &str) {
    let account = system
        .post("/v1/accounts", json!({"hub_id": hub}))
        .await
        .unwrap();
    let id = account.text("id");
    let issue = json!({"account_id": id, "amount": "5000"});
    let issued = system.post("/v1/issuances", issue).await.unwrap();
    let path = format!("/v1/issuances/{}", issued.text("id"));
    until(system, &path, |one| one.text("status") == "completed").await;

    let order = json!({"account_id": id, "amount": "1000", "to_address": CUSTOMER});
    let order = system.post("/v1/withdrawals", order).await.unwrap();
    let path = format!("/v1/withdrawals/{}", order.text("id"));
    let paid = until(system, &path, |one| one.text("status") == "completed").await;
    assert!(paid.text("tx_hash").starts_with("0x"), "{paid:?}");

    pay_in(system, id, 400).await;
    let path = format!("/v1/accounts/{id}/balances");
    let balances = until(system, &path, |one| one.text("available") == "4400").await;
    assert_eq!(balances.text("pending_in"), "0", "{balances:?}");
    let deposits = system
        .get(&format!("/v1/deposits?account_id={id}"))
        .await
        .unwrap();
    let deposits = deposits.body["data"].as_array().unwrap().clone();
    assert_eq!(deposits.len(), 1, "{deposits:?}");
    assert_eq!(deposits[0]["status"], "credited");
}

async fn issuance_beyond_the_vault_waits(system: &System) {
    let hubs = system.get("/v1/hubs").await.unwrap();
    let vault = hubs.body["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|hub| hub["funding_mode"] == "vault")
        .unwrap()
        .clone();
    let headroom: u128 = vault["liquidity"]["headroom"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let account = funded(system, "0").await.unwrap();
    let amount = (headroom + 1).to_string();
    let order = json!({"account_id": account.text("id"), "amount": amount});
    let issued = system.post("/v1/issuances", order).await.unwrap();
    assert_eq!(issued.text("status"), "pending_funding", "{issued:?}");
    let path = format!("/v1/issuances/{}", issued.text("id"));
    let done = until(system, &path, |one| one.text("status") == "completed").await;
    assert_eq!(done.body["entries"][0]["balance_after"], amount, "{done:?}");
}
