//! What old rows are given up: idempotency keys and weeks of operations; weeks of states are in
//! [`super::leaves`].
//!
//! Every step is one transaction that moves a mark, so it can stop anywhere and go on later; two
//! replicas never work on the same mark.

use super::journal::KeyId;
use crate::engine::Route;
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

/// What came of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many rows were looked at, of which so many were given up; there may be more.
    Done {
        /// Looked at.
        looked: usize,
        /// Given up.
        gone: u64,
    },
    /// Nothing is left.
    Finished,
    /// Another replica is at it.
    Busy,
}

/// How far the journal reaches back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Operations below have no idempotency key any more, but those of the system itself.
    pub keys_from: Uuid,
    /// Operations below are dropped.
    pub journal_from: Uuid,
    /// States of batches below are dropped, but kept leaves.
    pub states_from: Uuid,
}

/// Reads the marks.
pub async fn marks(pool: &PgPool) -> sqlx::Result<Marks> {
    let (keys_from, journal_from, states_from) =
        sqlx::query_as("SELECT keys_from, journal_from, states_from FROM account.retention")
            .fetch_one(pool)
            .await?;
    Ok(Marks {
        keys_from,
        journal_from,
        states_from,
    })
}

/// The smallest id of a moment: ids are made with the time in front.
pub fn first_id(at: OffsetDateTime) -> Uuid {
    let ms = at.unix_timestamp_nanos().max(0).cast_unsigned() / 1_000_000;
    Uuid::from_u128(ms << 80)
}

/// Gives up the idempotency keys of the oldest operations that still have theirs, up to `before`
/// and to the oldest issuance that waits. References stay for ever, and so do the keys of the
/// system's own operations, which are few.
pub async fn drop_keys(pool: &PgPool, before: OffsetDateTime, limit: i64) -> sqlx::Result<Step> {
    let mut tx = pool.begin().await?;
    let from: Option<Uuid> =
        sqlx::query_scalar("SELECT keys_from FROM account.retention FOR UPDATE SKIP LOCKED")
            .fetch_optional(&mut *tx)
            .await?;
    let Some(from) = from else {
        return Ok(Step::Busy);
    };
    let waiting: Option<Uuid> = sqlx::query_scalar(
        "WITH waiting AS MATERIALIZED (SELECT id FROM account.operations WHERE outcome = 3)
         SELECT id FROM waiting ORDER BY id LIMIT 1",
    )
    .fetch_optional(&mut *tx)
    .await?;
    let bound = first_id(before);
    let bound = waiting.map_or(bound, |id| bound.min(id));
    if from >= bound {
        return Ok(Step::Finished);
    }
    let rows: Vec<(Uuid, Uuid, i16, String)> = sqlx::query_as(
        "SELECT id, owner, route, idem_key FROM account.operations
         WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3",
    )
    .bind(from)
    .bind(bound)
    .bind(limit)
    .fetch_all(&mut *tx)
    .await?;
    let (keys, operations): (Vec<_>, Vec<_>) = rows
        .iter()
        .filter(|(_, _, route, _)| *route != Route::System as i16)
        .map(|(id, owner, route, key)| (KeyId::of(*owner, *route, key).stored(), *id))
        .unzip();
    let gone = sqlx::query(
        "DELETE FROM account.operation_keys k
         USING unnest($1::uuid[], $2::uuid[]) AS d(key, operation)
         WHERE k.key = d.key AND k.operation = d.operation",
    )
    .bind(keys)
    .bind(operations)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    let full = i64::try_from(rows.len()) == Ok(limit);
    let mark = match rows.last() {
        Some((last, ..)) if full => Uuid::from_u128(last.as_u128().saturating_add(1)),
        _ => bound,
    };
    sqlx::query("UPDATE account.retention SET keys_from = $1")
        .bind(mark)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Step::Done {
        looked: rows.len(),
        gone,
    })
}

