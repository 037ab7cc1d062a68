//! `account.closings`: closes of channels, from the first sight or order to the next epoch.

use super::heads::{ChannelStatus, Head};
use hub_core::{Amount, ChannelId, Hash32, State};
use runtime::pg::{PgAmount, PgChannelId, PgHash};
use sqlx::{PgConnection, PgPool};
use std::cmp::Ordering::{self, Equal, Greater};
use time::OffsetDateTime;
use uuid::Uuid;

/// A close that the chain shows.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// The channel.
    pub channel: ChannelId,
    /// The epoch.
    pub epoch: u32,
    /// The transaction.
    pub tx_hash: Hash32,
}

/// Locks the head of a channel, and says where an epoch lies beside its own; nothing when the
/// channel is none of ours. Heads are locked before everything else, as the engine does.
async fn lock(
    connection: &mut PgConnection,
    channel: ChannelId,
    epoch: u32,
) -> sqlx::Result<Option<Ordering>> {
    let head: Option<i32> =
        sqlx::query_scalar("SELECT epoch FROM account.heads WHERE channel_id = $1 FOR UPDATE")
            .bind(PgChannelId(channel))
            .fetch_optional(connection)
            .await?;
    Ok(head.map(|head| epoch.cmp(&head.cast_unsigned())))
}

/// Notes a close that was seen: from now on nothing is signed in the channel. A close of a later
/// epoch than the head's is kept until that begins.
pub async fn seen(
    connection: &mut PgConnection,
    close: &Seen,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let Some(place @ (Equal | Greater)) = lock(connection, close.channel, close.epoch).await?
    else {
        return Ok(());
    };
    let known = sqlx::query(
        "UPDATE account.closings SET status = 3, tx_hash = $3, updated_at = $4
         WHERE channel_id = $1 AND epoch = $2 AND status IN (1, 2, 3)",
    )
    .bind(PgChannelId(close.channel))
    .bind(close.epoch.cast_signed())
    .bind(PgHash(close.tx_hash))
    .bind(now)
    .execute(&mut *connection)
    .await?;
    if known.rows_affected() == 0 {
        insert(connection, close, 3, None, now).await?;
    }
    if place == Equal {
        set_closing(connection, close.channel).await?;
    }
    Ok(())
}

async fn set_closing(connection: &mut PgConnection, channel: ChannelId) -> sqlx::Result<()> {
    sqlx::query("UPDATE account.heads SET status = 4 WHERE channel_id = $1")
        .bind(PgChannelId(channel))
        .execute(connection)
        .await
        .map(drop)
}

async fn insert(
    connection: &mut PgConnection,
    close: &Seen,
    status: i16,
    paid: Option<Amount>,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO account.closings (id, hub_id, account_id, channel_id, epoch, status,
            correlation_id, tx_hash, paid, created_at, updated_at)
         SELECT $1, h.hub_id, h.account_id, h.channel_id, $3, $4, $5, $6, $7, $8, $8
         FROM account.heads h WHERE h.channel_id = $2",
    )
    .bind(Uuid::now_v7())
    .bind(PgChannelId(close.channel))
    .bind(close.epoch.cast_signed())
    .bind(status)
    .bind(format!("chain:{}", close.tx_hash))
    .bind(PgHash(close.tx_hash))
    .bind(paid.map(PgAmount))
    .bind(now)
    .execute(connection)
    .await
    .map(drop)
}

/// Takes back a close whose block was orphaned. One that was ordered here is still on its way.
pub async fn orphaned(
    connection: &mut PgConnection,
    close: &Seen,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let Some(place @ (Equal | Greater)) = lock(connection, close.channel, close.epoch).await?
    else {
        return Ok(());
    };
    sqlx::query(
        "UPDATE account.closings
         SET status = CASE WHEN state_hash IS NULL THEN 5 ELSE 2 END, tx_hash = NULL, updated_at = $4
         WHERE channel_id = $1 AND epoch = $2 AND status = 3 AND tx_hash = $3",
    )
    .bind(PgChannelId(close.channel))
    .bind(close.epoch.cast_signed())
    .bind(PgHash(close.tx_hash))
    .bind(now)
    .execute(&mut *connection)
    .await?;
    if place == Equal {
        set_free(connection, close.channel).await?;
    }
    Ok(())
}

