//! Operations lie in weekly partitions; what is used once is used once over all of them.

use crate::harness::{Server, transfer};
use reqwest::Method;
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
    let homes: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT tableoid::regclass::text FROM account.operations")
            .fetch_all(&server.pool)
            .await
            .unwrap();
    assert_eq!(homes.len(), 1, "{homes:?}");
    assert!(homes[0].contains("operations_20"), "{homes:?}");
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
    assert_eq!(weeks(6).await, 2);
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
