//! `account.withdrawals`, `account.deposits`, `account.channel_facts`, `account.chain_marks`,
//! `account.outbox`, `account.inbox`: what goes to the chain and what comes back.

use hub_core::{Address, Amount, ChannelId, Hash32, Signature, types::Withdraw};
use runtime::pg::{PgAddress, PgAmount, PgChannelId, PgHash, PgSignature};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

/// A withdrawal order as it is accepted.
#[derive(Debug, Clone)]
pub struct NewWithdrawal {
    /// The operation's id.
    pub id: Uuid,
    /// The account that pays.
    pub account: Uuid,
    /// Its channel.
    pub channel: ChannelId,
    /// The channel's epoch.
    pub epoch: u32,
    /// How much.
    pub amount: Amount,
    /// Who is paid.
    pub to: Address,
    /// For the logs.
    pub correlation_id: String,
}

/// Inserts accepted withdrawal orders.
pub async fn insert_withdrawals(
    connection: &mut PgConnection,
    hub_id: Uuid,
    now: OffsetDateTime,
    rows: &[NewWithdrawal],
) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "INSERT INTO account.withdrawals (id, hub_id, account_id, channel_id, epoch, amount,
            to_address, status, correlation_id, created_at, updated_at)
         SELECT n.id, $1, n.account_id, n.channel_id, n.epoch, n.amount, n.to_address, 1,
            n.correlation_id, $2, $2
         FROM unnest($3::uuid[], $4::uuid[], $5::bytea[], $6::int[], $7::numeric[], $8::bytea[], $9::text[])
            AS n(id, account_id, channel_id, epoch, amount, to_address, correlation_id)",
    )
    .bind(hub_id)
    .bind(now)
    .bind(rows.iter().map(|r| r.id).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.account).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| PgChannelId(r.channel)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.epoch.cast_signed()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| PgAmount(r.amount)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| PgAddress(r.to)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.correlation_id.as_str()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// A withdrawal order that can be signed now: the only one of its channel with terms.
#[derive(Debug, Clone)]
pub struct Signable {
    /// The order.
    pub id: Uuid,
    /// What is to be signed, once its terms are fixed.
    pub withdraw: Withdraw,
    /// The account.
    pub account: Uuid,
    /// For the logs.
    pub correlation_id: String,
}

/// How long what is signed now may be executed.
#[derive(Debug, Clone, Copy)]
pub struct Validity {
    /// Unix seconds, by our clock.
    pub now: u64,
    /// Seconds.
    pub seconds: u64,
}

/// A query over the order of each channel that comes next; the tail says what for. One whose terms
/// are fixed comes before all others, whatever its id: ids are made before commits, on several clocks.
macro_rules! next_orders {
    ($tail:literal) => {
        concat!(
            "WITH first AS (
                SELECT DISTINCT ON (w.channel_id) w.id, w.channel_id, w.epoch, w.status,
                    w.prev_total, w.cancelled, w.expired
                FROM account.withdrawals w
                WHERE w.hub_id = $1 AND w.status < 5
                ORDER BY w.channel_id, (w.prev_total IS NULL), w.id
             ), next AS (
                SELECT first.*, coalesce(f.executed, 0) AS executed FROM first
                LEFT JOIN account.channel_facts f
                    ON f.channel_id = first.channel_id AND f.epoch = first.epoch
             ) ",
            $tail
        )
    };
}

