//! The bad-input catalogue, row by row, at every endpoint: each is answered as the contract says,
//! and the books are the same before and after.

use crate::cases::Case;
use crate::endpoints::{self, Endpoint, Things};
use crate::harness::{Answer, Server};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use std::collections::BTreeSet;
use uuid::Uuid;

const JSON: &str = "application/json";
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"];
/// Texts that would do something anywhere but in a value.
const ATTACKS: [&str; 6] = [
    "'; DROP TABLE account.accounts; --",
    "x' OR '1'='1",
    "${jndi:ldap://127.0.0.1/a}",
    "{{7*7}}",
    "`id`;$(id)|id",
    "a%0d%0aSet-Cookie: x=1",
];

/// A case, who sends it, and the row of the catalogue that it stands for.
struct Held {
    row: u8,
    key: Key,
    case: Case,
}

/// Who sends a case.
#[derive(Clone, Copy, PartialEq)]
enum Key {
    Owner,
    Stranger,
    Scopeless,
    /// None, or what the case itself brings.
    None,
}

fn case(endpoint: &Endpoint, row: u8, what: &str) -> Held {
    let name = format!("B-{row} {}: {what}", endpoint.name());
    let mut case = Case::new(name, &endpoint.path, "");
    case.method = endpoint.method.clone();
    case.headers.clear();
    if endpoint.keyed {
        case = case.header("idempotency-key", Uuid::now_v7().to_string());
    }
    if let Some(body) = &endpoint.body {
        case = case.header("content-type", JSON);
        case.body = body.to_string().into_bytes();
    }
    Held {
        row,
        key: Key::Owner,
        case,
    }
}

impl Held {
    fn with(mut self, change: impl FnOnce(Case) -> Case) -> Self {
        self.case = change(self.case);
        self
    }

    fn by(mut self, key: Key) -> Self {
        self.key = key;
        self
    }

    fn body(self, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        self.with(|case| Case { body, ..case })
    }

    fn path(self, path: String) -> Self {
        self.with(|case| Case { path, ..case })
    }
}

/// A body with another value at one place.
fn changed(body: &Value, pointer: &str, value: Value) -> Vec<u8> {
    let mut body = body.clone();
    *body.pointer_mut(pointer).unwrap() = value;
    body.to_string().into_bytes()
}

/// Rows 1, 3, 4 and 10: what stands in a body.
fn values(endpoint: &Endpoint, body: &Value) -> Vec<Held> {
    let mut held = Vec::new();
    let mut add = |row, pointer: &str, value: Value, status, code| {
        let shown: String = value.to_string().chars().take(24).collect();
        let one = case(endpoint, row, &format!("{pointer}={shown}"));
        let one = one.body(changed(body, pointer, value));
        held.push(one.with(|case| case.is(status, code)));
    };
    let invalid = (400, "VALIDATION_FAILED");
    for pointer in &endpoint.amounts {
        let texts = [
            "1e3", "0x10", "1.0", " 1", "+1", "-1", "01", "", "NaN", "Infinity", "\u{661}",
            "\u{ff11}",
        ];
        let numbers = [
            json!(1),
            json!(-1),
            json!(1.5),
            json!(["1"]),
            json!({"a": 1}),
            json!(true),
        ];
        let values = texts.iter().map(|text| json!(text)).chain(numbers);
        for value in values {
            add(1, pointer, value, invalid.0, invalid.1);
        }
        for digits in ["9".repeat(79), "1".repeat(60_000)] {
            add(3, pointer, json!(digits), invalid.0, invalid.1);
        }
    }
    for pointer in &endpoint.assets {
        add(4, pointer, json!("EUR"), 404, "ASSET_NOT_FOUND");
        add(4, pointer, json!(18), invalid.0, invalid.1);
        add(4, pointer, json!(""), invalid.0, invalid.1);
    }
    for pointer in &endpoint.texts {
        for text in [
            "a\u{0}b",
            "a\r\nb",
            "\u{1b}[31m",
            "a\u{85}",
            "",
            &"x".repeat(1_001),
        ] {
            add(10, pointer, json!(text), invalid.0, invalid.1);
        }
        add(10, pointer, json!(1), invalid.0, invalid.1);
    }
    held
}

