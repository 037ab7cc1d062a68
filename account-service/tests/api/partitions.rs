//! Operations lie in weekly partitions; what is used once is used once over all of them.

use crate::harness::{Server, migrate, testbed, transfer};
use reqwest::Method;
use sqlx::PgPool;
use time::OffsetDateTime;

async fn partitions(server: &Server) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT inhrelid::regclass::text FROM pg_inherits
         WHERE inhparent = 'account.operations'::regclass ORDER BY 1",
    )
    .fetch_all(&server.pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_lies_in_the_partition_of_its_week_and_weeks_ahead_have_theirs() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    server.account(&server.admin, "5").await;
    let homes: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT tableoid::regclass::text FROM account.operations
         UNION ALL SELECT DISTINCT tableoid::regclass::text FROM account.batch_states ORDER BY 1",
    )
    .fetch_all(&server.pool)
    .await
    .unwrap();
    assert_eq!(homes.len(), 2, "{homes:?}");
    assert!(homes[0].contains("batch_states_20"), "{homes:?}");
    assert!(homes[1].contains("operations_20"), "{homes:?}");
    let before = partitions(&server).await;
    assert!(
        before.len() >= 6,
        "this week, four more, the rest: {before:?}"
    );
    // Asked again it makes nothing; asked for more, only what is missing.
    let now = OffsetDateTime::now_utc();
    let weeks = async |weeks| {
        account_service::store::partitions::make(&server.pool, now + time::Duration::weeks(weeks))
            .await
            .unwrap()
    };
    assert_eq!(weeks(4).await, 0);
    assert_eq!(weeks(6).await, 4, "two of operations, two of states");
    assert_eq!(partitions(&server).await.len(), before.len() + 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_and_a_reference_are_used_once_whatever_partition_their_operation_lies_in() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let payer = server.account(&server.admin, "10").await;
    let payee = server.account(&server.admin, "0").await;
    let mut body = transfer(&payer, &payee, "1");
    body["client_ref"] = "once".into();
    let send = async |key: &str| {
        let request = server.request(Method::POST, "/v1/transfers");
        server
            .send(request.header("Idempotency-Key", key).json(&body))
            .await
    };
    let first = send("key").await;
    assert_eq!(first.status, 201, "{first:?}");
    // As old as if it had been posted before there were weeks: its row moves to the rest.
    let moved = sqlx::query(
        "WITH old AS (UPDATE account.operations SET id = '00000000-0000-7000-8000-000000000001'
                      WHERE idem_key = 'key' RETURNING id)
         UPDATE account.operation_keys SET operation = old.id FROM old
         WHERE operation = $1",
    )
    .bind(
        uuid::Uuid::parse_str(
            first.json()["id"]
                .as_str()
                .unwrap()
                .trim_start_matches("trf_"),
        )
        .unwrap(),
    )
    .execute(&server.pool)
    .await
    .unwrap();
    assert_eq!(moved.rows_affected(), 2, "the key and the reference");
    let home: String = sqlx::query_scalar(
        "SELECT tableoid::regclass::text FROM account.operations WHERE idem_key = 'key'",
    )
    .fetch_one(&server.pool)
    .await
    .unwrap();
    assert!(home.ends_with("operations_rest"), "{home}");
    let again = send("key").await;
    assert_eq!(again.status, 201);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    send("other").await.is(409, "DUPLICATE_CLIENT_REF");
    assert_eq!(server.available(&payee).await, "1");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn states_that_were_in_the_rows_of_batches_come_into_the_partitions_of_their_weeks() {
    const MOVED: i64 = 10;
    // The roles belong to all databases of the server.
    drop(testbed().await);
    let bed = stack::bare_testbed().await.unwrap();
    let owner = PgPool::connect(&bed.database_url).await.unwrap();
    migrate(&owner, 1..=MOVED - 1).await;
    let rows = sqlx::query(
        "INSERT INTO account.batches (hub_id, batch_id, id, fate, handed, root, prev_root, depth,
            hub_signature, user_signature, states, created_at)
         SELECT account.first_id(now()), n, CASE WHEN n <> 3 THEN account.first_id(at) END,
            CASE WHEN n = 3 THEN 2 ELSE 1 END, true, '', '', 1, '', '',
            CASE WHEN n NOT IN (2, 3) THEN decode(repeat(to_hex(n + 160), 214 * n), 'hex') END, at
         FROM generate_series(1, 30) n, LATERAL (SELECT now() - (30 - n) * interval '3 days' AS at) t",
    )
    .execute(&owner)
    .await
    .unwrap();
    assert_eq!(rows.rows_affected(), 30);
    // Some were erased one by one.
    sqlx::raw_sql(
        "UPDATE account.retention SET keys_from = account.first_id(now()), journal_from = account.first_id(now()),
            whole_from = account.first_id(now());
         INSERT INTO account.states_marks (hub_id, batch_id) VALUES (account.first_id(now()), 2)",
    )
    .execute(&owner)
    .await
    .unwrap();
    migrate(&owner, MOVED..=i64::MAX).await;
    let count = async |sql: &'static str| -> i64 {
        sqlx::query_scalar(sql).fetch_one(&owner).await.unwrap()
    };
    assert_eq!(count("SELECT count(*) FROM account.batches").await, 30);
    let whole = "SELECT count(*) FROM account.batches b JOIN account.batch_states s ON s.id = b.id
        WHERE s.states = decode(repeat(to_hex(b.batch_id + 160), 214 * b.batch_id::int), 'hex')";
    assert_eq!(count(whole).await, 28, "all but an erased and a burned one");
    let all = "SELECT count(*) FROM account.batch_states";
    assert_eq!(count(all).await, 28);
    let rest = "SELECT count(*) FROM account.batch_states_rest";
    assert_eq!(count(rest).await, 0, "each lies in its week");
    let weeks = "SELECT count(DISTINCT tableoid) FROM account.batch_states";
    assert!(count(weeks).await > 12);
    let known = "SELECT count(*) FROM account.retention WHERE states_from = journal_from AND copied_to < states_from";
    assert_eq!(
        count(known).await,
        1,
        "below the journal some may be missing"
    );
    let squeezed = "SELECT count(*) FROM pg_attribute WHERE attname = 'states' AND attstorage <> 'e'
        AND attrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'account.batch_states'::regclass)";
    assert_eq!(count(squeezed).await, 0, "time is lost on compressing");
    owner.close().await;
}
