//! Two processes of account-service on one database and one hub, at work on the same channels.

use crate::harness::{Answer, Server, transfer};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;
use std::time::Duration;

/// Tries until the answer is final: what API.md says every client does.
async fn settled(server: &Server, key: &str, admin: &str, body: &Value) -> Answer {
    for _ in 0..200 {
        let request = server.request_as(admin, Method::POST, "/v1/transfers");
        let request = request.header("Idempotency-Key", key).json(body);
        let answer = server.send(request).await;
        let retryable = answer.status != 201 && answer.json()["retryable"] == true;
        if !retryable {
            return answer;
        }
        assert_ne!(answer.status, 500, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{key} is never answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_at_war_over_channels_and_keys_do_everything_once() {
    let (one, hub) = Server::with_hub(|_| {}).await;
    let two = one.replica(&hub).await;
    two.until_ready().await;
    let mut accounts = Vec::new();
    for _ in 0..4 {
        accounts.push(one.account(&one.admin, "1000").await);
    }
    // Every key goes to both at once, and every account is in half of the transfers.
    let transfers: Vec<_> = (0..60_usize)
        .map(|at| {
            let (from, to) = (at % 4, (at + 1 + at / 4 % 3) % 4);
            let body = transfer(&accounts[from], &accounts[to], &(at + 1).to_string());
            (format!("war-{at}"), from, to, at + 1, body)
        })
        .collect();
    let answers = join_all(transfers.iter().map(async |(key, .., body)| {
        tokio::join!(
            settled(&one, key, &one.admin, body),
            settled(&two, key, &one.admin, body)
        )
    }))
    .await;
    let mut expected = [1_000_usize; 4];
    for ((first, second), (_, from, to, amount, _)) in answers.iter().zip(&transfers) {
        assert_eq!(first.status, 201, "{first:?}");
        assert_eq!(first.text, second.text);
        expected[*from] -= amount;
        expected[*to] += amount;
    }
    for (account, expected) in accounts.iter().zip(expected) {
        assert_eq!(one.available(account).await, expected.to_string());
        assert_eq!(two.available(account).await, expected.to_string());
    }
    let (rows, keys): (i64, i64) = sqlx::query_as(
        "SELECT count(*), count(DISTINCT idem_key) FROM account.operations
         WHERE idem_key LIKE 'war-%' AND outcome = 1",
    )
    .fetch_one(&one.pool)
    .await
    .unwrap();
    assert_eq!((rows, keys), (60, 60));
    crate::threads::assert_whole(&one.pool).await;
    two.stop().await;
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_is_spent_once_over_all_replicas() {
    let (one, hub) = Server::with_hub(|_| {}).await;
    let two = one.replica(&hub).await;
    two.until_ready().await;
    for round in 0..10 {
        let payer = one.account(&one.admin, "100").await;
        let payee = two.account(&one.admin, "0").await;
        let body = transfer(&payer, &payee, "100");
        let spends = (0..6).map(|at| {
            let server = if at % 2 == 0 { &one } else { &two };
            let (body, admin) = (&body, &one.admin);
            async move { settled(server, &format!("spend-{round}-{at}"), admin, body).await }
        });
        let answers = join_all(spends).await;
        let done = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(done, 1, "{answers:?}");
        for refused in answers.iter().filter(|answer| answer.status != 201) {
            refused.is(422, "INSUFFICIENT_FUNDS");
        }
        assert_eq!(one.available(&payee).await, "100");
        assert_eq!(two.available(&payer).await, "0");
    }
    two.stop().await;
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_refused_for_what_another_replica_has_changed_since() {
    let (one, hub) = Server::with_hub(|_| {}).await;
    let two = one.replica(&hub).await;
    two.until_ready().await;
    let payer = one.account(&one.admin, "0").await;
    let payee = one.account(&one.admin, "0").await;
    let pay = async |key: &str, amount: &str| {
        let body = transfer(&payer, &payee, amount);
        settled(&two, key, &one.admin, &body).await
    };
    // From here on it remembers the payer's head, with nothing in it.
    pay("poor", "5").await.is(422, "INSUFFICIENT_FUNDS");
    for round in 0..5 {
        let issue = serde_json::json!({"account_id": payer, "amount": "5"});
        one.post("/v1/issuances", &issue).await.ok(201);
        pay(&format!("rich-{round}"), "5").await.ok(201);
        pay(&format!("poor-{round}"), "1")
            .await
            .is(422, "INSUFFICIENT_FUNDS");
    }
    assert_eq!(one.available(&payee).await, "25");
    two.stop().await;
    one.stop().await;
}