/// Rows 11 to 13 and 50: what a body is.
fn bodies(endpoint: &Endpoint, body: &Value) -> Vec<Held> {
    let good = body.to_string();
    let mut held = Vec::new();
    for field in [
        "balance",
        "balances",
        "role",
        "status",
        "owner",
        "id",
        "__proto__",
    ] {
        let mut more = body.clone();
        more[field] = json!("1");
        let one = case(endpoint, 11, &format!("field {field}"));
        held.push(
            one.body(more.to_string())
                .with(|case| case.is(400, "VALIDATION_FAILED")),
        );
    }
    let name = good.split('"').nth(1).unwrap().to_owned();
    let twice = good.replacen('{', &format!("{{\"{name}\":1,"), 1);
    held.push(
        case(endpoint, 11, "a key twice")
            .body(twice)
            .with(|case| case.is(400, "MALFORMED_BODY")),
    );
    let nested = format!("{}1{}", "{\"a\":".repeat(9_000), "}".repeat(9_000));
    for (what, body) in [
        ("empty", Vec::new()),
        ("a list", format!("[{good}]").into()),
        ("null", b"null".to_vec()),
        ("BOM", format!("\u{feff}{good}").into()),
        ("cut short", good[..good.len() - 1].into()),
        ("two documents", format!("{good}{good}").into()),
        ("trailing garbage", format!("{good}]").into()),
        ("deep nesting", nested.into()),
        ("not UTF-8", vec![b'{', b'"', 0xff, b'"', b':', b'1', b'}']),
        ("lone surrogate", br#"{"a":"\udc00"}"#.to_vec()),
        (
            "endless list",
            format!("{{\"a\":[{}1]}}", "1,".repeat(30_000)).into(),
        ),
    ] {
        let code = if what == "endless list" {
            "VALIDATION_FAILED"
        } else {
            "MALFORMED_BODY"
        };
        let one = case(endpoint, 12, what).body(body);
        held.push(one.with(|case| case.is(400, code)));
    }
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/xml",
    ] {
        let one = case(endpoint, 13, kind).with(|case| case.header("content-type", kind));
        held.push(one.with(|case| case.is(415, "UNSUPPORTED_MEDIA_TYPE")));
    }
    let bomb = case(endpoint, 13, "gzip").with(|case| case.header("content-encoding", "gzip"));
    held.push(bomb.with(|case| case.is(415, "UNSUPPORTED_MEDIA_TYPE")));
    let none = case(endpoint, 13, "no content type").with(|case| case.without("content-type"));
    held.push(none.with(|case| case.is(415, "UNSUPPORTED_MEDIA_TYPE")));
    let long = good.clone() + &" ".repeat(endpoint.limit + 1 - good.len());
    let one = case(endpoint, 50, "a byte too long").body(long);
    held.push(one.with(|case| case.is(413, "BODY_TOO_LARGE")));
    held
}

/// Rows 7, 9, 14, 15 and 54: paths and methods.
fn paths(endpoint: &Endpoint, offered: &BTreeSet<(String, String)>) -> Vec<Held> {
    let mut held = Vec::new();
    if let Some((prefix, nothing)) = &endpoint.id {
        let hex = &nothing[prefix.len()..];
        let hyphens = Uuid::parse_str(hex).map_or("0x".to_owned(), |id| format!("{prefix}{id}"));
        for id in [
            "x".to_owned(),
            hex.to_owned(),
            format!("{prefix}{}", hex.to_uppercase()),
            format!("{prefix}{hex}0"),
            format!("xyz_{hex}"),
            hyphens,
            "%00".to_owned(),
            "%20".to_owned(),
            "%F0%9F%92%A9".to_owned(),
            "%D0%B0cc_1".to_owned(),
            "'%20OR%20'1'='1".to_owned(),
            "a".repeat(10_000),
        ] {
            let shown: String = id.chars().take(24).collect();
            let one = case(endpoint, 9, &format!("id {shown}")).path(endpoint.with_id(&id));
            held.push(one.with(|case| case.is(400, "VALIDATION_FAILED")));
        }
        let one = case(endpoint, 7, "an id of nothing").path(endpoint.with_id(nothing));
        held.push(one.with(|case| case.is(404, "*_NOT_FOUND")));
        if !endpoint.is_admin() {
            let one = case(endpoint, 7, "another owner's").by(Key::Stranger);
            held.push(one.with(|case| case.is(404, "*_NOT_FOUND")));
        }
    }
    let bare = endpoint.path.split('?').next().unwrap();
    for method in METHODS {
        if offered.contains(&(method.to_owned(), endpoint.pattern.to_owned())) {
            continue;
        }
        let override_it = endpoint.method.as_str();
        let one = case(endpoint, 14, method).with(|case| {
            let case = case.header("x-http-method-override", override_it);
            Case {
                method: method.parse().unwrap(),
                ..case
            }
        });
        held.push(one.with(|case| case.is(405, "METHOD_NOT_ALLOWED")));
    }
    for path in [
        format!("{bare}/"),
        format!("/{bare}"),
        bare.replace("/v1/", "/v1%2F"),
    ] {
        let one = case(endpoint, 15, &path).path(path.clone());
        held.push(one.with(|case| case.is(404, "ROUTE_NOT_FOUND")));
    }
    held
}

