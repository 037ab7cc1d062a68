//! `chain.commands`: what the worker was asked to do.

use super::{expect_rows, int, uint};
use chain_messages::{CloseCommand, Command, WithdrawCommand};
use hub_core::{Address, Amount, Hash32};
use runtime::pg::{PgAddress, PgAmount, PgHash};
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;
use uuid::Uuid;

const WITHDRAW: i16 = 1;
const FUND: i16 = 2;
const CLOSE: i16 = 3;

const PLANNED: i16 = 1;
const SENT: i16 = 2;
const DONE: i16 = 3;
const FAILED: i16 = 4;

/// A command to store.
#[derive(Debug)]
pub struct NewCommand<'a> {
    /// The message it came in.
    pub id: Uuid,
    /// What is asked.
    pub command: &'a Command,
    /// What both sides signed of a withdrawal.
    pub digest: Option<Hash32>,
    /// From the request that caused it.
    pub correlation_id: &'a str,
}

/// Stores a command as planned; `false` when the same withdrawal is there already.
pub async fn insert(
    db: &mut PgConnection,
    new: NewCommand<'_>,
    now: OffsetDateTime,
) -> sqlx::Result<bool> {
    let (hub, kind, amount, withdraw) = match new.command {
        Command::FundVault { hub, needed } => (*hub, FUND, *needed, None),
        Command::Withdraw(command) => {
            let withdraw = &command.withdraw;
            (
                command.params.hub,
                WITHDRAW,
                withdraw.amount,
                Some(withdraw),
            )
        }
        Command::Close(command) => {
            let hub = command.proof.channel_params.hub;
            (hub, CLOSE, Amount::ZERO, None)
        }
    };
    let valid_until = match new.command {
        Command::FundVault { .. } => None,
        Command::Withdraw(command) => Some(command.withdraw.valid_until),
        Command::Close(command) => Some(command.intent.valid_until),
    };
    let done = sqlx::query(
        "INSERT INTO chain.commands (id, hub, kind, status, digest, request_id, amount, valid_until,
            body, correlation_id, not_before, created_at, updated_at)
         VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9, $10, $10, $10)
         ON CONFLICT (digest) DO NOTHING",
    )
    .bind(new.id)
    .bind(PgAddress(hub))
    .bind(kind)
    .bind(new.digest.map(PgHash))
    .bind(withdraw.map(|withdraw| PgHash(withdraw.request_id)))
    .bind(PgAmount(amount))
    .bind(valid_until.map(int))
    .bind(Json(new.command))
    .bind(new.correlation_id)
    .bind(now)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A planned withdrawal.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The command.
    pub id: Uuid,
    /// What to execute.
    pub withdraw: WithdrawCommand,
    /// From the request that caused it.
    pub correlation_id: String,
}

/// The oldest planned commands of a kind that are due.
async fn due(
    db: impl PgExecutor<'_>,
    hub: Address,
    kind: i16,
    limit: i64,
    now: OffsetDateTime,
) -> sqlx::Result<Vec<(Uuid, Json<Command>, String)>> {
    sqlx::query_as(
        // One that came just now may have been paid before, like those that `drop_paid` ends.
        "SELECT id, body, correlation_id FROM chain.commands
         WHERE hub = $1 AND kind = $2 AND status = 1 AND not_before <= $3 AND NOT EXISTS (
            SELECT 1 FROM chain.logs WHERE logs.request_id = commands.request_id
                AND logs.status = 2 AND logs.body ->> 'log' = 'withdrawn')
         ORDER BY id LIMIT $4",
    )
    .bind(PgAddress(hub))
    .bind(kind)
    .bind(now)
    .bind(limit)
    .fetch_all(db)
    .await
}

/// The oldest planned withdrawals of a hub that are due.
pub async fn due_withdrawals(
    db: impl PgExecutor<'_>,
    hub: Address,
    limit: i64,
    now: OffsetDateTime,
) -> sqlx::Result<Vec<Planned>> {
    let rows = due(db, hub, WITHDRAW, limit, now).await?;
    let planned = rows
        .into_iter()
        .filter_map(|(id, body, correlation_id)| match body.0 {
            Command::Withdraw(withdraw) => Some(Planned {
                id,
                withdraw: *withdraw,
                correlation_id,
            }),
            Command::FundVault { .. } | Command::Close(_) => None,
        });
    Ok(planned.collect())
}

/// A planned close: the command, what to post, and the correlation id.
pub type PlannedClose = (Uuid, CloseCommand, String);