/// Fixes the terms (previous total and expiry) of orders that can be signed next, one per channel.
/// What is fixed here stays as long as it can be executed, so that every try signs the same
/// content. The expiry counts from now or from the chain's final time, whichever is later: a chain
/// ahead of our clock must not make terms that are past already.
///
/// Replicas take turns by the hub's row. Two that chose from what each saw at its moment would fix
/// two orders of one channel with one previous total, and only one of them could ever be executed.
pub async fn fix_terms(
    pool: &PgPool,
    hub_id: Uuid,
    validity: Validity,
    limit: i64,
) -> sqlx::Result<()> {
    let any: bool = sqlx::query_scalar(next_orders!(
        "SELECT EXISTS (SELECT 1 FROM next WHERE status = 1 AND NOT cancelled AND NOT expired
            AND (prev_total IS NULL OR prev_total < executed))"
    ))
    .bind(hub_id)
    .fetch_one(pool)
    .await?;
    if !any {
        return Ok(());
    }
    let mut transaction = pool.begin().await?;
    sqlx::query("SELECT 1 FROM account.hubs WHERE hub_id = $1 FOR UPDATE")
        .bind(hub_id)
        .execute(&mut *transaction)
        .await?;
    loosen(&mut transaction, hub_id).await?;
    sqlx::query(next_orders!(
        "UPDATE account.withdrawals w SET prev_total = c.executed, valid_until = $4 + greatest($2,
            coalesce((SELECT m.final_timestamp FROM account.chain_marks m WHERE m.hub_id = $1), 0))
         FROM (SELECT id, executed FROM next
            WHERE status = 1 AND prev_total IS NULL AND NOT cancelled ORDER BY id LIMIT $3) c
         WHERE w.id = c.id AND w.status = 1 AND w.prev_total IS NULL AND NOT w.cancelled"
    ))
    .bind(hub_id)
    .bind(validity.now.cast_signed())
    .bind(limit)
    .bind(validity.seconds.cast_signed())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

/// Takes terms back that nobody can execute any more, because another order of the channel was
/// executed with the same previous total. No custody signature over them has left the process:
/// [`submit`] would have stored it. If the hub has signed them and its answer was lost, it signs
/// others only when these are past as well, or the order is given back; never is it paid twice.
async fn loosen(connection: &mut PgConnection, hub_id: Uuid) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE account.withdrawals w SET prev_total = NULL, valid_until = NULL
         FROM account.channel_facts f
         WHERE w.hub_id = $1 AND w.status = 1 AND w.hub_signature IS NULL AND NOT w.expired
           AND f.channel_id = w.channel_id AND f.epoch = w.epoch AND w.prev_total < f.executed",
    )
    .bind(hub_id)
    .execute(connection)
    .await
    .map(drop)
}

/// Orders whose terms are fixed and that are not submitted, oldest first behind `after`.
pub async fn signable(
    pool: &PgPool,
    hub_id: Uuid,
    limit: i64,
    after: Uuid,
) -> sqlx::Result<Vec<Signable>> {
    let rows = sqlx::query(
        "SELECT id, account_id, channel_id, epoch, amount, to_address, prev_total, valid_until, correlation_id
         FROM account.withdrawals
         WHERE hub_id = $1 AND status = 1 AND prev_total IS NOT NULL AND NOT expired AND id > $3
         ORDER BY id LIMIT $2",
    )
    .bind(hub_id)
    .bind(limit)
    .bind(after)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            let withdraw = withdraw_of(row)?;
            Ok(Signable {
                id: row.try_get("id")?,
                withdraw,
                account: row.try_get("account_id")?,
                correlation_id: row.try_get("correlation_id")?,
            })
        })
        .collect()
}

/// What is signed for an order whose terms are fixed.
pub(super) fn withdraw_of(row: &PgRow) -> sqlx::Result<Withdraw> {
    let id: Uuid = row.try_get("id")?;
    Ok(Withdraw {
        channel_id: row.try_get::<PgChannelId, _>("channel_id")?.0,
        epoch: row.try_get::<i32, _>("epoch")?.cast_unsigned(),
        prev_total: row.try_get::<PgAmount, _>("prev_total")?.0,
        amount: row.try_get::<PgAmount, _>("amount")?.0,
        to: row.try_get::<PgAddress, _>("to_address")?.0,
        valid_until: row.try_get::<i64, _>("valid_until")?.cast_unsigned(),
        request_id: hub_core::OperationId(*id.as_bytes()).word(),
    })
}

