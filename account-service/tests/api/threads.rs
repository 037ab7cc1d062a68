//! An account's operations are a thread: however a history is read, it is whole and in one order.

use crate::harness::{Server, migrate, testbed, transfer};
use account_service::store::batches_read;
use serde_json::{Value, json};
use sqlx::PgPool;
use std::collections::BTreeSet;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// Fails when an account's thread is not all of its operations, in the order of their versions.
pub async fn assert_whole(pool: &PgPool) {
    let torn: Vec<(Uuid, i64, i64)> = sqlx::query_as(
        "WITH RECURSIVE thread AS (
            SELECT account_id AS account, newest AS id, NULL::bigint AS version FROM account.heads
            UNION ALL
            SELECT t.account, CASE WHEN o.payer = t.account THEN o.payer_previous ELSE o.payee_previous END,
                CASE WHEN o.payer = t.account THEN o.payer_version ELSE o.payee_version END
            FROM thread t JOIN account.operations o ON o.id = t.id AND o.outcome = 1 AND t.account IN (o.payer, o.payee)
            WHERE t.version IS NULL OR t.version >= CASE WHEN o.payer = t.account THEN o.payer_version ELSE o.payee_version END
        ), threads AS (
            SELECT account, count(version) AS length FROM thread GROUP BY account
        ), sides AS (
            SELECT account, count(*) AS operations FROM (
                SELECT payer AS account FROM account.operations WHERE outcome = 1 AND payer IS NOT NULL
                UNION ALL SELECT payee FROM account.operations WHERE outcome = 1 AND payee IS NOT NULL
            ) s GROUP BY account
        )
        SELECT account, length, operations FROM threads FULL JOIN sides USING (account)
        WHERE length IS DISTINCT FROM operations",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert_eq!(torn, [], "account, length of its thread, operations");
}

/// All of a list, page by page.
async fn all(server: &Server, path: &str, limit: u32) -> Vec<Value> {
    let mut all = Vec::new();
    let mut page = format!("{path}limit={limit}");
    loop {
        let answer = server.get(&page).await.ok(200);
        let data = answer["data"].as_array().unwrap();
        all.extend(data.iter().cloned());
        let Some(cursor) = answer["next_cursor"].as_str() else {
            return all;
        };
        assert_eq!(data.len(), limit as usize, "only the last page is short");
        page = format!("{path}limit={limit}&cursor={cursor}");
    }
}

fn number(value: &Value) -> i64 {
    value
        .as_i64()
        .or_else(|| value.as_str()?.parse().ok())
        .unwrap()
}

/// Two accounts that paid each other in lists, many operations to a state, and one by one.
struct Scene {
    server: Server,
    one: String,
    other: String,
    /// Between any two of its rounds.
    times: Vec<OffsetDateTime>,
}

