//! `account.withdrawals`: orders, their operations and refunds; and what channels have on chain.

use super::{Differing, channel, differing};
use futures_util::stream::BoxStream;
use hub_core::types::Withdraw;
use hub_core::{Amount, ChannelId, OperationId, Signature};
use runtime::pg::{PgAddress, PgAmount};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

/// Where an order and its operation differ.
const UNLIKE_OPERATION: &str = "
    SELECT w.id::text AS key,
           CASE WHEN o.id IS NULL THEN 'an operation of this id'
                ELSE concat('kind=', o.kind, ' outcome=', o.outcome, ' payer=', o.payer, ' amount=', o.amount) END AS expected,
           CASE WHEN o.id IS NULL THEN 'none'
                ELSE concat('kind=4 outcome=1 payer=', w.account_id, ' amount=', w.amount) END AS found
    FROM account.withdrawals w LEFT JOIN account.operations o ON o.id = w.id
    WHERE w.id >= (SELECT journal_from FROM account.retention)
      AND (o.id IS NULL OR o.kind <> 4 OR o.outcome <> 1
       OR o.payer IS DISTINCT FROM w.account_id OR o.amount <> w.amount)
    ORDER BY w.id LIMIT $1";

/// Operations without their order.
const WITHOUT_ORDER: &str = "
    SELECT o.id::text AS key, concat('a withdrawal of ', o.amount) AS expected, 'none' AS found
    FROM account.operations o LEFT JOIN account.withdrawals w ON w.id = o.id
    WHERE o.kind = 4 AND o.outcome = 1 AND w.id IS NULL
    ORDER BY o.id LIMIT $1";

/// Orders that ended without the money being back. What was on its way when a channel was settled
/// was part of that settlement. Refunds of orders that ended before the journal begins are dropped;
/// a day more, because their ids are older than their batches.
const NOT_REFUNDED: &str = "
    SELECT w.id::text AS key, concat('a refund of ', w.amount, ' for status ', w.status) AS expected,
           CASE WHEN o.id IS NULL THEN 'none' ELSE concat('a refund of ', o.amount, ' to ', o.payee) END AS found
    FROM account.withdrawals w
    LEFT JOIN account.operations o ON o.owner = '00000000-0000-0000-0000-000000000000' AND o.route = 8
         AND o.idem_key = concat('refund:', w.id) AND o.kind = 6 AND o.outcome = 1
    WHERE w.status IN (6, 7) AND w.failure IS DISTINCT FROM 'settled'
      AND account.first_id(w.updated_at - interval '1 day') >= (SELECT journal_from FROM account.retention)
      AND (o.id IS NULL OR o.payee IS DISTINCT FROM w.account_id OR o.amount <> w.amount)
    ORDER BY w.id LIMIT $1";

/// Orders that are given back and can be, or are, paid as well.
const REFUNDED_AND_PAID: &str = "
    SELECT w.id::text AS key, 'status 6 or 7, or no refund' AS expected,
           concat('status ', w.status, ' and refund ', o.id) AS found
    FROM account.operations o
    JOIN account.withdrawals w ON o.idem_key = concat('refund:', w.id)
    WHERE o.kind = 6 AND o.outcome = 1 AND o.owner = '00000000-0000-0000-0000-000000000000' AND o.route = 8
      AND w.status < 6
    ORDER BY w.id LIMIT $1";

/// Refunds of nothing.
const REFUND_WITHOUT_ORDER: &str = "
    SELECT o.id::text AS key, 'a withdrawal that it gives back' AS expected,
           concat('none of the name ', o.idem_key) AS found
    FROM account.operations o
    LEFT JOIN account.withdrawals w ON o.idem_key = concat('refund:', w.id)
    WHERE o.kind = 6 AND o.outcome = 1
      AND (w.id IS NULL OR o.owner <> '00000000-0000-0000-0000-000000000000' OR o.route <> 8)
    ORDER BY o.id LIMIT $1";

/// Orders of one place in the chain of a channel's payments.
const SAME_PLACE: &str = "
    SELECT string_agg(w.id::text, ' ' ORDER BY w.id) AS key,
           concat('one payment above the total ', w.prev_total) AS expected,
           concat(count(*), ' payments') AS found
    FROM account.withdrawals w
    WHERE w.status IN (4, 5) AND (w.id < (SELECT journal_from FROM account.retention)
       OR EXISTS (SELECT 1 FROM account.operations o WHERE o.id = w.id AND o.kind = 4))
    GROUP BY w.channel_id, w.epoch, w.prev_total
    HAVING count(*) > 1 ORDER BY 1 LIMIT $1";

