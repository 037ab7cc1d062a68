//! `account.accounts` as callers see them, and what callers may change of them.

use super::RowCount;
use super::heads::ChannelStatus;
use hub_core::{Address, Amount, ChannelId, ChannelParams, Epoch, Hash32, Version};
use runtime::pg::{PgAddress, PgAmount, PgChannelId, PgHash, PgParams};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

/// What an account may do. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum AccountStatus {
    /// Everything.
    Active = 1,
    /// Be read; no money moves.
    Frozen = 2,
    /// Be read; its channel is being closed on chain.
    Closing = 3,
    /// Be read.
    Closed = 4,
}

impl AccountStatus {
    /// By their words in the API.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("active", Self::Active),
        ("frozen", Self::Frozen),
        ("closing", Self::Closing),
        ("closed", Self::Closed),
    ];

    /// Its word in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Frozen => "frozen",
            Self::Closing => "closing",
            Self::Closed => "closed",
        }
    }

    fn from_stored(stored: i16) -> Self {
        match stored {
            1 => Self::Active,
            2 => Self::Frozen,
            3 => Self::Closing,
            _ => Self::Closed,
        }
    }
}

/// The allocation of a channel in short.
#[derive(Debug, Clone)]
pub struct Balance {
    /// The channel.
    pub channel: ChannelId,
    /// Its life.
    pub epoch: Epoch,
    /// The state's version.
    pub version: Version,
    /// The state's hash.
    pub state_hash: Hash32,
    /// User balance.
    pub available: Amount,
    /// Locks that the user pays.
    pub user_locked: Amount,
    /// Locks that the hub pays.
    pub hub_locked: Amount,
    /// Hub balance.
    pub receivable: Amount,
    /// What left for withdrawals in this epoch.
    pub withdrawn: Amount,
    /// Seen on chain, not credited yet.
    pub pending_in: Amount,
    /// What the channel's row says about itself.
    pub channel_status: i16,
}

/// An account with its balance.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub owner: Uuid,
    /// Its hub.
    pub hub_id: Uuid,
    /// The owner's own name for it.
    pub external_id: Option<String>,
    /// Asset code.
    pub asset: String,
    /// What it may do.
    pub status: AccountStatus,
    /// Where payouts go unless an order says otherwise.
    pub chain_address: Option<Address>,
    /// Its channel's parameters.
    pub params: ChannelParams,
    /// The caller's own data.
    pub metadata: Value,
    /// Counts the changes of this row.
    pub version: u64,
    /// When it was opened.
    pub created_at: OffsetDateTime,
    /// Its balance.
    pub balance: Balance,
}

/// Which account, and for whom: `None` is for everybody.
#[derive(Debug, Clone, Copy)]
pub struct Lookup {
    /// The account.
    pub id: Uuid,
    /// Whose it must be.
    pub owner: Option<Uuid>,
}

/// What a list of accounts is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Whose.
    pub owner: Option<Uuid>,
    /// With this name.
    pub external_id: Option<String>,
    /// In this status.
    pub status: Option<AccountStatus>,
    /// Opened before this one.
    pub before: Option<Uuid>,
    /// At most so many.
    pub limit: i64,
}

const ONE: &str = "
    SELECT a.id, a.owner, a.hub_id, a.external_id, a.asset, a.status, a.chain_address, a.params, a.metadata,
           a.version, a.created_at, h.channel_id, h.epoch, h.version AS state_version, h.state_hash,
           h.user_balance, h.hub_balance, h.user_locked, h.hub_locked, h.withdrawn, h.status AS channel_status,
           greatest(f.seen_deposits - h.deposited, 0) AS pending_in
    FROM account.accounts a
    JOIN account.heads h ON h.channel_id = a.channel_id
    LEFT JOIN account.channel_facts f ON f.channel_id = h.channel_id AND f.epoch = h.epoch
    WHERE a.id = $1 AND ($2::uuid IS NULL OR a.owner = $2)";

