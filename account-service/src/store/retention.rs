//! What old rows are given up: idempotency keys, weeks of operations, states of batches.
//!
//! Every step is one transaction that moves a mark, so it can stop anywhere and go on later; two
//! replicas never work on the same mark.

use super::journal::KeyId;
use crate::engine::Route;
use hub_core::encoding::decode_states;
use hub_core::{ChannelId, State};
use runtime::pg::PgChannelId;
use sqlx::{PgConnection, PgPool, Row};
use std::collections::{HashMap, HashSet};
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
}

/// Reads the marks.
pub async fn marks(pool: &PgPool) -> sqlx::Result<Marks> {
    let (keys_from, journal_from) =
        sqlx::query_as("SELECT keys_from, journal_from FROM account.retention")
            .fetch_one(pool)
            .await?;
    Ok(Marks {
        keys_from,
        journal_from,
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

/// Why a week of operations is still there, or that it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Week {
    /// It is gone, with what it adds up to kept.
    Dropped,
    /// Nothing is so old.
    None,
    /// Something needs it, by the word of `account.drop_oldest_week`.
    Needed(String),
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
    Ok(match word.as_str() {
        "dropped" => Week::Dropped,
        "none" => Week::None,
        _ => Week::Needed(word),
    })
}

/// A committed batch that may be old enough.
struct Old {
    batch_id: i64,
    states: Vec<u8>,
}

/// Looks at the next batches of a hub that are older than every operation kept, and erases the
/// states of those that nothing needs. Batches, fates, roots and signatures stay.
pub async fn erase_states(
    pool: &PgPool,
    hub_id: Uuid,
    before: Uuid,
    limit: i64,
) -> sqlx::Result<Step> {
    let mut tx = pool.begin().await?;
    sqlx::query(
        "INSERT INTO account.states_marks (hub_id, batch_id) VALUES ($1, 0) ON CONFLICT DO NOTHING",
    )
    .bind(hub_id)
    .execute(&mut *tx)
    .await?;
    let mark: Option<i64> = sqlx::query_scalar(
        "SELECT batch_id FROM account.states_marks WHERE hub_id = $1 FOR UPDATE SKIP LOCKED",
    )
    .bind(hub_id)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(mark) = mark else {
        return Ok(Step::Busy);
    };
    let rows = sqlx::query(
        "SELECT b.batch_id, b.id, b.handed, s.states
         FROM account.batches b LEFT JOIN account.batch_states s ON s.id = b.id
         WHERE b.hub_id = $1 AND b.batch_id > $2 ORDER BY b.batch_id LIMIT $3",
    )
    .bind(hub_id)
    .bind(mark)
    .bind(limit)
    .fetch_all(&mut *tx)
    .await?;
    let (mut old, mut last, mut looked) = (Vec::new(), mark, 0);
    for row in &rows {
        // Burned ones have no id and no states.
        let id: Option<Uuid> = row.try_get("id")?;
        if id.is_some_and(|id| id >= before) || !row.try_get::<bool, _>("handed")? {
            break;
        }
        last = row.try_get("batch_id")?;
        looked += 1;
        if let Some(states) = row.try_get("states")? {
            let batch_id = last;
            old.push(Old { batch_id, states });
        }
    }
    if looked == 0 {
        return Ok(Step::Finished);
    }
    let (kept, gone) = part(&mut tx, &old).await?;
    let gone = erase(&mut tx, hub_id, &gone).await?;
    sqlx::query(
        "INSERT INTO account.kept_batches (hub_id, batch_id)
         SELECT $1, unnest($2::bigint[]) ON CONFLICT DO NOTHING",
    )
    .bind(hub_id)
    .bind(kept)
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE account.states_marks SET batch_id = $2 WHERE hub_id = $1")
        .bind(hub_id)
        .bind(last)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Step::Done { looked, gone })
}

/// Looks again at old batches of a hub that were needed, behind `after`; returns the last number
/// looked at, and how many lost their states.
pub async fn look_again(
    pool: &PgPool,
    hub_id: Uuid,
    after: i64,
    limit: i64,
) -> sqlx::Result<Option<(i64, u64)>> {
    let mut tx = pool.begin().await?;
    let rows: Vec<(i64, Option<Vec<u8>>)> = sqlx::query_as(
        "SELECT k.batch_id, s.states FROM account.kept_batches k
         JOIN account.batches b ON b.hub_id = k.hub_id AND b.batch_id = k.batch_id
         LEFT JOIN account.batch_states s ON s.id = b.id
         WHERE k.hub_id = $1 AND k.batch_id > $2 ORDER BY k.batch_id LIMIT $3
         FOR UPDATE OF k SKIP LOCKED",
    )
    .bind(hub_id)
    .bind(after)
    .bind(limit)
    .fetch_all(&mut *tx)
    .await?;
    let Some(last) = rows.last().map(|(batch_id, _)| *batch_id) else {
        return Ok(None);
    };
    let kept: Vec<_> = rows
        .into_iter()
        .filter_map(|(batch_id, states)| {
            let states = states?;
            Some(Old { batch_id, states })
        })
        .collect();
    let (_, free) = part(&mut tx, &kept).await?;
    let gone = erase(&mut tx, hub_id, &free).await?;
    sqlx::query("DELETE FROM account.kept_batches WHERE hub_id = $1 AND batch_id = ANY($2)")
        .bind(hub_id)
        .bind(free)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Some((last, gone)))
}

