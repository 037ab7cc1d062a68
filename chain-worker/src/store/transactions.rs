//! `chain.transactions`, `chain.attempts`: what the worker signed and sent.

use super::{expect_rows, int, uint};
use chain::calls::Call;
use chain::{Fees, Receipt, Signed};
use hub_core::{Address, Amount, Hash32};
use runtime::pg::{PgAddress, PgAmount, PgHash};
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum Kind {
    /// A batch of withdrawals.
    Withdraw = 1,
    /// Funding of a vault.
    Fund = 2,
    /// Approval of the token.
    Approve = 3,
    /// Answers to stale closes.
    Answer = 4,
    /// Settlements.
    Settle = 5,
    /// Payouts that were due later.
    Claim = 6,
    /// Closes.
    Close = 7,
}

impl Kind {
    fn from_code(code: i16) -> Self {
        match code {
            1 => Self::Withdraw,
            2 => Self::Fund,
            4 => Self::Answer,
            5 => Self::Settle,
            6 => Self::Claim,
            7 => Self::Close,
            _ => Self::Approve,
        }
    }

    /// For metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Withdraw => "withdraw",
            Self::Fund => "fund_vault",
            Self::Approve => "approve",
            Self::Answer => "answer",
            Self::Settle => "settle",
            Self::Claim => "claim",
            Self::Close => "close",
        }
    }
}

/// How far a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i16)]
pub enum Status {
    /// Its first form is stored.
    Signed = 1,
    /// A node took it.
    Broadcast = 2,
    /// It is in a block.
    Mined = 3,
    /// In a final block, with success.
    Final = 4,
    /// In a final block, reverted.
    Failed = 5,
    /// Another transaction has its nonce in a final block.
    Displaced = 6,
}

impl Status {
    /// From its stored number.
    pub fn from_code(code: i16) -> Self {
        match code {
            1 => Self::Signed,
            2 => Self::Broadcast,
            3 => Self::Mined,
            4 => Self::Final,
            5 => Self::Failed,
            _ => Self::Displaced,
        }
    }
}

/// A transaction to store.
#[derive(Debug)]
pub struct New<'a> {
    /// Who sends it.
    pub sender: Address,
    /// Its nonce.
    pub nonce: u64,
    /// What it is for.
    pub kind: Kind,
    /// What it calls.
    pub call: &'a Call,
    /// Tokens it moves into a vault.
    pub amount: Amount,
    /// From the oldest command it carries.
    pub correlation_id: &'a str,
}

/// The nonce after all that were ever given out; nothing before the first.
pub async fn next_nonce(db: impl PgExecutor<'_>, sender: Address) -> sqlx::Result<Option<u64>> {
    let newest: Option<i64> =
        sqlx::query_scalar("SELECT max(nonce) FROM chain.transactions WHERE sender = $1")
            .bind(PgAddress(sender))
            .fetch_one(db)
            .await?;
    Ok(newest.map(|nonce| uint(nonce) + 1))
}

/// Stores a transaction. Its primary key lets nobody give a nonce out twice.
pub async fn insert(db: &mut PgConnection, new: New<'_>, now: OffsetDateTime) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO chain.transactions (sender, nonce, kind, status, target, calldata, gas, amount,
            correlation_id, created_at, updated_at)
         VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9, $9)",
    )
    .bind(PgAddress(new.sender))
    .bind(int(new.nonce))
    .bind(new.kind as i16)
    .bind(PgAddress(new.call.to))
    .bind(&new.call.data)
    .bind(int(new.call.gas))
    .bind(PgAmount(new.amount))
    .bind(new.correlation_id)
    .bind(now)
    .execute(db)
    .await
    .map(drop)
}

/// Stores a signed form of a transaction, before it is broadcast.
pub async fn insert_attempt(
    db: &mut PgConnection,
    slot: (Address, u64),
    attempt: i32,
    signed: (&Signed, Fees),
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let (form, fees) = signed;
    sqlx::query(
        "INSERT INTO chain.attempts (sender, nonce, attempt, tx_hash, raw, max_fee, priority_fee, signed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(PgAddress(slot.0))
    .bind(int(slot.1))
    .bind(attempt)
    .bind(PgHash(form.hash))
    .bind(&form.raw)
    .bind(PgAmount(Amount::new(fees.max)))
    .bind(PgAmount(Amount::new(fees.priority.min(fees.max))))
    .bind(now)
    .execute(db)
    .await
    .map(drop)
}

/// A transaction that is not final yet.
#[derive(Debug, Clone)]
pub struct Open {
    /// Who sends it.
    pub sender: Address,
    /// Its nonce.
    pub nonce: u64,
    /// What it is for.
    pub kind: Kind,
    /// How far it is.
    pub status: Status,
    /// What it calls.
    pub call: Call,
    /// Tokens it moves into a vault.
    pub amount: Amount,
    /// From the oldest command it carries.
    pub correlation_id: String,
    /// The block it was last seen in.
    pub block: Option<(u64, Hash32)>,
    /// Its signed forms, oldest first; never empty.
    pub attempts: Vec<Attempt>,
}

/// A signed form of a transaction.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: i32,
    /// Its hash and bytes.
    pub signed: Signed,
    /// What it pays for gas.
    pub fees: Fees,
    /// When a node first took it.
    pub broadcast_at: Option<OffsetDateTime>,
}

