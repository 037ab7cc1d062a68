//! The story holds in both funding modes, notices what is wrong, and needs no cache.

use crate::{funded, printed, transfer};
use load_tests::System;
use serde_json::json;
use stack::tools::workspace_root;
use std::fs;

/// The committed business day.
fn day() -> String {
    let path = workspace_root().join("deploy/demo/business-day.csv");
    fs::read_to_string(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_holds_in_both_funding_modes_and_a_wrong_row_fails_it() {
    let system = System::up().await.unwrap();
    let story = system
        .acctl(&["story", "--hub-mode", "both"])
        .await
        .unwrap();
    assert!(story.status.success(), "{}", printed(&story));

    // The last balance row of the day, off by one.
    let day = day();
    let row = day
        .lines()
        .rfind(|line| line.contains(",balance,"))
        .unwrap();
    let (head, amount) = row.rsplit_once(',').unwrap();
    let wrong = format!("{head},{}", amount.parse::<u128>().unwrap() + 1);
    let file = system.dir().join("wrong.csv");
    fs::write(&file, day.replace(row, &wrong)).unwrap();
    let file = file.to_str().unwrap();
    let import = system
        .acctl(&["import", file, "--run-id", "wrong"])
        .await
        .unwrap();
    assert_eq!(import.status.code(), Some(1), "{}", printed(&import));
    let line = row.split(',').next().unwrap();
    assert!(printed(&import).contains(line), "{}", printed(&import));

    a_proof_convinces_a_library_of_other_people(&system).await;
    nothing_depends_on_redis(&system).await;
}

async fn a_proof_convinces_a_library_of_other_people(system: &System) {
    let (payer, payee) = (
        funded(system, "1000").await.unwrap(),
        funded(system, "0").await.unwrap(),
    );
    let moved = transfer(system, &payer, &payee).await.unwrap();
    assert_eq!(moved.status.as_u16(), 201, "{moved:?}");
    let channel = payer.body["channel"]["id"].as_str().unwrap();
    let path = format!("/v1/channels/{channel}/states/latest/proof");
    let proof = system.get(&path).await.unwrap();
    assert_eq!(
        proof.body["state_typed_data"]["message"]["userBalance"],
        "999"
    );

    let foreign = workspace_root().join("load-tests/foreign");
    let check = async |proof: &serde_json::Value| {
        let file = system.dir().join("proof.json");
        fs::write(&file, proof.to_string()).unwrap();
        let mut node = tokio::process::Command::new("node");
        let done = node
            .arg("verify.js")
            .arg(&file)
            .current_dir(&foreign)
            .output()
            .await;
        done.unwrap()
    };
    let accepted = check(&proof.body).await;
    assert!(accepted.status.success(), "{}", printed(&accepted));
    assert!(printed(&accepted).contains("\"user_balance\":\"999\""));

    let mut forged = proof.body.clone();
    forged["state_typed_data"]["message"]["userBalance"] = json!("1000");
    let refused = check(&forged).await;
    assert_eq!(refused.status.code(), Some(1), "{}", printed(&refused));
}

async fn nothing_depends_on_redis(system: &System) {
    let (payer, payee) = (
        funded(system, "1000").await.unwrap(),
        funded(system, "0").await.unwrap(),
    );
    let balance = async || {
        let path = format!("/v1/accounts/{}/balances", payer.text("id"));
        let balances = system.get(&path).await.unwrap();
        assert_eq!(balances.status.as_u16(), 200, "{balances:?}");
        balances.text("available").to_owned()
    };
    let order = json!({"from": payer.text("id"), "to": payee.text("id"), "amount": "10"});
    let post = async |key: &str| {
        let path = "/v1/transfers";
        let answer = system
            .call_with_key(reqwest::Method::POST, path, order.clone(), key)
            .await
            .unwrap();
        assert_eq!(answer.status.as_u16(), 201, "{answer:?}");
        answer
    };
    let first = post("redis-1").await;
    assert_eq!(balance().await, "990");

    let (host, port) = system.env("REDIS_URL").rsplit_once(':').unwrap();
    assert!(host.contains("127.0.0.1"));
    let port = port.trim_end_matches('/').to_owned();
    let flush = tokio::process::Command::new("redis-cli")
        .args(["-p", &port, "FLUSHALL"])
        .output()
        .await
        .unwrap();
    assert!(flush.status.success(), "{}", printed(&flush));
    assert_eq!(post("redis-1").await.body, first.body);
    assert_eq!(balance().await, "990");

    system.kill9("redis").unwrap();
    assert_eq!(post("redis-1").await.body, first.body);
    post("redis-2").await;
    assert_eq!(balance().await, "980");
}