/// Rows 16 and 11: queries.
fn queries(endpoint: &Endpoint) -> Vec<Held> {
    let mut held = Vec::new();
    if endpoint.method != Method::GET {
        return held;
    }
    let mark = if endpoint.path.contains('?') {
        '&'
    } else {
        '?'
    };
    let mut add = |row, query: &str, code| {
        let one = case(endpoint, row, query).path(format!("{}{mark}{query}", endpoint.path));
        held.push(one.with(|case| case.is(400, code)));
    };
    add(11, "role=admin", "VALIDATION_FAILED");
    if endpoint.is_paged() {
        for query in [
            "limit=0",
            "limit=-1",
            "limit=1000000000",
            "limit=1&limit=2",
            "limit=%D9%A1",
        ] {
            add(16, query, "VALIDATION_FAILED");
        }
        for cursor in ["x", &"ff".repeat(40), "'--"] {
            add(16, &format!("cursor={cursor}"), "INVALID_CURSOR");
        }
    }
    held
}

/// Rows 20, 22 to 24, 30 and 33: headers.
fn headers(endpoint: &Endpoint, owner: &str) -> Vec<Held> {
    let mut held = Vec::new();
    let unknown = format!("Bearer chub_{}", "0".repeat(64));
    let own = format!("Bearer {owner}");
    let none = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.".to_owned();
    for (row, what, values) in [
        (20, "no key", vec![]),
        (22, "a key that is none", vec![unknown]),
        (24, "a token with alg none", vec![none]),
        (24, "two keys", vec![own.clone(), own]),
    ] {
        let one = case(endpoint, row, what).by(Key::None).with(|case| {
            let add = |case: Case, value: String| case.more("authorization", value);
            values.into_iter().fold(case, add)
        });
        held.push(one.with(|case| case.is(401, "AUTH_INVALID")));
    }
    let one = case(endpoint, 23, "no scope").by(Key::Scopeless);
    held.push(one.with(|case| case.is(403, "SCOPE_MISSING")));
    if endpoint.is_admin() {
        let one = case(endpoint, 23, "an operator's route").by(Key::Owner);
        held.push(one.with(|case| case.is(403, "SCOPE_MISSING")));
    }
    if endpoint.keyed {
        let one = case(endpoint, 30, "no key").with(|case| case.without("idempotency-key"));
        held.push(one.with(|case| case.is(400, "IDEMPOTENCY_KEY_REQUIRED")));
        let empty = case(endpoint, 33, "empty").with(|case| case.header("idempotency-key", ""));
        held.push(empty.with(|case| case.is(400, "IDEMPOTENCY_KEY_REQUIRED")));
        for (what, key) in [
            ("too long", "k".repeat(256).into_bytes()),
            ("a blank", b"a b".to_vec()),
            ("not ASCII", "\u{fc}".as_bytes().to_vec()),
        ] {
            let one = case(endpoint, 33, what).with(|case| case.header("idempotency-key", key));
            held.push(one.with(|case| case.is(400, "VALIDATION_FAILED")));
        }
    }
    held
}

fn all(endpoints: &[Endpoint], owner: &str) -> Vec<Held> {
    let offered = endpoints
        .iter()
        .map(|one| (one.method.to_string(), one.pattern.to_owned()))
        .collect();
    let mut held = Vec::new();
    for endpoint in endpoints {
        held.extend(headers(endpoint, owner));
        held.extend(paths(endpoint, &offered));
        // What only operators may do is refused to the owner for that, whatever else is wrong.
        let mut content = queries(endpoint);
        if let Some(body) = &endpoint.body {
            content.extend(bodies(endpoint, body));
            content.extend(values(endpoint, body));
        }
        held.extend(content);
    }
    held
}

/// Everything both sides have written down.
async fn books(server: &Server, owner: &PgPool) -> String {
    let hub: String = sqlx::query_scalar(
        "SELECT concat_ws(' ', (SELECT concat(count(*), '/', count(fate)) FROM hub.journal),
            (SELECT concat(count(*), '/', sum(max_signed), '/', sum(user_balance)) FROM hub.heads),
            (SELECT count(*) FROM hub.orders), (SELECT count(*) FROM hub.withdrawals))",
    )
    .fetch_one(owner)
    .await
    .unwrap();
    format!("{} {hub}", server.fingerprint().await)
}

struct Keys {
    owner: String,
    stranger: String,
    scopeless: String,
}

async fn send(server: &Server, keys: &Keys, endpoint_is_admin: bool, held: &Held) -> Answer {
    let key = match held.key {
        // An operator, so that what is wrong with the request itself is what is answered.
        Key::Owner if endpoint_is_admin && held.row != 23 => Some(&server.admin),
        Key::Owner => Some(&keys.owner),
        Key::Stranger => Some(&keys.stranger),
        Key::Scopeless => Some(&keys.scopeless),
        Key::None => None,
    };
    let url = server.url(&held.case.path);
    let mut request = server.http.request(held.case.method.clone(), url);
    for (name, value) in &held.case.headers {
        request = request.header(*name, value.as_slice());
    }
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    server.send(request.body(held.case.body.clone())).await
}

