//! `account.kept_leaves`: states that outlive their week, each with the path that proves it.
//!
//! A week of states goes in three steps, each in transactions of its own, so that a crash between
//! any two of them costs nothing but time: batch by batch what something needs is copied here and
//! a mark is moved; the week is dropped when the mark is above it; leaves that nothing needs any
//! more are deleted. What is needed never grows: heads and the beginning of the journal move
//! upwards only, so a head that moves while its leaf is copied leaves a leaf too many, never one
//! too few.

use super::retention::Week;
use super::states::Place;
use hub_core::encoding::{STATE_LEN, decode_state, decode_states};
use hub_core::merkle::Tree;
use hub_core::{ChannelId, Hash32, State, Typed as _};
use runtime::columns;
use runtime::pg::{PgChannelId, PgHash};
use sqlx::{PgConnection, PgPool, Row as _};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// What came of looking at some batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Copied {
    /// So many batches were looked at, and so many leaves kept of them; there may be more.
    Some {
        /// Looked at.
        batches: usize,
        /// Kept.
        leaves: u64,
    },
    /// All of the oldest week were looked at.
    Week,
    /// No week is so old.
    None,
    /// Another replica is at it.
    Busy,
    /// The next batch can't go: the hub has not confirmed it (`unhanded`), its operations are still
    /// kept (`operations`), or its states are not what was signed (`damaged`).
    Needed(&'static str),
}

/// A batch of the week.
struct Old {
    id: Uuid,
    states: Vec<u8>,
    /// Root and levels, of the row that makes it final.
    signed: Option<(Hash32, u8)>,
    /// Why it can't be looked at yet.
    needed: Option<&'static str>,
}

/// A batch whose states are what was signed.
struct Sound {
    id: Uuid,
    states: Vec<State>,
    bytes: Vec<u8>,
    tree: Tree,
}

/// A leaf to be kept.
struct Leaf {
    batch: Uuid,
    leaf: i32,
    state: Vec<u8>,
    path: Vec<u8>,
}

/// Looks at the next batches of the oldest week, if it ends below `before`, and keeps of their
/// states what something needs.
///
/// # Errors
/// As the database fails; nothing was done then.
pub async fn copy(pool: &PgPool, before: Uuid, limit: i64) -> sqlx::Result<Copied> {
    let mut tx = pool.begin().await?;
    let copied = copy_in(&mut tx, before, limit).await?;
    // Waited for in any case: who asks next must not find the mark taken.
    match copied {
        Copied::Some { .. } => tx.commit().await?,
        _ => tx.rollback().await?,
    }
    Ok(copied)
}

async fn copy_in(tx: &mut PgConnection, before: Uuid, limit: i64) -> sqlx::Result<Copied> {
    let mark: Option<Uuid> =
        sqlx::query_scalar("SELECT copied_to FROM account.retention FOR UPDATE SKIP LOCKED")
            .fetch_optional(&mut *tx)
            .await?;
    let Some(mark) = mark else {
        return Ok(Copied::Busy);
    };
    let upper: Option<Uuid> =
        sqlx::query_scalar("SELECT upper FROM account.oldest_week('account.batch_states')")
            .fetch_one(&mut *tx)
            .await?;
    let Some(upper) = upper.filter(|upper| *upper <= before) else {
        return Ok(Copied::None);
    };
    if mark >= upper {
        return Ok(Copied::Week);
    }
    let mut old = read(tx, mark..upper, before, limit).await?;
    let full = i64::try_from(old.len()) == Ok(limit);
    let stopped = old.iter().find_map(|batch| batch.needed);
    old.truncate(
        old.iter()
            .take_while(|batch| batch.needed.is_none())
            .count(),
    );
    let (sound, damaged) = open(old).await?;
    let blocked = if damaged { Some("damaged") } else { stopped };
    if let (Some(by), true) = (blocked, sound.is_empty()) {
        return Ok(Copied::Needed(by));
    }
    let leaves = needed_of(tx, &sound).await?;
    let kept = keep(tx, &leaves).await?;
    let reached = match sound.last() {
        Some(last) if full || blocked.is_some() => above(last.id),
        _ => upper,
    };
    sqlx::query("UPDATE account.retention SET copied_to = $1")
        .bind(reached)
        .execute(tx)
        .await?;
    Ok(Copied::Some {
        batches: sound.len(),
        leaves: kept,
    })
}

