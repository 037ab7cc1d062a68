//! `hub.journal`: every batch, before it is signed.

use super::{Connection, decode, unsigned};
use crate::engine::ledger::Seal;
use hub_client::BatchMark;
use hub_core::encoding::{decode_states, encode_states};
use hub_core::{Amount, Hash32, Signature, State};
use runtime::pg::{PgAmount, PgHash, PgSignature};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;
use uuid::Uuid;

/// `fate` of a committed batch.
const COMMITTED: i16 = 1;
/// `fate` of a burned one.
const BURNED: i16 = 2;

/// A fate as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredFate {
    /// With the custody signature.
    Committed(Signature),
    /// Never to be committed.
    Burned,
}

/// A batch to be journaled.
#[derive(Debug)]
pub struct NewBatch<'a> {
    /// The hub.
    pub hub_id: Uuid,
    /// The batch.
    pub batch_id: u64,
    /// What asked for it.
    pub request_id: Uuid,
    /// What is signed.
    pub seal: Seal,
    /// The states, in channel id order.
    pub states: Vec<&'a State>,
    /// Digest of the request.
    pub digest: Hash32,
    /// Sum of the issuances.
    pub issued: Amount,
    /// Now.
    pub now: OffsetDateTime,
}

/// Inserts a batch; its number and its request are taken from then on.
pub async fn insert(connection: &mut Connection, batch: &NewBatch<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO hub.journal (hub_id, batch_id, request_id, prev_root, root, depth, states,
             operations_digest, issued, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(batch.hub_id)
    .bind(batch.batch_id.cast_signed())
    .bind(batch.request_id)
    .bind(PgHash(batch.seal.prev_root))
    .bind(PgHash(batch.seal.root))
    .bind(i16::from(batch.seal.depth))
    .bind(encode_states(batch.states.iter().copied()))
    .bind(PgHash(batch.digest))
    .bind(PgAmount(batch.issued))
    .bind(batch.now)
    .execute(connection)
    .await
    .map(drop)
}

pub(super) fn seal(row: &PgRow) -> sqlx::Result<Seal> {
    let depth: i16 = row.try_get("depth")?;
    Ok(Seal {
        root: row.try_get::<PgHash, _>("root")?.0,
        depth: u8::try_from(depth).map_err(decode)?,
        prev_root: row.try_get::<PgHash, _>("prev_root")?.0,
    })
}

/// The newest batch.
pub async fn newest(connection: &mut Connection, hub_id: Uuid) -> sqlx::Result<BatchMark> {
    let row = sqlx::query(
        "SELECT batch_id, root FROM hub.journal WHERE hub_id = $1 ORDER BY batch_id DESC LIMIT 1",
    )
    .bind(hub_id)
    .fetch_optional(connection)
    .await?;
    row.map_or(
        Ok(BatchMark {
            batch_id: 0,
            root: Hash32::ZERO,
        }),
        |row| {
            Ok(BatchMark {
                batch_id: unsigned(&row, "batch_id")?,
                root: row.try_get::<PgHash, _>("root")?.0,
            })
        },
    )
}

/// What was signed in one batch.
pub async fn seal_of(
    connection: &mut Connection,
    hub_id: Uuid,
    batch_id: u64,
) -> sqlx::Result<Option<Seal>> {
    sqlx::query(
        "SELECT prev_root, root, depth FROM hub.journal WHERE hub_id = $1 AND batch_id = $2",
    )
    .bind(hub_id)
    .bind(batch_id.cast_signed())
    .fetch_optional(connection)
    .await?
    .as_ref()
    .map(seal)
    .transpose()
}

/// All batches without a fate, with their states.
pub async fn open(
    connection: &mut Connection,
    hub_id: Uuid,
) -> sqlx::Result<Vec<(u64, Seal, Vec<State>)>> {
    let rows = sqlx::query(
        "SELECT batch_id, prev_root, root, depth, states FROM hub.journal
         WHERE hub_id = $1 AND fate IS NULL ORDER BY batch_id",
    )
    .bind(hub_id)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let states = decode_states(row.try_get("states")?).map_err(decode)?;
            Ok((unsigned(row, "batch_id")?, seal(row)?, states))
        })
        .collect()
}

