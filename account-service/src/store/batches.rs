//! `account.batches`: the fate of every hub batch, decided by the primary key (P12), and
//! `account.batch_states`: the states of the committed ones, in weekly partitions.

use hub_core::{Hash32, Signature, State, encoding};
use runtime::pg::{PgHash, PgSignature};
use sqlx::{PgConnection, PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

/// A batch as it is committed: with the signatures of both parties.
#[derive(Debug, Clone)]
pub struct CommittedBatch<'a> {
    /// The hub.
    pub hub_id: Uuid,
    /// The hub's number.
    pub batch_id: u64,
    /// Our id, made before the hub was asked.
    pub id: Uuid,
    /// Root over the states.
    pub root: Hash32,
    /// Root of the batch before.
    pub prev_root: Hash32,
    /// Levels of the tree.
    pub depth: u8,
    /// The hub's signature.
    pub hub_signature: Signature,
    /// The custody signature.
    pub user_signature: Signature,
    /// The states in leaf order.
    pub states: &'a [State],
    /// When.
    pub now: OffsetDateTime,
}

/// Inserts the row that makes a batch final, and its states, in one statement: a second one would
/// be a round trip more while heads are locked. It fails when somebody burned the batch.
pub async fn insert_committed(
    connection: &mut PgConnection,
    batch: &CommittedBatch<'_>,
) -> sqlx::Result<()> {
    sqlx::query(
        "WITH fate AS (
            INSERT INTO account.batches (hub_id, batch_id, id, fate, handed, root, prev_root, depth,
                hub_signature, user_signature, created_at)
            VALUES ($1, $2, $3, 1, false, $4, $5, $6, $7, $8, $10)
         )
         INSERT INTO account.batch_states (id, states) VALUES ($3, $9)",
    )
    .bind(batch.hub_id)
    .bind(batch.batch_id.cast_signed())
    .bind(batch.id)
    .bind(PgHash(batch.root))
    .bind(PgHash(batch.prev_root))
    .bind(i16::from(batch.depth))
    .bind(PgSignature(batch.hub_signature))
    .bind(PgSignature(batch.user_signature))
    .bind(encoding::encode_states(batch.states))
    .bind(batch.now)
    .execute(connection)
    .await
    .map(drop)
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredFate {
    /// Committed, with this custody signature.
    Committed(Signature),
    /// Never to be committed.
    Burned,
}

/// Decides an open fate: burns the batch unless it is committed, and tells which it is. Waits
/// for a transaction that is just inserting the same row.
pub async fn burn_or_read(
    pool: &PgPool,
    hub_id: Uuid,
    batch_id: u64,
    root: Hash32,
    now: OffsetDateTime,
) -> sqlx::Result<StoredFate> {
    sqlx::query(
        "INSERT INTO account.batches (hub_id, batch_id, fate, handed, root, created_at)
         VALUES ($1, $2, 2, false, $3, $4) ON CONFLICT (hub_id, batch_id) DO NOTHING",
    )
    .bind(hub_id)
    .bind(batch_id.cast_signed())
    .bind(PgHash(root))
    .bind(now)
    .execute(pool)
    .await?;
    let fates = read(pool, hub_id, &[batch_id]).await?;
    let (_, fate) = fates.first().copied().ok_or(sqlx::Error::RowNotFound)?;
    Ok(fate)
}

/// The fates of these batches, as far as they have one.
pub async fn read(
    pool: &PgPool,
    hub_id: Uuid,
    batches: &[u64],
) -> sqlx::Result<Vec<(u64, StoredFate)>> {
    let ids: Vec<_> = batches.iter().map(|id| id.cast_signed()).collect();
    let rows = sqlx::query(
        "SELECT batch_id, user_signature FROM account.batches
         WHERE hub_id = $1 AND batch_id = ANY($2) ORDER BY batch_id",
    )
    .bind(hub_id)
    .bind(ids)
    .fetch_all(pool)
    .await?;
    rows.iter().map(fate_of).collect()
}

/// The oldest fates that the hub has not confirmed.
pub async fn unhanded(
    pool: &PgPool,
    hub_id: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<(u64, StoredFate)>> {
    let rows = sqlx::query(
        "SELECT batch_id, user_signature FROM account.batches
         WHERE hub_id = $1 AND NOT handed ORDER BY batch_id LIMIT $2",
    )
    .bind(hub_id)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter().map(fate_of).collect()
}

/// Notes that the hub has these fates.
pub async fn mark_handed(pool: &PgPool, hub_id: Uuid, batches: &[u64]) -> sqlx::Result<()> {
    let ids: Vec<_> = batches.iter().map(|id| id.cast_signed()).collect();
    sqlx::query(
        "UPDATE account.batches SET handed = true
         WHERE hub_id = $1 AND batch_id = ANY($2) AND NOT handed",
    )
    .bind(hub_id)
    .bind(ids)
    .execute(pool)
    .await
    .map(drop)
}

/// The newest batch that has a fate here, with its root; (0, zero) when there is none.
pub async fn newest(pool: &PgPool, hub_id: Uuid) -> sqlx::Result<(u64, Hash32)> {
    let row = sqlx::query(
        "SELECT batch_id, root FROM account.batches
         WHERE hub_id = $1 ORDER BY batch_id DESC LIMIT 1",
    )
    .bind(hub_id)
    .fetch_optional(pool)
    .await?;
    row.map_or(Ok((0, Hash32::ZERO)), |row| {
        let id: i64 = row.try_get("batch_id")?;
        let root: Option<PgHash> = row.try_get("root")?;
        Ok((id.cast_unsigned(), root.map_or(Hash32::ZERO, |root| root.0)))
    })
}

/// Root of a batch that has a fate here.
pub async fn root(pool: &PgPool, hub_id: Uuid, batch_id: u64) -> sqlx::Result<Option<Hash32>> {
    let root: Option<Option<PgHash>> =
        sqlx::query_scalar("SELECT root FROM account.batches WHERE hub_id = $1 AND batch_id = $2")
            .bind(hub_id)
            .bind(batch_id.cast_signed())
            .fetch_optional(pool)
            .await?;
    Ok(root.flatten().map(|root| root.0))
}

/// Which incarnation of the database this is: its system and its timeline, which changes when a
/// standby is promoted or a backup restored. None where the engine has no such thing.
pub async fn incarnation(pool: &PgPool) -> sqlx::Result<Option<String>> {
    let read = sqlx::query_scalar(
        "SELECT system_identifier || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
         FROM pg_control_system()",
    );
    match read.fetch_one(pool).await {
        Ok(incarnation) => Ok(Some(incarnation)),
        // Other engines refuse the functions.
        Err(sqlx::Error::Database(error)) => {
            tracing::debug!(%error, "no incarnation");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn fate_of(row: &sqlx::postgres::PgRow) -> sqlx::Result<(u64, StoredFate)> {
    let id: i64 = row.try_get("batch_id")?;
    let signature: Option<PgSignature> = row.try_get("user_signature")?;
    let fate = signature.map_or(StoredFate::Burned, |s| StoredFate::Committed(s.0));
    Ok((id.cast_unsigned(), fate))
}
