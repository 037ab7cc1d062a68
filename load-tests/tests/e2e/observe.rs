//! What an operator sees: health, figures and one name for a request, from the caller to the chain.

use crate::chain::{CUSTOMER, until};
use crate::funded;
use load_tests::System;
use reqwest::Method;
use serde_json::{Value, json};

const SERVICES: [&str; 4] = ["account-service", "hub-vault", "hub-mint", "chain-worker"];

async fn get(address: &str, path: &str) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let sent = client.get(format!("http://{address}{path}")).send().await;
    let answer = sent.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Objects of a log, one a line.
fn log(system: &System, service: &str) -> Vec<Value> {
    let path = system.dir().join("log").join(format!("{service}.log"));
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty());
    let lines = lines.map(|line| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{service}: {error}: {line}"))
    });
    lines.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_tells_how_it_is_and_a_request_keeps_its_name_down_to_the_chain() {
    let system = System::up().await.unwrap();
    let account = funded(&system, "1000").await.unwrap();
    let order = json!({"account_id": account.text("id"), "amount": "100", "to_address": CUSTOMER});
    let url = format!("{}/v1/withdrawals", system.env("ACCOUNT_API"));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let sent = client
        .request(Method::POST, url)
        .bearer_auth(system.env("ACCOUNT_API_KEY"))
        .header("Idempotency-Key", "observed")
        .header("X-Request-Id", "till-7.42")
        .header("Content-Type", "application/json")
        .body(order.to_string());
    let answer = sent.send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "till-7.42");
    let order: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let path = format!("/v1/withdrawals/{}", order["id"].as_str().unwrap());
    let paid = until(&system, &path, |one| one.text("status") == "completed").await;

    let database = system.database().await.unwrap();
    for (what, query) in [
        (
            "order",
            "SELECT count(*) FROM account.withdrawals WHERE correlation_id = 'till-7.42'",
        ),
        (
            "message",
            "SELECT count(*) FROM account.outbox WHERE correlation_id = 'till-7.42'",
        ),
        (
            "command",
            "SELECT count(*) FROM chain.commands WHERE correlation_id = 'till-7.42'",
        ),
        (
            "event",
            "SELECT count(*) FROM chain.hub_events WHERE correlation_id = 'till-7.42'",
        ),
    ] {
        let count: i64 = sqlx::query_scalar(query)
            .fetch_one(&database)
            .await
            .unwrap();
        assert!(count > 0, "{what}");
    }
    // The worker names it beside the transaction.
    let named = log(&system, "chain-worker").into_iter().any(|line| {
        let line = line.to_string();
        line.contains("till-7.42") && line.contains(paid.text("tx_hash"))
    });
    assert!(named, "the worker's log does not name the request");

    let targets = system.env("PROMETHEUS_TARGETS").to_owned();
    let targets: Vec<_> = targets.split(',').collect();
    assert_eq!(targets.len(), SERVICES.len());
    for target in targets {
        for path in ["/livez", "/readyz", "/version"] {
            let (status, text) = get(target, path).await;
            assert_eq!(status, 200, "{target}{path}: {text}");
        }
        let (status, text) = get(target, "/metrics").await;
        assert_eq!(status, 200);
        let samples = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        let (mut counted, mut timed) = (0, 0);
        for sample in samples {
            // What Prometheus' own client says of a process has names that dashboards know.
            let known = ["chub_", "process_"].iter().any(|p| sample.starts_with(p));
            assert!(known, "{target}: {sample}");
            let ours = sample.starts_with("chub_");
            counted += usize::from(ours && sample.contains("_total") && !sample.ends_with(" 0"));
            timed += usize::from(sample.contains("_bucket{"));
        }
        assert!(
            counted > 0 && timed > 0,
            "{target}: {counted} counters, {timed} buckets"
        );
    }
    for service in SERVICES {
        let lines = log(&system, service);
        assert!(!lines.is_empty(), "{service} logs nothing");
        for line in lines {
            assert!(
                line["level"].is_string() && line["timestamp"].is_string(),
                "{line}"
            );
        }
    }
}
