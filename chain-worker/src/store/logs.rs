//! `chain.logs`: what the contract said, and how sure that is.

use super::{int, uint};
use crate::tower::dispute;
use chain::{ChainLog, LogBody};
use chain_messages::Place;
use runtime::pg::{PgChannelId, PgHash};
use sqlx::PgConnection;
use sqlx::types::Json;

#[derive(sqlx::FromRow)]
struct Row {
    block: i64,
    block_hash: PgHash,
    tx_hash: PgHash,
    log_index: i64,
    body: Json<LogBody>,
}

impl From<Row> for ChainLog {
    fn from(row: Row) -> Self {
        Self {
            place: Place {
                block: uint(row.block),
                block_hash: row.block_hash.0,
                tx_hash: row.tx_hash.0,
                log_index: uint(row.log_index),
            },
            body: row.body.0,
        }
    }
}

/// Stores logs as seen. A block that was orphaned may come back: then its logs count again.
pub async fn insert(db: &mut PgConnection, logs: &[ChainLog]) -> sqlx::Result<()> {
    let bodies: Result<Vec<_>, _> = logs
        .iter()
        .map(|log| serde_json::to_value(&log.body))
        .collect();
    let bodies = bodies.map_err(|error| sqlx::Error::Encode(error.into()))?;
    let places = logs.iter().map(|log| log.place);
    let (mut hashes, mut indexes, mut blocks, mut transactions) = (vec![], vec![], vec![], vec![]);
    for place in places {
        hashes.push(PgHash(place.block_hash));
        indexes.push(int(place.log_index));
        blocks.push(int(place.block));
        transactions.push(PgHash(place.tx_hash));
    }
    let requests: Vec<_> = logs
        .iter()
        .map(|log| log.body.request_id().map(PgHash))
        .collect();
    let channels: Vec<_> = logs
        .iter()
        .map(|log| dispute::channel_of(&log.body).map(PgChannelId))
        .collect();
    sqlx::query(
        "INSERT INTO chain.logs (block_hash, log_index, block, tx_hash, request_id, channel_id,
            status, body)
         SELECT h, i, b, t, r, c, 1, j
         FROM UNNEST($1::bytea[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[],
            $7::jsonb[]) AS log (h, i, b, t, r, c, j)
         ON CONFLICT (block_hash, log_index) DO UPDATE SET status = 1 WHERE logs.status = 3",
    )
    .bind(&hashes)
    .bind(&indexes)
    .bind(&blocks)
    .bind(&transactions)
    .bind(&requests)
    .bind(&channels)
    .bind(&bodies)
    .execute(db)
    .await
    .map(drop)
}

/// Marks the seen logs above a block as orphaned and returns them, the newest first.
pub async fn orphan_above(db: &mut PgConnection, block: u64) -> sqlx::Result<Vec<ChainLog>> {
    let mut logs = change(
        sqlx::query_as(
            "UPDATE chain.logs SET status = 3 WHERE status = 1 AND block > $1
             RETURNING block, block_hash, tx_hash, log_index, body",
        )
        .bind(int(block))
        .fetch_all(db)
        .await?,
    );
    logs.reverse();
    Ok(logs)
}

/// Marks the seen logs up to a block as final and returns them in the order of the chain.
pub async fn finalize(db: &mut PgConnection, block: u64) -> sqlx::Result<Vec<ChainLog>> {
    let rows = sqlx::query_as(
        "UPDATE chain.logs SET status = 2 WHERE status = 1 AND block <= $1
         RETURNING block, block_hash, tx_hash, log_index, body",
    )
    .bind(int(block))
    .fetch_all(db)
    .await?;
    Ok(change(rows))
}

/// Logs about withdrawals up to a block that are not final yet.
pub async fn unconfirmed(db: &mut PgConnection, up_to: u64) -> sqlx::Result<Vec<ChainLog>> {
    let rows = sqlx::query_as(
        "SELECT block, block_hash, tx_hash, log_index, body FROM chain.logs
         WHERE status = 1 AND block <= $1 AND request_id IS NOT NULL",
    )
    .bind(int(up_to))
    .fetch_all(db)
    .await?;
    Ok(change(rows))
}

/// Whether any log up to a block is not final yet.
pub async fn any_seen(db: &mut PgConnection, up_to: u64) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM chain.logs WHERE status = 1 AND block <= $1)")
        .bind(int(up_to))
        .fetch_one(db)
        .await
}

fn change(rows: Vec<Row>) -> Vec<ChainLog> {
    let mut logs: Vec<ChainLog> = rows.into_iter().map(Into::into).collect();
    logs.sort_by_key(|log| (log.place.block, log.place.log_index));
    logs
}