fn above(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_add(1))
}

/// The next batches of a range of ids, which may lie among those of no week as well. Operations of
/// a batch are older than its row: one that was written down lately, by a recovery, has operations
/// that are kept, whatever its id says.
async fn read(
    connection: &mut PgConnection,
    ids: std::ops::Range<Uuid>,
    before: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Old>> {
    let rows = sqlx::query(
        "SELECT s.id, s.states, b.root, b.depth, b.handed, account.first_id(b.created_at) >= $3 AS young
         FROM account.batch_states s
         LEFT JOIN account.batches b ON b.id = s.id AND b.fate = 1 AND b.id >= $1 AND b.id < $2
         WHERE s.id >= $1 AND s.id < $2 ORDER BY s.id LIMIT $4",
    )
    .bind(ids.start)
    .bind(ids.end)
    .bind(before)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let root: Option<PgHash> = row.try_get("root")?;
            let depth: Option<i16> = row.try_get("depth")?;
            let depth = depth.and_then(|depth| u8::try_from(depth).ok());
            // Without a committed batch there is no root either.
            let young: Option<bool> = row.try_get("young")?;
            let handed: Option<bool> = row.try_get("handed")?;
            let needed = match (young, handed) {
                (Some(true), _) => Some("operations"),
                (_, Some(false)) => Some("unhanded"),
                _ => None,
            };
            Ok(Old {
                id: row.try_get("id")?,
                states: row.try_get("states")?,
                signed: root.map(|root| root.0).zip(depth),
                needed,
            })
        })
        .collect()
}

/// The batches up to the first one whose states are not what was signed, and whether there is such
/// a one: what an edit hides must not be given up.
async fn open(old: Vec<Old>) -> sqlx::Result<(Vec<Sound>, bool)> {
    let hashed = tokio::task::spawn_blocking(move || {
        let count = old.len();
        let sound: Vec<_> = old.into_iter().map_while(sound).collect();
        let damaged = sound.len() < count;
        (sound, damaged)
    });
    hashed.await.map_err(|error| sqlx::Error::Io(error.into()))
}

fn sound(batch: Old) -> Option<Sound> {
    let states = decode_states(&batch.states).ok()?;
    let tree = Tree::new(states.iter().map(State::hash_struct).collect())?;
    (batch.signed == Some((tree.root(), tree.depth()))).then_some(Sound {
        id: batch.id,
        states,
        bytes: batch.states,
        tree,
    })
}

async fn needed_of(connection: &mut PgConnection, batches: &[Sound]) -> sqlx::Result<Vec<Leaf>> {
    let all = batches.iter().flat_map(|batch| &batch.states);
    let needs = Needs::of(connection, all.map(|state| state.channel_id).collect()).await?;
    let mut leaves = Vec::new();
    for batch in batches {
        let states = batch.states.iter().zip(batch.bytes.chunks(STATE_LEN));
        for (at, (state, bytes)) in states.enumerate() {
            if !needs.state(state) {
                continue;
            }
            let place = i32::try_from(at).ok().zip(batch.tree.path(at));
            leaves.extend(place.map(|(leaf, path)| Leaf {
                batch: batch.id,
                leaf,
                state: bytes.to_vec(),
                path: path.iter().flat_map(|hash| hash.0).collect(),
            }));
        }
    }
    Ok(leaves)
}

