//! Bad input: each case has its code, and none changes anything.

use crate::cases::{self, Accounts};
use crate::harness::Server;
use crate::seed::{Bank, issue};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_input_has_its_code_and_changes_nothing() {
    let server = Server::start().await;
    let owner = Uuid::now_v7();
    let mut bank = Bank::open(&server, &[owner, owner]).await;
    bank.post(&server, issue(0, 1_000)).await;
    let accounts = Accounts {
        a: bank.id(0),
        b: bank.id(1),
        channel: bank.accounts[0].channel.to_string(),
    };
    let cases = cases::all(&accounts);
    assert!(cases.len() >= 150, "{}", cases.len());
    let before = server.fingerprint().await;
    let mut wrong = Vec::new();
    for case in &cases {
        let mut request = server.request(case.method.clone(), &case.path);
        for (name, value) in &case.headers {
            request = request.header(*name, value.as_slice());
        }
        let begun = Instant::now();
        let answer = server.send(request.body(case.body.clone())).await;
        let took = begun.elapsed();
        let found = serde_json::from_str::<Value>(&answer.text).ok();
        let code = found
            .as_ref()
            .and_then(|body| body["code"].as_str())
            .unwrap_or("no problem");
        if (answer.status, code) != (case.status, case.code) {
            wrong.push(format!(
                "{}: {} {code}, not {} {}",
                case.name, answer.status, case.status, case.code
            ));
        } else {
            answer.problem();
        }
        if took > Duration::from_secs(2) {
            wrong.push(format!("{}: took {took:?}", case.name));
        }
        for leak in [
            "serde",
            "line 1",
            "expected `",
            "sqlx",
            "postgres",
            "actix",
            "src/",
        ] {
            if answer.text.contains(leak) {
                wrong.push(format!("{}: shows {leak}", case.name));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    assert_eq!(server.fingerprint().await, before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn harmless_text_comes_back_byte_for_byte() {
    let server = Server::start().await;
    let owner = Uuid::now_v7();
    let bank = Bank::open(&server, &[owner]).await;
    let path = format!("/v1/accounts/{}", bank.id(0));
    for text in [
        "\u{1f4b8}\u{1f3f4}\u{200d}\u{2620}\u{fe0f}",
        "e\u{301} \u{e9}",
        "\u{202e}abc",
        "<script>alert(1)</script>",
        "'; DROP TABLE account.accounts; --",
        "${jndi:ldap://x} {{7*7}} `id` %s",
        "\\u0000",
    ] {
        let body = json!({"external_id": text, "metadata": {"text": text, text: [1, 1.5, null]}});
        let request = server.request(Method::PATCH, &path).json(&body);
        let changed = server.send(request).await.ok(200);
        assert_eq!(changed["external_id"], text);
        assert_eq!(changed["metadata"], body["metadata"]);
    }
    server.stop().await;
}
