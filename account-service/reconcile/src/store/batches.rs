//! `account.batches`, each with its states, and the heads and the operations that name it.

use super::{Differing, differing, hash};
use futures_util::stream::BoxStream;
use hub_core::{Amount, ChannelId, Hash32, Signature};
use runtime::pg::PgAmount;
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
    /// The heads that name it.
    pub heads: Vec<HeadRef>,
    /// The operations that name it.
    pub legs: Vec<OperationRow>,
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
    /// The channel.
    pub channel: ChannelId,
    /// The hash it names.
    pub state_hash: Hash32,
    /// User balance and the user's locks, as the row has them.
    pub user_total: Amount,
}

/// A posted operation.
#[derive(Debug, Clone, Copy)]
pub struct OperationRow {
    /// Its id.
    pub id: Uuid,
    /// Stored kind.
    pub kind: i16,
    /// How much.
    pub amount: Amount,
    /// The side of the payer.
    pub payer: Option<Side>,
    /// The side of the payee.
    pub payee: Option<Side>,
}

/// One side of an operation, as its row has it.
#[derive(Debug, Clone, Copy)]
pub struct Side {
    /// Channel of the account; `None` when there is no such account.
    pub channel: Option<ChannelId>,
    /// Version of the state it is part of.
    pub version: Option<u64>,
    /// User balance after it.
    pub balance: Option<Amount>,
    /// Index of the state in the batch.
    pub leaf: Option<u32>,
}

macro_rules! select_batches {
    ($operations:literal, $join:literal) => {
        concat!(
            "SELECT b.hub_id, b.batch_id, b.fate, b.id, b.root, b.prev_root, b.depth, b.hub_signature,
                    b.user_signature, s.states, b.id >= r.whole_from AS whole, b.id >= r.states_from AS kept, k.leaves, k.leaf_states,
                    k.paths, h.channels, h.hashes, h.totals, ",
            $operations,
            " FROM account.batches b CROSS JOIN account.retention r
             LEFT JOIN account.batch_states s ON s.id = b.id
             LEFT JOIN (
                SELECT batch, array_agg(channel_id) AS channels, array_agg(state_hash) AS hashes,
                       array_agg(user_balance + user_locked) AS totals
                FROM account.heads GROUP BY batch
             ) h ON h.batch = b.id
             LEFT JOIN (
                SELECT batch, array_agg(leaf) AS leaves, array_agg(state) AS leaf_states, array_agg(path) AS paths
                FROM account.kept_leaves GROUP BY batch
             ) k ON k.batch = b.id ",
            $join,
            " ORDER BY b.hub_id, b.batch_id"
        )
    };
}

const WITH_OPERATIONS: &str = select_batches!(
    "o.ids, o.kinds, o.amounts, o.payers, o.payer_channels, o.payer_versions, o.payer_balances,
     o.payer_leaves, o.payees, o.payee_channels, o.payee_versions, o.payee_balances, o.payee_leaves",
    "LEFT JOIN (
        SELECT o.batch, array_agg(o.id) AS ids, array_agg(o.kind) AS kinds, array_agg(o.amount) AS amounts,
               array_agg(o.payer) AS payers, array_agg(p.channel_id) AS payer_channels,
               array_agg(o.payer_version) AS payer_versions, array_agg(o.payer_balance) AS payer_balances,
               array_agg(o.payer_leaf) AS payer_leaves,
               array_agg(o.payee) AS payees, array_agg(q.channel_id) AS payee_channels,
               array_agg(o.payee_version) AS payee_versions, array_agg(o.payee_balance) AS payee_balances,
               array_agg(o.payee_leaf) AS payee_leaves
        FROM account.operations o
        LEFT JOIN account.accounts p ON p.id = o.payer
        LEFT JOIN account.accounts q ON q.id = o.payee
        WHERE o.outcome = 1 GROUP BY o.batch
     ) o ON o.batch = b.id"
);
const WITHOUT_OPERATIONS: &str = select_batches!("NULL::uuid[] AS ids", "");

/// Joins by hash alone from here on, or as the planner likes. It has no idea how many batches there
/// are when they have just been made, and nested loops over all operations never end.
pub async fn join_by_hash(connection: &mut PgConnection, only: bool) -> sqlx::Result<()> {
    let setting = if only {
        "SET LOCAL enable_nestloop = off"
    } else {
        "SET LOCAL enable_nestloop TO DEFAULT"
    };
    sqlx::query(setting).execute(connection).await.map(drop)
}

/// All batches, in the order of each hub; with their operations or without.
pub fn all(connection: &mut PgConnection, operations: bool) -> BoxStream<'_, sqlx::Result<PgRow>> {
    let query = if operations {
        WITH_OPERATIONS
    } else {
        WITHOUT_OPERATIONS
    };
    sqlx::query(query).fetch(connection)
}

