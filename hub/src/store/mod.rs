//! All SQL of the hub. Every function works in its caller's connection or transaction.

pub mod attest;
pub mod facts;
pub mod give;
pub mod heads;
pub mod hubs;
pub mod import;
pub mod journal;
pub mod orders;
pub mod retention;

use sqlx::postgres::PgRow;
use sqlx::{Row as _, postgres::PgConnection};

/// A connection, possibly inside a transaction.
pub type Connection = PgConnection;

/// Makes the transaction that begins read one snapshot.
pub async fn snapshot(connection: &mut Connection) -> sqlx::Result<()> {
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .execute(connection)
        .await
        .map(drop)
}

/// A column that is not negative by its CHECK.
fn unsigned(row: &PgRow, column: &str) -> sqlx::Result<u64> {
    Ok(row.try_get::<i64, _>(column)?.cast_unsigned())
}

fn epoch(row: &PgRow) -> sqlx::Result<u32> {
    let epoch: i64 = row.try_get("epoch")?;
    u32::try_from(epoch).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn decode(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(why.into())
}