/// Why a week of operations or states is still there, or that it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Week {
    /// It is gone, with what is needed of it kept.
    Dropped,
    /// Nothing is so old.
    None,
    /// Something needs it, by the word of `account.drop_oldest_week` or `account.drop_oldest_states`.
    Needed(String),
}

impl Week {
    pub(super) fn of(word: String) -> Self {
        match word.as_str() {
            "dropped" => Self::Dropped,
            "none" => Self::None,
            _ => Self::Needed(word),
        }
    }
}

/// Drops the oldest week of operations, or puts it into the archive, if it ended before `before`
/// and nothing needs it.
pub async fn drop_oldest_week(
    pool: &PgPool,
    before: OffsetDateTime,
    archive: bool,
) -> sqlx::Result<Week> {
    let mut tx = pool.begin().await?;
    // It adds up millions of rows; nobody waits for what it locks meanwhile.
    sqlx::query("SET LOCAL statement_timeout = 0")
        .execute(&mut *tx)
        .await?;
    let word: String = sqlx::query_scalar("SELECT account.drop_oldest_week($1, $2)")
        .bind(before)
        .bind(archive)
        .fetch_one(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Week::of(word))
}

/// What an operator watches.
#[derive(Debug, Clone, Copy, Default, PartialEq, sqlx::FromRow)]
pub struct Figures {
    /// Weeks to come that have their partition.
    pub weeks_ahead: i64,
    /// Whether operations or states of the last day lie where those of no week do.
    pub astray: bool,
    /// Start of the oldest week of operations kept, Unix seconds; 0 when there is none.
    pub oldest_week: i64,
    /// The same of states.
    pub oldest_states: i64,
    /// Bytes of operations with their indexes.
    pub journal_bytes: i64,
    /// Bytes of keys and references.
    pub key_bytes: i64,
    /// Bytes of states.
    pub state_bytes: i64,
    /// Bytes of batches without their states.
    pub batch_bytes: i64,
    /// Bytes of states that outlived their week.
    pub leaf_bytes: i64,
}

/// Reads the figures; looks at no row of a big table.
pub async fn figures(pool: &PgPool, now: OffsetDateTime) -> sqlx::Result<Figures> {
    sqlx::query_as(
        "WITH weeks AS (
            SELECT inhparent = 'account.operations'::regclass AS journal, pg_total_relation_size(inhrelid) AS bytes,
                   to_timestamp(substring(relname FROM '_(\\d{4}_\\d{2}_\\d{2})$') || ' +00', 'YYYY_MM_DD TZH') AS monday
            FROM pg_inherits JOIN pg_class ON oid = inhrelid
            WHERE inhparent IN ('account.operations'::regclass, 'account.batch_states'::regclass)
         )
         SELECT least(count(*) FILTER (WHERE journal AND monday > $1),
                      count(*) FILTER (WHERE NOT journal AND monday > $1)) AS weeks_ahead,
                EXISTS (SELECT 1 FROM account.operations_rest WHERE id >= $2)
                   OR EXISTS (SELECT 1 FROM account.batch_states_rest WHERE id >= $2) AS astray,
                coalesce(extract(epoch FROM min(monday) FILTER (WHERE journal)), 0)::bigint AS oldest_week,
                coalesce(extract(epoch FROM min(monday) FILTER (WHERE NOT journal)), 0)::bigint AS oldest_states,
                coalesce(sum(bytes) FILTER (WHERE journal), 0)::bigint AS journal_bytes,
                coalesce(sum(bytes) FILTER (WHERE NOT journal), 0)::bigint AS state_bytes,
                pg_total_relation_size('account.operation_keys') AS key_bytes,
                pg_total_relation_size('account.batches') AS batch_bytes,
                pg_total_relation_size('account.kept_leaves') AS leaf_bytes
         FROM weeks",
    )
    .bind(now)
    .bind(first_id(now - time::Duration::DAY))
    .fetch_one(pool)
    .await
}
