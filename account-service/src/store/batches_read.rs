//! `account.batches`, `account.batch_states` and `account.kept_leaves` as far as proofs and histories
//! of channels need them.

use super::states::{self, Place};
use hub_core::encoding::{decode_states, encode_states};
use hub_core::merkle::Tree;
use hub_core::{ChannelId, Epoch, Hash32, Signature, State, Typed as _, Version};
use runtime::pg::{PgAmount, PgChannelId, PgHash, PgSignature};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

/// What proves a state: its batch with both signatures, and its place there.
#[derive(Debug, Clone)]
pub struct Proved {
    /// The hub's number of the batch.
    pub batch_id: u64,
    /// Root over the states.
    pub root: Hash32,
    /// Root of the batch before.
    pub prev_root: Hash32,
    /// Levels of the tree.
    pub depth: u8,
    /// The hub's signature.
    pub hub_signature: Signature,
    /// The custody signature.
    pub user_signature: Signature,
    /// Its place among the leaves.
    pub leaf: u32,
    /// From leaf to root.
    pub siblings: Vec<Hash32>,
}

/// What proves a state of a committed batch: all states of the batch, or the path that was kept of
/// this one. None when the batch has no such state, or has it no more.
pub async fn proved(pool: &PgPool, batch: Uuid, state: &State) -> sqlx::Result<Option<Proved>> {
    let row = sqlx::query(
        "SELECT b.batch_id, b.root, b.prev_root, b.depth, b.hub_signature, b.user_signature, s.states,
                k.leaf, k.path
         FROM account.batches b
         LEFT JOIN account.batch_states s ON s.id = $1
         LEFT JOIN account.kept_leaves k ON s.id IS NULL AND k.batch = $1 AND k.state = $2
         WHERE b.id = $1 AND b.fate = 1",
    )
    .bind(batch)
    .bind(encode_states([state]))
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let Some((leaf, siblings)) = place_of(&row, state)? else {
        return Ok(None);
    };
    Ok(Some(Proved {
        batch_id: row.try_get::<i64, _>("batch_id")?.cast_unsigned(),
        root: row.try_get::<PgHash, _>("root")?.0,
        prev_root: row.try_get::<PgHash, _>("prev_root")?.0,
        depth: u8::try_from(row.try_get::<i16, _>("depth")?).map_err(decode)?,
        hub_signature: row.try_get::<PgSignature, _>("hub_signature")?.0,
        user_signature: row.try_get::<PgSignature, _>("user_signature")?.0,
        leaf,
        siblings,
    }))
}

fn place_of(row: &PgRow, state: &State) -> sqlx::Result<Option<(u32, Vec<Hash32>)>> {
    if let Some(leaf) = row.try_get::<Option<i32>, _>("leaf")? {
        let path: Vec<u8> = row.try_get("path")?;
        let siblings = path.chunks(32).map(Hash32::from_slice);
        return Ok(siblings
            .collect::<Option<_>>()
            .map(|siblings| (leaf.cast_unsigned(), siblings)));
    }
    let Some(states) = row.try_get::<Option<Vec<u8>>, _>("states")? else {
        return Ok(None);
    };
    let states = decode_states(&states).map_err(decode)?;
    let place = || {
        let at = states.iter().position(|other| other == state)?;
        let tree = Tree::new(states.iter().map(State::hash_struct).collect())?;
        Some((u32::try_from(at).ok()?, tree.path(at)?))
    };
    Ok(place())
}

fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

/// A co-signed state with the batch that carries its signatures.
#[derive(Debug, Clone, Copy)]
pub struct StoredState {
    /// The state.
    pub state: State,
    /// The batch.
    pub batch: Uuid,
    /// When the batch was committed.
    pub created_at: OffsetDateTime,
}

