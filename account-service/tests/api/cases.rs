//! The bad-input catalogue as data.

use crate::harness::{CHANNELS, TOKEN};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

/// One request that must be refused.
pub struct Case {
    pub name: String,
    pub method: Method,
    pub path: String,
    pub headers: Vec<(&'static str, Vec<u8>)>,
    pub body: Vec<u8>,
    pub status: u16,
    pub code: &'static str,
}

const JSON: (&str, &[u8]) = ("content-type", b"application/json");

impl Case {
    pub fn new(name: impl Into<String>, path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            method: Method::POST,
            path: path.into(),
            headers: vec![
                (JSON.0, JSON.1.to_vec()),
                ("idempotency-key", Uuid::now_v7().to_string().into()),
            ],
            body: body.into(),
            status: 400,
            code: "VALIDATION_FAILED",
        }
    }

    fn get(path: &str) -> Self {
        Self {
            method: Method::GET,
            headers: Vec::new(),
            ..Self::new(format!("GET {path}"), path, "")
        }
    }

    pub fn is(mut self, status: u16, code: &'static str) -> Self {
        (self.status, self.code) = (status, code);
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.into()));
        self
    }

    pub fn more(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self
    }
}

/// Two accounts of the caller.
pub struct Accounts {
    pub a: String,
    pub b: String,
    pub channel: String,
}

impl Accounts {
    /// A body of each money route that would be accepted, and its route.
    fn money(&self) -> Vec<(&'static str, Value)> {
        vec![
            (
                "/v1/transfers",
                json!({"from": self.a, "to": self.b, "amount": "1"}),
            ),
            (
                "/v1/issuances",
                json!({"account_id": self.a, "amount": "1"}),
            ),
            (
                "/v1/redemptions",
                json!({"account_id": self.a, "amount": "1"}),
            ),
            (
                "/v1/withdrawals",
                json!({"account_id": self.a, "amount": "1"}),
            ),
        ]
    }

    fn transfer(&self) -> Value {
        json!({"from": self.a, "to": self.b, "amount": "1"})
    }
}

fn with(body: &Value, field: &str, value: Value) -> Vec<u8> {
    let mut body = body.clone();
    body[field] = value;
    body.to_string().into_bytes()
}

fn amounts(accounts: &Accounts) -> Vec<Case> {
    let texts = [
        "1.0",
        "1e3",
        "0x10",
        " 1",
        "1 ",
        "+1",
        "-1",
        "01",
        "00",
        "",
        "NaN",
        "Infinity",
        "1_000",
        "1,000",
        "\u{661}\u{662}",
        "\u{ff11}",
        "null",
        "1\u{a0}",
    ];
    let mut values: Vec<Value> = texts.iter().map(|&text| json!(text)).collect();
    values.extend([
        json!(5),
        json!(-5),
        json!(1.5),
        json!(null),
        json!([]),
        json!(["1"]),
        json!({}),
    ]);
    values.extend([
        json!(true),
        json!("9".repeat(79)),
        json!("9".repeat(60_000)),
    ]);
    let mut cases = Vec::new();
    for (path, body) in accounts.money() {
        for value in &values {
            let shown: String = value.to_string().chars().take(20).collect();
            cases.push(Case::new(
                format!("{path} amount {shown}"),
                path,
                with(&body, "amount", value.clone()),
            ));
        }
    }
    cases
}