/// The oldest planned closes of a hub that are due.
pub async fn due_closes(
    db: impl PgExecutor<'_>,
    hub: Address,
    limit: i64,
    now: OffsetDateTime,
) -> sqlx::Result<Vec<PlannedClose>> {
    let rows = due(db, hub, CLOSE, limit, now).await?;
    let closes = rows.into_iter().filter_map(|(id, body, correlation_id)| {
        let Command::Close(close) = body.0 else {
            return None;
        };
        Some((id, *close, correlation_id))
    });
    Ok(closes.collect())
}

/// Ends the closes that a transaction carried, once it is final: done where the channel's epoch
/// was closed, by whomever. Returns how many were, and how many were not.
pub async fn end_closes(
    db: &mut PgConnection,
    sender: Address,
    nonce: u64,
    now: OffsetDateTime,
) -> sqlx::Result<(u64, u64)> {
    let ended: Vec<i16> = sqlx::query_scalar(
        "UPDATE chain.commands c SET updated_at = $3,
            status = CASE WHEN seen.known THEN 3 ELSE 4 END,
            failure = CASE WHEN seen.known THEN NULL ELSE 'not accepted' END
         FROM (
            SELECT o.id, EXISTS (
                SELECT 1 FROM chain.disputes d
                WHERE d.channel_id = decode(substring(o.body #>> '{intent,channelId}' FROM 3), 'hex')
                  AND d.epoch = (o.body #>> '{intent,epoch}')::bigint) AS known
            FROM chain.commands o
            WHERE o.sender = $1 AND o.nonce = $2 AND o.kind = 3 AND o.status = 2
         ) seen
         WHERE c.id = seen.id RETURNING c.status",
    )
    .bind(PgAddress(sender))
    .bind(int(nonce))
    .bind(now)
    .fetch_all(db)
    .await?;
    let done = ended.iter().filter(|status| **status == DONE).count() as u64;
    Ok((done, ended.len() as u64 - done))
}

/// Planned requests to fund a hub's vault: id, amount, correlation.
pub async fn due_funding(
    db: impl PgExecutor<'_>,
    hub: Address,
    now: OffsetDateTime,
) -> sqlx::Result<Vec<(Uuid, Amount, String)>> {
    let rows: Vec<(Uuid, PgAmount, String)> = sqlx::query_as(
        "SELECT id, amount, correlation_id FROM chain.commands
         WHERE hub = $1 AND kind = 2 AND status = 1 AND not_before <= $2 ORDER BY id LIMIT 1000",
    )
    .bind(PgAddress(hub))
    .bind(now)
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.0, row.1.0, row.2))
        .collect())
}

/// Whether funding of a hub's vault is asked for or under way.
pub async fn has_open_funding(db: &mut PgConnection, hub: Address) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM chain.commands WHERE hub = $1 AND kind = 2 AND status IN (1, 2))",
    )
    .bind(PgAddress(hub))
    .fetch_one(db)
    .await
}

/// Gives planned commands to a transaction; all of them, or it is an error.
pub async fn mark_sent(
    db: &mut PgConnection,
    ids: &[Uuid],
    sender: Address,
    nonce: u64,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let done = sqlx::query(
        "UPDATE chain.commands SET status = $5, sender = $2, nonce = $3, updated_at = $4
         WHERE id = ANY($1) AND status = $6",
    )
    .bind(ids)
    .bind(PgAddress(sender))
    .bind(int(nonce))
    .bind(now)
    .bind(SENT)
    .bind(PLANNED)
    .execute(db)
    .await?;
    expect_rows(
        "give commands to a transaction",
        ids.len() as u64,
        done.rows_affected(),
    )
}

/// Fails the planned withdrawals and closes of all hubs whose last second has passed; returns how many.
pub async fn expire(
    db: &mut PgConnection,
    timestamp: u64,
    now: OffsetDateTime,
) -> sqlx::Result<Vec<(Uuid, String)>> {
    sqlx::query_as(
        "UPDATE chain.commands SET status = 4, failure = 'expired', updated_at = $2
         WHERE kind IN (1, 3) AND status = 1 AND valid_until < $1 RETURNING id, correlation_id",
    )
    .bind(int(timestamp))
    .bind(now)
    .fetch_all(db)
    .await
}