/// Walks the thread of an account's operations, a look-up by key for each, as long as `$more` holds
/// for the newer one: from the oldest mark that `$mark` is true of, or from the newest operation.
/// One operation in 64 is a mark; `o` has it, `version` is the account's there.
macro_rules! thread {
    ($mark:literal, $more:literal, $tail:literal) => {
        concat!(
            "WITH RECURSIVE mark AS (
                (SELECT o.id, o.payer_version AS version
                 FROM account.operations o, LATERAL (SELECT o.payer_version AS version) v
                 WHERE o.payer = $1 AND o.outcome = 1 AND get_byte(uuid_send(o.id), 15) < 4 AND ", $mark, "
                 ORDER BY o.payer_version, o.id LIMIT 1)
                UNION ALL
                (SELECT o.id, o.payee_version
                 FROM account.operations o, LATERAL (SELECT o.payee_version AS version) v
                 WHERE o.payee = $1 AND o.outcome = 1 AND get_byte(uuid_send(o.id), 15) < 4 AND ", $mark, "
                 ORDER BY o.payee_version, o.id LIMIT 1)
                ORDER BY version LIMIT 1
            ), thread AS (
                SELECT coalesce((SELECT id FROM mark), h.newest) AS next, NULL::bigint AS version,
                       NULL::uuid AS batch, NULL::int AS leaf
                FROM account.accounts a JOIN account.heads h ON h.channel_id = a.channel_id
                WHERE a.id = $1
                UNION ALL
                SELECT CASE WHEN o.payer = $1 THEN o.payer_previous ELSE o.payee_previous END,
                       CASE WHEN o.payer = $1 THEN o.payer_version ELSE o.payee_version END, o.batch,
                       CASE WHEN o.payer = $1 THEN o.payer_leaf ELSE o.payee_leaf END
                FROM thread t CROSS JOIN LATERAL (
                    SELECT * FROM account.operations n WHERE n.id = t.next LIMIT 1) o
                WHERE t.batch IS NULL OR ", $more, "
            ) ", $tail
        )
    };
}

/// States of an account's channel from a version on, oldest first. Each state came from at
/// least one operation, which knows its place; where the operations are dropped, the place of the
/// newest one is carried over.
const STATES: &str = thread!(
    "v.version >= $3",
    "t.version >= $2",
    ", places AS (
        SELECT DISTINCT version, batch, leaf FROM thread WHERE version >= $2
        UNION
        SELECT version, batch, leaf FROM account.carried WHERE account = $1 AND version >= $2
    )
    SELECT p.batch, p.leaf, p.created_at, m.more
    FROM (SELECT EXISTS (SELECT 1 FROM mark) AS more) m
    LEFT JOIN (
        SELECT p.batch, p.leaf, p.version, b.batch_id, b.created_at
        FROM places p
        CROSS JOIN LATERAL (SELECT batch_id, created_at FROM account.batches WHERE id = p.batch LIMIT 1) b
    ) p ON true
    ORDER BY p.version, p.batch_id LIMIT $4 + 1"
);

/// Co-signed states of an account's channel from a version on, oldest first.
pub async fn states(
    pool: &PgPool,
    account: Uuid,
    from: Version,
    limit: i64,
) -> sqlx::Result<Vec<StoredState>> {
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    // The walk goes back from a mark so far above. Versions have gaps, so that may be too near.
    let mut span = limit;
    loop {
        let mut rows = sqlx::query(STATES)
            .bind(account)
            .bind(from)
            .bind(from.saturating_add(span))
            .bind(limit)
            .fetch_all(pool)
            .await?;
        let begun_at_mark = rows
            .first()
            .map_or(Ok(false), |row| row.try_get::<bool, _>("more"))?;
        // One without a place says only whether there are more.
        rows.retain(|row| row.try_get::<Uuid, _>("batch").is_ok());
        if begun_at_mark && i64::try_from(rows.len()).is_ok_and(|rows| rows < limit) {
            span = span.saturating_mul(16);
            continue;
        }
        let mut found = stored(pool, &rows).await?;
        // The state where the journal begins may be gone, or be one too many.
        found.truncate(usize::try_from(limit).unwrap_or_default());
        return Ok(found);
    }
}