fn ids(accounts: &Accounts) -> Vec<Case> {
    let body = accounts.transfer();
    let hex = &accounts.a[4..];
    let hyphens = Uuid::parse_str(hex).unwrap().hyphenated().to_string();
    let mut cases: Vec<Case> = [
        String::new(),
        "acc_".into(),
        hex.into(),
        format!("acc_{}", hex.to_uppercase()),
        format!("acc_{hyphens}"),
        format!("hub_{hex}"),
        format!("{} ", accounts.a),
        format!("{}0", accounts.a),
        "../../etc/passwd".into(),
        "acc_%00".into(),
        "'; DROP TABLE account.accounts; --".into(),
        "a\u{441}\u{441}_0".into(),
        "\u{202e}acc".into(),
        "x".repeat(10_000),
        "${jndi:ldap://x}".into(),
    ]
    .into_iter()
    .map(|id| {
        let shown: String = id.chars().take(20).collect();
        Case::new(
            format!("from {shown:?}"),
            "/v1/transfers",
            with(&body, "from", json!(id)),
        )
    })
    .collect();
    for id in [
        json!(1),
        json!(null),
        json!([accounts.a]),
        json!({"id": accounts.a}),
    ] {
        cases.push(Case::new(
            format!("to {id}"),
            "/v1/transfers",
            with(&body, "to", id),
        ));
    }
    for path in [
        "/v1/accounts/x",
        "/v1/accounts/acc_1/balances",
        "/v1/transfers/acc_1",
        "/v1/channels/0x12",
        "/v1/withdrawals/%00",
        "/v1/accounts/acc_%F0%9F%92%A9",
        "/v1/reconciliation/runs/1",
    ] {
        cases.push(Case::get(path));
    }
    let upper = format!("/v1/channels/0x{}", accounts.channel[2..].to_uppercase());
    cases.push(Case::get(&upper));
    cases.push(Case::get(&format!(
        "/v1/channels/{}/states/-1",
        accounts.channel
    )));
    cases.push(Case::get(&format!(
        "/v1/channels/{}/states/newest",
        accounts.channel
    )));
    let none = format!("/v1/channels/0x{}", "0".repeat(64));
    cases.push(Case::get(&none).is(404, "CHANNEL_NOT_FOUND"));
    let strange = Uuid::now_v7().simple();
    cases.push(Case::get(&format!("/v1/accounts/acc_{strange}")).is(404, "ACCOUNT_NOT_FOUND"));
    cases.push(Case::get(&format!("/v1/transfers/trf_{strange}")).is(404, "TRANSFER_NOT_FOUND"));
    cases.push(Case::get(&format!("/v1/deposits/dep_{strange}")).is(404, "DEPOSIT_NOT_FOUND"));
    cases
        .push(Case::get(&format!("/v1/withdrawals/wdr_{strange}")).is(404, "WITHDRAWAL_NOT_FOUND"));
    cases.push(Case::get(&format!("/v1/issuances/iss_{strange}")).is(404, "ISSUANCE_NOT_FOUND"));
    cases
        .push(Case::get(&format!("/v1/redemptions/red_{strange}")).is(404, "REDEMPTION_NOT_FOUND"));
    cases.push(
        Case::get(&format!("/v1/reconciliation/runs/rec_{strange}")).is(404, "RUN_NOT_FOUND"),
    );
    cases
}