const MANY: &str = "
    SELECT a.id, a.owner, a.hub_id, a.external_id, a.asset, a.status, a.chain_address, a.params, a.metadata,
           a.version, a.created_at, h.channel_id, h.epoch, h.version AS state_version, h.state_hash,
           h.user_balance, h.hub_balance, h.user_locked, h.hub_locked, h.withdrawn, h.status AS channel_status,
           greatest(f.seen_deposits - h.deposited, 0) AS pending_in
    FROM account.accounts a
    JOIN account.heads h ON h.channel_id = a.channel_id
    LEFT JOIN account.channel_facts f ON f.channel_id = h.channel_id AND f.epoch = h.epoch
    WHERE a.id = ANY($1) AND ($2::uuid IS NULL OR a.owner = $2)
    ORDER BY a.id";

const LIST: &str = "
    SELECT a.id, a.owner, a.hub_id, a.external_id, a.asset, a.status, a.chain_address, a.params, a.metadata,
           a.version, a.created_at, h.channel_id, h.epoch, h.version AS state_version, h.state_hash,
           h.user_balance, h.hub_balance, h.user_locked, h.hub_locked, h.withdrawn, h.status AS channel_status,
           greatest(f.seen_deposits - h.deposited, 0) AS pending_in
    FROM account.accounts a
    JOIN account.heads h ON h.channel_id = a.channel_id
    LEFT JOIN account.channel_facts f ON f.channel_id = h.channel_id AND f.epoch = h.epoch
    WHERE ($1::uuid IS NULL OR a.owner = $1) AND ($2::text IS NULL OR a.external_id = $2)
      AND ($3::smallint IS NULL OR a.status = $3) AND ($4::uuid IS NULL OR a.id < $4)
    ORDER BY a.id DESC LIMIT $5";

/// One account.
pub async fn get(pool: &PgPool, wanted: Lookup) -> sqlx::Result<Option<Account>> {
    let row = sqlx::query(ONE)
        .bind(wanted.id)
        .bind(wanted.owner)
        .fetch_optional(pool)
        .await?;
    row.as_ref().map(account_of).transpose()
}

/// Some accounts, in id order; unknown ones are left out.
pub async fn get_many(
    pool: &PgPool,
    ids: &[Uuid],
    owner: Option<Uuid>,
) -> sqlx::Result<Vec<Account>> {
    let rows = sqlx::query(MANY)
        .bind(ids)
        .bind(owner)
        .fetch_all(pool)
        .await?;
    rows.iter().map(account_of).collect()
}

/// Accounts, newest first.
pub async fn list(pool: &PgPool, filter: &Filter) -> sqlx::Result<Vec<Account>> {
    let rows = sqlx::query(LIST)
        .bind(filter.owner)
        .bind(filter.external_id.as_deref())
        .bind(filter.status.map(|status| status as i16))
        .bind(filter.before)
        .bind(filter.limit)
        .fetch_all(pool)
        .await?;
    rows.iter().map(account_of).collect()
}

fn account_of(row: &PgRow) -> sqlx::Result<Account> {
    let amount = |column| row.try_get::<PgAmount, _>(column).map(|value| value.0);
    let pending_in: Option<PgAmount> = row.try_get("pending_in")?;
    let chain_address: Option<PgAddress> = row.try_get("chain_address")?;
    Ok(Account {
        id: row.try_get("id")?,
        owner: row.try_get("owner")?,
        hub_id: row.try_get("hub_id")?,
        external_id: row.try_get("external_id")?,
        asset: row.try_get("asset")?,
        status: AccountStatus::from_stored(row.try_get("status")?),
        chain_address: chain_address.map(|address| address.0),
        params: row.try_get::<PgParams, _>("params")?.0,
        metadata: row.try_get("metadata")?,
        version: row.try_get::<i64, _>("version")?.cast_unsigned(),
        created_at: row.try_get("created_at")?,
        balance: Balance {
            channel: row.try_get::<PgChannelId, _>("channel_id")?.0,
            epoch: row.try_get::<i32, _>("epoch")?.cast_unsigned(),
            version: row.try_get::<i64, _>("state_version")?.cast_unsigned(),
            state_hash: row.try_get::<PgHash, _>("state_hash")?.0,
            available: amount("user_balance")?,
            user_locked: amount("user_locked")?,
            hub_locked: amount("hub_locked")?,
            receivable: amount("hub_balance")?,
            withdrawn: amount("withdrawn")?,
            pending_in: pending_in.map_or(Amount::ZERO, |value| value.0),
            channel_status: row.try_get("channel_status")?,
        },
    })
}

