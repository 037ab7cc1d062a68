//! `account.deposits` as callers read them.

use hub_core::{Amount, Hash32};
use runtime::pg::{PgAmount, PgHash};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

/// How far a deposit is. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum DepositStatus {
    /// In a block that may still be orphaned.
    Seen = 1,
    /// In a final block; about to be credited.
    Final = 2,
    /// Part of the balance.
    Credited = 3,
    /// Its block was orphaned.
    Orphaned = 4,
    /// It was in no balance when its epoch ended: the settlement dealt with it.
    Settled = 5,
}

impl DepositStatus {
    /// By their words in the API.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("seen", Self::Seen),
        ("final", Self::Final),
        ("credited", Self::Credited),
        ("orphaned", Self::Orphaned),
        ("settled", Self::Settled),
    ];

    /// Its word in the API.
    pub fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, status)| *status == self);
        found.map_or("seen", |(word, _)| word)
    }
}

/// A deposit.
#[derive(Debug, Clone)]
pub struct Deposit {
    /// Its id.
    pub id: Uuid,
    /// The account.
    pub account: Uuid,
    /// How much came in.
    pub amount: Amount,
    /// How far it is.
    pub status: DepositStatus,
    /// The block.
    pub block: u64,
    /// The transaction.
    pub tx_hash: Hash32,
    /// The log in its block.
    pub log_index: u64,
    /// When it was first seen.
    pub created_at: OffsetDateTime,
    /// When it last changed.
    pub updated_at: OffsetDateTime,
}

/// What a list is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Whose accounts.
    pub owner: Option<Uuid>,
    /// Of this account.
    pub account: Option<Uuid>,
    /// This far.
    pub status: Option<DepositStatus>,
    /// This one.
    pub id: Option<Uuid>,
    /// Older than this one.
    pub before: Option<Uuid>,
    /// At most so many.
    pub limit: i64,
}

const LIST: &str = "
    SELECT d.id, d.account_id, d.amount, d.status, d.block, d.tx_hash, d.log_index, d.created_at, d.updated_at
    FROM account.deposits d JOIN account.accounts a ON a.id = d.account_id
    WHERE ($1::uuid IS NULL OR a.owner = $1) AND ($2::uuid IS NULL OR d.account_id = $2)
      AND ($3::smallint IS NULL OR d.status = $3) AND ($4::uuid IS NULL OR d.id = $4)
      AND ($5::uuid IS NULL OR d.id < $5)
    ORDER BY d.id DESC LIMIT $6";

/// Deposits, newest first.
pub async fn list(pool: &PgPool, filter: &Filter) -> sqlx::Result<Vec<Deposit>> {
    let rows = sqlx::query(LIST)
        .bind(filter.owner)
        .bind(filter.account)
        .bind(filter.status.map(|status| status as i16))
        .bind(filter.id)
        .bind(filter.before)
        .bind(filter.limit)
        .fetch_all(pool)
        .await?;
    rows.iter().map(deposit_of).collect()
}

fn deposit_of(row: &PgRow) -> sqlx::Result<Deposit> {
    let stored: i16 = row.try_get("status")?;
    let status = DepositStatus::WORDS
        .iter()
        .find(|(_, status)| *status as i16 == stored)
        .ok_or_else(|| sqlx::Error::Decode(format!("no deposit status {stored}").into()))?;
    Ok(Deposit {
        id: row.try_get("id")?,
        account: row.try_get("account_id")?,
        amount: row.try_get::<PgAmount, _>("amount")?.0,
        status: status.1,
        block: row.try_get::<i64, _>("block")?.cast_unsigned(),
        tx_hash: row.try_get::<PgHash, _>("tx_hash")?.0,
        log_index: row.try_get::<i64, _>("log_index")?.cast_unsigned(),
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

/// What had been seen and was in no balance of an account's deposits at a time: what was credited,
/// settled or orphaned later still waited then.
pub async fn pending_at(pool: &PgPool, account: Uuid, at: OffsetDateTime) -> sqlx::Result<Amount> {
    let sum: PgAmount = sqlx::query_scalar(
        "SELECT coalesce(sum(d.amount), 0) FROM account.deposits d
         WHERE d.account_id = $1 AND d.created_at <= $2 AND (d.status < 3 OR d.updated_at > $2)",
    )
    .bind(account)
    .bind(at)
    .fetch_one(pool)
    .await?;
    Ok(sum.0)
}
