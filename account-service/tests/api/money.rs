//! Money through the whole of it: API, engine, a real hub, Postgres, Redis.

use crate::cache::flushall;
use crate::harness::{Answer, Server, TOKEN, transfer};
use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

fn keyed(server: &Server, path: &str, key: &str, body: &Value) -> RequestBuilder {
    let request = server.request(Method::POST, path);
    request.header("Idempotency-Key", key).json(body)
}

/// Sends the same request several times, with Redis and after
/// it was wiped. Every answer is the first one, byte for byte.
async fn replays(server: &Server, path: &str, body: &Value, status: u16) -> Answer {
    let key = Uuid::now_v7().to_string();
    let first = server.send(keyed(server, path, &key, body)).await;
    assert_eq!(first.status, status, "{first:?}");
    assert!(first.header("idempotency-replayed").is_none());
    let print = server.fingerprint().await;
    for wiped in [false, true] {
        if wiped {
            flushall(&server.bed.redis_url).await;
        }
        let again = server.send(keyed(server, path, &key, body)).await;
        assert_eq!((again.status, &again.text), (first.status, &first.text));
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.header("content-type"), first.header("content-type"));
        let mut other = body.clone();
        other["dry_run"] = json!(false);
        let mismatch = server.send(keyed(server, path, &key, &other)).await;
        mismatch.is(422, "IDEMPOTENCY_MISMATCH");
    }
    assert_eq!(server.fingerprint().await, print);
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_order_is_done_once_and_answered_the_same_for_ever() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let open = json!({"external_id": "till-7", "metadata": {"b": 1, "a": [2]}, "chain_address": format!("0x{}", "07".repeat(20))});
    let opened = replays(&server, "/v1/accounts", &open, 201).await.json();
    let a = opened["id"].as_str().unwrap().to_owned();
    let b = server.account(&server.admin, "0").await;
    let shown = server.get(&format!("/v1/accounts/{a}")).await.ok(200);
    assert_eq!(shown, opened, "an account reads as it was opened");

    let issue =
        json!({"account_id": a, "amount": "1000", "reason": "opening", "client_ref": "i-1"});
    let issued = replays(&server, "/v1/issuances", &issue, 201).await.json();
    assert_eq!(issued["status"], "completed");
    assert_eq!(issued["entries"][0]["balance_after"], "1000");

    let mut pay = transfer(&a, &b, "250");
    pay["metadata"] = json!({"note": "\u{1f4b8}"});
    pay["client_ref"] = json!("t-1");
    let paid = replays(&server, "/v1/transfers", &pay, 201).await.json();
    assert_eq!(paid["entries"][0]["direction"], "debit");
    assert_eq!(paid["entries"][0]["balance_after"], "750");
    assert_eq!(paid["entries"][1]["balance_after"], "250");
    assert_eq!(paid["metadata"], pay["metadata"]);
    let id = paid["id"].as_str().unwrap();
    assert_eq!(
        server.get(&format!("/v1/transfers/{id}")).await.ok(200),
        paid
    );
    let found = server.get("/v1/transfers?client_ref=t-1").await.ok(200);
    assert_eq!(found["data"], json!([paid]));

    let redeem = json!({"account_id": a, "amount": "50"});
    let redeemed = replays(&server, "/v1/redemptions", &redeem, 201)
        .await
        .json();
    assert_eq!(redeemed["entries"][0]["direction"], "debit");
    let withdraw = json!({"account_id": a, "amount": "100"});
    let withdrawn = replays(&server, "/v1/withdrawals", &withdraw, 202)
        .await
        .json();
    assert_eq!(withdrawn["status"], "requested");
    assert_eq!(withdrawn["to_address"], open["chain_address"]);
    assert_eq!(server.available(&a).await, "600");

    let batch = json!({"mode": "independent", "items": [transfer(&a, &b, "1"), transfer(&a, &b, "1000000")]});
    let mixed = replays(&server, "/v1/transfer-batches", &batch, 207)
        .await
        .json();
    assert_eq!(mixed["results"][0]["transfer"]["amount"], "1");
    assert_eq!(mixed["results"][1]["problem"]["code"], "INSUFFICIENT_FUNDS");
    let batch = json!({"mode": "atomic", "items": [transfer(&a, &b, "1"), transfer(&b, &a, "2")]});
    replays(&server, "/v1/transfer-batches", &batch, 201).await;
    let accounts = json!({"items": [{"external_id": "x"}, {"external_id": "y"}]});
    replays(&server, "/v1/account-batches", &accounts, 201).await;
    assert_eq!(server.available(&a).await, "600");
    assert_eq!(server.available(&b).await, "250");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_why_changes_nothing_and_is_the_answer_for_ever() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let owner = server.key(Uuid::now_v7(), &["*:*"]).await;
    let (a, b) = (
        server.account(&owner, "100").await,
        server.account(&owner, "0").await,
    );
    let foreign = server.account(&server.admin, "0").await;
    let frozen = server.account(&owner, "10").await;
    let closed = server.account(&owner, "0").await;
    let none = json!({});
    server
        .post(&format!("/v1/accounts/{frozen}/freeze"), &none)
        .await
        .ok(200);
    server
        .post(&format!("/v1/accounts/{closed}/close"), &none)
        .await
        .ok(200);
    let unknown = format!("acc_{}", Uuid::now_v7().simple());
    let huge = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
    // 2^256, which no machine word holds.
    let beyond = "115792089237316195423570985008687907853269984665640564039457584007913129639936";
    let mut stale = transfer(&a, &b, "1");
    stale["expected_version"] = json!(1);
    let pay = |from: &str, to: &str, amount: &str| ("/v1/transfers", transfer(from, to, amount));
    let one = |path, account: &str, amount: &str| {
        (path, json!({"account_id": account, "amount": amount}))
    };
    let (i, r, w) = ("/v1/issuances", "/v1/redemptions", "/v1/withdrawals");
    let before = [
        server.available(&a).await,
        server.available(&b).await,
        server.available(&frozen).await,
    ];
    for ((path, body), status, code) in [
        (pay(&a, &b, "101"), 422, "INSUFFICIENT_FUNDS"),
        (pay(&a, &b, huge), 422, "INSUFFICIENT_FUNDS"),
        (pay(&a, &b, beyond), 422, "INSUFFICIENT_FUNDS"),
        (pay(&a, &b, "0"), 422, "AMOUNT_ZERO"),
        (pay(&a, &a, "1"), 422, "SAME_ACCOUNT"),
        (pay(&a, &unknown, "1"), 404, "ACCOUNT_NOT_FOUND"),
        (pay(&unknown, &a, "1"), 404, "ACCOUNT_NOT_FOUND"),
        (pay(&a, &foreign, "1"), 404, "ACCOUNT_NOT_FOUND"),
        (pay(&foreign, &a, "1"), 404, "ACCOUNT_NOT_FOUND"),
        (pay(&frozen, &a, "1"), 422, "ACCOUNT_FROZEN"),
        (pay(&a, &frozen, "1"), 422, "ACCOUNT_FROZEN"),
        (pay(&closed, &a, "1"), 422, "ACCOUNT_CLOSED"),
        (pay(&a, &closed, "1"), 422, "ACCOUNT_CLOSED"),
        (("/v1/transfers", stale), 409, "VERSION_CONFLICT"),
        (one(i, &a, huge), 422, "CAPACITY_EXCEEDED"),
        (one(i, &a, beyond), 422, "CAPACITY_EXCEEDED"),
        (one(r, &a, beyond), 422, "INSUFFICIENT_FUNDS"),
        (one(i, &a, "0"), 422, "AMOUNT_ZERO"),
        (one(i, &frozen, "1"), 422, "ACCOUNT_FROZEN"),
        (one(i, &foreign, "1"), 404, "ACCOUNT_NOT_FOUND"),
        (one(r, &a, "101"), 422, "INSUFFICIENT_FUNDS"),
        (one(r, &b, "1"), 422, "INSUFFICIENT_FUNDS"),
        (one(w, &a, "1"), 422, "PAYOUT_ADDRESS_MISSING"),
        (one(w, &unknown, "1"), 404, "ACCOUNT_NOT_FOUND"),
    ] {
        let key = Uuid::now_v7().to_string();
        let request = || {
            let request = server.request_as(&owner, Method::POST, path);
            request.header("Idempotency-Key", &key).json(&body)
        };
        let first = server.send(request()).await;
        first.is(status, code);
        let again = server.send(request()).await;
        again.is(status, code);
        assert_eq!(
            again.header("idempotency-replayed"),
            Some("true"),
            "{path} {body}"
        );
        assert_eq!(again.json()["detail"], first.json()["detail"]);
    }
    let poor = server
        .post_as(&owner, "/v1/transfers", &transfer(&a, &b, "101"))
        .await;
    assert_eq!(poor.json()["available"], "100");
    assert_eq!(poor.json()["required"], "101");
    let after = [
        server.available(&a).await,
        server.available(&b).await,
        server.available(&frozen).await,
    ];
    assert_eq!(before, after);
    // What is refused keeps its key; what was never a request leaves it unused.
    let key = "later";
    let request = |body: Value| keyed(&server, "/v1/transfers", key, &body);
    server
        .send(request(transfer(&a, &b, "-1")))
        .await
        .is(400, "VALIDATION_FAILED");
    server.send(request(transfer(&a, &b, "1"))).await.ok(201);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_atomic_batch_is_done_whole_or_not_at_all() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let (a, b) = (
        server.account(&server.admin, "10").await,
        server.account(&server.admin, "0").await,
    );
    let unknown = format!("acc_{}", Uuid::now_v7().simple());
    for (last, code, item) in [
        (
            transfer(&a, &b, "100"),
            "INSUFFICIENT_FUNDS",
            "INSUFFICIENT_FUNDS",
        ),
        (
            transfer(&a, &unknown, "1"),
            "BATCH_REFUSED",
            "ACCOUNT_NOT_FOUND",
        ),
    ] {
        let body = json!({"mode": "atomic", "items": [transfer(&a, &b, "1"), transfer(&a, &b, "2"), last]});
        let answer = server.post("/v1/transfer-batches", &body).await;
        answer.is(422, code);
        assert_eq!(answer.json()["index"], 2);
        assert_eq!(answer.json()["errors"][0]["code"], item);
        assert_eq!(answer.json()["errors"][0]["field"], "items.2");
        assert_eq!(server.available(&a).await, "10");
    }
    let items: Vec<_> = (0..1_000)
        .map(|at| {
            if at % 2 == 0 {
                transfer(&a, &b, "1")
            } else {
                transfer(&b, &a, "1")
            }
        })
        .collect();
    let key = "thousand";
    let body = json!({"mode": "atomic", "items": items});
    let done = server
        .send(keyed(&server, "/v1/transfer-batches", key, &body))
        .await
        .ok(201);
    assert_eq!(done["results"].as_array().unwrap().len(), 1_000);
    assert_eq!(done["status"], "completed");
    // The same key with a longer body does nothing at all.
    let mut longer = body.clone();
    longer["items"].as_array_mut().unwrap().pop();
    longer["mode"] = json!("independent");
    flushall(&server.bed.redis_url).await;
    let answer = server
        .send(keyed(&server, "/v1/transfer-batches", key, &longer))
        .await;
    answer.is(422, "IDEMPOTENCY_MISMATCH");
    assert_eq!(server.available(&a).await, "10");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_and_changes_nothing() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let (a, b) = (
        server.account(&server.admin, "10").await,
        server.account(&server.admin, "0").await,
    );
    let before = server.fingerprint().await;
    let dry = async |path: &str, mut body: Value| {
        body["dry_run"] = json!(true);
        server
            .send(server.request(Method::POST, path).json(&body))
            .await
    };
    let would = dry("/v1/transfers", transfer(&a, &b, "4")).await.ok(200);
    assert_eq!(would["entries"][0]["balance_after"], "6");
    assert!(would["batch_id"].is_null());
    dry("/v1/transfers", transfer(&a, &b, "11"))
        .await
        .is(422, "INSUFFICIENT_FUNDS");
    let opened = dry("/v1/accounts", json!({"external_id": "maybe"}))
        .await
        .ok(200);
    assert_eq!(opened["balances"]["available"], "0");
    dry("/v1/issuances", json!({"account_id": a, "amount": "5"}))
        .await
        .ok(200);
    let to = format!("0x{}", "07".repeat(20));
    dry(
        "/v1/withdrawals",
        json!({"account_id": a, "amount": "5", "to_address": to}),
    )
    .await
    .ok(200);
    let body = json!({"mode": "independent", "items": [transfer(&a, &b, "4")]});
    dry("/v1/transfer-batches", body).await.ok(200);
    assert_eq!(server.fingerprint().await, before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_exactly_one_wins() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let (a, b) = (
        server.account(&server.admin, "100").await,
        server.account(&server.admin, "0").await,
    );
    // The whole balance, a hundred times, each with a key of its own.
    let body = transfer(&a, &b, "100");
    let spend = (0..100).map(|_| server.post("/v1/transfers", &body));
    let answers = join_all(spend).await;
    let done = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(done, 1);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        answer.is(422, "INSUFFICIENT_FUNDS");
    }
    assert_eq!(server.available(&b).await, "100");
    // One request, fifty times at once, one effect.
    let body = transfer(&b, &a, "1");
    let same = (0..50).map(|_| server.send(keyed(&server, "/v1/transfers", "same", &body)));
    let answers = join_all(same).await;
    let mut bodies: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 201)
        .map(|answer| &answer.text)
        .collect();
    assert!(!bodies.is_empty());
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        answer.is(409, "IDEMPOTENCY_IN_FLIGHT");
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(server.available(&b).await, "99");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_answered_reads_nothing_older_with_redis_or_without() {
    for redis in [true, false] {
        let (server, _hub) = Server::with_hub(|config| {
            if !redis {
                config.redis_url = None;
            }
        })
        .await;
        let (a, b) = (
            server.account(&server.admin, "50").await,
            server.account(&server.admin, "0").await,
        );
        for left in (0..50).rev() {
            server.available(&a).await;
            server
                .post("/v1/transfers", &transfer(&a, &b, "1"))
                .await
                .ok(201);
            assert_eq!(server.available(&a).await, left.to_string());
            assert_eq!(server.available(&b).await, (50 - left).to_string());
        }
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_is_taken_back_once_or_is_on_its_way() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let a = server.account(&server.admin, "100").await;
    for bad in [TOKEN, crate::harness::CHANNELS] {
        let body = json!({"account_id": a, "amount": "1", "to_address": bad});
        server
            .post("/v1/withdrawals", &body)
            .await
            .is(400, "ADDRESS_INVALID");
    }
    let to = format!("0x{}", "07".repeat(20));
    let order = async |amount: &str| {
        let body = json!({"account_id": a, "amount": amount, "to_address": to});
        let ordered = server.post("/v1/withdrawals", &body).await.ok(202);
        format!("/v1/withdrawals/{}", ordered["id"].as_str().unwrap())
    };
    let (first, second) = (order("30").await, order("20").await);
    assert_eq!(server.available(&a).await, "50");
    let query = format!("/v1/withdrawals?account_id={a}&limit=1");
    let page = server.get(&query).await.ok(200);
    assert!(second.ends_with(page["data"][0]["id"].as_str().unwrap()));
    assert!(page["next_cursor"].is_string());

    // A channel has one signed withdrawal at a time, so the second still waits.
    let cancel = async |path: &str| server.post(&format!("{path}/cancel"), &json!({})).await;
    let taken_back = cancel(&second).await.ok(200);
    assert_eq!(taken_back["status"], "cancelled");
    assert_eq!(server.available(&a).await, "70");
    cancel(&second).await.is(409, "ALREADY_CANCELLED");
    assert_eq!(server.available(&a).await, "70");
    let mut shown = server.get(&first).await.ok(200);
    for _ in 0..200 {
        if shown["status"] == "submitted" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        shown = server.get(&first).await.ok(200);
    }
    assert_eq!(shown["status"], "submitted");
    cancel(&first).await.is(409, "ALREADY_SUBMITTED");
    assert_eq!(server.available(&a).await, "70");
    let lines = server
        .get(&format!("/v1/accounts/{a}/entries"))
        .await
        .ok(200);
    let kinds: Vec<_> = lines["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["type"].clone())
        .collect();
    assert_eq!(kinds, ["refund", "withdrawal", "withdrawal", "issuance"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_gives_the_same_answer_from_the_journal() {
    let (one, hub) = Server::with_hub(|_| {}).await;
    let two = Server::start_with(|config, _| {
        config.database_url = one.bed.role_url("chub_account");
        config.hubs = vec![hub.option()];
    })
    .await;
    two.until_ready().await;
    let (a, b) = (
        one.account(&one.admin, "100").await,
        one.account(&one.admin, "0").await,
    );
    let body = transfer(&a, &b, "1");
    let request = |server: &Server, key: &str| {
        let request = server.request_as(&one.admin, Method::POST, "/v1/transfers");
        request.header("Idempotency-Key", key).json(&body)
    };
    for at in 0..20 {
        let key = format!("k{at}");
        // Each replica in turn is the first to hear of a key; both work on the same channels.
        let (first, second) = if at % 2 == 0 {
            (&one, &two)
        } else {
            (&two, &one)
        };
        let done = first.send(request(first, &key)).await;
        let again = second.send(request(second, &key)).await;
        assert_eq!(done.status, 201, "{done:?}");
        assert_eq!(
            again.header("idempotency-replayed"),
            Some("true"),
            "{again:?}"
        );
        assert_eq!(done.text, again.text);
    }
    assert_eq!(one.available(&b).await, "20");
    let metrics = two.get("/metrics").await.text;
    assert!(
        metrics.contains("chub_idempotency_replays_total 10"),
        "{metrics}"
    );
    two.stop().await;
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn references_are_used_once_and_an_edited_balance_freezes_its_channel_alone() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let (a, b) = (
        server.account(&server.admin, "10").await,
        server.account(&server.admin, "10").await,
    );
    let c = server.account(&server.admin, "10").await;
    let mut body = transfer(&a, &b, "1");
    body["client_ref"] = json!("invoice-1");
    server.post("/v1/transfers", &body).await.ok(201);
    server
        .post("/v1/transfers", &body)
        .await
        .is(409, "DUPLICATE_CLIENT_REF");
    server
        .post("/v1/accounts", &json!({"external_id": "e"}))
        .await
        .ok(201);
    server
        .post("/v1/accounts", &json!({"external_id": "e"}))
        .await
        .is(409, "DUPLICATE_EXTERNAL_ID");
    server
        .post(
            "/v1/accounts",
            &json!({"hub_id": format!("hub_{}", Uuid::now_v7().simple())}),
        )
        .await
        .is(404, "HUB_NOT_FOUND");

    let id = Uuid::parse_str(&a[4..]).unwrap();
    sqlx::query("UPDATE account.heads SET user_balance = user_balance + 1 WHERE account_id = $1")
        .bind(id)
        .execute(&server.pool)
        .await
        .unwrap();
    server
        .post("/v1/transfers", &transfer(&a, &b, "1"))
        .await
        .is(423, "CHANNEL_FROZEN");
    server
        .post("/v1/transfers", &transfer(&b, &a, "1"))
        .await
        .is(423, "CHANNEL_FROZEN");
    server
        .post("/v1/transfers", &transfer(&b, &c, "1"))
        .await
        .ok(201);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hubs_tell_their_terms_and_a_run_without_a_chain_says_what_is_missing() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let hubs = server.get("/v1/hubs").await.ok(200);
    let hub = &hubs["data"][0];
    assert_eq!(hub["funding_mode"], "mint");
    assert_eq!(hub["connected"], true);
    assert_eq!(hub["contract"], crate::harness::CHANNELS);
    let run = server
        .post("/v1/reconciliation/runs", &json!({}))
        .await
        .ok(202);
    assert_eq!(run["status"], "running");
    let path = format!("/v1/reconciliation/runs/{}", run["id"].as_str().unwrap());
    let mut ended = run;
    for _ in 0..100 {
        ended = server.get(&path).await.ok(200);
        if ended["status"] != "running" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(ended["status"], "failed");
    assert!(ended["failure"].as_str().unwrap().contains("CHAIN_RPC"));
    assert!(ended["finished_at"].is_string());
    assert_eq!(
        server.get(&format!("{path}/breaks")).await.ok(200)["data"],
        json!([])
    );
    let csv = server.get(&format!("{path}/report?format=csv")).await;
    assert!(csv.text.starts_with("id,run_id,check,"));
    let report = server.get(&format!("{path}/report")).await.ok(200);
    assert_eq!(report["run"], ended);
    server.stop().await;
}
