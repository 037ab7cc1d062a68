//! What callers read: accounts, balances, entries, operations, channels, proofs.

use crate::harness::Server;
use crate::seed::{Bank, CAPACITY, issue, transfer};
use hub_core::proof::ChannelProof;
use serde_json::json;
use uuid::Uuid;

/// Two accounts of one owner and one of another; 1,000 issued to the first, 250 moved on.
async fn bank(server: &Server) -> (Bank, Uuid, Uuid) {
    let (mine, other) = (Uuid::now_v7(), Uuid::now_v7());
    let mut bank = Bank::open(server, &[mine, mine, other]).await;
    bank.post(server, issue(0, 1_000)).await;
    bank.post(server, transfer(0, 1, 250)).await;
    (bank, mine, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_are_those_of_the_newest_state_and_those_of_a_time() {
    let server = Server::start().await;
    let mine = Uuid::now_v7();
    let mut bank = Bank::open(&server, &[mine, mine]).await;
    bank.post(&server, issue(0, 1_000)).await;
    let path = format!("/v1/accounts/{}/balances", bank.id(0));
    let before = server.get(&path).await.ok(200);
    assert_eq!(before["available"], "1000");
    assert_eq!(before["state_version"], 2);
    let between = before["as_of"].as_str().unwrap().to_owned();
    bank.post(&server, transfer(0, 1, 250)).await;

    let then = server.get(&format!("{path}?at={between}")).await.ok(200);
    assert_eq!(then["available"], "1000");
    assert_eq!(then["state_hash"], before["state_hash"]);
    assert_eq!(then["as_of"], before["as_of"]);
    let early = format!("{path}?at=2020-01-01T00:00:00Z");
    server.get(&early).await.is(404, "STATE_NOT_FOUND");

    let ids =
        json!({"account_ids": [bank.id(1), bank.id(0), format!("acc_{}", Uuid::nil().simple())]});
    let all = server.post("/v1/balances/query", &ids).await.ok(200);
    assert_eq!(all["data"][0]["account_id"], bank.id(1));
    assert_eq!(all["data"][0]["available"], "250");
    assert_eq!(all["data"][1]["available"], "750");
    assert_eq!(all["data"][1]["receivable"], (CAPACITY - 750).to_string());
    assert_eq!(all["not_found"].as_array().unwrap().len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_the_lines_of_the_account_newest_first() {
    let server = Server::start().await;
    let (bank, ..) = bank(&server).await;
    let path = format!("/v1/accounts/{}/entries", bank.id(0));
    let lines = server.get(&path).await.ok(200);
    let lines = lines["data"].as_array().unwrap();
    assert_eq!(lines.len(), 2);
    let [last, first] = [&lines[0], &lines[1]];
    assert_eq!(
        (&last["type"], &last["direction"]),
        (&json!("transfer"), &json!("debit"))
    );
    assert_eq!(last["balance_after"], "750");
    assert_eq!(last["counterparty"], bank.id(1));
    assert_eq!(
        (&first["type"], &first["direction"]),
        (&json!("issuance"), &json!("credit"))
    );
    assert_eq!(first["balance_after"], "1000");
    assert!(first["counterparty"].is_null());

    let only = server.get(&format!("{path}?type=issuance")).await.ok(200);
    assert_eq!(only["data"].as_array().unwrap().len(), 1);
    let none = format!("{path}?to={}", first["created_at"].as_str().unwrap());
    assert!(
        server.get(&none).await.ok(200)["data"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let id = last["operation_id"].as_str().unwrap();
    let found = server.get(&format!("/v1/transfers/{id}")).await.ok(200);
    assert_eq!(found["entries"][0]["state_hash"], last["state_hash"]);
    assert_eq!(found["from"], bank.id(0));
    let reference = found["client_ref"].as_str().unwrap();
    let listed = server
        .get(&format!("/v1/transfers?client_ref={reference}"))
        .await
        .ok(200);
    assert_eq!(listed["data"], json!([found]));
    let wrong_kind = format!("/v1/issuances?client_ref={reference}");
    assert_eq!(server.get(&wrong_kind).await.ok(200)["data"], json!([]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_comes_page_by_page_without_gap_or_double() {
    let server = Server::start().await;
    let mine = Uuid::now_v7();
    let mut bank = Bank::open(&server, &[mine, mine]).await;
    for _ in 0..7 {
        bank.post(&server, issue(0, 10)).await;
    }
    let reader = server.key(mine, &["accounts:read"]).await;
    let path = format!("/v1/accounts/{}/entries?type=issuance&limit=3", bank.id(0));
    let mut seen = Vec::new();
    let mut next = path.clone();
    loop {
        let page = server.get_as(&reader, &next).await.ok(200);
        for line in page["data"].as_array().unwrap() {
            seen.push(line["id"].as_str().unwrap().to_owned());
        }
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        next = format!("{path}&cursor={cursor}");
        // The same cursor with another filter, another account, another caller.
        let elsewhere = format!(
            "/v1/accounts/{}/entries?limit=3&cursor={cursor}",
            bank.id(0)
        );
        server
            .get_as(&reader, &elsewhere)
            .await
            .is(400, "INVALID_CURSOR");
        let other = format!(
            "/v1/accounts/{}/entries?type=issuance&limit=3&cursor={cursor}",
            bank.id(1)
        );
        server
            .get_as(&reader, &other)
            .await
            .is(400, "INVALID_CURSOR");
        server.get(&next).await.is(400, "INVALID_CURSOR");
    }
    assert_eq!(seen.len(), 7);
    seen.dedup();
    assert_eq!(seen.len(), 7);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_of_a_channel_comes_with_a_proof_that_holds_offline() {
    let server = Server::start().await;
    let (bank, ..) = bank(&server).await;
    let channel = bank.accounts[0].channel;
    let path = format!("/v1/channels/{channel}");
    let shown = server.get(&path).await.ok(200);
    assert_eq!(shown["status"], "open");
    assert_eq!(shown["version"], 3);
    assert_eq!(shown["user_balance"], "750");
    assert_eq!(shown["account_id"], bank.id(0));

    let states = server.get(&format!("{path}/states")).await.ok(200);
    let versions: Vec<_> = states["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|state| state["version"].as_u64().unwrap())
        .collect();
    assert_eq!(versions, [1, 2, 3]);
    let later = server
        .get(&format!("{path}/states?from_version=3"))
        .await
        .ok(200);
    assert_eq!(later["data"].as_array().unwrap().len(), 1);

    for version in ["1", "2", "3", "latest"] {
        let state = server
            .get(&format!("{path}/states/{version}"))
            .await
            .ok(200);
        let proof = server
            .get(&format!("{path}/states/{version}/proof"))
            .await
            .ok(200);
        assert_eq!(proof["newest"], state["newest"]);
        assert_eq!(proof["state_typed_data"]["message"], state["state"]);
        let mut proof: ChannelProof = serde_json::from_value(proof).unwrap();
        proof.verify().unwrap();
        proof.state_typed_data.message.user_balance = hub_core::Amount::new(1);
        assert!(proof.verify().is_err());
    }
    server
        .get(&format!("{path}/states/9/proof"))
        .await
        .is(404, "STATE_NOT_FOUND");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_balance_shows_as_frozen_and_the_proof_stays_the_signed_one() {
    let server = Server::start().await;
    let (bank, ..) = bank(&server).await;
    let channel = bank.accounts[0].channel;
    sqlx::query("UPDATE account.heads SET user_balance = user_balance + 1 WHERE account_id = $1")
        .bind(bank.accounts[0].id)
        .execute(&server.pool)
        .await
        .unwrap();
    let path = format!("/v1/channels/{channel}");
    assert_eq!(server.get(&path).await.ok(200)["status"], "frozen");
    let proof = server
        .get(&format!("{path}/states/latest/proof"))
        .await
        .ok(200);
    assert_eq!(proof["state_typed_data"]["message"]["userBalance"], "750");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_owners_things_are_not_there() {
    let server = Server::start().await;
    let (bank, mine, other) = bank(&server).await;
    let (owner, stranger) = (
        server.key(mine, &["*:*"]).await,
        server.key(other, &["*:*"]).await,
    );
    let (account, channel) = (bank.id(0), bank.accounts[0].channel);
    let lines = server
        .get(&format!("/v1/accounts/{account}/entries"))
        .await
        .ok(200);
    let transfer = lines["data"][0]["operation_id"].as_str().unwrap();
    let unknown = format!("acc_{}", Uuid::now_v7().simple());
    for path in [
        format!("/v1/accounts/{account}"),
        format!("/v1/accounts/{account}/balances"),
        format!("/v1/accounts/{account}/entries"),
        format!("/v1/channels/{channel}"),
        format!("/v1/channels/{channel}/states"),
        format!("/v1/channels/{channel}/states/latest/proof"),
        format!("/v1/transfers/{transfer}"),
    ] {
        // Read by its owner first, so that a cache could betray it.
        server.get_as(&owner, &path).await.ok(200);
        let refused = server.get_as(&stranger, &path).await;
        assert_eq!(refused.status, 404, "{path}");
        let (_, code) = refused.problem();
        assert!(code.ends_with("_NOT_FOUND"), "{path}: {code}");
        if path.contains(&account) {
            // Word for word what an account that does not exist is answered.
            let nothing = server
                .get_as(&stranger, &path.replace(&account, &unknown))
                .await;
            let strip = |text: &str| {
                let mut body: serde_json::Value = serde_json::from_str(text).unwrap();
                body["instance"] = json!(null);
                body["request_id"] = json!(null);
                body
            };
            assert_eq!(strip(&refused.text), strip(&nothing.text));
        }
    }
    for (method, tail, body) in [
        ("POST", "/freeze", json!({})),
        ("POST", "/close", json!({})),
        ("POST", "/deposit-addresses", json!({})),
        ("PATCH", "", json!({"metadata": {"a": 1}})),
    ] {
        let path = format!("/v1/accounts/{account}{tail}");
        let request = server
            .request_as(&stranger, method.parse().unwrap(), &path)
            .json(&body);
        server.send(request).await.is(404, "ACCOUNT_NOT_FOUND");
    }
    let list = server.get_as(&stranger, "/v1/accounts").await.ok(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert_eq!(list["data"][0]["id"], bank.id(2));
    let body = json!({"account_ids": [account]});
    let none = server
        .post_as(&stranger, "/v1/balances/query", &body)
        .await
        .ok(200);
    assert_eq!(none["data"], json!([]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_call_pays_into_the_accounts_channel() {
    let server = Server::start().await;
    let (bank, ..) = bank(&server).await;
    let path = format!("/v1/accounts/{}/deposit-addresses", bank.id(0));
    let open = server.post(&path, &json!({})).await.ok(200);
    let fixed = server.post(&path, &json!({"amount": "5"})).await.ok(200);
    assert_eq!(open["contract"], crate::harness::CHANNELS);
    assert_eq!(open["token"], crate::harness::TOKEN);
    let prefix = open["calldata"].as_str().unwrap();
    assert_eq!(
        fixed["calldata"].as_str().unwrap(),
        format!("{prefix}{:064x}", 5)
    );
    let salt = fixed["channel_params"]["salt"].as_str().unwrap();
    assert!(prefix.ends_with(&salt[2..]));
    server
        .post(&path, &json!({"amount": "0"}))
        .await
        .is(422, "AMOUNT_ZERO");
    server.stop().await;
}