/// The states of one batch.
pub async fn states(
    connection: &mut Connection,
    hub_id: Uuid,
    batch_id: u64,
) -> sqlx::Result<Vec<State>> {
    let bytes: Vec<u8> =
        sqlx::query_scalar("SELECT states FROM hub.journal WHERE hub_id = $1 AND batch_id = $2")
            .bind(hub_id)
            .bind(batch_id.cast_signed())
            .fetch_one(connection)
            .await?;
    decode_states(&bytes).map_err(decode)
}

/// Issuances after `since`, oldest first.
pub async fn issued_since(
    connection: &mut Connection,
    hub_id: Uuid,
    since: OffsetDateTime,
) -> sqlx::Result<Vec<(OffsetDateTime, Amount)>> {
    let rows = sqlx::query(
        "SELECT created_at, issued FROM hub.journal
         WHERE hub_id = $1 AND created_at > $2 AND issued > 0 ORDER BY created_at",
    )
    .bind(hub_id)
    .bind(since)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let issued: PgAmount = row.try_get("issued")?;
            Ok((row.try_get("created_at")?, issued.0))
        })
        .collect()
}

/// Stores fates of batches that have none. Returns how many got theirs.
pub async fn set_fates(
    connection: &mut Connection,
    hub_id: Uuid,
    fates: &[(u64, StoredFate)],
) -> sqlx::Result<u64> {
    let ids: Vec<_> = fates.iter().map(|(id, _)| id.cast_signed()).collect();
    let codes: Vec<_> = fates
        .iter()
        .map(|(_, fate)| match fate {
            StoredFate::Committed(_) => COMMITTED,
            StoredFate::Burned => BURNED,
        })
        .collect();
    let signatures: Vec<_> = fates
        .iter()
        .map(|(_, fate)| match fate {
            StoredFate::Committed(signature) => Some(PgSignature(*signature)),
            StoredFate::Burned => None,
        })
        .collect();
    let done = sqlx::query(
        "UPDATE hub.journal j SET fate = n.fate, user_signature = n.user_signature
         FROM UNNEST($2::int8[], $3::int2[], $4::bytea[]) AS n(batch_id, fate, user_signature)
         WHERE j.hub_id = $1 AND j.batch_id = n.batch_id AND j.fate IS NULL",
    )
    .bind(hub_id)
    .bind(ids)
    .bind(codes)
    .bind(signatures)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// The fates of these batches, as far as there are such batches with one.
pub async fn fates(
    connection: &mut Connection,
    hub_id: Uuid,
    batches: &[u64],
) -> sqlx::Result<Vec<(u64, StoredFate)>> {
    let ids: Vec<_> = batches.iter().map(|id| id.cast_signed()).collect();
    let rows = sqlx::query(
        "SELECT batch_id, user_signature FROM hub.journal
         WHERE hub_id = $1 AND batch_id = ANY($2) AND fate IS NOT NULL",
    )
    .bind(hub_id)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let signature: Option<PgSignature> = row.try_get("user_signature")?;
            let fate = signature.map_or(StoredFate::Burned, |s| StoredFate::Committed(s.0));
            Ok((unsigned(row, "batch_id")?, fate))
        })
        .collect()
}

/// An entry without its states.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The batch.
    pub batch_id: u64,
    /// What asked for it.
    pub request_id: Uuid,
    /// What is signed.
    pub seal: Seal,
    /// Its fate, if it has one.
    pub fate: Option<StoredFate>,
}

/// Entries above `after`, oldest first.
pub async fn page(
    connection: &mut Connection,
    hub_id: Uuid,
    after: u64,
    limit: u32,
) -> sqlx::Result<Vec<Entry>> {
    let rows = sqlx::query(
        "SELECT batch_id, request_id, prev_root, root, depth, fate, user_signature
         FROM hub.journal WHERE hub_id = $1 AND batch_id > $2 ORDER BY batch_id LIMIT $3",
    )
    .bind(hub_id)
    .bind(i64::try_from(after).unwrap_or(i64::MAX))
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let fate: Option<i16> = row.try_get("fate")?;
            let signature: Option<PgSignature> = row.try_get("user_signature")?;
            Ok(Entry {
                batch_id: unsigned(row, "batch_id")?,
                request_id: row.try_get("request_id")?,
                seal: seal(row)?,
                fate: match (fate, signature) {
                    (None, _) => None,
                    (Some(_), Some(signature)) => Some(StoredFate::Committed(signature.0)),
                    (Some(_), None) => Some(StoredFate::Burned),
                },
            })
        })
        .collect()
}
