//! `account.batches`, each with its states, and the heads that name it.

use super::copy::there;
use super::feed::{self, Feed, Groups, Place};
use super::{Differing, differing, hash};
use hub_core::{Amount, ChannelId, Hash32, Signature};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

/// A batch.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Its hub.
    pub hub_id: Uuid,
    /// The hub's number.
    pub batch_id: u64,
    /// Its root, if it is one.
    pub root: Option<Hash32>,
    /// What was signed, when it was committed; `None` when it was burned.
    pub committed: Option<Committed>,
}

/// A committed batch. What can't be what it should be is `None`.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Our id.
    pub id: Uuid,
    /// Root of the batch before.
    pub prev_root: Option<Hash32>,
    /// Levels of the tree.
    pub depth: Option<u8>,
    /// The hub's signature.
    pub hub_signature: Option<Signature>,
    /// The custody signature.
    pub user_signature: Option<Signature>,
    /// The states as stored; `None` when their week is gone.
    pub states: Option<Vec<u8>>,
    /// What was kept of them then.
    pub kept: Vec<Leaf>,
    /// Whether all its operations are still in the journal.
    pub whole: bool,
}

/// A state that was kept of a batch, as stored.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Its place.
    pub leaf: u32,
    /// The state.
    pub state: Vec<u8>,
    /// From leaf to root.
    pub path: Vec<u8>,
}

/// A head, as far as its batch is concerned.
#[derive(Debug, Clone, Copy)]
pub struct HeadRef {
    /// Its hub.
    pub hub_id: Uuid,
    /// The channel.
    pub channel: ChannelId,
    /// The hash it names.
    pub state_hash: Hash32,
    /// User balance and the user's locks, as the row has them.
    pub user_total: Amount,
}

const BY_ID: &str = "
    SELECT b.hub_id, b.batch_id, b.fate, b.id, b.root, b.prev_root, b.depth, b.hub_signature, b.user_signature,
           s.states, b.id >= r.whole_from AS whole, b.id >= r.states_from AS kept, k.leaves, k.leaf_states, k.paths
    FROM account.batches b CROSS JOIN account.retention r
    LEFT JOIN account.batch_states s ON s.id = b.id
    LEFT JOIN (
        SELECT batch, array_agg(leaf) AS leaves, array_agg(state) AS leaf_states, array_agg(path) AS paths
        FROM account.kept_leaves GROUP BY batch
    ) k ON k.batch = b.id
    ORDER BY b.id";

const HEADS: &str = "
    SELECT batch, hub_id, channel_id, state_hash, user_balance + user_locked
    FROM account.heads ORDER BY batch";

/// All batches in the order of their ids, those that have none at the end.
pub async fn by_id(mut connection: PgConnection) -> sqlx::Result<Feed<PgRow>> {
    // The planner has no idea how many batches there are when they have just been made, and nested
    // loops over all their states never end.
    sqlx::query("SET LOCAL enable_nestloop = off")
        .execute(&mut connection)
        .await?;
    Ok(feed::rows(connection, BY_ID))
}

/// All heads, in the order of the batches that they name.
pub fn heads(connection: PgConnection) -> Groups<HeadRef> {
    feed::groups(connection, HEADS, |fields| {
        let batch = fields.uuid()?;
        let head = HeadRef {
            hub_id: there(fields.uuid()?)?,
            channel: fields
                .bytes()?
                .and_then(ChannelId::from_slice)
                .unwrap_or_default(),
            state_hash: fields
                .bytes()?
                .and_then(Hash32::from_slice)
                .unwrap_or_default(),
            user_total: there(fields.amount()?)?,
        };
        Ok((batch, head))
    })
}

/// Where the rows stand that name the batch of a row of [`by_id`].
pub fn place_of(row: &PgRow) -> sqlx::Result<Place> {
    Ok(Place::of(row.try_get("id")?))
}

/// Whether the batch of a row of [`by_id`] was committed.
pub fn is_committed(row: &PgRow) -> sqlx::Result<bool> {
    Ok(row.try_get::<i16, _>("fate")? == 1)
}

/// A batch from a row of [`by_id`].
pub fn batch_of(row: &PgRow) -> sqlx::Result<Batch> {
    let mut batch = Batch {
        hub_id: row.try_get("hub_id")?,
        batch_id: row.try_get::<i64, _>("batch_id")?.cast_unsigned(),
        root: hash(row, "root")?,
        committed: None,
    };
    if !is_committed(row)? {
        return Ok(batch);
    }
    let signature = |column| -> sqlx::Result<Option<Signature>> {
        Ok(Signature::from_slice(row.try_get(column)?))
    };
    batch.committed = Some(Committed {
        id: row.try_get("id")?,
        prev_root: hash(row, "prev_root")?,
        depth: u8::try_from(row.try_get::<i16, _>("depth")?).ok(),
        hub_signature: signature("hub_signature")?,
        user_signature: signature("user_signature")?,
        states: states_of(row)?,
        kept: leaves_of(row)?,
        whole: row.try_get("whole")?,
    });
    Ok(batch)
}

/// Only weeks that ended before a mark are gone; of others nothing is left at all.
fn states_of(row: &PgRow) -> sqlx::Result<Option<Vec<u8>>> {
    let states: Option<Vec<u8>> = row.try_get("states")?;
    let kept: bool = row.try_get("kept")?;
    Ok(states.or_else(|| kept.then(Vec::new)))
}

fn leaves_of(row: &PgRow) -> sqlx::Result<Vec<Leaf>> {
    let Some(leaves) = row.try_get::<Option<Vec<i32>>, _>("leaves")? else {
        return Ok(Vec::new());
    };
    let states: Vec<Vec<u8>> = row.try_get("leaf_states")?;
    let paths: Vec<Vec<u8>> = row.try_get("paths")?;
    let leaves = leaves.into_iter().zip(states).zip(paths);
    Ok(leaves
        .map(|((leaf, state), path)| Leaf {
            leaf: leaf.cast_unsigned(),
            state,
            path,
        })
        .collect())
}

const NOT_KEPT: &str = "
    SELECT concat(c.batch, '/', c.leaf) AS key,
           concat('the state of version ', c.version, ' of account ', c.account) AS expected, 'none' AS found
    FROM (
        SELECT c.* FROM account.carried c CROSS JOIN account.retention r
        LEFT JOIN account.kept_leaves k ON k.batch = c.batch AND k.leaf = c.leaf
        WHERE c.batch < r.states_from AND k.batch IS NULL OFFSET 0
    ) c
    -- One look-up for each that is left: a join would read all states there are.
    WHERE (SELECT s.id FROM account.batch_states s WHERE s.id = c.batch) IS NULL
    ORDER BY c.batch, c.leaf";

/// States where the journal begins that are neither kept nor in a week that is.
pub async fn not_kept(connection: &mut PgConnection) -> sqlx::Result<Vec<Differing>> {
    let rows = sqlx::query(NOT_KEPT).fetch_all(connection).await?;
    rows.iter().map(differing).collect()
}