/// The newest state whose batch is not younger than a time, from the oldest mark that is. Versions
/// grow with time and over epochs. Before the oldest operation kept it is the state that was carried
/// over; older ones are gone.
const STATE_AT: &str = thread!(
    "(SELECT b.created_at FROM account.batches b WHERE b.id = o.batch) > $2",
    "(SELECT b.created_at FROM account.batches b WHERE b.id = t.batch) > $2",
    ", places AS (
        SELECT version, batch, leaf FROM thread WHERE batch IS NOT NULL
        UNION ALL
        SELECT version, batch, leaf FROM account.carried WHERE account = $1
    )
    SELECT p.batch, p.leaf, b.created_at
    FROM places p CROSS JOIN LATERAL (SELECT created_at FROM account.batches WHERE id = p.batch LIMIT 1) b
    WHERE b.created_at <= $2
    ORDER BY p.version DESC LIMIT 2"
);

/// The newest co-signed state of an account at a time.
pub async fn state_at(
    pool: &PgPool,
    account: Uuid,
    at: OffsetDateTime,
) -> sqlx::Result<Option<StoredState>> {
    let rows = sqlx::query(STATE_AT)
        .bind(account)
        .bind(at)
        .fetch_all(pool)
        .await?;
    Ok(stored(pool, &rows).await?.into_iter().next())
}

/// The states at the places of these rows, in their order, but those that are gone.
async fn stored(pool: &PgPool, rows: &[PgRow]) -> sqlx::Result<Vec<StoredState>> {
    let place = |row: &PgRow| Ok((row.try_get("batch")?, row.try_get("leaf")?));
    let places = rows
        .iter()
        .map(place)
        .collect::<sqlx::Result<Vec<Place>>>()?;
    let states = states::read(pool, &places).await?;
    let here = rows
        .iter()
        .zip(places)
        .filter_map(|(row, place)| Some((row, place.0, states.get(&place)?)));
    here.map(|(row, batch, state)| {
        Ok(StoredState {
            state: *state,
            batch,
            created_at: row.try_get("created_at")?,
        })
    })
    .collect()
}

/// The newest state of a channel, from its head.
#[derive(Debug, Clone, Copy)]
pub struct Newest {
    /// Whose the channel is.
    pub account: Uuid,
    /// The state as its columns say.
    pub state: State,
    /// The batch that carries its signatures.
    pub batch: Uuid,
    /// What the channel's row says about itself.
    pub status: i16,
    /// The hash both parties signed.
    pub state_hash: Hash32,
}

/// The head of a channel that belongs to `owner` (`None`: anybody).
pub async fn newest(
    pool: &PgPool,
    channel: ChannelId,
    owner: Option<Uuid>,
) -> sqlx::Result<Option<Newest>> {
    let row = sqlx::query(
        "SELECT h.account_id, h.status, h.epoch, h.version, h.ack_version, h.hub_balance, h.user_balance,
                h.hub_locked, h.user_locked, h.withdrawn, h.deposited, h.credited, h.locks_hash,
                h.transfers_root, h.state_hash, h.batch
         FROM account.heads h JOIN account.accounts a ON a.id = h.account_id
         WHERE h.channel_id = $1 AND ($2::uuid IS NULL OR a.owner = $2)",
    )
    .bind(PgChannelId(channel))
    .bind(owner)
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let amount = |column| row.try_get::<PgAmount, _>(column).map(|value| value.0);
    Ok(Some(Newest {
        account: row.try_get("account_id")?,
        batch: row.try_get("batch")?,
        status: row.try_get("status")?,
        state_hash: row.try_get::<PgHash, _>("state_hash")?.0,
        state: State {
            channel_id: channel,
            epoch: Epoch::try_from(row.try_get::<i32, _>("epoch")?).map_err(decode)?,
            version: row.try_get::<i64, _>("version")?.cast_unsigned(),
            ack_version: row.try_get::<i64, _>("ack_version")?.cast_unsigned(),
            hub_balance: amount("hub_balance")?,
            user_balance: amount("user_balance")?,
            hub_locked: amount("hub_locked")?,
            user_locked: amount("user_locked")?,
            withdrawn: amount("withdrawn")?,
            deposited: amount("deposited")?,
            credited: amount("credited")?,
            locks_hash: row.try_get::<PgHash, _>("locks_hash")?.0,
            transfers_root: row.try_get::<PgHash, _>("transfers_root")?.0,
        },
    }))
}
