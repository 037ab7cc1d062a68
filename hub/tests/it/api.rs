//! The internal API over HTTP.

use crate::process::{ALL, CHAIN, PROPOSE, READ, arguments};
use crate::support::{Account, database, terms};
use clap::Parser as _;
use hub::config::Args;
use hub::run::Running;
use hub_client::{ErrorBody, FatesRequest, FundingMode, Hello, HubClient, HubError, HubRefusal};
use runtime::shutdown::{Shutdown, Trigger};
use std::time::Duration;

async fn serve() -> (stack::Testbed, Running, Trigger, String) {
    let (bed, terms) = (database().await, terms(FundingMode::Mint));
    let dir = stack::TempDir::new().unwrap();
    let arguments = arguments(&dir, &bed, &terms, 0);
    let args = Args::parse_from(std::iter::once("hub".to_owned()).chain(arguments));
    let (shutdown, trigger) = Shutdown::manual();
    let running = hub::run::start(&args.serve, shutdown, trigger.clone())
        .await
        .unwrap();
    let base = format!("http://{}", running.address);
    (bed, running, trigger, base)
}

fn client(base: &str, token: &str) -> HubClient {
    HubClient::new(base, token, Duration::from_secs(10)).unwrap()
}

async fn call(
    base: &str,
    token: &str,
    method: &str,
    route: &str,
    body: impl Into<Vec<u8>>,
) -> (u16, ErrorBody) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let response = http
        .request(method, format!("{base}{route}"))
        .bearer_auth(token)
        .body(body.into())
        .send()
        .await
        .unwrap();
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    let error = serde_json::from_slice(&body)
        .unwrap_or_else(|error| panic!("{route}: {status}: {error}: {body:?}"));
    (status, error)
}

#[tokio::test]
async fn the_client_and_the_routes_agree() {
    let (_bed, running, trigger, base) = serve().await;
    let all = client(&base, ALL);
    let terms = terms(FundingMode::Mint);
    assert_eq!(all.terms().await.unwrap(), terms);
    let mut account = Account::new(terms);
    let newest = account.newest;
    account.session = all.hello(&Hello { newest }).await.unwrap().session;
    let operations = vec![account.open(0), account.issue(0, 5)];
    let proposed = account.propose(operations);
    let signed = all.sign_batch(&proposed.request).await.unwrap();
    let fate = account.commit(&proposed, &signed);
    let fates = vec![fate.clone()];
    let marks = all.fates(&FatesRequest { fates }).await.unwrap();
    assert_eq!((marks.low_water, marks.headroom), (1, None));
    let events = crate::chain::finalized(1);
    assert_eq!(all.chain_events(&events).await.unwrap(), marks);
    let journal = all.journal(0, 10).await.unwrap();
    assert_eq!(journal[0].fate, Some(fate));
    let head = all.channel(&account.id(0)).await.unwrap();
    assert_eq!(head.held, proposed.states[0]);
    let missing = all.channel(&account.id(1)).await.unwrap_err();
    assert!(matches!(missing, HubError::Refused(HubRefusal::NotFound)));
    let metrics = reqwest::get(format!("{base}/metrics")).await.unwrap();
    let text = metrics.text().await.unwrap();
    for line in [
        "chub_hub_batches_signed_total 1",
        "chub_hub_states_signed_total 1",
        "chub_hub_low_water_batch 1",
        "chub_hub_half_signed_batches 0",
        "route=\"/internal/v1/batches\"",
        "chub_hub_fates_total{fate=\"committed\"} 1",
        "chub_hub_refusals_total{code=\"NOT_FOUND\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    trigger.drain();
    running.finished().await.unwrap();
}

#[tokio::test]
async fn every_refusal_is_an_error_body_with_a_fitting_status() {
    let (_bed, running, trigger, base) = serve().await;
    let routes = [
        ("GET", "/internal/v1/terms", "read"),
        ("GET", "/internal/v1/journal", "read"),
        ("GET", "/internal/v1/channels/0x00", "read"),
        ("POST", "/internal/v1/hello", "propose"),
        ("POST", "/internal/v1/batches", "propose"),
        ("POST", "/internal/v1/fates", "propose"),
        ("POST", "/internal/v1/withdrawals", "propose"),
        ("POST", "/internal/v1/chain-events", "chain"),
    ];
    for (method, route, scope) in routes {
        for (token, of) in [
            ("", ""),
            (READ, "read"),
            (PROPOSE, "propose"),
            (CHAIN, "chain"),
        ] {
            if of != scope {
                let (status, body) = call(&base, token, method, route, "{}").await;
                assert_eq!(
                    (status, body.error),
                    (401, HubRefusal::Unauthorized),
                    "{route}"
                );
            }
        }
    }
    for route in ["hello", "batches", "fates", "withdrawals", "chain-events"] {
        let route = format!("/internal/v1/{route}");
        for body in ["", "[]", "{", "null", "{\"unknown\":1}", "\u{0}", "[[],[]]"] {
            let (status, error) = call(&base, ALL, "POST", &route, body).await;
            assert_eq!(
                (status, error.error),
                (400, HubRefusal::Malformed),
                "{route} {body}"
            );
        }
    }
    let long = "x".repeat(70_000);
    let (status, _) = call(&base, ALL, "POST", "/internal/v1/hello", long).await;
    assert_eq!(status, 400);
    for route in [
        "/internal/v1/channels/7",
        "/internal/v1/journal?after=x",
        "/internal/v1/journal?more=1",
    ] {
        let (status, body) = call(&base, ALL, "GET", route, "").await;
        assert_eq!(
            (status, body.error),
            (400, HubRefusal::Malformed),
            "{route}"
        );
    }
    for (method, route) in [("GET", "/nothing"), ("DELETE", "/internal/v1/batches")] {
        let (status, body) = call(&base, ALL, method, route, "").await;
        assert_eq!(
            (status, body.error),
            (404, HubRefusal::NotFound),
            "{method} {route}"
        );
    }
    let mut account = Account::new(terms(FundingMode::Mint));
    let open = account.open(0);
    let request = account.propose(vec![open]).request;
    let frame = request.to_frame().unwrap();
    let (status, body) = call(&base, ALL, "POST", "/internal/v1/batches", frame).await;
    assert_eq!(status, 409);
    assert!(matches!(body.error, HubRefusal::Session { .. }));
    trigger.drain();
    running.finished().await.unwrap();
}

#[tokio::test]
async fn a_drained_hub_finishes_what_it_has_and_takes_nothing_new() {
    let (_bed, running, trigger, base) = serve().await;
    let ready = reqwest::get(format!("{base}/readyz")).await.unwrap();
    assert_eq!(ready.status().as_u16(), 200);
    trigger.drain();
    running.finished().await.unwrap();
    assert!(reqwest::get(format!("{base}/readyz")).await.is_err());
}
