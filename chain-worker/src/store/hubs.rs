//! `chain.hubs`, `chain.hub_events`: what each hub is told, and how far it was.

use super::{expect_rows, int, uint};
use chain_messages::{Envelope, Event};
use hub_core::{Address, Amount, Hash32};
use runtime::pg::{PgAddress, PgAmount, PgHash};
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// Makes the row of a hub that is served for the first time.
pub async fn ensure(db: impl PgExecutor<'_>, hub: Address) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO chain.hubs (hub) VALUES ($1) ON CONFLICT (hub) DO NOTHING")
        .bind(PgAddress(hub))
        .execute(db)
        .await
        .map(drop)
}

/// The vault as it was last reported.
pub async fn vault(db: &mut PgConnection, hub: Address) -> sqlx::Result<Option<Amount>> {
    let vault: Option<PgAmount> = sqlx::query_scalar("SELECT vault FROM chain.hubs WHERE hub = $1")
        .bind(PgAddress(hub))
        .fetch_one(db)
        .await?;
    Ok(vault.map(|vault| vault.0))
}

/// Notes the vault as reported.
pub async fn set_vault(db: &mut PgConnection, hub: Address, vault: Amount) -> sqlx::Result<()> {
    let done = sqlx::query("UPDATE chain.hubs SET vault = $2 WHERE hub = $1")
        .bind(PgAddress(hub))
        .bind(PgAmount(vault))
        .execute(db)
        .await?;
    expect_rows("note vault", 1, done.rows_affected())
}

/// Queues a final event for a hub.
pub async fn append(
    db: &mut PgConnection,
    hub: Address,
    message: &Envelope<Event>,
) -> sqlx::Result<()> {
    let seq: i64 = sqlx::query_scalar(
        "UPDATE chain.hubs SET last_seq = last_seq + 1 WHERE hub = $1 RETURNING last_seq",
    )
    .bind(PgAddress(hub))
    .fetch_one(&mut *db)
    .await?;
    sqlx::query(
        "INSERT INTO chain.hub_events (hub, seq, id, correlation_id, body)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(PgAddress(hub))
    .bind(seq)
    .bind(message.id)
    .bind(&message.correlation_id)
    .bind(Json(&message.body))
    .execute(db)
    .await
    .map(drop)
}

/// What a hub has not been told yet.
#[derive(Debug, Clone)]
pub struct Backlog {
    /// Events, oldest first.
    pub events: Vec<Envelope<Event>>,
    /// Number of the newest event told before.
    pub told: u64,
    /// Number of the newest event among them, or of the newest one told.
    pub up_to: i64,
    /// Events there are beyond those.
    pub left: u64,
    /// The newest final block when it has not been told and no event is left.
    pub finalized: Option<Finalized>,
    /// The newest final block told.
    pub pushed_block: u64,
}

/// A final block.
#[derive(Debug, Clone, Copy)]
pub struct Finalized {
    /// Its number.
    pub block: u64,
    /// Its hash.
    pub hash: Hash32,
    /// Its time, Unix seconds.
    pub timestamp: u64,
}

#[derive(sqlx::FromRow)]
struct Mark {
    last_seq: i64,
    pushed_seq: i64,
    pushed_block: i64,
    final_block: i64,
    final_hash: PgHash,
    final_timestamp: i64,
}

/// Up to `limit` events a hub has not been told, and the final block behind them. Events and final
/// block are committed together, and events never change: what one statement sees is consistent.
pub async fn backlog(
    db: &mut PgConnection,
    hub: Address,
    limit: i64,
) -> sqlx::Result<Option<Backlog>> {
    let mark: Option<Mark> = sqlx::query_as(
        "SELECT last_seq, pushed_seq, pushed_block, final_block, final_hash, final_timestamp
         FROM chain.hubs, chain.cursor WHERE hub = $1",
    )
    .bind(PgAddress(hub))
    .fetch_optional(&mut *db)
    .await?;
    let Some(mark) = mark else { return Ok(None) };
    let rows: Vec<(i64, Uuid, String, Json<Event>)> = sqlx::query_as(
        "SELECT seq, id, correlation_id, body FROM chain.hub_events
         WHERE hub = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4",
    )
    .bind(PgAddress(hub))
    .bind(mark.pushed_seq)
    .bind(mark.last_seq)
    .bind(limit)
    .fetch_all(db)
    .await?;
    let up_to = rows.last().map_or(mark.pushed_seq, |row| row.0);
    let left = uint(mark.last_seq - up_to);
    let is_news = left == 0 && mark.final_block > mark.pushed_block;
    Ok(Some(Backlog {
        events: rows
            .into_iter()
            .map(|(_, id, correlation_id, body)| Envelope {
                id,
                correlation_id,
                body: body.0,
            })
            .collect(),
        told: uint(mark.pushed_seq),
        up_to,
        left,
        finalized: is_news.then_some(Finalized {
            block: uint(mark.final_block),
            hash: mark.final_hash.0,
            timestamp: uint(mark.final_timestamp),
        }),
        pushed_block: uint(mark.pushed_block),
    }))
}

/// Notes how far a hub was told.
pub async fn pushed(
    db: &mut PgConnection,
    hub: Address,
    up_to: i64,
    block: u64,
) -> sqlx::Result<()> {
    let done = sqlx::query(
        "UPDATE chain.hubs SET pushed_seq = $2, pushed_block = $3
         WHERE hub = $1 AND pushed_seq <= $2 AND pushed_block <= $3",
    )
    .bind(PgAddress(hub))
    .bind(up_to)
    .bind(int(block))
    .execute(db)
    .await?;
    expect_rows("note what the hub was told", 1, done.rows_affected())
}

/// Begins again behind an event: the hub's database was set back.
pub async fn rewind(db: &mut PgConnection, hub: Address, after: u64) -> sqlx::Result<()> {
    let done = sqlx::query(
        "UPDATE chain.hubs SET pushed_seq = $2, pushed_block = 0
         WHERE hub = $1 AND pushed_seq >= $2",
    )
    .bind(PgAddress(hub))
    .bind(int(after))
    .execute(db)
    .await?;
    expect_rows("tell a hub again", 1, done.rows_affected())
}

/// Whether a hub has been told everything that is final.
pub async fn is_told(db: &mut PgConnection, hub: Address) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT last_seq = pushed_seq FROM chain.hubs WHERE hub = $1")
        .bind(PgAddress(hub))
        .fetch_one(db)
        .await
}
