//! `account.recon_runs` and `account.recon_breaks`: reconciliation as callers see it.

use super::RowCount;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

/// How a run ended. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum RunStatus {
    /// Not yet.
    Running = 1,
    /// Nothing differs.
    Clean = 2,
    /// Something differs.
    Breaks = 3,
    /// It could not be made.
    Failed = 4,
}

impl RunStatus {
    /// Its word in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Clean => "clean",
            Self::Breaks => "breaks",
            Self::Failed => "failed",
        }
    }

    fn from_stored(stored: i16) -> Self {
        match stored {
            1 => Self::Running,
            2 => Self::Clean,
            3 => Self::Breaks,
            _ => Self::Failed,
        }
    }
}

/// A run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its id.
    pub id: Uuid,
    /// How it ended.
    pub status: RunStatus,
    /// The final block that the chain was read at.
    pub block: Option<u64>,
    /// A list of {id, compared, breaks}.
    pub checks: Value,
    /// Why it could not be made.
    pub failure: Option<String>,
    /// When it began.
    pub started_at: OffsetDateTime,
    /// When it ended.
    pub finished_at: Option<OffsetDateTime>,
}

/// A difference.
#[derive(Debug, Clone)]
pub struct Break {
    /// Its id.
    pub id: Uuid,
    /// The run that found it.
    pub run_id: Uuid,
    /// The check, for example `R1`.
    pub check: String,
    /// What kind of difference.
    pub class: String,
    /// How bad it is.
    pub severity: String,
    /// Where: the schema,
    pub schema: String,
    /// the table,
    pub table: String,
    /// and the row's key.
    pub key: String,
    /// What should be there.
    pub expected: String,
    /// What is.
    pub found: String,
    /// `open` or `resolved`.
    pub status: String,
    /// What was done about it.
    pub resolution: Option<String>,
    /// When it was found.
    pub created_at: OffsetDateTime,
}

/// How a run ends.
#[derive(Debug, Clone)]
pub struct Finish {
    /// How it ended.
    pub status: RunStatus,
    /// The final block that the chain was read at.
    pub block: Option<u64>,
    /// A list of {id, compared, breaks}.
    pub checks: Value,
    /// Why it could not be made.
    pub failure: Option<String>,
    /// When.
    pub at: OffsetDateTime,
}

/// Writes down that a run begins.
pub async fn start(pool: &PgPool, id: Uuid, now: OffsetDateTime) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO account.recon_runs (id, status, checks, started_at) VALUES ($1, 1, '[]', $2)",
    )
    .bind(id)
    .bind(now)
    .execute(pool)
    .await
    .map(drop)
}

/// Writes down how a running run ended, with what it found.
pub async fn finish(
    connection: &mut PgConnection,
    id: Uuid,
    end: &Finish,
    breaks: &[Break],
) -> anyhow::Result<()> {
    let done = sqlx::query(
        "UPDATE account.recon_runs SET status = $2, block = $3, checks = $4, failure = $5, finished_at = $6
         WHERE id = $1 AND status = 1",
    )
    .bind(id)
    .bind(end.status as i16)
    .bind(end.block.map(u64::cast_signed))
    .bind(&end.checks)
    .bind(end.failure.as_deref())
    .bind(end.at)
    .execute(&mut *connection)
    .await?;
    RowCount::check("finished run", 1, done.rows_affected())?;
    let texts = |field: fn(&Break) -> &str| breaks.iter().map(field).collect::<Vec<_>>();
    let inserted = sqlx::query(
        "INSERT INTO account.recon_breaks (id, run_id, check_id, class, severity, schema_name, table_name,
            row_key, expected, found, status, created_at)
         SELECT b.id, $1, b.check_id, b.class, b.severity, b.schema_name, b.table_name, b.row_key,
            b.expected, b.found, 'open', $2
         FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
            $10::text[], $11::text[])
            AS b(id, check_id, class, severity, schema_name, table_name, row_key, expected, found)",
    )
    .bind(id)
    .bind(end.at)
    .bind(breaks.iter().map(|b| b.id).collect::<Vec<_>>())
    .bind(texts(|b| &b.check))
    .bind(texts(|b| &b.class))
    .bind(texts(|b| &b.severity))
    .bind(texts(|b| &b.schema))
    .bind(texts(|b| &b.table))
    .bind(texts(|b| &b.key))
    .bind(texts(|b| &b.expected))
    .bind(texts(|b| &b.found))
    .execute(connection)
    .await?;
    RowCount::check("breaks", breaks.len(), inserted.rows_affected())?;
    Ok(())
}