async fn keep(connection: &mut PgConnection, leaves: &[Leaf]) -> sqlx::Result<u64> {
    columns!(leaves, leaf => {
        batches: leaf.batch,
        places: leaf.leaf,
        states: leaf.state.as_slice(),
        paths: leaf.path.as_slice(),
    });
    let done = sqlx::query(
        "INSERT INTO account.kept_leaves (batch, leaf, state, path)
         SELECT * FROM unnest($1::uuid[], $2::int[], $3::bytea[], $4::bytea[])
         ON CONFLICT (batch, leaf) DO UPDATE SET state = excluded.state, path = excluded.path",
    )
    .bind(batches)
    .bind(places)
    .bind(states)
    .bind(paths)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Has a batch looked at again that is written down with an id of long ago: what was looked at
/// before does not cover it.
///
/// # Errors
/// As the database fails.
pub async fn note_late(connection: &mut PgConnection, batch: Uuid) -> sqlx::Result<()> {
    sqlx::query("UPDATE account.retention SET copied_to = $1 WHERE copied_to > $1")
        .bind(batch)
        .execute(connection)
        .await
        .map(drop)
}

/// Drops the oldest week of states, or puts it into the archive, if [`copy`] has looked at all of it.
///
/// # Errors
/// As the database fails.
pub async fn drop_oldest_week(pool: &PgPool, archive: bool) -> sqlx::Result<Week> {
    let mut tx = pool.begin().await?;
    // It looks at every head; nobody waits for what it locks meanwhile.
    sqlx::query("SET LOCAL statement_timeout = 0")
        .execute(&mut *tx)
        .await?;
    let word: String = sqlx::query_scalar("SELECT account.drop_oldest_states($1)")
        .bind(archive)
        .fetch_one(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Week::of(word))
}

/// Looks at kept leaves behind `after` and deletes those that nothing needs any more; returns the
/// last one looked at, and how many are gone. What can't be read stays as it is.
///
/// # Errors
/// As the database fails.
pub async fn free(pool: &PgPool, after: Place, limit: i64) -> sqlx::Result<Option<(Place, u64)>> {
    let mut tx = pool.begin().await?;
    let rows: Vec<(Uuid, i32, Vec<u8>)> = sqlx::query_as(
        "SELECT batch, leaf, state FROM account.kept_leaves WHERE (batch, leaf) > ($1, $2)
         ORDER BY batch, leaf LIMIT $3 FOR UPDATE SKIP LOCKED",
    )
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .fetch_all(&mut *tx)
    .await?;
    let Some(last) = rows.last().map(|(batch, leaf, _)| (*batch, *leaf)) else {
        return Ok(None);
    };
    let readable: Vec<_> = rows
        .iter()
        .filter_map(|(batch, leaf, state)| Some((*batch, *leaf, decode_state(state).ok()?)))
        .collect();
    let channels = readable.iter().map(|(_, _, state)| state.channel_id);
    let needs = Needs::of(&mut tx, channels.collect()).await?;
    let (batches, leaves): (Vec<_>, Vec<_>) = readable
        .iter()
        .filter(|(_, _, state)| !needs.state(state))
        .map(|(batch, leaf, _)| (*batch, *leaf))
        .unzip();
    let done = sqlx::query(
        "DELETE FROM account.kept_leaves k USING unnest($1::uuid[], $2::int[]) AS d(batch, leaf)
         WHERE k.batch = d.batch AND k.leaf = d.leaf",
    )
    .bind(batches)
    .bind(leaves)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Some((last, done.rows_affected())))
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

/// What is needed of channels.
struct Needs(HashMap<ChannelId, Newer>);

impl Needs {
    async fn of(connection: &mut PgConnection, channels: HashSet<ChannelId>) -> sqlx::Result<Self> {
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
        let newer = rows.into_iter().map(|(channel, head, carried, closing)| {
            let carried = carried.unwrap_or(0);
            let newer = Newer {
                head,
                carried,
                closing,
            };
            (channel.0, newer)
        });
        Ok(Self(newer.collect()))
    }

    /// Whether a state is the newest of its channel, or was where the journal begins, or is of an
    /// epoch that is being closed. One of a channel without a head is, as nobody knows better.
    fn state(&self, state: &State) -> bool {
        let Some(newer) = self.0.get(&state.channel_id) else {
            return true;
        };
        let version = state.version.cast_signed();
        version >= newer.head
            || version >= newer.carried
            || newer.closing == Some(state.epoch.cast_signed())
    }
}