/// Number and root of a row of [`all`], and whether it was committed.
pub fn place_of(row: &PgRow) -> sqlx::Result<Batch> {
    Ok(Batch {
        hub_id: row.try_get("hub_id")?,
        batch_id: row.try_get::<i64, _>("batch_id")?.cast_unsigned(),
        root: hash(row, "root")?,
        committed: None,
    })
}

/// A batch from a row of [`all`].
pub fn batch_of(row: &PgRow) -> sqlx::Result<Batch> {
    let mut batch = place_of(row)?;
    if row.try_get::<i16, _>("fate")? != 1 {
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
        heads: heads_of(row)?,
        legs: operations_of(row)?,
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

fn heads_of(row: &PgRow) -> sqlx::Result<Vec<HeadRef>> {
    let Some(channels) = row.try_get::<Option<Vec<Vec<u8>>>, _>("channels")? else {
        return Ok(Vec::new());
    };
    let hashes: Vec<Vec<u8>> = row.try_get("hashes")?;
    let totals: Vec<PgAmount> = row.try_get("totals")?;
    let heads = channels.iter().zip(&hashes).zip(totals);
    Ok(heads
        .map(|((channel, hash), total)| HeadRef {
            channel: ChannelId::from_slice(channel).unwrap_or_default(),
            state_hash: Hash32::from_slice(hash).unwrap_or_default(),
            user_total: total.0,
        })
        .collect())
}

fn operations_of(row: &PgRow) -> sqlx::Result<Vec<OperationRow>> {
    let Some(ids) = row.try_get::<Option<Vec<Uuid>>, _>("ids")? else {
        return Ok(Vec::new());
    };
    let kinds: Vec<i16> = row.try_get("kinds")?;
    let amounts: Vec<PgAmount> = row.try_get("amounts")?;
    let payers = sides_of(
        row,
        [
            "payers",
            "payer_channels",
            "payer_versions",
            "payer_balances",
            "payer_leaves",
        ],
    )?;
    let payees = sides_of(
        row,
        [
            "payees",
            "payee_channels",
            "payee_versions",
            "payee_balances",
            "payee_leaves",
        ],
    )?;
    let rows = ids
        .into_iter()
        .zip(kinds)
        .zip(amounts)
        .zip(payers)
        .zip(payees);
    Ok(rows
        .map(|((((id, kind), amount), payer), payee)| OperationRow {
            id,
            kind,
            amount: amount.0,
            payer,
            payee,
        })
        .collect())
}

fn sides_of(row: &PgRow, columns: [&str; 5]) -> sqlx::Result<Vec<Option<Side>>> {
    let accounts: Vec<Option<Uuid>> = row.try_get(columns[0])?;
    let channels: Vec<Option<Vec<u8>>> = row.try_get(columns[1])?;
    let versions: Vec<Option<i64>> = row.try_get(columns[2])?;
    let balances: Vec<Option<PgAmount>> = row.try_get(columns[3])?;
    let leaves: Vec<Option<i32>> = row.try_get(columns[4])?;
    let sides = accounts
        .into_iter()
        .zip(channels)
        .zip(versions)
        .zip(balances)
        .zip(leaves);
    Ok(sides
        .map(|((((account, channel), version), balance), leaf)| {
            account.map(|_| Side {
                channel: channel.as_deref().and_then(ChannelId::from_slice),
                version: version.map(i64::cast_unsigned),
                balance: balance.map(|balance| balance.0),
                leaf: leaf.map(i32::cast_unsigned),
            })
        })
        .collect())
}

const MISSING: &str = "
    SELECT coalesce(n.batch::text, 'none') AS key, 'a committed batch' AS expected,
           concat('none; ', sum(n.heads), ' heads and ', sum(n.operations), ' operations name it') AS found
    FROM (
        SELECT batch, count(*) AS heads, 0 AS operations FROM account.heads GROUP BY batch
        UNION ALL
        SELECT batch, 0, count(*) FROM account.operations WHERE outcome = 1 GROUP BY batch
    ) n
    LEFT JOIN account.batches b ON b.id = n.batch AND b.fate = 1
    WHERE b.id IS NULL GROUP BY n.batch ORDER BY n.batch";

/// Batches that heads or operations name and that were never committed.
pub async fn missing(connection: &mut PgConnection) -> sqlx::Result<Vec<Differing>> {
    let rows = sqlx::query(MISSING).fetch_all(connection).await?;
    rows.iter().map(differing).collect()
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

/// What heads without a committed batch hold for users, by hub, as their rows have it.
pub async fn unsigned_totals(connection: &mut PgConnection) -> sqlx::Result<Vec<(Uuid, Amount)>> {
    let rows = sqlx::query(
        "SELECT h.hub_id, sum(h.user_balance + h.user_locked) AS total FROM account.heads h
         LEFT JOIN account.batches b ON b.id = h.batch AND b.fate = 1
         WHERE b.id IS NULL GROUP BY h.hub_id",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok((
                row.try_get("hub_id")?,
                row.try_get::<PgAmount, _>("total")?.0,
            ))
        })
        .collect()
}
