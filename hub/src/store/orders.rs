//! `hub.orders` and `hub.withdrawals`: withdrawal orders in batches, and the `Withdraw`s signed.

use super::{Connection, decode, epoch, unsigned};
use crate::engine::orders::{KnownOrder, OrderEntry, OrderKind, SignedWithdraw};
use hub_core::types::Withdraw;
use hub_core::{ChannelId, OperationId};
use runtime::pg::{PgAddress, PgAmount, PgChannelId};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use std::collections::HashMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// `kind` of an order.
const WITHDRAW: i16 = 1;
/// `kind` of a refund.
const REFUND: i16 = 2;

fn uuid(order: OperationId) -> Uuid {
    Uuid::from_bytes(order.0)
}

/// Keeps the entries of a batch.
pub async fn insert(
    connection: &mut Connection,
    hub_id: Uuid,
    batch_id: u64,
    entries: &[OrderEntry],
) -> sqlx::Result<()> {
    let kinds: Vec<_> = entries
        .iter()
        .map(|entry| match entry.kind {
            OrderKind::Withdraw(_) => WITHDRAW,
            OrderKind::Refund => REFUND,
        })
        .collect();
    let payees: Vec<_> = entries
        .iter()
        .map(|entry| match entry.kind {
            OrderKind::Withdraw(to) => Some(PgAddress(to)),
            OrderKind::Refund => None,
        })
        .collect();
    let ids: Vec<_> = entries.iter().map(|entry| uuid(entry.order)).collect();
    let channels: Vec<_> = entries.iter().map(|e| PgChannelId(e.channel)).collect();
    let epochs: Vec<_> = entries.iter().map(|e| i64::from(e.epoch)).collect();
    let amounts: Vec<_> = entries.iter().map(|e| PgAmount(e.amount)).collect();
    sqlx::query(
        "INSERT INTO hub.orders (hub_id, batch_id, order_id, kind, channel_id, epoch, amount, to_address)
         SELECT $1, $2, n.* FROM UNNEST($3::uuid[], $4::int2[], $5::bytea[], $6::int8[],
             $7::numeric[], $8::bytea[]) AS n",
    )
    .bind(hub_id)
    .bind(batch_id.cast_signed())
    .bind(ids)
    .bind(kinds)
    .bind(channels)
    .bind(epochs)
    .bind(amounts)
    .bind(payees)
    .execute(connection)
    .await
    .map(drop)
}

/// What is known of these orders.
pub async fn known(
    connection: &mut Connection,
    hub_id: Uuid,
    orders: &[OperationId],
) -> sqlx::Result<HashMap<OperationId, KnownOrder>> {
    let ids: Vec<_> = orders.iter().map(|order| uuid(*order)).collect();
    let entries = sqlx::query(
        "SELECT o.*, j.fate IS NOT DISTINCT FROM 1 AS committed
         FROM hub.orders o
         LEFT JOIN hub.journal j ON j.hub_id = o.hub_id AND j.batch_id = o.batch_id
         WHERE o.hub_id = $1 AND o.order_id = ANY($2)",
    )
    .bind(hub_id)
    .bind(&ids)
    .fetch_all(&mut *connection)
    .await?;
    let mut known: HashMap<OperationId, KnownOrder> = HashMap::new();
    for row in &entries {
        let entry = entry(row)?;
        let committed: bool = row.try_get("committed")?;
        let order = known.entry(entry.order).or_default();
        match entry.kind {
            OrderKind::Withdraw(_) if committed => order.committed = Some(entry),
            OrderKind::Withdraw(_) => {}
            OrderKind::Refund => {
                order.refund_signed = true;
                order.refunded |= committed;
            }
        }
    }
    let signed = sqlx::query(
        "SELECT order_id, valid_until, executed FROM hub.withdrawals
         WHERE hub_id = $1 AND order_id = ANY($2)",
    )
    .bind(hub_id)
    .bind(&ids)
    .fetch_all(connection)
    .await?;
    for row in &signed {
        let id: Uuid = row.try_get("order_id")?;
        let order = known.entry(OperationId(*id.as_bytes())).or_default();
        order.signed = Some(SignedWithdraw {
            valid_until: unsigned(row, "valid_until")?,
            executed: row.try_get("executed")?,
        });
    }
    Ok(known)
}

