//! What a watchtower copies: committed batches, and the parameters of their channels.

use super::journal::seal;
use super::{Connection, decode, unsigned};
use crate::engine::ledger::Seal;
use hub_core::{ChannelId, ChannelParams, Signature};
use runtime::pg::{PgChannelId, PgParams, PgSignature};
use sqlx::Row as _;
use uuid::Uuid;

/// A committed batch.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The batch.
    pub batch_id: u64,
    /// What is signed.
    pub seal: Seal,
    /// The custody signature.
    pub user_signature: Signature,
    /// The states, in their stored form.
    pub states: Vec<u8>,
}

/// The highest number up to which every batch above `after` has a fate. Read it before the page
/// that it is about: what gets its fate in between is then read again, and not passed over.
pub async fn low_water(connection: &mut Connection, hub_id: Uuid, after: u64) -> sqlx::Result<u64> {
    let (open, newest): (Option<i64>, Option<i64>) = sqlx::query_as(
        "SELECT (SELECT min(batch_id) FROM hub.journal
                 WHERE hub_id = $1 AND batch_id > $2 AND fate IS NULL),
                (SELECT max(batch_id) FROM hub.journal WHERE hub_id = $1)",
    )
    .bind(hub_id)
    .bind(i64::try_from(after).unwrap_or(i64::MAX))
    .fetch_one(connection)
    .await?;
    let low = open.map(|open| open - 1).or(newest).unwrap_or(0);
    Ok(u64::try_from(low).map_err(decode)?.max(after))
}

/// Committed batches above `after` whose states are still here, oldest first.
pub async fn page(
    connection: &mut Connection,
    hub_id: Uuid,
    after: u64,
    limit: u32,
) -> sqlx::Result<Vec<Committed>> {
    let rows = sqlx::query(
        "SELECT batch_id, prev_root, root, depth, user_signature, states FROM hub.journal
         WHERE hub_id = $1 AND batch_id > $2 AND fate = 1 AND states IS NOT NULL ORDER BY batch_id LIMIT $3",
    )
    .bind(hub_id)
    .bind(i64::try_from(after).unwrap_or(i64::MAX))
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Committed {
                batch_id: unsigned(row, "batch_id")?,
                seal: seal(row)?,
                user_signature: row.try_get::<PgSignature, _>("user_signature")?.0,
                states: row.try_get("states")?,
            })
        })
        .collect()
}

/// The parameters of those of these channels that were opened here.
pub async fn params(
    connection: &mut Connection,
    hub_id: Uuid,
    channels: &[ChannelId],
) -> sqlx::Result<Vec<ChannelParams>> {
    let ids: Vec<_> = channels.iter().copied().map(PgChannelId).collect();
    let rows: Vec<PgParams> = sqlx::query_scalar(
        "SELECT params FROM hub.channels WHERE hub_id = $1 AND channel_id = ANY($2)",
    )
    .bind(hub_id)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|params| params.0).collect())
}
