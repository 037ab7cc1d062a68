//! What a hub whose database was set back is given: committed batches, the orders in them, and
//! the `Withdraw`s it has signed.

use super::settlement::withdraw_of;
use crate::engine::{Kind, Request};
use hub_core::{Address, Amount, ChannelId, Hash32, OperationId, Signature, types::Withdraw};
use runtime::pg::{PgAddress, PgAmount, PgChannelId, PgHash, PgSignature};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// How much older than its batch an operation can be: far beyond any request's time-out.
const QUEUED: Duration = Duration::hours(1);

/// A committed batch.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The hub's number.
    pub batch_id: u64,
    /// Our id, by which the hub was asked.
    pub id: Uuid,
    /// Root of the batch before.
    pub prev_root: Hash32,
    /// The hub's signature.
    pub hub_signature: Signature,
    /// The custody signature.
    pub user_signature: Signature,
    /// The states, in their stored form.
    pub states: Vec<u8>,
    /// When it was committed.
    pub created_at: OffsetDateTime,
}

/// Committed batches above a number, oldest first. Fails where states are erased: a hub set back
/// to before all that is kept can't be given back what it lost.
pub async fn committed(
    pool: &PgPool,
    hub_id: Uuid,
    after: u64,
    limit: i64,
) -> sqlx::Result<Vec<Committed>> {
    let rows = sqlx::query(
        "SELECT b.batch_id, b.id, b.prev_root, b.hub_signature, b.user_signature, s.states, b.created_at
         FROM account.batches b LEFT JOIN account.batch_states s ON s.id = b.id
         WHERE b.hub_id = $1 AND b.batch_id > $2 AND b.fate = 1
         ORDER BY b.batch_id LIMIT $3",
    )
    .bind(hub_id)
    .bind(after.cast_signed())
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            let batch_id = row.try_get::<i64, _>("batch_id")?.cast_unsigned();
            let states: Option<Vec<u8>> = row.try_get("states")?;
            let erased = || {
                format!(
                    "the states of batch {batch_id} are erased; restore a newer backup of the hub"
                )
            };
            Ok(Committed {
                batch_id,
                id: row.try_get("id")?,
                prev_root: row.try_get::<PgHash, _>("prev_root")?.0,
                hub_signature: row.try_get::<PgSignature, _>("hub_signature")?.0,
                user_signature: row.try_get::<PgSignature, _>("user_signature")?.0,
                states: states.ok_or_else(|| sqlx::Error::Decode(erased().into()))?,
                created_at: row.try_get("created_at")?,
            })
        })
        .collect()
}

/// A withdrawal order or a refund in a batch.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// The batch, by our id.
    pub batch: Uuid,
    /// The order.
    pub order: OperationId,
    /// The channel.
    pub channel: ChannelId,
    /// How much.
    pub amount: Amount,
    /// Who is to be paid; none for a refund.
    pub to: Option<Address>,
}

/// The orders and refunds in these batches, of which the oldest was committed at `since`.
pub async fn orders(
    pool: &PgPool,
    batches: &[Uuid],
    since: OffsetDateTime,
) -> sqlx::Result<Vec<Order>> {
    let rows = sqlx::query(
        "SELECT o.batch, o.kind, o.id, o.idem_key, o.amount, a.channel_id, w.to_address
         FROM account.operations o
         JOIN account.accounts a ON a.id = coalesce(o.payer, o.payee)
         LEFT JOIN account.withdrawals w ON w.id = o.id
         WHERE o.id >= $1 AND o.batch = ANY($2) AND o.kind IN ($3, $4)
         ORDER BY o.id",
    )
    .bind(oldest_id(since))
    .bind(batches)
    .bind(Kind::Withdraw as i16)
    .bind(Kind::Refund as i16)
    .fetch_all(pool)
    .await?;
    rows.iter().map(order_of).collect()
}

fn order_of(row: &PgRow) -> sqlx::Result<Order> {
    let key: String = row.try_get("idem_key")?;
    let to: Option<PgAddress> = row.try_get("to_address")?;
    let id = match Request::refunded(&key) {
        Some(withdrawal) if row.try_get::<i16, _>("kind")? == Kind::Refund as i16 => withdrawal,
        _ => row.try_get("id")?,
    };
    Ok(Order {
        batch: row.try_get("batch")?,
        order: OperationId(*id.as_bytes()),
        channel: row.try_get::<PgChannelId, _>("channel_id")?.0,
        amount: row.try_get::<PgAmount, _>("amount")?.0,
        to: to.map(|to| to.0),
    })
}

/// Below every id made since then, as far as it was made within [`QUEUED`] before its batch.
fn oldest_id(since: OffsetDateTime) -> Uuid {
    let ms = (since - QUEUED).unix_timestamp().max(0).cast_unsigned() * 1_000;
    uuid::Builder::from_unix_timestamp_millis(ms, &[0; 10]).into_uuid()
}

/// `Withdraw`s that the hub may have signed after its batch `newest`, by id behind `after`, and
/// whether they were executed at a final block.
pub async fn signed(
    pool: &PgPool,
    hub_id: Uuid,
    newest: u64,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<(Uuid, Withdraw, Signature, bool)>> {
    let rows = sqlx::query(
        "SELECT id, channel_id, epoch, prev_total, amount, to_address, valid_until, hub_signature,
                status = 5 AS executed
         FROM account.withdrawals
         WHERE hub_id = $1 AND hub_signature IS NOT NULL AND id > $3
           AND updated_at >= coalesce((SELECT max(b.created_at) FROM account.batches b
                WHERE b.hub_id = $1 AND b.batch_id <= $2), '-infinity')
         ORDER BY id LIMIT $4",
    )
    .bind(hub_id)
    .bind(newest.cast_signed())
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            let withdraw = withdraw_of(row)?;
            let signature: PgSignature = row.try_get("hub_signature")?;
            Ok((
                row.try_get("id")?,
                withdraw,
                signature.0,
                row.try_get("executed")?,
            ))
        })
        .collect()
}