pub(super) fn entry(row: &PgRow) -> sqlx::Result<OrderEntry> {
    let id: Uuid = row.try_get("order_id")?;
    let to: Option<PgAddress> = row.try_get("to_address")?;
    let kind: i16 = row.try_get("kind")?;
    Ok(OrderEntry {
        order: OperationId(*id.as_bytes()),
        kind: match (kind, to) {
            (WITHDRAW, Some(to)) => OrderKind::Withdraw(to.0),
            (REFUND, None) => OrderKind::Refund,
            _ => return Err(decode("an order without payee or a refund with one")),
        },
        channel: row.try_get::<PgChannelId, _>("channel_id")?.0,
        epoch: epoch(row)?,
        amount: row.try_get::<PgAmount, _>("amount")?.0,
    })
}

/// The `Withdraw` signed for an order, and whether it was executed.
pub async fn signed(
    connection: &mut Connection,
    hub_id: Uuid,
    order: OperationId,
) -> sqlx::Result<Option<(Withdraw, bool)>> {
    let row = sqlx::query("SELECT * FROM hub.withdrawals WHERE hub_id = $1 AND order_id = $2")
        .bind(hub_id)
        .bind(uuid(order))
        .fetch_optional(connection)
        .await?;
    row.map(|row| {
        let withdraw = Withdraw {
            channel_id: row.try_get::<PgChannelId, _>("channel_id")?.0,
            epoch: epoch(&row)?,
            prev_total: row.try_get::<PgAmount, _>("prev_total")?.0,
            amount: row.try_get::<PgAmount, _>("amount")?.0,
            to: row.try_get::<PgAddress, _>("to_address")?.0,
            valid_until: unsigned(&row, "valid_until")?,
            request_id: order.word(),
        };
        Ok((withdraw, row.try_get("executed")?))
    })
    .transpose()
}

/// Whether another order of the channel has a signed `Withdraw` that may still be executed.
pub async fn has_other_live(
    connection: &mut Connection,
    hub_id: Uuid,
    withdraw: &Withdraw,
    order: OperationId,
    final_timestamp: u64,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM hub.withdrawals
         WHERE hub_id = $1 AND channel_id = $2 AND epoch = $3 AND order_id <> $4
           AND NOT executed AND valid_until >= $5)",
    )
    .bind(hub_id)
    .bind(PgChannelId(withdraw.channel_id))
    .bind(i64::from(withdraw.epoch))
    .bind(uuid(order))
    .bind(i64::try_from(final_timestamp).unwrap_or(i64::MAX))
    .fetch_one(connection)
    .await
}

/// Keeps a `Withdraw` that is about to be signed, in place of an expired one of the same order.
pub async fn keep(
    connection: &mut Connection,
    hub_id: Uuid,
    order: OperationId,
    withdraw: &Withdraw,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO hub.withdrawals (hub_id, order_id, channel_id, epoch, prev_total, amount,
             to_address, valid_until, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (hub_id, order_id) DO UPDATE SET channel_id = EXCLUDED.channel_id,
             epoch = EXCLUDED.epoch, prev_total = EXCLUDED.prev_total, amount = EXCLUDED.amount,
             to_address = EXCLUDED.to_address, valid_until = EXCLUDED.valid_until,
             created_at = EXCLUDED.created_at",
    )
    .bind(hub_id)
    .bind(uuid(order))
    .bind(PgChannelId(withdraw.channel_id))
    .bind(i64::from(withdraw.epoch))
    .bind(PgAmount(withdraw.prev_total))
    .bind(PgAmount(withdraw.amount))
    .bind(PgAddress(withdraw.to))
    .bind(i64::try_from(withdraw.valid_until).map_err(decode)?)
    .bind(now)
    .execute(connection)
    .await
    .map(drop)
}

/// Notes that an order's `Withdraw` was executed. Returns whether it was signed here.
pub async fn set_executed(
    connection: &mut Connection,
    hub_id: Uuid,
    order: OperationId,
    channel: ChannelId,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE hub.withdrawals SET executed = true
         WHERE hub_id = $1 AND order_id = $2 AND channel_id = $3",
    )
    .bind(hub_id)
    .bind(uuid(order))
    .bind(PgChannelId(channel))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}
