//! Every endpoint there is, with a request that would be accepted: what the bad-input catalogue is
//! held against. A route that is missing here fails the test.

use crate::harness::Server;
use account_service::api::ROUTES;
use reqwest::Method;
use serde_json::{Value, json};

/// Bytes of a body, and of one on a batch route.
const SINGLE: usize = 64 * 1024;
const BATCH: usize = 1024 * 1024;

/// What an endpoint's path names, of one owner.
pub struct Things {
    pub account: String,
    pub other: String,
    pub channel: String,
    pub transfer: String,
    pub issuance: String,
    pub redemption: String,
    pub withdrawal: String,
    pub deposit: String,
    pub run: String,
}

/// A method of a route.
pub struct Endpoint {
    pub method: Method,
    pub pattern: &'static str,
    /// The pattern with ids of things that are there.
    pub path: String,
    /// The kind of id in the path, if there is one: prefix and a well-formed id of nothing.
    pub id: Option<(&'static str, String)>,
    /// A body that would be accepted, if it takes one.
    pub body: Option<Value>,
    /// Whether it must have an idempotency key.
    pub keyed: bool,
    /// Most bytes of a body.
    pub limit: usize,
    /// Where amounts, assets and texts stand in the body, as JSON pointers.
    pub amounts: Vec<&'static str>,
    pub assets: Vec<&'static str>,
    pub texts: Vec<&'static str>,
}

impl Endpoint {
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.pattern)
    }

    /// A list that comes page by page.
    pub fn is_paged(&self) -> bool {
        self.method == Method::GET && PAGED.contains(&self.pattern)
    }

    /// Whether only operators may ask: nobody owns what it is about.
    pub fn is_admin(&self) -> bool {
        self.pattern.contains("/reconciliation/") || self.pattern.contains("/breaks/")
    }

    /// The path with another id.
    pub fn with_id(&self, id: &str) -> String {
        let tail = self.pattern.split_once("{id}").map_or("", |(_, tail)| tail);
        let head = self.pattern.split_once("{id}").map_or("", |(head, _)| head);
        format!("{head}{id}{}", tail.replace("{version}", "latest"))
    }
}

const PAGED: &[&str] = &[
    "/v1/accounts",
    "/v1/accounts/{id}/entries",
    "/v1/withdrawals",
    "/v1/deposits",
    "/v1/channels/{id}/states",
    "/v1/reconciliation/runs",
    "/v1/reconciliation/runs/{id}/breaks",
];

/// All of them.
pub fn all(things: &Things) -> Vec<Endpoint> {
    let routes = ROUTES
        .iter()
        .filter(|(pattern, _)| pattern.starts_with("/v1/"));
    let methods = routes.flat_map(|(pattern, methods)| methods.iter().map(move |m| (*pattern, *m)));
    methods
        .map(|(pattern, method)| endpoint(pattern, method, things))
        .collect()
}

fn endpoint(pattern: &'static str, method: &str, things: &Things) -> Endpoint {
    let (id, prefix) = owned(pattern, things);
    let nothing = match prefix {
        "0x" => format!("0x{}", "7e".repeat(32)),
        _ => format!("{prefix}{}", uuid::Uuid::now_v7().simple()),
    };
    let (body, marks) = match method {
        "GET" => (None, Marks::default()),
        _ => accepted(pattern, method, things),
    };
    let query = match (method, pattern) {
        ("GET", "/v1/transfers" | "/v1/issuances" | "/v1/redemptions") => "?client_ref=r",
        _ => "",
    };
    let path = pattern.replace("{id}", id).replace("{version}", "latest");
    Endpoint {
        method: method.parse().unwrap(),
        pattern,
        path: format!("{path}{query}"),
        id: pattern.contains("{id}").then_some((prefix, nothing)),
        body,
        keyed: marks.keyed,
        limit: if marks.batch { BATCH } else { SINGLE },
        amounts: marks.amounts,
        assets: marks.assets,
        texts: marks.texts,
    }
}

/// The thing that a route's path names, and the prefix of its id.
fn owned<'a>(pattern: &str, things: &'a Things) -> (&'a str, &'static str) {
    let kind = pattern.trim_start_matches("/v1/").split('/').next();
    match kind.unwrap() {
        "accounts" => (&things.account, "acc_"),
        "channels" => (&things.channel, "0x"),
        "transfers" => (&things.transfer, "trf_"),
        "issuances" => (&things.issuance, "iss_"),
        "redemptions" => (&things.redemption, "red_"),
        "withdrawals" => (&things.withdrawal, "wdr_"),
        "deposits" => (&things.deposit, "dep_"),
        "reconciliation" => (&things.run, "rec_"),
        // No run found any.
        "breaks" => ("brk_00000000000070008000000000000000", "brk_"),
        _ => ("", ""),
    }
}

/// What the catalogue needs to know of a body.
#[derive(Default)]
struct Marks {
    keyed: bool,
    batch: bool,
    amounts: Vec<&'static str>,
    assets: Vec<&'static str>,
    texts: Vec<&'static str>,
}

