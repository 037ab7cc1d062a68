//! `chain.cursor`, `chain.blocks`: how far the chain was read.

use super::{expect_rows, int, uint};
use chain::Block;
use hub_core::Hash32;
use runtime::pg::PgHash;
use sqlx::{PgConnection, PgExecutor};

/// How far the chain was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The newest block whose logs are stored.
    pub scanned: u64,
    /// Its hash.
    pub scanned_hash: Hash32,
    /// The newest final block.
    pub finalized: u64,
    /// Its hash.
    pub final_hash: Hash32,
    /// Its time, Unix seconds.
    pub final_timestamp: u64,
}

/// The cursor; nothing before the first start.
pub async fn load(db: impl PgExecutor<'_>) -> sqlx::Result<Option<Cursor>> {
    let row: Option<(i64, PgHash, i64, PgHash, i64)> = sqlx::query_as(
        "SELECT scanned_block, scanned_hash, final_block, final_hash, final_timestamp FROM chain.cursor",
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Cursor {
        scanned: uint(row.0),
        scanned_hash: row.1.0,
        finalized: uint(row.2),
        final_hash: row.3.0,
        final_timestamp: uint(row.4),
    }))
}

/// Begins after this block.
pub async fn begin_after(db: &mut PgConnection, block: &Block) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO chain.cursor (one, scanned_block, scanned_hash, final_block, final_hash, final_timestamp)
         VALUES (true, $1, $2, $1, $2, $3)",
    )
    .bind(int(block.number))
    .bind(PgHash(block.hash))
    .bind(int(block.timestamp))
    .execute(db)
    .await
    .map(drop)
}

/// Moves to another scanned block, forth or, after a reorganisation, back.
pub async fn set_scanned(db: &mut PgConnection, number: u64, hash: Hash32) -> sqlx::Result<()> {
    let done = sqlx::query(
        "UPDATE chain.cursor SET scanned_block = $1, scanned_hash = $2 WHERE final_block <= $1",
    )
    .bind(int(number))
    .bind(PgHash(hash))
    .execute(db)
    .await?;
    expect_rows("move cursor", 1, done.rows_affected())
}

/// Moves the final block forth, and forgets the hashes of those before it.
pub async fn set_final(db: &mut PgConnection, block: &Block) -> sqlx::Result<()> {
    let done = sqlx::query(
        "UPDATE chain.cursor SET final_block = $1, final_hash = $2, final_timestamp = $3
         WHERE final_block < $1 AND scanned_block >= $1",
    )
    .bind(int(block.number))
    .bind(PgHash(block.hash))
    .bind(int(block.timestamp))
    .execute(&mut *db)
    .await?;
    expect_rows("move final block", 1, done.rows_affected())?;
    sqlx::query("DELETE FROM chain.blocks WHERE number < $1")
        .bind(int(block.number))
        .execute(db)
        .await
        .map(drop)
}

/// Keeps the hashes of scanned blocks.
pub async fn keep_blocks(db: &mut PgConnection, blocks: &[Block]) -> sqlx::Result<()> {
    let numbers: Vec<i64> = blocks.iter().map(|block| int(block.number)).collect();
    let hashes: Vec<PgHash> = blocks.iter().map(|block| PgHash(block.hash)).collect();
    sqlx::query(
        "INSERT INTO chain.blocks (number, hash) SELECT * FROM UNNEST($1::bigint[], $2::bytea[])
         ON CONFLICT (number) DO UPDATE SET hash = EXCLUDED.hash",
    )
    .bind(&numbers)
    .bind(&hashes)
    .execute(db)
    .await
    .map(drop)
}

/// The hash a block had when it was scanned, if that is kept.
pub async fn block_hash(db: impl PgExecutor<'_>, number: u64) -> sqlx::Result<Option<Hash32>> {
    let hash: Option<PgHash> =
        sqlx::query_scalar("SELECT hash FROM chain.blocks WHERE number = $1")
            .bind(int(number))
            .fetch_optional(db)
            .await?;
    Ok(hash.map(|hash| hash.0))
}

/// Forgets orphaned blocks.
pub async fn drop_blocks_above(db: &mut PgConnection, number: u64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM chain.blocks WHERE number > $1")
        .bind(int(number))
        .execute(db)
        .await
        .map(drop)
}