/// Both signatures of a withdrawal.
#[derive(Debug, Clone, Copy)]
pub struct WithdrawSignatures {
    /// The hub's.
    pub hub: Signature,
    /// The custody key's.
    pub user: Signature,
}

/// Marks an order as submitted. One row, or none when it is not waiting any more, or not on the
/// terms that were signed.
pub async fn submit(
    connection: &mut PgConnection,
    order: &Signable,
    signatures: WithdrawSignatures,
    now: OffsetDateTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "UPDATE account.withdrawals
         SET status = 3, hub_signature = $2, user_signature = $3, updated_at = $4, version = version + 1
         WHERE id = $1 AND status = 1 AND prev_total = $5 AND valid_until = $6",
    )
    .bind(order.id)
    .bind(PgSignature(signatures.hub))
    .bind(PgSignature(signatures.user))
    .bind(now)
    .bind(PgAmount(order.withdraw.prev_total))
    .bind(order.withdraw.valid_until.cast_signed())
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Puts a message into the outbox of the caller's transaction.
pub async fn enqueue<T: Serialize + Sync>(
    connection: &mut PgConnection,
    id: Uuid,
    route: (&str, &str),
    correlation_id: &str,
    body: &T,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let (exchange, routing_key) = route;
    sqlx::query(
        "INSERT INTO account.outbox (id, exchange, routing_key, correlation_id, body, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id)
    .bind(exchange)
    .bind(routing_key)
    .bind(correlation_id)
    .bind(Json(body))
    .bind(now)
    .execute(connection)
    .await
    .map(drop)
}

/// Notes a message as received; `false` when it was before.
pub async fn receive(
    connection: &mut PgConnection,
    message: Uuid,
    now: OffsetDateTime,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "INSERT INTO account.inbox (message_id, received_at) VALUES ($1, $2)
         ON CONFLICT (message_id) DO NOTHING",
    )
    .bind(message)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A withdrawal order of this request id was paid: seen, orphaned again, or final.
#[derive(Debug, Clone, Copy)]
pub struct Payment {
    /// The order.
    pub id: Uuid,
    /// The transaction.
    pub tx_hash: Hash32,
    /// Blocks on top, the block itself counted.
    pub confirmations: u64,
    /// 3 submitted, 4 confirming or 5 completed.
    pub status: i16,
}

/// Notes how far a payment is. Completed and failed orders stay as they are.
pub async fn progress(
    connection: &mut PgConnection,
    payment: Payment,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE account.withdrawals
         SET status = $2, tx_hash = $3, confirmations = $4, updated_at = $5, version = version + 1
         WHERE id = $1 AND status IN (1, 3, 4)",
    )
    .bind(payment.id)
    .bind(payment.status)
    .bind(PgHash(payment.tx_hash))
    .bind(payment.confirmations.cast_signed())
    .bind(now)
    .execute(connection)
    .await
    .map(drop)
}

/// Raises what is known to be executed in a channel at a final block.
pub async fn raise_executed(
    connection: &mut PgConnection,
    channel: ChannelId,
    epoch: u32,
    total: Amount,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO account.channel_facts (channel_id, epoch, executed, seen_deposits, final_deposits)
         VALUES ($1, $2, $3, 0, 0)
         ON CONFLICT (channel_id, epoch) DO UPDATE
         SET executed = greatest(account.channel_facts.executed, excluded.executed)",
    )
    .bind(PgChannelId(channel))
    .bind(epoch.cast_signed())
    .bind(PgAmount(total))
    .execute(connection)
    .await
    .map(drop)
}

/// Sets what is known of a channel's deposits: seen (may fall when a block is orphaned), final.
pub async fn set_deposits(
    connection: &mut PgConnection,
    channel: ChannelId,
    epoch: u32,
    seen: Amount,
    is_final: Option<Amount>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO account.channel_facts (channel_id, epoch, executed, seen_deposits, final_deposits)
         VALUES ($1, $2, 0, $3, coalesce($4, 0))
         ON CONFLICT (channel_id, epoch) DO UPDATE
         SET seen_deposits = excluded.seen_deposits,
             final_deposits = greatest(account.channel_facts.final_deposits, coalesce($4, 0))",
    )
    .bind(PgChannelId(channel))
    .bind(epoch.cast_signed())
    .bind(PgAmount(seen))
    .bind(is_final.map(PgAmount))
    .execute(connection)
    .await
    .map(drop)
}