#[derive(sqlx::FromRow)]
struct OpenRow {
    sender: PgAddress,
    nonce: i64,
    kind: i16,
    status: i16,
    target: PgAddress,
    calldata: Vec<u8>,
    gas: i64,
    amount: PgAmount,
    correlation_id: String,
    block: Option<i64>,
    block_hash: Option<PgHash>,
}

#[derive(sqlx::FromRow)]
struct AttemptRow {
    sender: PgAddress,
    nonce: i64,
    attempt: i32,
    tx_hash: PgHash,
    raw: Vec<u8>,
    max_fee: PgAmount,
    priority_fee: PgAmount,
    broadcast_at: Option<OffsetDateTime>,
}

/// All transactions that are not final, in nonce order.
pub async fn open(db: &mut PgConnection) -> sqlx::Result<Vec<Open>> {
    let rows: Vec<OpenRow> = sqlx::query_as(
        "SELECT sender, nonce, kind, status, target, calldata, gas, amount, correlation_id, block, block_hash
         FROM chain.transactions WHERE status < 4 ORDER BY sender, nonce",
    )
    .fetch_all(&mut *db)
    .await?;
    let mut attempts: Vec<AttemptRow> = sqlx::query_as(
        "SELECT a.sender, a.nonce, a.attempt, a.tx_hash, a.raw, a.max_fee, a.priority_fee, a.broadcast_at
         FROM chain.attempts a JOIN chain.transactions t ON t.sender = a.sender AND t.nonce = a.nonce
         WHERE t.status < 4 ORDER BY a.attempt",
    )
    .fetch_all(db)
    .await?;
    let open = rows.into_iter().map(|row| {
        let is_ours = |a: &mut AttemptRow| a.sender == row.sender && a.nonce == row.nonce;
        let own = attempts.extract_if(.., is_ours).map(attempt).collect();
        Open {
            sender: row.sender.0,
            nonce: uint(row.nonce),
            kind: Kind::from_code(row.kind),
            status: Status::from_code(row.status),
            call: Call {
                to: row.target.0,
                data: row.calldata,
                gas: uint(row.gas),
            },
            amount: row.amount.0,
            correlation_id: row.correlation_id,
            block: row.block.map(uint).zip(row.block_hash.map(|hash| hash.0)),
            attempts: own,
        }
    });
    Ok(open.collect())
}

fn attempt(row: AttemptRow) -> Attempt {
    Attempt {
        number: row.attempt,
        signed: Signed {
            hash: row.tx_hash.0,
            raw: row.raw,
        },
        fees: Fees {
            max: row.max_fee.0.units(),
            priority: row.priority_fee.0.units(),
        },
        broadcast_at: row.broadcast_at,
    }
}

/// How many transactions wait to be mined.
pub async fn count_unmined(db: impl PgExecutor<'_>) -> sqlx::Result<u64> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM chain.transactions WHERE status < 3")
        .fetch_one(db)
        .await?;
    Ok(uint(count))
}

/// A node took a form of a transaction; `true` when that is news.
pub async fn mark_broadcast(
    db: &mut PgConnection,
    slot: (Address, u64),
    attempt: i32,
    now: OffsetDateTime,
) -> sqlx::Result<bool> {
    let news = sqlx::query(
        "UPDATE chain.attempts SET broadcast_at = $4
         WHERE sender = $1 AND nonce = $2 AND attempt = $3 AND broadcast_at IS NULL",
    )
    .bind(PgAddress(slot.0))
    .bind(int(slot.1))
    .bind(attempt)
    .bind(now)
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "UPDATE chain.transactions SET status = 2, updated_at = $3
         WHERE sender = $1 AND nonce = $2 AND status = 1",
    )
    .bind(PgAddress(slot.0))
    .bind(int(slot.1))
    .bind(now)
    .execute(db)
    .await?;
    Ok(news.rows_affected() == 1)
}

/// Notes that one of its forms is in a block, and how sure that is.
pub async fn mark_mined(
    db: &mut PgConnection,
    slot: (Address, u64),
    status: Status,
    mined: (Hash32, &Receipt),
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let (hash, receipt) = mined;
    let done = sqlx::query(
        "UPDATE chain.transactions
         SET status = $3, tx_hash = $4, block = $5, block_hash = $6, updated_at = $7
         WHERE sender = $1 AND nonce = $2 AND status < 4",
    )
    .bind(PgAddress(slot.0))
    .bind(int(slot.1))
    .bind(status as i16)
    .bind(PgHash(hash))
    .bind(int(receipt.block))
    .bind(PgHash(receipt.block_hash))
    .bind(now)
    .execute(db)
    .await?;
    expect_rows("note a mined transaction", 1, done.rows_affected())
}

/// Notes that it is in no block (any more): waiting again, or displaced for good.
pub async fn mark_unmined(
    db: &mut PgConnection,
    slot: (Address, u64),
    status: Status,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let done = sqlx::query(
        "UPDATE chain.transactions
         SET status = $3, tx_hash = NULL, block = NULL, block_hash = NULL, updated_at = $4
         WHERE sender = $1 AND nonce = $2 AND status < 4",
    )
    .bind(PgAddress(slot.0))
    .bind(int(slot.1))
    .bind(status as i16)
    .bind(now)
    .execute(db)
    .await?;
    expect_rows("note an unmined transaction", 1, done.rows_affected())
}