/// A locked channel without a close goes back to what its account says.
async fn set_free(connection: &mut PgConnection, channel: ChannelId) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE account.heads h
         SET status = CASE a.status WHEN 2 THEN 2 WHEN 1 THEN 1 ELSE 3 END
         FROM account.accounts a
         WHERE h.channel_id = $1 AND a.id = h.account_id AND NOT EXISTS (
            SELECT 1 FROM account.closings c
            WHERE c.channel_id = h.channel_id AND c.epoch = h.epoch AND c.status IN (1, 2, 3))",
    )
    .bind(PgChannelId(channel))
    .execute(connection)
    .await
    .map(drop)
}

/// Notes a settlement that is final, of the head's epoch or of a later one. What was on its way
/// between balance and chain has been settled with it: orders that were not paid, and deposits
/// that were in no balance.
pub async fn settled(
    connection: &mut PgConnection,
    close: &Seen,
    paid: Amount,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let Some(place @ (Equal | Greater)) = lock(connection, close.channel, close.epoch).await?
    else {
        return Ok(());
    };
    let known = sqlx::query(
        "UPDATE account.closings SET status = 4, tx_hash = $3, paid = $4, updated_at = $5
         WHERE channel_id = $1 AND epoch = $2 AND status IN (1, 2, 3)",
    )
    .bind(PgChannelId(close.channel))
    .bind(close.epoch.cast_signed())
    .bind(PgHash(close.tx_hash))
    .bind(PgAmount(paid))
    .bind(now)
    .execute(&mut *connection)
    .await?;
    if known.rows_affected() == 0 {
        insert(connection, close, 4, Some(paid), now).await?;
    }
    if place == Equal {
        set_closing(connection, close.channel).await?;
    }
    sqlx::query(
        "UPDATE account.withdrawals
         SET status = 6, failure = 'settled', updated_at = $3, version = version + 1
         WHERE channel_id = $1 AND epoch = $2 AND status < 5",
    )
    .bind(PgChannelId(close.channel))
    .bind(close.epoch.cast_signed())
    .bind(now)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE account.deposits SET status = 5, updated_at = $3
         WHERE channel_id = $1 AND epoch = $2 AND status = 2",
    )
    .bind(PgChannelId(close.channel))
    .bind(close.epoch.cast_signed())
    .bind(now)
    .execute(connection)
    .await
    .map(drop)
}

/// A settled epoch whose successor has not begun here.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// The close.
    pub closing: Uuid,
    /// The account.
    pub account: Uuid,
    /// The epoch that ended.
    pub epoch: u32,
    /// The one to begin: behind the last that is settled.
    pub next: u32,
    /// What the account had in it, in minor units.
    pub balance: Amount,
}

/// Settled epochs of a hub whose successors have not begun, oldest first; without those of
/// channels that are being closed again already.
pub async fn ended(pool: &PgPool, hub_id: Uuid, limit: i64) -> sqlx::Result<Vec<Ended>> {
    let rows: Vec<(Uuid, Uuid, i32, i32, PgAmount)> = sqlx::query_as(
        "SELECT c.id, c.account_id, c.epoch,
            (SELECT max(l.epoch) + 1 FROM account.closings l
             WHERE l.channel_id = c.channel_id AND l.status = 4),
            h.user_balance + h.user_locked
         FROM account.closings c
         JOIN account.heads h ON h.channel_id = c.channel_id AND h.epoch = c.epoch
         WHERE c.hub_id = $1 AND c.status = 4 AND c.operation_id IS NULL AND NOT EXISTS (
            SELECT 1 FROM account.closings l
            WHERE l.channel_id = c.channel_id AND l.epoch > c.epoch AND l.status = 3)
         ORDER BY c.id LIMIT $2",
    )
    .bind(hub_id)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(closing, account, epoch, next, balance)| Ended {
            closing,
            account,
            epoch: epoch.cast_unsigned(),
            next: next.cast_unsigned(),
            balance: balance.0,
        })
        .collect())
}

/// The step of a channel into its next epoch.
#[derive(Debug, Clone, Copy)]
pub struct Reopening {
    /// The close that ended the last one.
    pub closing: Uuid,
    /// The operation that is posted with it.
    pub operation: Uuid,
    /// The head as the batch was computed from it.
    pub from: Head,
    /// The first co-signed state of the new epoch.
    pub to: State,
    /// Its hash.
    pub to_hash: Hash32,
    /// The newest operation of the account from now on.
    pub newest: Option<Uuid>,
}

