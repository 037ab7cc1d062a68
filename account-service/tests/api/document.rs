//! The OpenAPI document is the routes there are, and the one that is committed.

use crate::harness::Server;
use account_service::api::fields::Fields;
use account_service::api::{ROUTES, openapi};
use account_service::api::{accounts, balances, deposits, issuances, reconciliation, transfers};
use std::collections::{BTreeMap, BTreeSet};

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

#[test]
fn the_committed_document_is_made_from_the_code() {
    let made = openapi::build().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(COMMITTED, &made).unwrap();
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    assert!(
        made == committed,
        "account-service/openapi.json is not what the code says; run: UPDATE=1 cargo test -p account-service --test api document"
    );
}

#[test]
fn every_route_is_in_the_document_and_nothing_else() {
    let document = serde_json::to_value(openapi::build()).unwrap();
    let mut documented = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let methods: BTreeSet<_> = item
            .as_object()
            .unwrap()
            .keys()
            .map(|method| method.to_uppercase())
            .collect();
        documented.insert(path.clone(), methods);
    }
    let mut routed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let operations = ["/livez", "/readyz", "/version", "/metrics"].map(|path| (path, &["GET"][..]));
    for (path, methods) in ROUTES.iter().copied().chain(operations) {
        let methods = methods.iter().map(|&method| method.to_owned());
        routed.entry(path.to_owned()).or_default().extend(methods);
    }
    assert_eq!(documented, routed);
    let text = document.to_string();
    assert!(!text.contains("mailto") && document["info"]["contact"].is_null());
}

#[test]
fn the_documented_fields_of_a_body_are_those_that_are_read() {
    let document = serde_json::to_value(openapi::build()).unwrap();
    type Take = fn(&mut Fields);
    let take: &[(&str, Take)] = &[
        ("NewTransfer", |f| {
            transfers::TransferBody::take(f);
        }),
        ("NewIssuance", |f| {
            issuances::IssuanceBody::take(f);
        }),
        ("AccountPatch", |f| {
            accounts::PatchBody::take(f);
        }),
        ("Reason", |f| {
            accounts::ReasonBody::take(f);
        }),
        ("BalancesQuery", |f| {
            balances::QueryBody::take(f);
        }),
        ("NewDepositAddress", |f| {
            deposits::AddressBody::take(f);
        }),
        ("BreakResolution", |f| {
            reconciliation::ResolveBody::take(f);
        }),
    ];
    for (name, take) in take {
        let mut fields = Fields::default();
        take(&mut fields);
        let read: BTreeSet<_> = fields.asked().iter().map(|&name| name.to_owned()).collect();
        let schema = &document["components"]["schemas"][name]["properties"];
        let documented: BTreeSet<_> = schema.as_object().unwrap().keys().cloned().collect();
        assert_eq!(documented, read, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_and_its_page_are_served_without_a_key() {
    let server = Server::start().await;
    let get = async |path: &str| server.send(server.http.get(server.url(path))).await;
    let document = get("/openapi.json").await.ok(200);
    assert_eq!(document, serde_json::to_value(openapi::build()).unwrap());
    assert!(get("/docs").await.text.contains("swagger"));
    let page = get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("swagger"));
    assert_eq!(get("/docs/swagger-ui.css").await.status, 200);
    assert_eq!(get("/livez").await.status, 200);
    assert_eq!(get("/version").await.ok(200)["service"], "account-service");
    // Its hub is not there, so it can't work; it says so and why.
    let ready = get("/readyz").await;
    assert_eq!(ready.ok(503)["reason"], "0 of 1 hubs are connected");
    let metrics = get("/metrics").await.text;
    for name in [
        "chub_http_requests_total",
        "chub_build_info",
        "chub_http_request_duration_seconds",
    ] {
        assert!(metrics.contains(name), "{name}");
    }
    server.stop().await;
}
