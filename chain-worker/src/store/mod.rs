//! The worker's tables. Every function takes the caller's transaction.

pub mod commands;
pub mod copied;
pub mod copies;
pub mod cursor;
pub mod disputes;
pub mod hubs;
pub mod leases;
pub mod logs;
pub mod messages;
pub mod transactions;

/// Whether the database answers.
pub async fn ping(db: impl sqlx::PgExecutor<'_>) -> sqlx::Result<()> {
    sqlx::query("SELECT 1").execute(db).await.map(drop)
}

/// Block numbers, nonces and times as `bigint`: what does not fit 63 bits does not exist.
pub fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Back again; the columns have CHECKs against negative values.
pub fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A statement touched another number of rows than it must.
pub fn expect_rows(what: &str, expected: u64, found: u64) -> sqlx::Result<()> {
    if expected == found {
        return Ok(());
    }
    let text = format!("{what}: {found} rows where {expected} were expected");
    Err(sqlx::Error::Protocol(text))
}