/// A deposit log of a known channel.
#[derive(Debug, Clone, Copy)]
pub struct DepositLog {
    /// The channel.
    pub channel: ChannelId,
    /// The epoch.
    pub epoch: u32,
    /// How much.
    pub amount: Amount,
    /// 1 seen, 2 final or 4 orphaned.
    pub status: i16,
    /// Block number.
    pub block: u64,
    /// Block hash.
    pub block_hash: Hash32,
    /// Transaction.
    pub tx_hash: Hash32,
    /// Index of the log in its block.
    pub log_index: u64,
}

/// Notes a deposit. A credited one stays credited. Channels of no account are passed over.
pub async fn note_deposit(
    connection: &mut PgConnection,
    id: Uuid,
    log: &DepositLog,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO account.deposits (id, hub_id, account_id, channel_id, epoch, amount, status,
            block, block_hash, tx_hash, log_index, created_at, updated_at)
         SELECT $1, h.hub_id, h.account_id, h.channel_id, $3, $4, $5, $6, $7, $8, $9, $10, $10
         FROM account.heads h WHERE h.channel_id = $2
         ON CONFLICT (block_hash, log_index) DO UPDATE
         SET status = excluded.status, updated_at = excluded.updated_at
         WHERE account.deposits.status = 1 OR (account.deposits.status = 4 AND excluded.status < 3)",
    )
    .bind(id)
    .bind(PgChannelId(log.channel))
    .bind(log.epoch.cast_signed())
    .bind(PgAmount(log.amount))
    .bind(log.status)
    .bind(log.block.cast_signed())
    .bind(PgHash(log.block_hash))
    .bind(PgHash(log.tx_hash))
    .bind(log.log_index.cast_signed())
    .bind(now)
    .execute(connection)
    .await
    .map(drop)
}

/// Final deposits that are not credited, oldest first behind `after`: id, account, amount.
pub async fn uncredited(
    pool: &PgPool,
    hub_id: Uuid,
    limit: i64,
    after: Uuid,
) -> sqlx::Result<Vec<(Uuid, Uuid, Amount)>> {
    amounts(
        sqlx::query(
            "SELECT id, account_id, amount FROM account.deposits
             WHERE hub_id = $1 AND status = 2 AND id > $3 ORDER BY id LIMIT $2",
        )
        .bind(hub_id)
        .bind(limit)
        .bind(after)
        .fetch_all(pool)
        .await?,
    )
}

/// Marks a deposit as credited by an operation. One row, or none when it was before.
pub async fn credit_deposit(
    connection: &mut PgConnection,
    id: Uuid,
    operation: Uuid,
    now: OffsetDateTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "UPDATE account.deposits SET status = 3, operation_id = $2, updated_at = $3
         WHERE id = $1 AND status = 2",
    )
    .bind(id)
    .bind(operation)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Raises the final mark of every hub this service was ever connected to.
pub async fn set_final(
    connection: &mut PgConnection,
    block: u64,
    timestamp: u64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO account.chain_marks (hub_id, final_block, final_timestamp)
         SELECT hub_id, $1, $2 FROM account.hubs
         ON CONFLICT (hub_id) DO UPDATE
         SET final_block = excluded.final_block, final_timestamp = excluded.final_timestamp
         WHERE account.chain_marks.final_block < excluded.final_block",
    )
    .bind(block.cast_signed())
    .bind(timestamp.cast_signed())
    .execute(connection)
    .await
    .map(drop)
}