/// What stands in a locked row, as far as it decides about a change.
#[derive(Debug, Clone, Copy)]
pub struct Locked {
    /// What the account may do.
    pub status: AccountStatus,
    /// Counts the changes of the row.
    pub version: u64,
    /// Its channel.
    pub channel: ChannelId,
    /// Whether the channel holds nothing of the user's and no withdrawal is under way.
    pub empty: bool,
}

/// Locks an account's head and then its row, in the order of the engine, until the end of the
/// transaction: what is decided about the account then holds for every later batch.
pub async fn lock(connection: &mut PgConnection, wanted: Lookup) -> sqlx::Result<Option<Locked>> {
    let head = sqlx::query(
        "SELECT h.channel_id, h.user_balance + h.user_locked + h.hub_locked = 0 AS empty
         FROM account.heads h JOIN account.accounts a ON a.channel_id = h.channel_id
         WHERE a.id = $1 AND ($2::uuid IS NULL OR a.owner = $2) FOR UPDATE OF h",
    )
    .bind(wanted.id)
    .bind(wanted.owner)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(head) = head else {
        return Ok(None);
    };
    let row = sqlx::query(
        "SELECT a.status, a.version,
            EXISTS (SELECT 1 FROM account.withdrawals w WHERE w.account_id = a.id AND w.status < 5) AS paying,
            EXISTS (SELECT 1 FROM account.deposits d WHERE d.account_id = a.id AND d.status < 3) AS receiving,
            EXISTS (SELECT 1 FROM account.operations o
                WHERE o.hub_id = a.hub_id AND o.outcome = 3 AND o.payee = a.id) AS awaiting
         FROM account.accounts a WHERE a.id = $1 FOR UPDATE",
    )
    .bind(wanted.id)
    .fetch_one(connection)
    .await?;
    let under_way = row.try_get::<bool, _>("paying")?
        || row.try_get::<bool, _>("receiving")?
        || row.try_get::<bool, _>("awaiting")?;
    Ok(Some(Locked {
        status: AccountStatus::from_stored(row.try_get("status")?),
        version: row.try_get::<i64, _>("version")?.cast_unsigned(),
        channel: head.try_get::<PgChannelId, _>("channel_id")?.0,
        empty: head.try_get::<bool, _>("empty")? && !under_way,
    }))
}

/// Changes the status of a locked account and of its channel.
pub async fn set_status(
    connection: &mut PgConnection,
    id: Uuid,
    channel: ChannelId,
    status: AccountStatus,
) -> anyhow::Result<()> {
    let channel_status = match status {
        AccountStatus::Active => ChannelStatus::Open,
        AccountStatus::Frozen => ChannelStatus::Frozen,
        AccountStatus::Closing | AccountStatus::Closed => ChannelStatus::Closed,
    };
    let heads = sqlx::query(
        "UPDATE account.heads SET status = CASE status WHEN 4 THEN 4 ELSE $2 END WHERE channel_id = $1",
    )
        .bind(PgChannelId(channel))
        .bind(channel_status as i16)
        .execute(&mut *connection)
        .await?;
    RowCount::check("channel status", 1, heads.rows_affected())?;
    let accounts =
        sqlx::query("UPDATE account.accounts SET status = $2, version = version + 1 WHERE id = $1")
            .bind(id)
            .bind(status as i16)
            .execute(connection)
            .await?;
    RowCount::check("account status", 1, accounts.rows_affected())?;
    Ok(())
}

/// What a caller may change; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    /// The owner's own name for it.
    pub external_id: Option<String>,
    /// The caller's own data, as a whole.
    pub metadata: Option<Value>,
}

/// Changes a locked account.
pub async fn patch(connection: &mut PgConnection, id: Uuid, patch: &Patch) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "UPDATE account.accounts SET external_id = coalesce($2, external_id),
            metadata = coalesce($3, metadata), version = version + 1
         WHERE id = $1",
    )
    .bind(id)
    .bind(patch.external_id.as_deref())
    .bind(patch.metadata.as_ref())
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
