//! The transaction that a run reads in, and what is small enough to be read at once.

use hub_client::Terms;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Row, Transaction};
use std::collections::HashMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// What each connection of a run sets for itself. It waits for others of the run, and for whoever
/// checks what it has read.
const SETTINGS: [&str; 2] = [
    // A few hash tables over all accounts: without it they go to disk in hundreds of pieces.
    "SET LOCAL work_mem = '64MB'",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
];

/// One snapshot that can't be written to.
pub async fn begin(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    let mut tx = pool.begin().await?;
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .execute(&mut *tx)
        .await?;
    for setting in SETTINGS {
        sqlx::query(setting).execute(&mut *tx).await?;
    }
    Ok(tx)
}

/// A name by which other connections can read the same snapshot, while this one is open.
pub async fn share(connection: &mut PgConnection) -> sqlx::Result<String> {
    sqlx::query_scalar("SELECT pg_export_snapshot()")
        .fetch_one(connection)
        .await
}

/// A connection of its own that reads a shared snapshot. It ends when it is dropped, in the middle
/// of a long answer too.
pub async fn join(pool: &PgPool, snapshot: &str) -> sqlx::Result<PgConnection> {
    let mut connection = pool.acquire().await?.detach();
    // The name is the server's own, and this statement takes no parameters.
    let set = format!("SET TRANSACTION SNAPSHOT '{}'", snapshot.replace('\'', ""));
    sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .execute(&mut connection)
        .await?;
    sqlx::query(AssertSqlSafe(set))
        .execute(&mut connection)
        .await?;
    for setting in SETTINGS {
        sqlx::query(setting).execute(&mut connection).await?;
    }
    Ok(connection)
}

/// How far the snapshot is.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// When it was taken.
    pub at: OffsetDateTime,
    /// The newest final block it knows.
    pub final_block: Option<u64>,
    /// That block's time, Unix seconds.
    pub final_timestamp: u64,
}

/// Reads the mark. The first statement of a transaction takes its snapshot.
pub async fn mark(connection: &mut PgConnection) -> sqlx::Result<Mark> {
    let row = sqlx::query(
        "SELECT now() AS at, max(final_block) AS final_block,
                coalesce(max(final_timestamp), 0) AS final_timestamp
         FROM account.chain_marks",
    )
    .fetch_one(connection)
    .await?;
    let final_block: Option<i64> = row.try_get("final_block")?;
    Ok(Mark {
        at: row.try_get("at")?,
        final_block: final_block.map(i64::cast_unsigned),
        final_timestamp: row.try_get::<i64, _>("final_timestamp")?.cast_unsigned(),
    })
}

/// The terms of every hub.
pub async fn hubs(connection: &mut PgConnection) -> sqlx::Result<HashMap<Uuid, Terms>> {
    let rows = sqlx::query("SELECT hub_id, terms FROM account.hubs")
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let terms: Json<Terms> = row.try_get("terms")?;
            Ok((row.try_get("hub_id")?, terms.0))
        })
        .collect()
}