/// Marks orders that can't be executed any more: their time is past at a final block and they
/// are not among what was executed up to it. An order whose payment was seen waits for it.
pub async fn expire(pool: &PgPool, hub_id: Uuid) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "UPDATE account.withdrawals w SET expired = true
         FROM account.chain_marks m
         WHERE w.hub_id = $1 AND m.hub_id = $1 AND w.status IN (1, 3) AND w.prev_total IS NOT NULL AND NOT w.expired
           AND w.valid_until < m.final_timestamp
           AND NOT EXISTS (
               SELECT 1 FROM account.channel_facts f
               WHERE f.channel_id = w.channel_id AND f.epoch = w.epoch AND f.executed > w.prev_total)",
    )
    .bind(hub_id)
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// Expired or cancelled orders that are not refunded, oldest first behind `after`: id, account,
/// amount.
pub async fn refundable(
    pool: &PgPool,
    hub_id: Uuid,
    limit: i64,
    after: Uuid,
) -> sqlx::Result<Vec<(Uuid, Uuid, Amount)>> {
    amounts(
        sqlx::query(
            "SELECT id, account_id, amount FROM account.withdrawals
             WHERE hub_id = $1 AND status < 5 AND (expired OR cancelled) AND id > $3
             ORDER BY id LIMIT $2",
        )
        .bind(hub_id)
        .bind(limit)
        .bind(after)
        .fetch_all(pool)
        .await?,
    )
}

/// Ends an order whose money is given back in the same transaction. One row, or none when it
/// is not open any more.
pub async fn refund(
    connection: &mut PgConnection,
    id: Uuid,
    now: OffsetDateTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "UPDATE account.withdrawals
         SET status = CASE WHEN cancelled THEN 7 ELSE 6 END,
             failure = CASE WHEN cancelled THEN failure ELSE 'expired before it was executed' END,
             updated_at = $2, version = version + 1
         WHERE id = $1 AND status < 5 AND (expired OR cancelled)",
    )
    .bind(id)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Asks for an order to be given up: only before its terms are fixed. One row, or none.
pub async fn cancel(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "UPDATE account.withdrawals SET cancelled = true, version = version + 1
         WHERE id = $1 AND status IN (1, 2) AND prev_total IS NULL AND NOT cancelled",
    )
    .bind(id)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// The digest-independent request id of an order, as chain events name it.
pub fn order_of(request_id: Hash32) -> Option<Uuid> {
    let (id, rest) = request_id.0.split_at(16);
    let id: [u8; 16] = id.try_into().ok()?;
    rest.iter().all(|b| *b == 0).then(|| Uuid::from_bytes(id))
}

fn amounts(rows: Vec<sqlx::postgres::PgRow>) -> sqlx::Result<Vec<(Uuid, Uuid, Amount)>> {
    rows.iter()
        .map(|row| {
            let amount: PgAmount = row.try_get("amount")?;
            Ok((row.try_get("id")?, row.try_get("account_id")?, amount.0))
        })
        .collect()
}

/// Account and amount of an order whose money can be given back.
pub async fn refundable_order(pool: &PgPool, id: Uuid) -> sqlx::Result<Option<(Uuid, Amount)>> {
    let rows = sqlx::query(
        "SELECT id, account_id, amount FROM account.withdrawals
         WHERE id = $1 AND status < 5 AND (expired OR cancelled)",
    )
    .bind(id)
    .fetch_all(pool)
    .await?;
    Ok(amounts(rows)?
        .pop()
        .map(|(_, account, amount)| (account, amount)))
}

/// Account and amount of a final deposit that is not credited.
pub async fn uncredited_deposit(pool: &PgPool, id: Uuid) -> sqlx::Result<Option<(Uuid, Amount)>> {
    let rows = sqlx::query(
        "SELECT id, account_id, amount FROM account.deposits WHERE id = $1 AND status = 2",
    )
    .bind(id)
    .fetch_all(pool)
    .await?;
    Ok(amounts(rows)?
        .pop()
        .map(|(_, account, amount)| (account, amount)))
}
