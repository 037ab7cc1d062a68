//! The queries. Each streams what it reads, or has the database make the sums.

pub mod batches;
pub mod copy;
pub mod deposits;
pub mod feed;
pub mod heads;
pub mod hub;
pub mod journal;
pub mod logs;
pub mod operations;
pub mod snapshot;
pub mod withdrawals;

use hub_core::{ChannelId, Hash32};
use sqlx::Row;
use sqlx::postgres::PgRow;

/// The row with a difference, as its query says it: key, what should be there, what is.
#[derive(Debug, Clone)]
pub struct Differing {
    /// Key of the row.
    pub key: String,
    /// What should be there.
    pub expected: String,
    /// What is.
    pub found: String,
}

fn differing(row: &PgRow) -> sqlx::Result<Differing> {
    Ok(Differing {
        key: row.try_get("key")?,
        expected: row.try_get("expected")?,
        found: row.try_get("found")?,
    })
}

/// 32 bytes, or nothing when somebody put something else there.
fn hash(row: &PgRow, column: &str) -> sqlx::Result<Option<Hash32>> {
    let bytes: Option<&[u8]> = row.try_get(column)?;
    Ok(bytes.and_then(Hash32::from_slice))
}

/// As [`hash`], for a channel id.
fn channel(row: &PgRow, column: &str) -> sqlx::Result<Option<ChannelId>> {
    Ok(hash(row, column)?.map(|hash| ChannelId(hash.0)))
}
