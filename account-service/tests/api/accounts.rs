//! Changing accounts: patches, freezing, closing, and who wins a race.

use crate::harness::Server;
use crate::seed::{Bank, issue};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_made_only_to_the_version_it_was_meant_for() {
    let server = Server::start().await;
    let mine = Uuid::now_v7();
    let bank = Bank::open(&server, &[mine, mine]).await;
    let path = format!("/v1/accounts/{}", bank.id(0));
    let first = server.get(&path).await;
    let tag = first.header("etag").unwrap().to_owned();
    assert_eq!(tag, "\"1\"");
    assert_eq!(first.ok(200)["external_id"], "a0");

    let patch = |tag: &str, body| {
        server
            .request(Method::PATCH, &path)
            .header("If-Match", tag)
            .json(&body)
    };
    let changed = server
        .send(patch(&tag, json!({"metadata": {"tier": 2}})))
        .await;
    assert_eq!(changed.header("etag"), Some("\"2\""));
    assert_eq!(changed.ok(200)["metadata"], json!({"tier": 2}));
    server
        .send(patch(&tag, json!({"metadata": {"tier": 3}})))
        .await
        .is(412, "ETAG_MISMATCH");
    server
        .send(patch("\"7\", \"2\"", json!({"external_id": "new"})))
        .await
        .ok(200);
    let after = server
        .send(patch("*", json!({"metadata": {}})))
        .await
        .ok(200);
    assert_eq!(
        (&after["external_id"], &after["version"]),
        (&json!("new"), &json!(4))
    );
    server
        .send(patch("*", json!({"external_id": "a1"})))
        .await
        .is(409, "DUPLICATE_EXTERNAL_ID");
    assert_eq!(server.get(&path).await.ok(200)["version"], 4);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_account_is_read_and_an_account_with_money_is_not_closed() {
    let server = Server::start().await;
    let mine = Uuid::now_v7();
    let mut bank = Bank::open(&server, &[mine, mine]).await;
    bank.post(&server, issue(0, 5)).await;
    let path = |index: usize, tail: &str| format!("/v1/accounts/{}{tail}", bank.id(index));
    let none = json!({});
    let frozen = server
        .post(&path(0, "/freeze"), &json!({"reason": "court order"}))
        .await
        .ok(200);
    assert_eq!(frozen["status"], "frozen");
    let again = server.post(&path(0, "/freeze"), &none).await.ok(200);
    assert_eq!(again["version"], frozen["version"]);
    assert_eq!(
        server.get(&path(0, "/balances")).await.ok(200)["available"],
        "5"
    );
    let head: i16 = sqlx::query_scalar("SELECT status FROM account.heads WHERE account_id = $1")
        .bind(bank.accounts[0].id)
        .fetch_one(&server.pool)
        .await
        .unwrap();
    assert_eq!(head, 2);
    server
        .post(&path(0, "/close"), &none)
        .await
        .is(422, "ACCOUNT_FROZEN");
    let active = server.post(&path(0, "/unfreeze"), &none).await.ok(200);
    assert_eq!(active["status"], "active");
    server
        .post(&path(0, "/close"), &none)
        .await
        .is(422, "BALANCE_NOT_ZERO");

    // Without a body as well.
    let closed = server
        .send(server.request(Method::POST, &path(1, "/close")))
        .await
        .ok(200);
    assert_eq!(closed["status"], "closed");
    server
        .post(&path(1, "/unfreeze"), &none)
        .await
        .is(422, "ACCOUNT_CLOSED");
    server
        .post(&path(1, "/deposit-addresses"), &none)
        .await
        .is(422, "ACCOUNT_CLOSED");
    let listed = server.get("/v1/accounts?status=closed").await.ok(200);
    assert_eq!(listed["data"][0]["id"], bank.id(1));
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    let named = server.get("/v1/accounts?external_id=a0").await.ok(200);
    assert_eq!(named["data"][0]["id"], bank.id(0));
    server.stop().await;
}