/// Payments that nobody can look up.
const WITHOUT_TRANSACTION: &str = "
    SELECT w.id::text AS key, 'the transaction that paid it' AS expected, 'none' AS found
    FROM account.withdrawals w WHERE w.status = 5 AND w.tx_hash IS NULL
    ORDER BY w.id LIMIT $1";

/// The comparisons that the database makes by itself.
#[derive(Debug, Clone, Copy)]
pub enum Difference {
    /// An order and its operation differ, or there is no operation.
    UnlikeOperation,
    /// An operation has no order.
    WithoutOrder,
    /// Ended, and the money is not back.
    NotRefunded,
    /// Given back, and not ended.
    RefundedAndPaid,
    /// Gives back nothing.
    RefundWithoutOrder,
    /// Paid twice.
    SamePlace,
    /// Paid by no transaction.
    WithoutTransaction,
}

/// Rows that differ, in key order.
pub async fn find(
    connection: &mut PgConnection,
    difference: Difference,
    limit: i64,
) -> sqlx::Result<Vec<Differing>> {
    let query = match difference {
        Difference::UnlikeOperation => UNLIKE_OPERATION,
        Difference::WithoutOrder => WITHOUT_ORDER,
        Difference::NotRefunded => NOT_REFUNDED,
        Difference::RefundedAndPaid => REFUNDED_AND_PAID,
        Difference::RefundWithoutOrder => REFUND_WITHOUT_ORDER,
        Difference::SamePlace => SAME_PLACE,
        Difference::WithoutTransaction => WITHOUT_TRANSACTION,
    };
    let rows = sqlx::query(query).bind(limit).fetch_all(connection).await?;
    rows.iter().map(differing).collect()
}

/// Orders that expired before `expired_before` (Unix seconds) and are neither paid for good nor
/// given back.
pub async fn stuck(
    connection: &mut PgConnection,
    expired_before: u64,
    limit: i64,
) -> sqlx::Result<Vec<Differing>> {
    let rows = sqlx::query(
        "SELECT id::text AS key, concat('paid or given back soon after ', valid_until) AS expected,
                concat('status ', status) AS found
         FROM account.withdrawals
         WHERE status IN (1, 3, 4) AND prev_total IS NOT NULL AND valid_until < $1
         ORDER BY id LIMIT $2",
    )
    .bind(expired_before.cast_signed())
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(differing).collect()
}

/// How many orders there are.
pub async fn count(connection: &mut PgConnection) -> sqlx::Result<u64> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM account.withdrawals")
        .fetch_one(connection)
        .await?;
    Ok(count.cast_unsigned())
}

/// A signed order that may still be paid.
#[derive(Debug, Clone, Copy)]
pub struct Signed {
    /// Its id.
    pub id: Uuid,
    /// Its hub.
    pub hub_id: Uuid,
    /// What was signed, by the row.
    pub withdraw: Withdraw,
    /// The hub's signature, if it is one.
    pub hub_signature: Option<Signature>,
    /// The custody signature, if it is one.
    pub user_signature: Option<Signature>,
}

/// Signed orders that may still be paid.
pub fn signed(connection: &mut PgConnection) -> BoxStream<'_, sqlx::Result<PgRow>> {
    sqlx::query(
        "SELECT id, hub_id, channel_id, epoch, amount, to_address, prev_total, valid_until,
                hub_signature, user_signature
         FROM account.withdrawals WHERE status IN (3, 4) ORDER BY id",
    )
    .fetch(connection)
}

