//! What an account database that was set back is given: committed batches, the channels they
//! opened, the orders in them.

use super::attest::Committed;
use super::journal::seal;
use super::{Connection, orders, unsigned};
use crate::engine::orders::OrderKind;
use hub_client::ImportOrder;
use runtime::pg::PgSignature;
use sqlx::Row as _;
use uuid::Uuid;

/// Committed batches above `after`, oldest first, each with the request that made it.
pub async fn page(
    connection: &mut Connection,
    hub_id: Uuid,
    after: u64,
    limit: u32,
) -> sqlx::Result<Vec<(Uuid, Committed)>> {
    let rows = sqlx::query(
        "SELECT batch_id, request_id, prev_root, root, depth, user_signature, states FROM hub.journal
         WHERE hub_id = $1 AND batch_id > $2 AND fate = 1 AND states IS NOT NULL
         ORDER BY batch_id LIMIT $3",
    )
    .bind(hub_id)
    .bind(i64::try_from(after).unwrap_or(i64::MAX))
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let batch = Committed {
                batch_id: unsigned(row, "batch_id")?,
                seal: seal(row)?,
                user_signature: row.try_get::<PgSignature, _>("user_signature")?.0,
                states: row.try_get("states")?,
            };
            Ok((row.try_get("request_id")?, batch))
        })
        .collect()
}

/// Orders and refunds in a batch.
pub async fn orders(
    connection: &mut Connection,
    hub_id: Uuid,
    batch_id: u64,
) -> sqlx::Result<Vec<ImportOrder>> {
    let rows = sqlx::query(
        "SELECT * FROM hub.orders WHERE hub_id = $1 AND batch_id = $2 ORDER BY order_id, kind",
    )
    .bind(hub_id)
    .bind(batch_id.cast_signed())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let entry = orders::entry(row)?;
            Ok(ImportOrder {
                order: entry.order,
                channel: entry.channel,
                amount: entry.amount,
                to: match entry.kind {
                    OrderKind::Withdraw(to) => Some(to),
                    OrderKind::Refund => None,
                },
            })
        })
        .collect()
}