fn marks(
    keyed: bool,
    amounts: &[&'static str],
    assets: &[&'static str],
    texts: &[&'static str],
) -> Marks {
    Marks {
        keyed,
        batch: false,
        amounts: amounts.to_vec(),
        assets: assets.to_vec(),
        texts: texts.to_vec(),
    }
}

fn in_items(marks: Marks) -> Marks {
    Marks {
        batch: true,
        ..marks
    }
}

/// A body that the route would accept, and what stands where in it.
fn accepted(pattern: &str, method: &str, things: &Things) -> (Option<Value>, Marks) {
    let pay = json!({"from": things.account, "to": things.other, "amount": "1", "asset": "INF",
        "client_ref": "r", "metadata": {}});
    let one = json!({"account_id": things.account, "amount": "1", "asset": "INF",
        "client_ref": "r", "reason": "r"});
    let open = json!({"asset": "INF", "external_id": "e", "metadata": {}});
    let reason = (json!({"reason": "r"}), marks(false, &[], &[], &["/reason"]));
    let (body, found) = match (method, pattern) {
        ("POST", "/v1/transfers") => (
            pay,
            marks(true, &["/amount"], &["/asset"], &["/client_ref"]),
        ),
        ("POST", "/v1/transfer-batches") => (
            json!({"mode": "atomic", "items": [pay]}),
            in_items(marks(
                true,
                &["/items/0/amount"],
                &["/items/0/asset"],
                &["/items/0/client_ref"],
            )),
        ),
        ("POST", "/v1/issuances" | "/v1/redemptions") => (
            one,
            marks(true, &["/amount"], &["/asset"], &["/client_ref", "/reason"]),
        ),
        ("POST", "/v1/withdrawals") => (
            json!({"account_id": things.account, "amount": "1", "asset": "INF", "client_ref": "r",
                "to_address": "0x0707070707070707070707070707070707070707"}),
            marks(true, &["/amount"], &["/asset"], &["/client_ref"]),
        ),
        ("POST", "/v1/accounts") => (open, marks(true, &[], &["/asset"], &["/external_id"])),
        ("POST", "/v1/account-batches") => (
            json!({"items": [open]}),
            in_items(marks(
                true,
                &[],
                &["/items/0/asset"],
                &["/items/0/external_id"],
            )),
        ),
        ("POST", "/v1/balances/query") => {
            (json!({"account_ids": [things.account]}), Marks::default())
        }
        ("PATCH", "/v1/accounts/{id}") => (
            json!({"external_id": "e"}),
            marks(false, &[], &[], &["/external_id"]),
        ),
        ("POST", "/v1/accounts/{id}/deposit-addresses") => {
            (json!({"amount": "1"}), marks(false, &["/amount"], &[], &[]))
        }
        ("POST", "/v1/breaks/{id}/resolve") => (
            json!({"resolution": "r"}),
            marks(false, &[], &[], &["/resolution"]),
        ),
        (
            "POST",
            "/v1/accounts/{id}/freeze"
            | "/v1/accounts/{id}/unfreeze"
            | "/v1/accounts/{id}/close"
            | "/v1/withdrawals/{id}/cancel"
            | "/v1/channels/{id}/close"
            | "/v1/reconciliation/runs",
        ) => reason,
        _ => panic!("{method} {pattern} is not in the catalogue"),
    };
    (Some(body), found)
}

/// Makes one of each for an owner.
pub async fn things(server: &Server, key: &str, place: u64) -> Things {
    let account = server.account(key, "1000").await;
    let other = server.account(key, "1000").await;
    let id = async |path: &str, body: Value, status: u16| {
        let made = server.post_as(key, path, &body).await.ok(status);
        made["id"].as_str().unwrap().to_owned()
    };
    let one = json!({"account_id": account, "amount": "1"});
    let mut out = one.clone();
    out["to_address"] = json!("0x0707070707070707070707070707070707070707");
    let channel = crate::chain::channel(server, &account).await;
    let paid_in = crate::chain::seen_deposit(channel, place);
    crate::chain::tell_us(server, paid_in).await;
    let deposits = format!("/v1/deposits?account_id={account}");
    let deposits = server.get(&deposits).await.ok(200);
    let run = server.post("/v1/reconciliation/runs", &json!({})).await;
    Things {
        transfer: id(
            "/v1/transfers",
            crate::harness::transfer(&account, &other, "1"),
            201,
        )
        .await,
        issuance: id("/v1/issuances", one.clone(), 201).await,
        redemption: id("/v1/redemptions", one, 201).await,
        withdrawal: id("/v1/withdrawals", out, 202).await,
        deposit: deposits["data"][0]["id"].as_str().unwrap().to_owned(),
        run: run.ok(202)["id"].as_str().unwrap().to_owned(),
        channel: channel.to_string(),
        account,
        other,
    }
}