/// From a row of [`signed`].
pub fn signed_of(row: &PgRow) -> sqlx::Result<Signed> {
    let id: Uuid = row.try_get("id")?;
    let signature = |column| -> sqlx::Result<Option<Signature>> {
        let bytes: Option<&[u8]> = row.try_get(column)?;
        Ok(bytes.and_then(Signature::from_slice))
    };
    let prev_total: Option<PgAmount> = row.try_get("prev_total")?;
    let valid_until: Option<i64> = row.try_get("valid_until")?;
    Ok(Signed {
        id,
        hub_id: row.try_get("hub_id")?,
        withdraw: Withdraw {
            channel_id: channel(row, "channel_id")?.unwrap_or_default(),
            epoch: row.try_get::<i32, _>("epoch")?.cast_unsigned(),
            prev_total: prev_total.map_or(Amount::ZERO, |total| total.0),
            amount: row.try_get::<PgAmount, _>("amount")?.0,
            to: row.try_get::<PgAddress, _>("to_address")?.0,
            valid_until: valid_until.unwrap_or_default().cast_unsigned(),
            request_id: OperationId(*id.as_bytes()).word(),
        },
        hub_signature: signature("hub_signature")?,
        user_signature: signature("user_signature")?,
    })
}

/// A channel that the contract may have heard of, and what is known of it here.
#[derive(Debug, Clone, Copy)]
pub struct Touched {
    /// The channel.
    pub channel: ChannelId,
    /// Its hub.
    pub hub_id: Uuid,
    /// Its epoch.
    pub epoch: u32,
    /// Withdrawals executed at final blocks.
    pub executed: Amount,
    /// Deposits of final blocks.
    pub final_deposits: Amount,
    /// Withdrawals executed at final blocks, as the hub knows it.
    pub hub_executed: Amount,
    /// Deposits of final blocks, as the hub knows it.
    pub hub_deposits: Amount,
}

/// Channels that were paid into or out of, or may be at any time.
pub fn touched(connection: &mut PgConnection) -> BoxStream<'_, sqlx::Result<PgRow>> {
    sqlx::query(
        "SELECT h.channel_id, h.hub_id, h.epoch, coalesce(f.executed, 0) AS executed,
                coalesce(f.final_deposits, 0) AS final_deposits,
                coalesce(b.executed, 0) AS hub_executed, coalesce(b.final_deposits, 0) AS hub_deposits
         FROM account.heads h
         LEFT JOIN account.channel_facts f ON f.channel_id = h.channel_id AND f.epoch = h.epoch
         LEFT JOIN hub.channel_facts b
            ON b.hub_id = h.hub_id AND b.channel_id = h.channel_id AND b.epoch = h.epoch
         WHERE f.channel_id IS NOT NULL OR b.channel_id IS NOT NULL OR EXISTS (
            SELECT 1 FROM account.withdrawals w
            WHERE w.hub_id = h.hub_id AND w.channel_id = h.channel_id AND w.status IN (3, 4))
         ORDER BY h.channel_id",
    )
    .fetch(connection)
}

/// From a row of [`touched`].
pub fn touched_of(row: &PgRow) -> sqlx::Result<Touched> {
    Ok(Touched {
        channel: channel(row, "channel_id")?.unwrap_or_default(),
        hub_id: row.try_get("hub_id")?,
        epoch: row.try_get::<i32, _>("epoch")?.cast_unsigned(),
        executed: row.try_get::<PgAmount, _>("executed")?.0,
        final_deposits: row.try_get::<PgAmount, _>("final_deposits")?.0,
        hub_executed: row.try_get::<PgAmount, _>("hub_executed")?.0,
        hub_deposits: row.try_get::<PgAmount, _>("hub_deposits")?.0,
    })
}

/// What a hub's heads say of the chain and of locks, in minor units.
#[derive(Debug, Clone, Copy, Default)]
pub struct Folded {
    /// Locks that the hub pays.
    pub hub_locked: Amount,
    /// What left user balances for withdrawals in these epochs.
    pub withdrawn: Amount,
    /// Deposits folded into balances in these epochs.
    pub deposited: Amount,
}

/// The same of all hubs.
pub async fn folded(connection: &mut PgConnection) -> sqlx::Result<Vec<(Uuid, Folded)>> {
    let rows = sqlx::query(
        "SELECT hub_id, sum(hub_locked) AS hub_locked, sum(withdrawn) AS withdrawn, sum(deposited) AS deposited
         FROM account.heads GROUP BY hub_id",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let folded = Folded {
                hub_locked: row.try_get::<PgAmount, _>("hub_locked")?.0,
                withdrawn: row.try_get::<PgAmount, _>("withdrawn")?.0,
                deposited: row.try_get::<PgAmount, _>("deposited")?.0,
            };
            Ok((row.try_get("hub_id")?, folded))
        })
        .collect()
}