/// What is wrong with an answer, if anything.
fn judge(held: &Held, answer: &Answer) -> Option<String> {
    let case = &held.case;
    let body: Option<Value> = serde_json::from_str(&answer.text).ok();
    let code = body.as_ref().and_then(|body| body["code"].as_str());
    let code = code.unwrap_or("no problem");
    let suffix = case.code.strip_prefix('*');
    let same = suffix.map_or(code == case.code, |suffix| code.ends_with(suffix));
    if answer.status != case.status || !same {
        let (name, status) = (&case.name, case.status);
        return Some(format!(
            "{name}: {} {code}, not {status} {}",
            answer.status, case.code
        ));
    }
    answer.problem();
    let leak = ["serde", "sqlx", "postgres", "actix", "src/", "panicked"]
        .into_iter()
        .find(|word| answer.text.contains(word));
    leak.map(|word| format!("{}: shows {word}", case.name))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_of_the_catalogue_is_answered_as_promised_at_every_endpoint() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let database = PgPool::connect(&server.bed.database_url).await.unwrap();
    let keys = Keys {
        owner: server.key(Uuid::now_v7(), &["*:*"]).await,
        stranger: server.key(Uuid::now_v7(), &["*:*"]).await,
        scopeless: server.key(Uuid::now_v7(), &["nothing:read"]).await,
    };
    let things: Things = endpoints::things(&server, &keys.owner, 1).await;
    let endpoints = endpoints::all(&things);
    assert!(endpoints.len() >= 34, "{}", endpoints.len());
    settled(&server, &things).await;
    let held = all(&endpoints, &keys.owner);
    let rows: BTreeSet<u8> = held.iter().map(|one| one.row).collect();
    let expected: Vec<u8> = crate::rows::at_every_endpoint();
    assert_eq!(rows.into_iter().collect::<Vec<_>>(), expected);
    assert!(held.len() > 1_500, "{}", held.len());

    let before = books(&server, &database).await;
    let mut wrong = Vec::new();
    for one in &held {
        let admin =
            one.case.path.contains("/reconciliation/") || one.case.path.contains("/breaks/");
        let answer = send(&server, &keys, admin, one).await;
        wrong.extend(judge(one, &answer));
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        held.len(),
        wrong.join("\n")
    );
    assert_eq!(books(&server, &database).await, before);
    database.close().await;
    server.stop().await;
}

/// Waits for what goes on by itself after an answer: a run's end, a fate on its way to the hub.
async fn settled(server: &Server, things: &Things) {
    let path = format!("/v1/reconciliation/runs/{}", things.run);
    for _ in 0..200 {
        let run = server.get(&path).await.ok(200);
        let open: i64 = sqlx::query_scalar("SELECT count(*) FROM account.batches WHERE NOT handed")
            .fetch_one(&server.pool)
            .await
            .unwrap();
        let order = format!("/v1/withdrawals/{}", things.withdrawal);
        let order = server.get(&order).await.ok(200);
        if run["status"] != "running" && open == 0 && order["status"] == "submitted" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("not settled");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_is_data_wherever_it_stands() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let database = PgPool::connect(&server.bed.database_url).await.unwrap();
    let owner = server.key(Uuid::now_v7(), &["*:*"]).await;
    let things = endpoints::things(&server, &owner, 1).await;
    settled(&server, &things).await;
    let before = books(&server, &database).await;
    for endpoint in endpoints::all(&things) {
        let dry = endpoint.keyed && endpoint.body.is_some();
        for attack in ATTACKS {
            for pointer in endpoint.texts.iter().filter(|_| dry) {
                let mut body = endpoint.body.clone().unwrap();
                *body.pointer_mut(pointer).unwrap() = json!(attack);
                body["dry_run"] = json!(true);
                let request = server.request_as(&owner, endpoint.method.clone(), &endpoint.path);
                let answer = server.send(request.json(&body)).await;
                assert_eq!(
                    answer.status,
                    200,
                    "{} {attack}: {answer:?}",
                    endpoint.name()
                );
            }
            if endpoint.method == Method::GET {
                let bare = endpoint.path.split('?').next().unwrap();
                for name in [
                    "client_ref",
                    "external_id",
                    "cursor",
                    "type",
                    "status",
                    "at",
                ] {
                    let hex: String = attack.bytes().map(|byte| format!("%{byte:02X}")).collect();
                    let answer = server.get(&format!("{bare}?{name}={hex}")).await;
                    assert!(answer.status < 500, "{} {name} {attack}", endpoint.name());
                }
            }
        }
    }
    assert_eq!(books(&server, &database).await, before);
    database.close().await;
    server.stop().await;
}
