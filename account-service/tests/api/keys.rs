//! Who may call: keys, scopes, rate limits.

use crate::harness::{Server, key};
use reqwest::Method;
use serde_json::json;
use std::process::Command;
use time::Duration;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn only_a_key_that_is_valid_now_lets_anybody_in_and_all_others_are_told_the_same() {
    let server = Server::start().await;
    let owner = Uuid::now_v7();
    let good = server.key(owner, &["accounts:read"]).await;
    server.get_as(&good, "/v1/accounts").await.ok(200);
    let expired = key(&server.pool, owner, &["accounts:read"], |new| {
        new.expires_at = Some(new.created_at - Duration::seconds(1));
    })
    .await;
    let long = format!("chub_{}", "a".repeat(10_000));
    let wrong = format!("chub_{}", "0".repeat(64));
    let mut answers = Vec::new();
    for bad in [
        expired.as_str(),
        &wrong,
        &long,
        "",
        "x",
        "chub_",
        &good[1..],
        &good.to_uppercase(),
    ] {
        let answer = server.get_as(bad, "/v1/accounts").await;
        answer.is(401, "AUTH_INVALID");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        answers.push(answer.json()["detail"].clone());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    let header = |value: String| {
        server
            .http
            .get(server.url("/v1/accounts"))
            .header("Authorization", value)
    };
    for value in [
        format!("Basic {good}"),
        good.clone(),
        format!("Bearer{good}"),
        "Bearer".into(),
    ] {
        server.send(header(value)).await.is(401, "AUTH_INVALID");
    }
    let twice = header(format!("Bearer {good}")).header("Authorization", format!("Bearer {good}"));
    server.send(twice).await.is(401, "AUTH_INVALID");
    server
        .send(server.http.get(server.url("/v1/accounts")))
        .await
        .is(401, "AUTH_INVALID");
    server.send(header(format!("bearer {good}"))).await.ok(200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_does_what_its_scopes_name() {
    let server = Server::start().await;
    let owner = Uuid::now_v7();
    let reader = server.key(owner, &["*:read"]).await;
    server.get_as(&reader, "/v1/accounts").await.ok(200);
    for (path, body) in [
        ("/v1/accounts", json!({})),
        ("/v1/transfers", json!({})),
        ("/v1/transfer-batches", json!({})),
        ("/v1/account-batches", json!({})),
        ("/v1/issuances", json!({})),
        ("/v1/redemptions", json!({})),
        ("/v1/withdrawals", json!({})),
        ("/v1/reconciliation/runs", json!({})),
    ] {
        server
            .post_as(&reader, path, &body)
            .await
            .is(403, "SCOPE_MISSING");
    }
    let everything = server.key(owner, &["*:*"]).await;
    let path = "/v1/reconciliation/runs";
    server
        .get_as(&everything, path)
        .await
        .is(403, "SCOPE_MISSING");
    server.get(path).await.ok(200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_makes_a_key_that_works_and_takes_it_back() {
    let server = Server::start().await;
    let program = env!("CARGO_BIN_EXE_account-service");
    let run = |arguments: &[&str]| {
        Command::new(program)
            .env_clear()
            .env("DATABASE_URL", server.bed.role_url("chub_account"))
            .args(arguments)
            .output()
            .unwrap()
    };
    let made = run(&[
        "keys",
        "create",
        "--scope",
        "accounts:*",
        "--rate-limit",
        "100",
    ]);
    assert!(made.status.success(), "{made:?}");
    let secret = String::from_utf8(made.stdout).unwrap();
    let told = String::from_utf8(made.stderr).unwrap();
    let secret = secret.trim_end();
    assert!(!told.contains(secret));
    let answer = server.get_as(secret, "/v1/accounts").await;
    assert_eq!(
        answer.header("ratelimit-policy"),
        Some("\"default\";q=100;w=60")
    );
    answer.ok(200);
    let stored: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM account.api_keys k WHERE k::text LIKE '%' || $1 || '%'",
    )
    .bind(&secret[5..])
    .fetch_one(&server.pool)
    .await
    .unwrap();
    assert_eq!(stored, 0, "the secret itself is stored nowhere");

    let id = told.split(' ').next().unwrap();
    assert!(run(&["keys", "revoke", id]).status.success());
    assert!(!run(&["keys", "revoke", id]).status.success());
    assert!(
        !run(&["keys", "create", "--scope", "nonsense"])
            .status
            .success()
    );
    assert!(!run(&["keys", "create"]).status.success());
    // A server that has not seen the key knows at once; one that has, within five seconds.
    let fresh = account_service::auth::Keys::new(server.pool.clone());
    assert!(fresh.caller(secret).await.is_err());
    let help = String::from_utf8(run(&["serve", "--help"]).stdout).unwrap();
    for name in [
        "LISTEN",
        "DATABASE_URL",
        "RECON_DATABASE_URL",
        "REDIS_URL",
        "REDIS_PREFIX",
        "AMQP_URL",
        "QUEUE_PREFIX",
        "HUBS",
        "CUSTODY_KEY_FILE",
        "CURSOR_KEY_FILE",
        "CHAIN_RPC",
        "TOKEN_ADDRESS",
        "CHANNELS_ADDRESS",
        "BATCH_MAX",
        "ASSET",
        "WITHDRAW_VALIDITY_S",
    ] {
        assert!(help.contains(&format!("[env: {name}")), "{name} in {help}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_shared_by_all_replicas_and_told_to_the_caller() {
    let first = Server::start().await;
    let second = Server::start_with(|config, _| {
        config.database_url = first.bed.role_url("chub_account");
        config.redis_prefix = first.bed.redis_prefix.clone();
    })
    .await;
    let limited = key(&first.pool, Uuid::now_v7(), &["accounts:read"], |new| {
        new.rate_limit = Some(5);
    })
    .await;
    for (server, left) in [
        (&first, 4),
        (&second, 3),
        (&first, 2),
        (&second, 1),
        (&first, 0),
    ] {
        let answer = server.get_as(&limited, "/v1/accounts").await;
        let told = answer.header("ratelimit").unwrap().to_owned();
        assert!(
            told.starts_with(&format!("\"default\";r={left};t=")),
            "{told}"
        );
        answer.ok(200);
    }
    for server in [&first, &second] {
        let over = server.get_as(&limited, "/v1/accounts").await;
        over.is(429, "RATE_LIMITED");
        let wait: u64 = over.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=12).contains(&wait), "{wait}");
        assert!(
            over.header("ratelimit")
                .unwrap()
                .starts_with("\"default\";r=0;")
        );
    }
    // A key without a limit hears nothing of one.
    assert!(
        first
            .get("/v1/accounts")
            .await
            .header("ratelimit")
            .is_none()
    );
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_key_was_used_is_written_down_later_and_not_per_request() {
    let mut server = Server::start().await;
    let reader = server.key(Uuid::now_v7(), &["accounts:read"]).await;
    for _ in 0..20 {
        server
            .request_as(&reader, Method::GET, "/v1/accounts")
            .send()
            .await
            .unwrap();
    }
    let used = "SELECT count(*) FROM account.api_keys WHERE last_used_at IS NOT NULL";
    let pool = sqlx::PgPool::connect(&server.bed.database_url)
        .await
        .unwrap();
    let count = async || {
        sqlx::query_scalar::<_, i64>(used)
            .fetch_one(&pool)
            .await
            .unwrap()
    };
    assert_eq!(count().await, 0);
    server.finish().await;
    assert_eq!(count().await, 1);
    pool.close().await;
}
