//! States of old batches that nothing needs any more. The batches themselves stay: number, request,
//! roots, digest, fate and custody signature.

use super::Connection;
use hub_core::encoding::decode_states;
use hub_core::{ChannelId, State};
use runtime::pg::PgChannelId;
use sqlx::{PgPool, Row as _};
use std::collections::{HashMap, HashSet};
use time::OffsetDateTime;
use uuid::Uuid;

/// An old batch.
struct Old {
    batch_id: i64,
    has_fate: bool,
    states: Vec<u8>,
}

/// Looks at the next batches made before `before` and erases the states of those that nothing
/// needs. Returns how many it looked at and how many lost their states; `None` when another process
/// of this hub is at it.
pub async fn erase_states(
    pool: &PgPool,
    hub_id: Uuid,
    before: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<Option<(usize, u64)>> {
    let mut tx = pool.begin().await?;
    sqlx::query(
        "INSERT INTO hub.states_marks (hub_id, batch_id) VALUES ($1, 0) ON CONFLICT DO NOTHING",
    )
    .bind(hub_id)
    .execute(&mut *tx)
    .await?;
    let mark: Option<i64> = sqlx::query_scalar(
        "SELECT batch_id FROM hub.states_marks WHERE hub_id = $1 FOR UPDATE SKIP LOCKED",
    )
    .bind(hub_id)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(mark) = mark else {
        return Ok(None);
    };
    let rows = sqlx::query(
        "SELECT batch_id, fate IS NOT NULL AS has_fate, created_at, states FROM hub.journal
         WHERE hub_id = $1 AND batch_id > $2 ORDER BY batch_id LIMIT $3",
    )
    .bind(hub_id)
    .bind(mark)
    .bind(limit)
    .fetch_all(&mut *tx)
    .await?;
    let (mut old, mut last, mut looked) = (Vec::new(), mark, 0);
    for row in &rows {
        if row.try_get::<OffsetDateTime, _>("created_at")? >= before {
            break;
        }
        last = row.try_get("batch_id")?;
        looked += 1;
        if let Some(states) = row.try_get("states")? {
            old.push(Old {
                batch_id: last,
                has_fate: row.try_get("has_fate")?,
                states,
            });
        }
    }
    let (kept, free) = part(&mut tx, hub_id, &old).await?;
    let gone = erase(&mut tx, hub_id, &free).await?;
    sqlx::query(
        "INSERT INTO hub.kept_batches (hub_id, batch_id)
         SELECT $1, unnest($2::int8[]) ON CONFLICT DO NOTHING",
    )
    .bind(hub_id)
    .bind(kept)
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE hub.states_marks SET batch_id = $2 WHERE hub_id = $1")
        .bind(hub_id)
        .bind(last)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Some((looked, gone)))
}

/// Looks again at old batches that were needed, behind `after`; returns the last number looked at,
/// and how many lost their states.
pub async fn look_again(
    pool: &PgPool,
    hub_id: Uuid,
    after: i64,
    limit: i64,
) -> sqlx::Result<Option<(i64, u64)>> {
    let mut tx = pool.begin().await?;
    let rows: Vec<(i64, bool, Option<Vec<u8>>)> = sqlx::query_as(
        "SELECT k.batch_id, j.fate IS NOT NULL, j.states FROM hub.kept_batches k
         JOIN hub.journal j ON j.hub_id = k.hub_id AND j.batch_id = k.batch_id
         WHERE k.hub_id = $1 AND k.batch_id > $2 ORDER BY k.batch_id LIMIT $3
         FOR UPDATE OF k SKIP LOCKED",
    )
    .bind(hub_id)
    .bind(after)
    .bind(limit)
    .fetch_all(&mut *tx)
    .await?;
    let Some((last, ..)) = rows.last() else {
        return Ok(None);
    };
    let last = *last;
    let kept: Vec<_> = rows
        .into_iter()
        .filter_map(|(batch_id, has_fate, states)| {
            Some(Old {
                batch_id,
                has_fate,
                states: states?,
            })
        })
        .collect();
    let (_, free) = part(&mut tx, hub_id, &kept).await?;
    let gone = erase(&mut tx, hub_id, &free).await?;
    sqlx::query("DELETE FROM hub.kept_batches WHERE hub_id = $1 AND batch_id = ANY($2)")
        .bind(hub_id)
        .bind(free)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Some((last, gone)))
}

async fn erase(connection: &mut Connection, hub_id: Uuid, batches: &[i64]) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "UPDATE hub.journal SET states = NULL
         WHERE hub_id = $1 AND batch_id = ANY($2) AND fate IS NOT NULL",
    )
    .bind(hub_id)
    .bind(batches)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Parts batches into those whose states are needed and those that nothing needs: every channel in
/// them is held by a newer batch and is not being closed. What can't be read stays as it is.
async fn part(
    connection: &mut Connection,
    hub_id: Uuid,
    batches: &[Old],
) -> sqlx::Result<(Vec<i64>, Vec<i64>)> {
    let decoded: Vec<_> = batches
        .iter()
        .map(|batch| (batch, decode_states(&batch.states).ok()))
        .collect();
    let channels: HashSet<_> = decoded
        .iter()
        .filter_map(|(_, states)| states.as_ref())
        .flatten()
        .map(|state| state.channel_id)
        .collect();
    let held = held(connection, hub_id, channels).await?;
    let needed = |batch_id: i64, state: &State| {
        // A channel of an opening that was never completed has no row.
        held.get(&state.channel_id).is_some_and(|(batch, closing)| {
            batch_id >= *batch || *closing == Some(i64::from(state.epoch))
        })
    };
    let (mut kept, mut free) = (Vec::new(), Vec::new());
    for (batch, states) in decoded {
        let id = batch.batch_id;
        let is_needed = !batch.has_fate
            || states.is_none_or(|states| states.iter().any(|state| needed(id, state)));
        if is_needed {
            kept.push(id);
        } else {
            free.push(id);
        }
    }
    Ok((kept, free))
}

/// The batch that each channel's held state is in, and an epoch of it that is being closed.
async fn held(
    connection: &mut Connection,
    hub_id: Uuid,
    channels: HashSet<ChannelId>,
) -> sqlx::Result<HashMap<ChannelId, (i64, Option<i64>)>> {
    let ids: Vec<_> = channels.into_iter().map(PgChannelId).collect();
    let rows: Vec<(PgChannelId, i64, Option<i64>)> = sqlx::query_as(
        "SELECT h.channel_id, h.held_batch, f.epoch FROM hub.heads h
         LEFT JOIN hub.channel_facts f ON f.hub_id = h.hub_id AND f.channel_id = h.channel_id AND f.closing
         WHERE h.hub_id = $1 AND h.channel_id = ANY($2)",
    )
    .bind(hub_id)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(channel, batch, closing)| (channel.0, (batch, closing)))
        .collect())
}

/// Old batches whose states are needed, and bytes of the journal.
pub async fn figures(pool: &PgPool, hub_id: Uuid) -> sqlx::Result<(i64, i64)> {
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM hub.kept_batches WHERE hub_id = $1),
                pg_total_relation_size('hub.journal')",
    )
    .bind(hub_id)
    .fetch_one(pool)
    .await
}