/// A withdrawal is paid for good, by whomever.
pub async fn paid(
    db: &mut PgConnection,
    request: Hash32,
    now: OffsetDateTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "UPDATE chain.commands SET status = $3, failure = NULL, updated_at = $2
         WHERE request_id = $1 AND status <> $3",
    )
    .bind(PgHash(request))
    .bind(now)
    .bind(DONE)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Ends the planned withdrawals that a final log shows as paid already: somebody else sent them
/// before they came here. Returns how many.
pub async fn drop_paid(db: &mut PgConnection, now: OffsetDateTime) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "UPDATE chain.commands SET status = 3, updated_at = $1
         WHERE kind = 1 AND status = 1 AND EXISTS (SELECT 1 FROM chain.logs
            WHERE logs.request_id = commands.request_id AND logs.status = 2
            AND logs.body ->> 'log' = 'withdrawn')",
    )
    .bind(now)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// A command that was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The command.
    pub id: Uuid,
    /// The withdrawal order, if it is one.
    pub request_id: Option<Hash32>,
    /// Last second at which a withdrawal may be executed.
    pub valid_until: Option<u64>,
    /// How often it was tried in vain.
    pub tries: i32,
    /// From the request that caused it.
    pub correlation_id: String,
}

type SentRow = (Uuid, Option<PgHash>, Option<i64>, i32, String);

fn sent(row: SentRow) -> Sent {
    Sent {
        id: row.0,
        request_id: row.1.map(|request| request.0),
        valid_until: row.2.map(uint),
        tries: row.3,
        correlation_id: row.4,
    }
}

/// The commands a transaction carries that are not decided yet.
pub async fn carried(
    db: impl PgExecutor<'_>,
    sender: Address,
    nonce: u64,
) -> sqlx::Result<Vec<Sent>> {
    let rows: Vec<SentRow> = sqlx::query_as(
        "SELECT id, request_id, valid_until, tries, correlation_id FROM chain.commands
         WHERE sender = $1 AND nonce = $2 AND status = 2 ORDER BY id",
    )
    .bind(PgAddress(sender))
    .bind(int(nonce))
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(sent).collect())
}

/// The undecided command of a withdrawal that one of our transactions carried.
pub async fn carried_by(
    db: &mut PgConnection,
    request: Hash32,
    transaction: Hash32,
) -> sqlx::Result<Option<Sent>> {
    let row: Option<SentRow> = sqlx::query_as(
        "SELECT c.id, c.request_id, c.valid_until, c.tries, c.correlation_id
         FROM chain.commands c JOIN chain.attempts a ON a.sender = c.sender AND a.nonce = c.nonce
         WHERE c.request_id = $1 AND c.status = 2 AND a.tx_hash = $2",
    )
    .bind(PgHash(request))
    .bind(PgHash(transaction))
    .fetch_optional(db)
    .await?;
    Ok(row.map(sent))
}

/// Plans a sent command anew, not before a moment.
pub async fn replan(
    db: &mut PgConnection,
    id: Uuid,
    not_before: OffsetDateTime,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let done = sqlx::query(
        "UPDATE chain.commands SET status = $4, tries = tries + 1, not_before = $2,
            sender = NULL, nonce = NULL, updated_at = $3
         WHERE id = $1 AND status = $5",
    )
    .bind(id)
    .bind(not_before)
    .bind(now)
    .bind(PLANNED)
    .bind(SENT)
    .execute(db)
    .await?;
    expect_rows("plan a command anew", 1, done.rows_affected())
}

/// Ends a command that did not have its effect and will not be tried again.
pub async fn fail(
    db: &mut PgConnection,
    id: Uuid,
    failure: &str,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    end(db, id, FAILED, Some(failure), now).await
}

/// Ends a command that had its effect.
pub async fn done(db: &mut PgConnection, id: Uuid, now: OffsetDateTime) -> sqlx::Result<()> {
    end(db, id, DONE, None, now).await
}

async fn end(
    db: &mut PgConnection,
    id: Uuid,
    status: i16,
    failure: Option<&str>,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let done = sqlx::query(
        "UPDATE chain.commands SET status = $2, failure = $3, updated_at = $4
         WHERE id = $1 AND status IN (1, 2)",
    )
    .bind(id)
    .bind(status)
    .bind(failure)
    .bind(now)
    .execute(db)
    .await?;
    expect_rows("end a command", 1, done.rows_affected())
}

/// The correlation id of a withdrawal order that we were asked to execute.
pub async fn correlation(db: &mut PgConnection, request: Hash32) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("SELECT correlation_id FROM chain.commands WHERE request_id = $1 LIMIT 1")
        .bind(PgHash(request))
        .fetch_optional(db)
        .await
}
