//! `chain.disputes`, `chain.dispute_steps`: closes that are not over, and what was sent about them.

use super::{int, uint};
use crate::store::transactions::Status;
use crate::tower::dispute::Step;
use chain::LogBody;
use hub_core::{Address, ChannelId, Epoch};
use runtime::pg::{PgAddress, PgChannelId};
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

/// A close that is not over.
#[derive(Debug, Clone, Copy)]
pub struct Open {
    /// The channel.
    pub channel: ChannelId,
    /// The epoch that it ends.
    pub epoch: Epoch,
    /// The hub.
    pub hub: Address,
    /// When it was first seen here.
    pub seen_at: OffsetDateTime,
}

/// Notes a close; `true` when that is news. One whose block comes back counts again.
pub async fn note(
    db: &mut PgConnection,
    hub: Address,
    channel: ChannelId,
    epoch: Epoch,
    now: OffsetDateTime,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "INSERT INTO chain.disputes (channel_id, epoch, hub, seen_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (channel_id, epoch) DO UPDATE SET over = false WHERE disputes.over",
    )
    .bind(PgChannelId(channel))
    .bind(i64::from(epoch))
    .bind(PgAddress(hub))
    .bind(now)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// All that are not over, oldest first.
pub async fn open(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Open>> {
    let rows: Vec<(PgChannelId, i64, PgAddress, OffsetDateTime)> = sqlx::query_as(
        "SELECT channel_id, epoch, hub, seen_at FROM chain.disputes
         WHERE NOT over ORDER BY seen_at, channel_id",
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Open {
            channel: row.0.0,
            epoch: u32::try_from(row.1).unwrap_or_default(),
            hub: row.2.0,
            seen_at: row.3,
        })
        .collect())
}

/// Ends a dispute.
pub async fn end(db: &mut PgConnection, channel: ChannelId, epoch: Epoch) -> sqlx::Result<()> {
    sqlx::query("UPDATE chain.disputes SET over = true WHERE channel_id = $1 AND epoch = $2")
        .bind(PgChannelId(channel))
        .bind(i64::from(epoch))
        .execute(db)
        .await
        .map(drop)
}

/// What the contract said about a channel's disputes, in the order of the chain, without what was
/// orphaned; and whether each is final.
pub async fn logs(
    db: impl PgExecutor<'_>,
    channel: ChannelId,
) -> sqlx::Result<Vec<(LogBody, bool)>> {
    let rows: Vec<(Json<LogBody>, i16)> = sqlx::query_as(
        "SELECT body, status FROM chain.logs WHERE channel_id = $1 AND status IN (1, 2)
         ORDER BY block, log_index",
    )
    .bind(PgChannelId(channel))
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(body, status)| (body.0, status == 2))
        .collect())
}

/// Something that was sent about a dispute.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// What.
    pub step: Step,
    /// How far its transaction is.
    pub status: Status,
    /// The block that it is in.
    pub block: Option<u64>,
    /// When it was signed.
    pub at: OffsetDateTime,
}

/// All that was sent about a dispute.
pub async fn sent(
    db: impl PgExecutor<'_>,
    channel: ChannelId,
    epoch: Epoch,
) -> sqlx::Result<Vec<Sent>> {
    let rows: Vec<(i16, i16, Option<i64>, OffsetDateTime)> = sqlx::query_as(
        "SELECT s.step, t.status, t.block, s.created_at
         FROM chain.dispute_steps s
         JOIN chain.transactions t ON t.sender = s.sender AND t.nonce = s.nonce
         WHERE s.channel_id = $1 AND s.epoch = $2 ORDER BY s.created_at",
    )
    .bind(PgChannelId(channel))
    .bind(i64::from(epoch))
    .fetch_all(db)
    .await?;
    let known = |code: i16| Step::ALL.into_iter().find(|step| *step as i16 == code);
    Ok(rows
        .into_iter()
        .filter_map(|(step, status, block, at)| {
            Some(Sent {
                step: known(step)?,
                status: Status::from_code(status),
                block: block.map(uint),
                at,
            })
        })
        .collect())
}

/// Notes what a transaction carries.
pub async fn carry(
    db: &mut PgConnection,
    disputes: &[(ChannelId, Epoch)],
    step: Step,
    slot: (Address, u64),
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let channels: Vec<_> = disputes.iter().map(|(id, _)| PgChannelId(*id)).collect();
    let epochs: Vec<_> = disputes
        .iter()
        .map(|(_, epoch)| i64::from(*epoch))
        .collect();
    sqlx::query(
        "INSERT INTO chain.dispute_steps (channel_id, epoch, step, sender, nonce, created_at)
         SELECT n.channel_id, n.epoch, $3, $4, $5, $6
         FROM UNNEST($1::bytea[], $2::bigint[]) AS n(channel_id, epoch)",
    )
    .bind(channels)
    .bind(epochs)
    .bind(step as i16)
    .bind(PgAddress(slot.0))
    .bind(int(slot.1))
    .bind(now)
    .execute(db)
    .await
    .map(drop)
}