/// Begins an epoch: the head, if it still is what the batch was computed from, and the close.
/// Returns how many rows were changed; anything but two must be rolled back.
pub async fn reopen(
    connection: &mut PgConnection,
    step: &Reopening,
    batch: Uuid,
) -> sqlx::Result<u64> {
    let (from, to) = (&step.from.state, &step.to);
    // First and by itself: a statement that waits for a freeze would see the account as it was
    // before, and begin the epoch open.
    lock(connection, from.channel_id, from.epoch).await?;
    let heads = sqlx::query(
        "UPDATE account.heads h
         SET epoch = $8, version = $9, ack_version = $10, hub_balance = $11, user_balance = $12,
            hub_locked = 0, user_locked = 0, withdrawn = 0, deposited = 0, credited = 0,
            locks_hash = $13, transfers_root = $14, state_hash = $15, batch = $16,
            newest = $17,
            status = CASE a.status WHEN 2 THEN 2 WHEN 1 THEN 1 ELSE 3 END
         FROM account.accounts a
         WHERE h.channel_id = $1 AND a.id = h.account_id AND h.status = $2 AND h.epoch = $3
           AND h.version = $4 AND h.state_hash = $5 AND h.user_balance = $6 AND h.hub_balance = $7",
    )
    .bind(PgChannelId(from.channel_id))
    .bind(ChannelStatus::Closing as i16)
    .bind(from.epoch.cast_signed())
    .bind(from.version.cast_signed())
    .bind(PgHash(step.from.state_hash))
    .bind(PgAmount(from.user_balance))
    .bind(PgAmount(from.hub_balance))
    .bind(to.epoch.cast_signed())
    .bind(to.version.cast_signed())
    .bind(to.ack_version.cast_signed())
    .bind(PgAmount(to.hub_balance))
    .bind(PgAmount(to.user_balance))
    .bind(PgHash(to.locks_hash))
    .bind(PgHash(to.transfers_root))
    .bind(PgHash(step.to_hash))
    .bind(batch)
    .bind(step.newest)
    .execute(&mut *connection)
    .await?;
    let closings = sqlx::query(
        "UPDATE account.closings SET operation_id = $2
         WHERE id = $1 AND status = 4 AND operation_id IS NULL",
    )
    .bind(step.closing)
    .bind(step.operation)
    .execute(&mut *connection)
    .await?;
    pass_over(connection, step).await?;
    Ok(heads.rows_affected() + closings.rows_affected())
}

/// Epochs between the two were opened and settled by others: nothing was ever posted in them. The
/// new one may be closed already; what was noted before the head was locked here says so.
async fn pass_over(connection: &mut PgConnection, step: &Reopening) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE account.closings SET operation_id = $4
         WHERE channel_id = $1 AND epoch > $2 AND epoch < $3 AND status = 4
           AND operation_id IS NULL",
    )
    .bind(PgChannelId(step.to.channel_id))
    .bind(step.from.state.epoch.cast_signed())
    .bind(step.to.epoch.cast_signed())
    .bind(step.operation)
    .execute(&mut *connection)
    .await?;
    // A statement of its own: it sees what was committed while the head was waited for.
    sqlx::query(
        "UPDATE account.heads h SET status = 4
         WHERE h.channel_id = $1 AND EXISTS (SELECT 1 FROM account.closings c
            WHERE c.channel_id = h.channel_id AND c.epoch = h.epoch AND c.status IN (3, 4))",
    )
    .bind(PgChannelId(step.to.channel_id))
    .execute(connection)
    .await
    .map(drop)
}

/// What came of an order to close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordered {
    /// It is ordered now.
    Now,
    /// It was before, or the channel is being closed already.
    Before,
    /// The account is closed, and nothing was deposited since: nothing is left to settle.
    Closed,
    /// The stored balance is not what both sides signed.
    Edited,
    /// There is no such channel.
    Unknown,
}

/// Who may close, and until when the worker may post the state.
#[derive(Debug, Clone)]
pub struct CloseOrder {
    /// The channel.
    pub channel: ChannelId,
    /// Whose accounts may be closed; `None` for everybody's.
    pub owner: Option<Uuid>,
    /// Unix seconds.
    pub valid_until: u64,
    /// For the logs.
    pub correlation_id: String,
}