impl Scene {
    async fn new(rounds: usize) -> (Self, crate::harness::Hub) {
        let (server, hub) = Server::with_hub(|_| {}).await;
        let one = server.account(&server.admin, "1000000").await;
        let other = server.account(&server.admin, "1000000").await;
        let mut times = Vec::new();
        for round in 0..rounds {
            times.push(OffsetDateTime::now_utc());
            let items: Vec<_> = (0..40)
                .map(|n| match (n + round) % 3 {
                    0 => transfer(&other, &one, &(n + 1).to_string()),
                    _ => transfer(&one, &other, &(n + 1).to_string()),
                })
                .collect();
            let list = json!({"mode": "atomic", "items": items});
            server.post("/v1/transfer-batches", &list).await.ok(201);
            for n in 0..5 {
                let body = transfer(&one, &other, &(1_000 + n).to_string());
                server.post("/v1/transfers", &body).await.ok(201);
            }
        }
        let scene = Self {
            server,
            one,
            other,
            times,
        };
        (scene, hub)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_whole_however_it_is_paged() {
    let (scene, _hub) = Scene::new(6).await;
    let server = &scene.server;
    assert_whole(&server.pool).await;
    for account in [&scene.one, &scene.other] {
        let path = format!("/v1/accounts/{account}/entries?");
        let lines = all(server, &path, 100).await;
        // Two issuances' sides fewer than operations: openings are no lines.
        assert_eq!(lines.len(), 6 * 45 + 1, "all but the opening");
        assert_eq!(all(server, &path, 7).await, lines);
        // Each line begins where the one before it ended.
        for pair in lines.windows(2) {
            let amount = number(&pair[0]["amount"]);
            let change = if pair[0]["direction"] == "debit" {
                -amount
            } else {
                amount
            };
            let (after, before) = (&pair[0]["balance_after"], &pair[1]["balance_after"]);
            assert_eq!(number(after), number(before) + change, "{pair:?}");
        }
        let kind = format!("{path}type=issuance&");
        assert_eq!(all(server, &kind, 3).await, &lines[lines.len() - 1..]);
        let at = |time: &OffsetDateTime| time.format(&Rfc3339).unwrap();
        let (from, to) = (at(&scene.times[1]), at(&scene.times[4]));
        let between = format!("{path}from={from}&to={to}&");
        let round = &lines[2 * 45..5 * 45];
        assert_eq!(all(server, &between, 11).await, round);
    }
    let channel = crate::chain::channel(server, &scene.one).await;
    let path = format!("/v1/channels/{channel}/states?");
    let states = all(server, &path, 100).await;
    // The opening, the issuance, and in each round the list and five more.
    assert_eq!(states.len(), 2 + 6 * 6);
    for limit in [1, 2, 7] {
        assert_eq!(all(server, &path, limit).await, states);
    }
    for state in &states {
        let version = number(&state["version"]);
        let one = server
            .get(&format!("/v1/channels/{channel}/states/{version}"))
            .await
            .ok(200);
        assert_eq!(one["state_hash"], state["state_hash"]);
        let later = all(server, &format!("{path}from_version={version}&"), 100).await;
        assert_eq!(&later[0], state);
    }
    // The balance of a time is that of the newest state before it.
    let lines = all(server, &format!("/v1/accounts/{}/entries?", scene.one), 100).await;
    for (round, time) in scene.times.iter().enumerate() {
        let before = &lines[(6 - round) * 45];
        let at = time.format(&Rfc3339).unwrap();
        let path = format!("/v1/accounts/{}/balances?at={at}", scene.one);
        let balances = server.get(&path).await.ok(200);
        assert_eq!(balances["available"], before["balance_after"]);
        assert_eq!(balances["state_version"], before["version"]);
    }
    scene.server.stop().await;
}

/// Versions may have gaps of any size, and a mark may lie in or behind one.
#[tokio::test(flavor = "multi_thread")]
async fn states_are_found_behind_gaps_in_their_versions() {
    let (scene, _hub) = Scene::new(4).await;
    let pool = &scene.server.pool;
    sqlx::raw_sql(
        "CREATE FUNCTION later(version bigint) RETURNS bigint LANGUAGE sql AS 'SELECT version * version * version';
         UPDATE account.operations SET payer_version = later(payer_version), payee_version = later(payee_version);",
    )
    .execute(&PgPool::connect(&scene.server.bed.database_url).await.unwrap())
    .await
    .unwrap();
    let account: Uuid = scene.one.trim_start_matches("acc_").parse().unwrap();
    let versions: BTreeSet<i64> = sqlx::query_scalar(
        "SELECT payer_version FROM account.operations WHERE payer = $1
         UNION SELECT payee_version FROM account.operations WHERE payee = $1",
    )
    .bind(account)
    .fetch_all(pool)
    .await
    .unwrap()
    .into_iter()
    .collect();
    assert_eq!(versions.len(), 2 + 4 * 6);
    for limit in [1, 3, 100] {
        for from in &versions {
            for from in [from - 1, *from] {
                let found = batches_read::states(pool, account, from.cast_unsigned(), limit)
                    .await
                    .unwrap();
                // The states themselves kept their versions.
                let found: Vec<_> = found
                    .iter()
                    .map(|stored| stored.state.version.pow(3).cast_signed())
                    .collect();
                let expected = versions.range(from..);
                let expected: Vec<_> = expected
                    .take(usize::try_from(limit).unwrap())
                    .copied()
                    .collect();
                assert_eq!(found, expected, "from {from}, {limit} of them");
            }
        }
    }
    let beyond = versions.last().unwrap() + 1;
    let found = batches_read::states(pool, account, beyond.cast_unsigned(), 5).await;
    assert_eq!(found.unwrap().len(), 0);
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_from_before_there_were_threads_come_into_them() {
    const THREADS: i64 = 13;
    // The roles belong to all databases of the server.
    drop(testbed().await);
    let bed = stack::bare_testbed().await.unwrap();
    let owner = PgPool::connect(&bed.database_url).await.unwrap();
    migrate(&owner, 1..=THREADS - 1).await;
    sqlx::raw_sql(
        "CREATE FUNCTION someone(n int) RETURNS uuid LANGUAGE sql AS
            $$ SELECT ('00000000-0000-0000-7000-8000' || lpad(to_hex(n), 8, '0'))::uuid $$;
         INSERT INTO account.heads (channel_id, account_id, hub_id, status, epoch, version, ack_version, hub_balance,
            user_balance, hub_locked, user_locked, withdrawn, deposited, credited, locks_hash, transfers_root, state_hash,
            batch)
         SELECT decode(lpad(to_hex(n), 64, '0'), 'hex'), someone(n), someone(0), 1, 0, 1, 0, 1000, 0, 0, 0, 0, 0, 0,
            '', '', '', someone(0)
         FROM generate_series(1, 8) n;
         INSERT INTO account.operations (id, hub_id, kind, outcome, owner, route, idem_key, request_hash, payer, payee,
            amount, payer_version, payee_version, payer_balance, payee_balance, payer_leaf, payee_leaf, batch, created_at)
         SELECT (left(account.first_id(now() - n * interval '1 hour')::text, 14) || '7000-8000-' || md5(n::text)::char(12))::uuid,
            someone(0), CASE WHEN n % 5 = 0 THEN 1 ELSE 3 END, CASE WHEN n % 7 = 0 THEN 2 ELSE 1 END, someone(0), 4,
            'key-' || n, '', CASE WHEN n % 5 > 0 AND n % 7 > 0 THEN someone(1 + n % 8) END,
            CASE WHEN n % 7 > 0 THEN someone(1 + (n + 1 + n % 6) % 8) END, 1, (500 - n) / 3, (500 - n) / 3, 1, 1, 0, 1,
            someone(0), now()
         FROM generate_series(1, 400) n;",
    )
    .execute(&owner)
    .await
    .unwrap();
    migrate(&owner, THREADS..=i64::MAX).await;
    assert_whole(&owner).await;
    let threaded: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM account.operations WHERE payer_previous IS NOT NULL AND payee_previous IS NOT NULL",
    )
    .fetch_one(&owner)
    .await
    .unwrap();
    assert!(threaded > 200, "{threaded}");
    owner.close().await;
}