/// Ends runs that nobody makes any more: their process is gone. Says how many.
pub async fn fail_abandoned(
    pool: &PgPool,
    started_before: OffsetDateTime,
    now: OffsetDateTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "UPDATE account.recon_runs SET status = 4, failure = 'the process that made it ended', finished_at = $2
         WHERE status = 1 AND started_at < $1",
    )
    .bind(started_before)
    .bind(now)
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// A run.
pub async fn run(pool: &PgPool, id: Uuid) -> sqlx::Result<Option<Run>> {
    let row = sqlx::query(
        "SELECT id, status, block, checks, failure, started_at, finished_at
         FROM account.recon_runs WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(pool)
    .await?;
    row.as_ref().map(run_of).transpose()
}

/// Runs, newest first.
pub async fn runs(pool: &PgPool, before: Option<Uuid>, limit: i64) -> sqlx::Result<Vec<Run>> {
    let rows = sqlx::query(
        "SELECT id, status, block, checks, failure, started_at, finished_at
         FROM account.recon_runs WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter().map(run_of).collect()
}

fn run_of(row: &PgRow) -> sqlx::Result<Run> {
    Ok(Run {
        id: row.try_get("id")?,
        status: RunStatus::from_stored(row.try_get("status")?),
        block: row
            .try_get::<Option<i64>, _>("block")?
            .map(i64::cast_unsigned),
        checks: row.try_get("checks")?,
        failure: row.try_get("failure")?,
        started_at: row.try_get("started_at")?,
        finished_at: row.try_get("finished_at")?,
    })
}

/// Breaks of a run, in id order, after one.
pub async fn breaks(
    pool: &PgPool,
    run_id: Uuid,
    after: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Break>> {
    let rows = sqlx::query(
        "SELECT id, run_id, check_id, class, severity, schema_name, table_name, row_key, expected, found,
                status, resolution, created_at
         FROM account.recon_breaks WHERE run_id = $1 AND ($2::uuid IS NULL OR id > $2)
         ORDER BY id LIMIT $3",
    )
    .bind(run_id)
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter().map(break_of).collect()
}

/// One break.
pub async fn break_by_id(pool: &PgPool, id: Uuid) -> sqlx::Result<Option<Break>> {
    let row = sqlx::query(
        "SELECT id, run_id, check_id, class, severity, schema_name, table_name, row_key, expected, found,
                status, resolution, created_at
         FROM account.recon_breaks WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(pool)
    .await?;
    row.as_ref().map(break_of).transpose()
}

/// Resolves an open break. Says whether it was open.
pub async fn resolve(pool: &PgPool, id: Uuid, resolution: &str) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE account.recon_breaks SET status = 'resolved', resolution = $2
         WHERE id = $1 AND status = 'open'",
    )
    .bind(id)
    .bind(resolution)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn break_of(row: &PgRow) -> sqlx::Result<Break> {
    Ok(Break {
        id: row.try_get("id")?,
        run_id: row.try_get("run_id")?,
        check: row.try_get("check_id")?,
        class: row.try_get("class")?,
        severity: row.try_get("severity")?,
        schema: row.try_get("schema_name")?,
        table: row.try_get("table_name")?,
        key: row.try_get("row_key")?,
        expected: row.try_get("expected")?,
        found: row.try_get("found")?,
        status: row.try_get("status")?,
        resolution: row.try_get("resolution")?,
        created_at: row.try_get("created_at")?,
    })
}
