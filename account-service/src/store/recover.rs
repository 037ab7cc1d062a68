//! What a database that was set back is given again: heads, terms of orders, deposits.

use hub_core::types::Withdraw;
use hub_core::{ChannelId, Hash32, State};
use runtime::pg::{PgAddress, PgAmount, PgChannelId, PgHash};
use sqlx::{PgConnection, PgPool, Row};
use std::collections::HashMap;
use uuid::Uuid;

/// Locks heads, in channel id order, as postings do.
pub async fn lock(connection: &mut PgConnection, channels: &[ChannelId]) -> sqlx::Result<()> {
    let ids: Vec<_> = channels.iter().copied().map(PgChannelId).collect();
    sqlx::query(
        "SELECT channel_id FROM account.heads WHERE channel_id = ANY($1)
         ORDER BY channel_id FOR UPDATE",
    )
    .bind(ids)
    .execute(connection)
    .await
    .map(drop)
}

/// The accounts of channels: id and owner.
pub async fn accounts(
    connection: &mut PgConnection,
    channels: &[ChannelId],
) -> sqlx::Result<HashMap<ChannelId, (Uuid, Uuid)>> {
    let ids: Vec<_> = channels.iter().copied().map(PgChannelId).collect();
    let rows = sqlx::query(
        "SELECT h.channel_id, a.id, a.owner
         FROM account.heads h JOIN account.accounts a ON a.id = h.account_id
         WHERE h.channel_id = ANY($1)",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let channel: PgChannelId = row.try_get("channel_id")?;
            Ok((channel.0, (row.try_get("id")?, row.try_get("owner")?)))
        })
        .collect()
}

/// A head to be put in the place of the one that is there, or of none.
#[derive(Debug, Clone, Copy)]
pub struct NextHead<'a> {
    /// The hub.
    pub hub_id: Uuid,
    /// The account.
    pub account: Uuid,
    /// The hash that the head there names; not asked for where there is none.
    pub from_hash: Hash32,
    /// The new state.
    pub state: &'a State,
    /// Its hash.
    pub hash: Hash32,
    /// The batch that carries the signatures.
    pub batch: Uuid,
    /// The newest operation of the account.
    pub newest: Option<Uuid>,
}

/// Puts a head. One row, or none when the one there is another.
pub async fn put_head(connection: &mut PgConnection, head: NextHead<'_>) -> sqlx::Result<u64> {
    let state = head.state;
    let done = sqlx::query(
        "INSERT INTO account.heads AS h (channel_id, account_id, hub_id, status, epoch, version,
            ack_version, hub_balance, user_balance, hub_locked, user_locked, withdrawn, deposited,
            credited, locks_hash, transfers_root, state_hash, batch, newest)
         VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $19)
         ON CONFLICT (channel_id) DO UPDATE SET version = excluded.version,
            ack_version = excluded.ack_version, hub_balance = excluded.hub_balance,
            user_balance = excluded.user_balance, hub_locked = excluded.hub_locked,
            user_locked = excluded.user_locked, withdrawn = excluded.withdrawn,
            deposited = excluded.deposited, credited = excluded.credited,
            locks_hash = excluded.locks_hash, transfers_root = excluded.transfers_root,
            state_hash = excluded.state_hash, batch = excluded.batch,
            newest = excluded.newest
         WHERE h.state_hash = $18 AND h.epoch = excluded.epoch AND h.version < excluded.version",
    )
    .bind(PgChannelId(state.channel_id))
    .bind(head.account)
    .bind(head.hub_id)
    .bind(state.epoch.cast_signed())
    .bind(state.version.cast_signed())
    .bind(state.ack_version.cast_signed())
    .bind(PgAmount(state.hub_balance))
    .bind(PgAmount(state.user_balance))
    .bind(PgAmount(state.hub_locked))
    .bind(PgAmount(state.user_locked))
    .bind(PgAmount(state.withdrawn))
    .bind(PgAmount(state.deposited))
    .bind(PgAmount(state.credited))
    .bind(PgHash(state.locks_hash))
    .bind(PgHash(state.transfers_root))
    .bind(PgHash(head.hash))
    .bind(head.batch)
    .bind(PgHash(head.from_hash))
    .bind(head.newest)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Withdrawal orders of a hub that have not ended, in id order.
pub async fn open_orders(pool: &PgPool, hub_id: Uuid) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "SELECT id FROM account.withdrawals WHERE hub_id = $1 AND status < 5 ORDER BY id",
    )
    .bind(hub_id)
    .fetch_all(pool)
    .await
}

/// Gives an order that waits for its signature the terms that the hub has signed it with. None
/// when it has them, or does not wait.
pub async fn set_terms(pool: &PgPool, id: Uuid, withdraw: &Withdraw) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "UPDATE account.withdrawals SET prev_total = $2, valid_until = $3, version = version + 1
         WHERE id = $1 AND status = 1 AND to_address = $4 AND amount = $5
           AND (prev_total IS DISTINCT FROM $2 OR valid_until IS DISTINCT FROM $3)",
    )
    .bind(id)
    .bind(PgAmount(withdraw.prev_total))
    .bind(i64::try_from(withdraw.valid_until).unwrap_or(i64::MAX))
    .bind(PgAddress(withdraw.to))
    .bind(PgAmount(withdraw.amount))
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// Marks an order as one whose money is given back: expired where its terms were fixed, else
/// cancelled.
pub async fn give_up(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "UPDATE account.withdrawals SET expired = prev_total IS NOT NULL,
            cancelled = prev_total IS NULL WHERE id = $1 AND status < 5",
    )
    .bind(id)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// The deposit of a log.
pub async fn deposit_at(
    connection: &mut PgConnection,
    block_hash: Hash32,
    log_index: u64,
) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar("SELECT id FROM account.deposits WHERE block_hash = $1 AND log_index = $2")
        .bind(PgHash(block_hash))
        .bind(log_index.cast_signed())
        .fetch_optional(connection)
        .await
}

/// Issuances that wait for funding.
pub async fn waiting(pool: &PgPool, hub_id: Uuid) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "SELECT id FROM account.operations WHERE hub_id = $1 AND outcome = 3 ORDER BY id",
    )
    .bind(hub_id)
    .fetch_all(pool)
    .await
}
