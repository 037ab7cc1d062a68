//! `chain.copied_batches`: committed batches as they were copied, until they are folded into
//! `chain.copies`.

use super::{int, uint};
use chain_messages::tower::AttestedBatch;
use futures_util::stream::{BoxStream, StreamExt as _};
use hub_core::Address;
use hub_core::encoding::STATE_LEN;
use runtime::pg::{PgAddress, PgHash, PgSignature};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, PgPool, Row as _};

/// Keeps batches; one that is here stays as it is. Returns how many states came with them.
pub async fn keep(
    db: &mut PgConnection,
    hub: Address,
    batches: &[AttestedBatch],
) -> sqlx::Result<u64> {
    fn column<'a, T>(batches: &'a [AttestedBatch], of: impl Fn(&'a AttestedBatch) -> T) -> Vec<T> {
        batches.iter().map(of).collect()
    }
    let bytes: Option<i64> = sqlx::query_scalar(
        "WITH kept AS (
            INSERT INTO chain.copied_batches (hub, batch_id, prev_root, hub_signature,
                user_signature, states)
            SELECT $1, * FROM UNNEST($2::bigint[], $3::bytea[], $4::bytea[], $5::bytea[],
                $6::bytea[])
            ON CONFLICT (hub, batch_id) DO NOTHING RETURNING length(states) AS bytes)
         SELECT sum(bytes)::bigint FROM kept",
    )
    .bind(PgAddress(hub))
    .bind(column(batches, |b| int(b.batch_id)))
    .bind(column(batches, |b| PgHash(b.prev_root)))
    .bind(column(batches, |b| PgSignature(b.hub_signature)))
    .bind(column(batches, |b| PgSignature(b.user_signature)))
    .bind(column(batches, |b| b.states.as_slice()))
    .fetch_one(db)
    .await?;
    Ok(states(bytes))
}

/// How many states are kept of a hub.
pub async fn count(db: impl PgExecutor<'_>, hub: Address) -> sqlx::Result<u64> {
    let bytes = sqlx::query_scalar(
        "SELECT sum(length(states))::bigint FROM chain.copied_batches WHERE hub = $1",
    );
    Ok(states(bytes.bind(PgAddress(hub)).fetch_one(db).await?))
}

/// All of a hub's, the newest number first.
pub fn newest_first(
    pool: &PgPool,
    hub: Address,
) -> BoxStream<'_, sqlx::Result<(u64, AttestedBatch)>> {
    sqlx::query("SELECT * FROM chain.copied_batches WHERE hub = $1 ORDER BY batch_id DESC")
        .bind(PgAddress(hub))
        .fetch(pool)
        .map(|row| batch(&row?))
        .boxed()
}

/// Those of a hub that came after `kept`, in the order in which they came.
pub fn since(
    pool: &PgPool,
    hub: Address,
    kept: u64,
) -> BoxStream<'_, sqlx::Result<(u64, AttestedBatch)>> {
    sqlx::query("SELECT * FROM chain.copied_batches WHERE hub = $1 AND kept > $2 ORDER BY kept")
        .bind(PgAddress(hub))
        .bind(int(kept))
        .fetch(pool)
        .map(|row| batch(&row?))
        .boxed()
}

/// Forgets a hub's up to a number.
pub async fn forget(db: &mut PgConnection, hub: Address, up_to: u64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM chain.copied_batches WHERE hub = $1 AND batch_id <= $2")
        .bind(PgAddress(hub))
        .bind(int(up_to))
        .execute(db)
        .await
        .map(drop)
}

fn states(bytes: Option<i64>) -> u64 {
    uint(bytes.unwrap_or(0)) / STATE_LEN as u64
}

fn batch(row: &PgRow) -> sqlx::Result<(u64, AttestedBatch)> {
    Ok((
        uint(row.try_get("kept")?),
        AttestedBatch {
            batch_id: uint(row.try_get("batch_id")?),
            prev_root: row.try_get::<PgHash, _>("prev_root")?.0,
            hub_signature: row.try_get::<PgSignature, _>("hub_signature")?.0,
            user_signature: row.try_get::<PgSignature, _>("user_signature")?.0,
            states: row.try_get("states")?,
        },
    ))
}
