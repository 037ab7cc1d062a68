//! `account.withdrawals` as callers read them.

use hub_core::{Address, Amount, Hash32};
use runtime::pg::{PgAddress, PgAmount, PgHash};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

/// How far a withdrawal is. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i16)]
pub enum WithdrawalStatus {
    /// Taken from the balance, not signed yet.
    Requested = 1,
    /// A second person must approve.
    AwaitingApproval = 2,
    /// Signed, on its way to the chain.
    Submitted = 3,
    /// In a block.
    Confirming = 4,
    /// Paid for good.
    Completed = 5,
    /// Will not be paid; the money is back, or comes back.
    Failed = 6,
    /// Taken back by the caller.
    Cancelled = 7,
}

impl WithdrawalStatus {
    /// By their words in the API.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("requested", Self::Requested),
        ("awaiting_approval", Self::AwaitingApproval),
        ("submitted", Self::Submitted),
        ("confirming", Self::Confirming),
        ("completed", Self::Completed),
        ("failed", Self::Failed),
        ("cancelled", Self::Cancelled),
    ];

    /// Its word in the API.
    pub fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, status)| *status == self);
        found.map_or("requested", |(word, _)| word)
    }

    fn from_stored(stored: i16) -> sqlx::Result<Self> {
        let found = Self::WORDS
            .iter()
            .find(|(_, status)| *status as i16 == stored);
        let (_, status) = found
            .ok_or_else(|| sqlx::Error::Decode(format!("no withdrawal status {stored}").into()))?;
        Ok(*status)
    }
}

/// A withdrawal.
#[derive(Debug, Clone)]
pub struct Withdrawal {
    /// Its id, that of its operation.
    pub id: Uuid,
    /// Who ordered it.
    pub owner: Uuid,
    /// The account.
    pub account: Uuid,
    /// How much.
    pub amount: Amount,
    /// Who is paid.
    pub to: Address,
    /// How far it is.
    pub status: WithdrawalStatus,
    /// Whether the caller took it back; it is `cancelled` once the money is back.
    pub cancelled: bool,
    /// The chain transaction.
    pub tx_hash: Option<Hash32>,
    /// Blocks on top, its own counted.
    pub confirmations: u64,
    /// Why it failed.
    pub failure: Option<String>,
    /// The caller's own reference.
    pub client_ref: Option<String>,
    /// Counts the changes of the row.
    pub version: u64,
    /// When it was accepted.
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
    pub status: Option<WithdrawalStatus>,
    /// This one.
    pub id: Option<Uuid>,
    /// With this reference.
    pub client_ref: Option<String>,
    /// Older than this one.
    pub before: Option<Uuid>,
    /// At most so many.
    pub limit: i64,
}

const LIST: &str = "
    SELECT w.id, a.owner, w.account_id, w.amount, w.to_address, w.status, w.cancelled,
           w.tx_hash, w.confirmations, w.failure, o.client_ref, w.version, w.created_at, w.updated_at
    FROM account.withdrawals w
    JOIN account.accounts a ON a.id = w.account_id
    JOIN account.operations o ON o.id = w.id
    WHERE ($1::uuid IS NULL OR a.owner = $1) AND ($2::uuid IS NULL OR w.account_id = $2)
      AND ($3::smallint IS NULL OR w.status = $3) AND ($4::uuid IS NULL OR w.id = $4)
      AND ($5::text IS NULL OR o.client_ref = $5) AND ($6::uuid IS NULL OR w.id < $6)
    ORDER BY w.id DESC LIMIT $7";

/// Withdrawals, newest first.
pub async fn list(pool: &PgPool, filter: &Filter) -> sqlx::Result<Vec<Withdrawal>> {
    let rows = sqlx::query(LIST)
        .bind(filter.owner)
        .bind(filter.account)
        .bind(filter.status.map(|status| status as i16))
        .bind(filter.id)
        .bind(filter.client_ref.as_deref())
        .bind(filter.before)
        .bind(filter.limit)
        .fetch_all(pool)
        .await?;
    rows.iter().map(withdrawal_of).collect()
}

fn withdrawal_of(row: &PgRow) -> sqlx::Result<Withdrawal> {
    Ok(Withdrawal {
        id: row.try_get("id")?,
        owner: row.try_get("owner")?,
        account: row.try_get("account_id")?,
        amount: row.try_get::<PgAmount, _>("amount")?.0,
        to: row.try_get::<PgAddress, _>("to_address")?.0,
        status: WithdrawalStatus::from_stored(row.try_get("status")?)?,
        cancelled: row.try_get("cancelled")?,
        tx_hash: row
            .try_get::<Option<PgHash>, _>("tx_hash")?
            .map(|hash| hash.0),
        confirmations: row.try_get::<i64, _>("confirmations")?.cast_unsigned(),
        failure: row.try_get("failure")?,
        client_ref: row.try_get("client_ref")?,
        version: row.try_get::<i64, _>("version")?.cast_unsigned(),
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