async fn erase(connection: &mut PgConnection, hub_id: Uuid, batches: &[i64]) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "DELETE FROM account.batch_states s USING account.batches b
         WHERE b.hub_id = $1 AND b.batch_id = ANY($2) AND s.id = b.id",
    )
    .bind(hub_id)
    .bind(batches)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// What is newer than a state of a channel.
#[derive(Debug, Clone, Copy, Default)]
struct Newer {
    /// Version of the head.
    head: i64,
    /// The version that the channel had where the journal begins.
    carried: i64,
    /// An epoch that is being closed.
    closing: Option<i32>,
}

/// Parts batches into those whose states are needed and those that nothing needs: no state in
/// them is the newest of its channel, or was where the journal begins, or of an epoch that is
/// being closed. What can't be read stays as it is.
async fn part(
    connection: &mut PgConnection,
    batches: &[Old],
) -> sqlx::Result<(Vec<i64>, Vec<i64>)> {
    let decoded: Vec<_> = batches
        .iter()
        .map(|batch| (batch.batch_id, decode_states(&batch.states).ok()))
        .collect();
    let channels: HashSet<_> = decoded
        .iter()
        .filter_map(|(_, states)| states.as_ref())
        .flatten()
        .map(|state| state.channel_id)
        .collect();
    let newer = newer(connection, channels).await?;
    let needed = |state: &State| {
        let Some(newer) = newer.get(&state.channel_id) else {
            return true;
        };
        let version = state.version.cast_signed();
        version >= newer.head
            || version >= newer.carried
            || newer.closing == Some(state.epoch.cast_signed())
    };
    let (kept, free): (Vec<_>, Vec<_>) = decoded
        .into_iter()
        .partition(|(_, states)| states.as_ref().is_none_or(|s| s.iter().any(needed)));
    let ids = |part: Vec<(i64, _)>| part.into_iter().map(|(id, _)| id).collect();
    Ok((ids(kept), ids(free)))
}

async fn newer(
    connection: &mut PgConnection,
    channels: HashSet<ChannelId>,
) -> sqlx::Result<HashMap<ChannelId, Newer>> {
    let ids: Vec<_> = channels.into_iter().map(PgChannelId).collect();
    let rows: Vec<(PgChannelId, i64, Option<i64>, Option<i32>)> = sqlx::query_as(
        "SELECT h.channel_id, h.version, c.version,
                (SELECT max(d.epoch) FROM account.closings d WHERE d.channel_id = h.channel_id
                   AND (d.status < 4 OR (d.status = 4 AND d.operation_id IS NULL)))
         FROM account.heads h LEFT JOIN account.carried c ON c.account = h.account_id
         WHERE h.channel_id = ANY($1)",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(channel, head, carried, closing)| {
            let carried = carried.unwrap_or(0);
            let newer = Newer {
                head,
                carried,
                closing,
            };
            (channel.0, newer)
        })
        .collect())
}

/// The hubs that there are batches of.
pub async fn hubs(pool: &PgPool) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar("SELECT hub_id FROM account.hubs ORDER BY hub_id")
        .fetch_all(pool)
        .await
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
    /// Bytes of operations with their indexes.
    pub journal_bytes: i64,
    /// Bytes of keys and references.
    pub key_bytes: i64,
    /// Bytes of states.
    pub state_bytes: i64,
    /// Bytes of batches without their states.
    pub batch_bytes: i64,
    /// Old batches whose states are needed.
    pub kept_batches: i64,
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
                coalesce(sum(bytes) FILTER (WHERE journal), 0)::bigint AS journal_bytes,
                coalesce(sum(bytes) FILTER (WHERE NOT journal), 0)::bigint AS state_bytes,
                pg_total_relation_size('account.operation_keys') AS key_bytes,
                pg_total_relation_size('account.batches') AS batch_bytes,
                (SELECT count(*) FROM account.kept_batches) AS kept_batches
         FROM weeks",
    )
    .bind(now)
    .bind(first_id(now - time::Duration::DAY))
    .fetch_one(pool)
    .await
}