/// Orders a close (P13): the head is locked, so that no batch is under way with it, the state is
/// fixed, and from the commit on nothing is signed in the channel.
pub async fn order(
    connection: &mut PgConnection,
    order: &CloseOrder,
    now: OffsetDateTime,
) -> sqlx::Result<Ordered> {
    sqlx::query("SELECT 1 FROM account.heads WHERE channel_id = $1 FOR UPDATE")
        .bind(PgChannelId(order.channel))
        .execute(&mut *connection)
        .await?;
    let account: Option<Uuid> = sqlx::query_scalar(
        "SELECT a.id FROM account.heads h JOIN account.accounts a ON a.id = h.account_id
         WHERE h.channel_id = $1 AND ($2::uuid IS NULL OR a.owner = $2)",
    )
    .bind(PgChannelId(order.channel))
    .bind(order.owner)
    .fetch_optional(&mut *connection)
    .await?;
    let heads = super::heads::load(connection, &[order.channel]).await?;
    let (Some(_), Some(head)) = (account, heads.first()) else {
        return Ok(Ordered::Unknown);
    };
    if !head.is_intact() {
        return Ok(Ordered::Edited);
    }
    match head.status {
        ChannelStatus::Open | ChannelStatus::Frozen => {}
        ChannelStatus::Closing => return Ok(Ordered::Before),
        // A deposit to a closed account is in no balance; only a settlement pays it out.
        ChannelStatus::Closed if head.facts.final_deposits > head.state.deposited => {}
        ChannelStatus::Closed => return Ok(Ordered::Closed),
    }
    sqlx::query(
        "INSERT INTO account.closings (id, hub_id, account_id, channel_id, epoch, status, state_hash,
            valid_until, correlation_id, created_at, updated_at)
         SELECT $1, h.hub_id, h.account_id, h.channel_id, $3, 1, $4, $5, $6, $7, $7
         FROM account.heads h WHERE h.channel_id = $2",
    )
    .bind(Uuid::now_v7())
    .bind(PgChannelId(order.channel))
    .bind(head.state.epoch.cast_signed())
    .bind(PgHash(head.state_hash))
    .bind(order.valid_until.cast_signed())
    .bind(&order.correlation_id)
    .bind(now)
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE account.heads SET status = 4 WHERE channel_id = $1")
        .bind(PgChannelId(order.channel))
        .execute(connection)
        .await?;
    Ok(Ordered::Now)
}

/// An ordered close that is not signed and sent.
#[derive(Debug, Clone)]
pub struct Unsent {
    /// The close.
    pub id: Uuid,
    /// The account.
    pub account: Uuid,
    /// The channel.
    pub channel: ChannelId,
    /// The state to post.
    pub state_hash: Hash32,
    /// Last second at which it may be posted.
    pub valid_until: u64,
    /// For the logs.
    pub correlation_id: String,
}

/// Ordered closes of a hub that are not sent, oldest first.
pub async fn unsent(pool: &PgPool, hub_id: Uuid, limit: i64) -> sqlx::Result<Vec<Unsent>> {
    let rows: Vec<(Uuid, Uuid, PgChannelId, PgHash, i64, String)> = sqlx::query_as(
        "SELECT id, account_id, channel_id, state_hash, valid_until, correlation_id
         FROM account.closings WHERE hub_id = $1 AND status = 1 ORDER BY id LIMIT $2",
    )
    .bind(hub_id)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Unsent {
            id: row.0,
            account: row.1,
            channel: row.2.0,
            state_hash: row.3.0,
            valid_until: row.4.cast_unsigned(),
            correlation_id: row.5,
        })
        .collect())
}

/// Notes that a close is on its way; one row, or none when it was before.
pub async fn sent(
    connection: &mut PgConnection,
    id: Uuid,
    now: OffsetDateTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "UPDATE account.closings SET status = 2, updated_at = $2 WHERE id = $1 AND status = 1",
    )
    .bind(id)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Closes of a hub that nobody can post any more: their time is past at a final block, and they
/// were not seen. Returns their channels and epochs.
pub async fn lapsed(pool: &PgPool, hub_id: Uuid) -> sqlx::Result<Vec<(ChannelId, u32)>> {
    let rows: Vec<(PgChannelId, i32)> = sqlx::query_as(
        "SELECT c.channel_id, c.epoch FROM account.closings c
         JOIN account.chain_marks m ON m.hub_id = c.hub_id
         WHERE c.hub_id = $1 AND c.status IN (1, 2) AND c.valid_until < m.final_timestamp",
    )
    .bind(hub_id)
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.0.0, row.1.cast_unsigned()))
        .collect())
}

/// Gives such a channel free again.
pub async fn lapse(
    connection: &mut PgConnection,
    channel: ChannelId,
    epoch: u32,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    if lock(connection, channel, epoch).await? != Some(Equal) {
        return Ok(());
    }
    sqlx::query(
        "UPDATE account.closings c SET status = 5, updated_at = $3
         FROM account.chain_marks m
         WHERE c.channel_id = $1 AND c.epoch = $2 AND c.status IN (1, 2)
           AND m.hub_id = c.hub_id AND c.valid_until < m.final_timestamp",
    )
    .bind(PgChannelId(channel))
    .bind(epoch.cast_signed())
    .bind(now)
    .execute(&mut *connection)
    .await?;
    set_free(connection, channel).await
}