fn documents(accounts: &Accounts) -> Vec<Case> {
    let good = accounts.transfer().to_string();
    let nested = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let positional = json!([accounts.a, accounts.b, "1"]).to_string();
    let with_bom = format!("\u{feff}{good}");
    let doubled = good.replacen('{', "{\"amount\":\"1\",", 1);
    let malformed: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("blanks", b"  \n".to_vec()),
        ("array for an object", positional.into()),
        ("text", b"\"x\"".to_vec()),
        ("number", b"1".to_vec()),
        ("null", b"null".to_vec()),
        ("BOM", with_bom.into()),
        ("cut short", good[..good.len() - 1].into()),
        ("two documents", format!("{good}{good}").into()),
        ("trailing garbage", format!("{good} x").into()),
        ("comment", format!("{good} // x").into()),
        ("single quotes", good.replace('"', "'").into()),
        ("duplicate key", doubled.into()),
        ("trailing comma", good.replace('}', ",}").into()),
        ("deep nesting", nested.into()),
        (
            "not UTF-8",
            [b"{\"from\":\"", &[0xff, 0xfe][..], b"\"}"].concat(),
        ),
        (
            "UTF-16",
            good.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        ("lone surrogate", br#"{"from":"\ud800"}"#.to_vec()),
        ("raw control character", b"{\"from\":\"a\nb\"}".to_vec()),
        ("XML", b"<from>a</from>".to_vec()),
        ("form", b"from=a&to=b".to_vec()),
    ];
    let mut cases: Vec<Case> = malformed
        .into_iter()
        .map(|(name, body)| Case::new(name, "/v1/transfers", body).is(400, "MALFORMED_BODY"))
        .collect();
    let body = accounts.transfer();
    for field in [
        "balance",
        "status",
        "role",
        "id",
        "owner",
        "fee",
        "__proto__",
        "From",
        "execute_at",
        "x",
    ] {
        let name = format!("unknown field {field}");
        cases.push(Case::new(
            name,
            "/v1/transfers",
            with(&body, field, json!("1")),
        ));
    }
    for (path, body) in accounts.money() {
        cases.push(Case::new(format!("{path} nothing"), path, "{}"));
        cases.push(Case::new(
            format!("{path} mass assignment"),
            path,
            with(&body, "status", json!("completed")),
        ));
    }
    cases
}

fn texts(accounts: &Accounts) -> Vec<Case> {
    let body = accounts.transfer();
    let mut cases = Vec::new();
    for (name, value) in [
        ("NUL", json!("a\u{0}b")),
        ("CR LF", json!("a\r\nb")),
        ("escape", json!("\u{1b}[31m")),
        ("C1 control", json!("a\u{85}b")),
        ("empty", json!("")),
        ("too long", json!("x".repeat(256))),
        ("number", json!(1)),
        ("list", json!(["x"])),
    ] {
        cases.push(Case::new(
            format!("client_ref {name}"),
            "/v1/transfers",
            with(&body, "client_ref", value.clone()),
        ));
        let account = json!({}).to_string().into_bytes();
        let account: Value = serde_json::from_slice(&account).unwrap();
        cases.push(Case::new(
            format!("external_id {name}"),
            "/v1/accounts",
            with(&account, "external_id", value),
        ));
    }
    for (name, value) in [
        ("text", json!("x")),
        ("list", json!([1])),
        ("NUL in a value", json!({"a": "\u{0}"})),
        ("NUL in a key", json!({"a\u{0}": 1})),
        (
            "too deep",
            json!({"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}}}),
        ),
        ("too large", json!({"a": "x".repeat(17_000)})),
    ] {
        cases.push(Case::new(
            format!("metadata {name}"),
            "/v1/transfers",
            with(&body, "metadata", value),
        ));
    }
    for value in [
        json!(-1),
        json!(1.5),
        json!("1"),
        json!(281_474_976_710_656_u64),
        json!(true),
    ] {
        cases.push(Case::new(
            format!("expected_version {value}"),
            "/v1/transfers",
            with(&body, "expected_version", value),
        ));
    }
    cases.push(Case::new(
        "dry_run text",
        "/v1/transfers",
        with(&body, "dry_run", json!("true")),
    ));
    cases.push(
        Case::new(
            "asset unknown",
            "/v1/transfers",
            with(&body, "asset", json!("EUR")),
        )
        .is(404, "ASSET_NOT_FOUND"),
    );
    cases.push(
        Case::new(
            "asset in lower case",
            "/v1/transfers",
            with(&body, "asset", json!("inf")),
        )
        .is(404, "ASSET_NOT_FOUND"),
    );
    cases.push(Case::new(
        "asset number",
        "/v1/transfers",
        with(&body, "asset", json!(1)),
    ));
    let open = json!({});
    cases.push(Case::new(
        "custody self",
        "/v1/accounts",
        with(&open, "custody", json!("self")),
    ));
    cases.push(Case::new(
        "user_signer",
        "/v1/accounts",
        with(&open, "user_signer", json!(TOKEN)),
    ));
    cases.push(Case::new(
        "hub id malformed",
        "/v1/accounts",
        with(&open, "hub_id", json!("hub_1")),
    ));
    cases
}

fn addresses(accounts: &Accounts) -> Vec<Case> {
    let withdrawal = json!({"account_id": accounts.a, "amount": "1"});
    let mut cases = Vec::new();
    for address in [
        "",
        "0x",
        "0x0000000000000000000000000000000000000000",
        "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe",
        "0xzzzzb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "vitalik.eth",
        TOKEN,
        CHANNELS,
    ] {
        let to = with(&withdrawal, "to_address", json!(address));
        cases.push(
            Case::new(format!("to_address {address:?}"), "/v1/withdrawals", to)
                .is(400, "ADDRESS_INVALID"),
        );
        let opening = with(&json!({}), "chain_address", json!(address));
        cases.push(
            Case::new(
                format!("chain_address {address:?}"),
                "/v1/accounts",
                opening,
            )
            .is(400, "ADDRESS_INVALID"),
        );
    }
    cases.push(Case::new(
        "to_address number",
        "/v1/withdrawals",
        with(&withdrawal, "to_address", json!(5)),
    ));
    cases
}

fn headers(accounts: &Accounts) -> Vec<Case> {
    let body = accounts.transfer().to_string();
    let good = |name: &str| Case::new(name, "/v1/transfers", body.clone());
    let mut cases = Vec::new();
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json; charset=latin1",
        "application/json; x",
        "application/jsonx",
        "application/problem+json",
        "application/json, text/plain",
        "json",
        "",
    ] {
        let case = good(&format!("content type {kind}")).header("content-type", kind);
        cases.push(case.is(415, "UNSUPPORTED_MEDIA_TYPE"));
    }
    cases.push(
        good("no content type")
            .without("content-type")
            .is(415, "UNSUPPORTED_MEDIA_TYPE"),
    );
    cases.push(
        good("two content types")
            .more("content-type", "application/json")
            .is(415, "UNSUPPORTED_MEDIA_TYPE"),
    );
    cases.push(
        good("gzip")
            .header("content-encoding", "gzip")
            .is(415, "UNSUPPORTED_MEDIA_TYPE"),
    );
    for (path, body) in accounts.money().into_iter().chain([
        ("/v1/accounts", json!({})),
        ("/v1/account-batches", json!({"items": [{}]})),
        (
            "/v1/transfer-batches",
            json!({"mode": "atomic", "items": [accounts.transfer()]}),
        ),
    ]) {
        let case = || Case::new(path, path, body.to_string());
        cases.push(
            case()
                .without("idempotency-key")
                .is(400, "IDEMPOTENCY_KEY_REQUIRED"),
        );
        cases.push(
            case()
                .header("idempotency-key", "")
                .is(400, "IDEMPOTENCY_KEY_REQUIRED"),
        );
    }
    for (name, key) in [
        ("too long", "k".repeat(256).into_bytes()),
        ("blank inside", b"a b".to_vec()),
        ("not ASCII", "schl\u{fc}ssel".as_bytes().to_vec()),
        ("tab", b"a\tb".to_vec()),
    ] {
        cases.push(good(&format!("idempotency key {name}")).header("idempotency-key", key));
    }
    cases.push(good("two idempotency keys").more("idempotency-key", "other"));
    cases
}

fn lists(accounts: &Accounts) -> Vec<Case> {
    let mut cases = Vec::new();
    for query in [
        "limit=0",
        "limit=-1",
        "limit=101",
        "limit=1000000000",
        "limit=x",
        "limit=",
        "limit=1.5",
        "limit=99999999999999999999999",
        "limit=5&limit=6",
        "page=2",
        "status=open",
        "status=",
        "external_id=",
        "external_id=%00",
        "status=active&x=1",
        "limit=%FF",
    ] {
        cases.push(Case::get(&format!("/v1/accounts?{query}")));
    }
    for cursor in [
        "x".into(),
        "00".into(),
        "ff".repeat(40),
        "0".repeat(900),
        "'; --".to_owned(),
    ] {
        cases.push(Case::get(&format!("/v1/accounts?cursor={cursor}")).is(400, "INVALID_CURSOR"));
    }
    let entries = format!("/v1/accounts/{}/entries", accounts.a);
    for query in [
        "type=x",
        "from=yesterday",
        "from=2026-13-01T00:00:00Z",
        "to=1",
        "from=2026-01-01",
        "at=1",
    ] {
        cases.push(Case::get(&format!("{entries}?{query}")));
    }
    for path in [
        "/v1/transfers",
        "/v1/issuances",
        "/v1/transfers?client_ref=",
        "/v1/redemptions?ref=x",
        "/v1/withdrawals?status=done",
        "/v1/deposits?account_id=x",
        "/v1/hubs?x=1",
    ] {
        cases.push(Case::get(path));
    }
    let states = format!("/v1/channels/{}/states", accounts.channel);
    for query in [
        "from_version=-1",
        "from_version=x",
        "from_version=281474976710656",
    ] {
        cases.push(Case::get(&format!("{states}?{query}")));
    }
    cases
}

fn batches(accounts: &Accounts) -> Vec<Case> {
    let item = accounts.transfer();
    let path = "/v1/transfer-batches";
    let batch = |mode: Value, items: Value| json!({"mode": mode, "items": items}).to_string();
    let mut bad_item = item.clone();
    bad_item["amount"] = json!(5);
    let many = vec![item.clone(); 1_001];
    let mut cases = vec![
        Case::new("no mode", path, json!({"items": [item]}).to_string()),
        Case::new("other mode", path, batch(json!("all"), json!([item]))),
        Case::new("no items", path, batch(json!("atomic"), json!([]))),
        Case::new("items missing", path, json!({"mode": "atomic"}).to_string()),
        Case::new("too many items", path, batch(json!("atomic"), json!(many))),
        Case::new(
            "item is a list",
            path,
            batch(json!("atomic"), json!([[accounts.a, accounts.b, "1"]])),
        ),
        Case::new("item is null", path, batch(json!("atomic"), json!([null]))),
        Case::new(
            "second item wrong",
            path,
            batch(json!("independent"), json!([item, bad_item])),
        ),
        Case::new(
            "items an object",
            path,
            batch(json!("atomic"), json!({"0": item})),
        ),
        Case::new(
            "half a million numbers",
            path,
            format!(
                "{{\"mode\":\"atomic\",\"items\":[{}1]}}",
                "1,".repeat(500_000)
            ),
        )
        .is(400, "MALFORMED_BODY"),
        Case::new(
            "too many accounts",
            "/v1/account-batches",
            json!({"items": vec![json!({}); 1_001]}).to_string(),
        ),
        Case::new(
            "account with a balance",
            "/v1/account-batches",
            json!({"items": [{"balance": "1"}]}).to_string(),
        ),
    ];
    let query = "/v1/balances/query";
    for (name, ids) in [
        ("none", json!([])),
        ("text", json!("acc_1")),
        ("wrong id", json!(["acc_1"])),
        ("number", json!([1])),
        ("too many", json!(vec![&accounts.a; 1_001])),
    ] {
        cases.push(Case::new(
            format!("balances of {name}"),
            query,
            json!({"account_ids": ids}).to_string(),
        ));
    }
    cases
}

fn changes(accounts: &Accounts) -> Vec<Case> {
    let path = format!("/v1/accounts/{}", accounts.a);
    let patch = |name: &str, body: Value| Case {
        method: Method::PATCH,
        ..Case::new(format!("patch {name}"), &path, body.to_string())
    };
    vec![
        patch("nothing", json!({})),
        patch("balance", json!({"balances": {"available": "5"}})),
        patch("status", json!({"status": "active"})),
        patch("address", json!({"chain_address": TOKEN})),
        patch("metadata as text", json!({"metadata": "x"})),
        patch("old tag", json!({"metadata": {}}))
            .header("if-match", "\"99\"")
            .is(412, "ETAG_MISMATCH"),
        patch("weak tag", json!({"metadata": {}}))
            .header("if-match", "W/\"1\"")
            .is(412, "ETAG_MISMATCH"),
        patch("bare tag", json!({"metadata": {}}))
            .header("if-match", "1")
            .is(412, "ETAG_MISMATCH"),
        Case::new(
            "freeze with a wrong reason",
            &format!("{path}/freeze"),
            json!({"reason": 5}).to_string(),
        ),
        Case::new(
            "freeze with more",
            &format!("{path}/freeze"),
            json!({"amount": "5"}).to_string(),
        ),
        Case::new("close with money", &format!("{path}/close"), "{}").is(422, "BALANCE_NOT_ZERO"),
        Case::new(
            "deposit too much",
            &format!("{path}/deposit-addresses"),
            json!({"amount": "9".repeat(40)}).to_string(),
        ),
        Case::new(
            "resolve nothing",
            &format!("/v1/breaks/brk_{}/resolve", Uuid::now_v7().simple()),
            "{}",
        ),
        Case::new(
            "resolve unknown",
            &format!("/v1/breaks/brk_{}/resolve", Uuid::now_v7().simple()),
            json!({"resolution": "seen"}).to_string(),
        )
        .is(404, "BREAK_NOT_FOUND"),
    ]
}

fn methods_and_paths() -> Vec<Case> {
    let mut cases = Vec::new();
    for (method, path) in [
        ("PUT", "/v1/transfers"),
        ("DELETE", "/v1/transfers"),
        ("PATCH", "/v1/transfers"),
        ("TRACE", "/v1/transfers"),
        ("OPTIONS", "/v1/transfers"),
        ("BREW", "/v1/transfers"),
        ("DELETE", "/v1/accounts"),
        ("GET", "/v1/balances/query"),
        ("GET", "/v1/transfer-batches"),
        ("POST", "/v1/hubs"),
        ("POST", "/openapi.json"),
        ("POST", "/livez"),
        ("DELETE", "/metrics"),
    ] {
        let case = Case {
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            ..Case::new(format!("{method} {path}"), path, "")
        };
        cases.push(case.is(405, "METHOD_NOT_ALLOWED"));
    }
    for path in [
        "/",
        "/v1",
        "/v2/accounts",
        "/v1/accounts/",
        "/v1//accounts",
        "/V1/accounts",
        "/v1/account",
        "/v1/accounts%2Flist",
        "/v1/accounts;x",
        "/v1/transfers/x/y/z",
        "/.env",
        "/admin",
        "/v1/accounts/a/b",
    ] {
        cases.push(Case::get(path).is(404, "ROUTE_NOT_FOUND"));
    }
    let overridden = Case {
        method: Method::PUT,
        ..Case::new("method override", "/v1/transfers", "{}")
    };
    cases.push(
        overridden
            .header("x-http-method-override", "POST")
            .is(405, "METHOD_NOT_ALLOWED"),
    );
    cases
}

/// All of it.
pub fn all(accounts: &Accounts) -> Vec<Case> {
    [
        amounts(accounts),
        ids(accounts),
        documents(accounts),
        texts(accounts),
        addresses(accounts),
        headers(accounts),
        lists(accounts),
        batches(accounts),
        changes(accounts),
        methods_and_paths(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
