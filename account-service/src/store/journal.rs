//! `account.operations`: idempotency record, journal and answer of every money request in one row.

use super::states::{self, Place};
use crate::engine::{Entry, Kind, OperationOutcome, Posted, Refused, Route};
use hub_core::{Amount, Hash32, State, Typed, sha256};
use runtime::columns;
use runtime::pg::{PgAmount, PgHash};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool, Row};
use std::collections::HashMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// What is used at most once: the first 16 bytes of SHA-256 over owner, route and idempotency key,
/// or over owner, a zero and the caller's reference. Two that collide by intent are one owner's
/// own, and get a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(Uuid);

impl KeyId {
    /// The scope in which a request has exactly one effect.
    pub fn new(owner: Uuid, route: Route, key: &str) -> Self {
        Self::of(owner, route as i16, key)
    }

    /// The scope in which a caller's reference is used once.
    pub fn of_reference(owner: Uuid, client_ref: &str) -> Self {
        Self::of(owner, 0, client_ref)
    }

    pub(super) fn of(owner: Uuid, route: i16, text: &str) -> Self {
        let mut bytes = Vec::with_capacity(18 + text.len());
        bytes.extend_from_slice(owner.as_bytes());
        bytes.extend_from_slice(&route.to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
        let hash = sha256(&bytes);
        let mut first = [0; 16];
        first.copy_from_slice(&hash.0[..16]);
        Self(Uuid::from_bytes(first))
    }

    /// As it is stored.
    pub(super) fn stored(self) -> Uuid {
        self.0
    }
}

/// What an idempotency key was used for.
#[derive(Debug, Clone)]
pub struct Existing {
    /// Hash of the body it came with.
    pub request_hash: Hash32,
    /// What came of it.
    pub result: ExistingResult,
    /// Which item refused it, if it was a list that was refused as a whole.
    pub refused_at: Option<usize>,
}

/// A refusal as it is kept with its key.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptRefusal {
    /// Why.
    #[serde(flatten)]
    pub refusal: Refused,
    /// Which item refused a list as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
}

/// What came of an earlier request.
#[derive(Debug, Clone)]
pub enum ExistingResult {
    /// It was posted, or accepted.
    Posted(Box<Posted>),
    /// It was refused.
    Refused(Refused),
}

/// A query for operations with the places of the states they became part of; the tail selects which.
macro_rules! select_operations {
    ($tail:literal) => {
        concat!(
            "SELECT o.request_hash, o.id, o.kind, o.outcome, o.hub_id,
                o.amount, o.payer, o.payee, o.payer_version, o.payee_version, o.payer_balance,
                o.payee_balance, o.payer_leaf, o.payee_leaf, o.batch, o.client_ref, o.extra,
                o.created_at
             FROM account.operations o ",
            $tail
        )
    };
}
pub(crate) use select_operations;

/// The requests among these keys that were answered before.
pub async fn find_keys(pool: &PgPool, keys: &[KeyId]) -> sqlx::Result<HashMap<KeyId, Existing>> {
    let used = used_keys(pool, keys).await?;
    if used.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<_> = used.iter().map(|(_, operation)| *operation).collect();
    let rows = sqlx::query(select_operations!("WHERE o.id = ANY($1)"))
        .bind(ids)
        .fetch_all(pool)
        .await?;
    let states = states_of(pool, &rows).await?;
    let mut existing = HashMap::with_capacity(rows.len());
    for row in &rows {
        existing.insert(row.try_get::<Uuid, _>("id")?, existing_of(row, &states)?);
    }
    let found = |(key, operation)| Some((key, existing.get(&operation)?.clone()));
    Ok(used.into_iter().filter_map(found).collect())
}

/// Of these keys, the used ones, each with its operation.
pub async fn used_keys(pool: &PgPool, keys: &[KeyId]) -> sqlx::Result<Vec<(KeyId, Uuid)>> {
    let keys: Vec<_> = keys.iter().map(|key| key.0).collect();
    let rows: Vec<(Uuid, Uuid)> =
        sqlx::query_as("SELECT key, operation FROM account.operation_keys WHERE key = ANY($1)")
            .bind(keys)
            .fetch_all(pool)
            .await?;
    Ok(rows.into_iter().map(|(key, id)| (KeyId(key), id)).collect())
}

/// Takes the idempotency keys and references of these rows, in the order of the keys, so that two
/// replicas never wait for each other. Fails when one is used. Returns how many there were.
pub async fn claim_keys(connection: &mut PgConnection, rows: &[NewRow]) -> sqlx::Result<u64> {
    let mut keys: Vec<_> = rows.iter().map(|row| (row.key, row.id)).collect();
    keys.extend(rows.iter().filter_map(|row| {
        let client_ref = row.client_ref.as_deref()?;
        Some((KeyId::of_reference(row.owner, client_ref), row.id))
    }));
    keys.sort_unstable();
    let (keys, operations): (Vec<_>, Vec<_>) =
        keys.into_iter().map(|(key, id)| (key.0, id)).unzip();
    let done = sqlx::query(
        "INSERT INTO account.operation_keys (key, operation)
         SELECT * FROM unnest($1::uuid[], $2::uuid[])",
    )
    .bind(keys)
    .bind(operations)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// The states that rows of [`select_operations`] became part of.
pub(crate) async fn states_of(
    pool: &PgPool,
    rows: &[PgRow],
) -> sqlx::Result<HashMap<Place, State>> {
    let mut places = Vec::with_capacity(2 * rows.len());
    for row in rows {
        for leaf in ["payer_leaf", "payee_leaf"] {
            places.extend(place_of(row, leaf)?);
        }
    }
    states::read(pool, &places).await
}

fn place_of(row: &PgRow, leaf: &str) -> sqlx::Result<Option<Place>> {
    let batch: Option<Uuid> = row.try_get("batch")?;
    Ok(batch.zip(row.try_get(leaf)?))
}

fn existing_of(row: &PgRow, states: &HashMap<Place, State>) -> sqlx::Result<Existing> {
    let refused = row.try_get::<i16, _>("outcome")? == 2;
    let (result, refused_at) = if refused {
        let Json(kept) = row.try_get::<Json<KeptRefusal>, _>("extra")?;
        (ExistingResult::Refused(kept.refusal), kept.index)
    } else {
        (
            ExistingResult::Posted(Box::new(posted_of(row, states)?)),
            None,
        )
    };
    Ok(Existing {
        request_hash: row.try_get::<PgHash, _>("request_hash")?.0,
        result,
        refused_at,
    })
}

/// An operation from a row of [`select_operations`]; not for refused ones.
pub(crate) fn posted_of(row: &PgRow, states: &HashMap<Place, State>) -> sqlx::Result<Posted> {
    let payer = row.try_get("payer")?;
    let payee = row.try_get("payee")?;
    Ok(Posted {
        id: row.try_get("id")?,
        kind: kind_of(row.try_get("kind")?)?,
        outcome: outcome_of(row.try_get("outcome")?)?,
        hub_id: row.try_get("hub_id")?,
        amount: row.try_get::<PgAmount, _>("amount")?.0,
        payer,
        payee,
        debit: entry_of(row, payer, ["payer_balance", "payer_leaf"], states)?,
        credit: entry_of(row, payee, ["payee_balance", "payee_leaf"], states)?,
        batch: row.try_get("batch")?,
        client_ref: row.try_get("client_ref")?,
        extra: row
            .try_get::<Option<Json<serde_json::Value>>, _>("extra")?
            .map(|extra| extra.0),
        created_at: row.try_get("created_at")?,
    })
}

fn entry_of(
    row: &PgRow,
    account: Option<Uuid>,
    [balance, leaf]: [&str; 2],
    states: &HashMap<Place, State>,
) -> sqlx::Result<Option<Entry>> {
    let balance: Option<PgAmount> = row.try_get(balance)?;
    let state = place_of(row, leaf)?.and_then(|place| states.get(&place));
    let (Some(account), Some(balance), Some(state)) = (account, balance, state) else {
        return Ok(None);
    };
    Ok(Some(entry(account, state, state.hash_struct(), balance.0)))
}

/// The entry of an operation in a state.
pub fn entry(account: Uuid, state: &State, state_hash: Hash32, balance_after: Amount) -> Entry {
    Entry {
        account,
        channel: state.channel_id,
        version: state.version,
        state_hash,
        balance_after,
    }
}

pub(crate) fn kind_of(stored: i16) -> sqlx::Result<Kind> {
    [
        Kind::Issue,
        Kind::Redeem,
        Kind::Transfer,
        Kind::Withdraw,
        Kind::Deposit,
        Kind::Refund,
        Kind::Open,
        Kind::Settle,
        Kind::Gained,
        Kind::Lost,
    ]
    .into_iter()
    .find(|kind| *kind as i16 == stored)
    .ok_or_else(|| sqlx::Error::Decode(format!("no operation kind {stored}").into()))
}

fn outcome_of(stored: i16) -> sqlx::Result<OperationOutcome> {
    [
        OperationOutcome::Done,
        OperationOutcome::PendingFunding,
        OperationOutcome::Failed,
    ]
    .into_iter()
    .find(|outcome| *outcome as i16 == stored)
    .ok_or_else(|| sqlx::Error::Decode(format!("no operation outcome {stored}").into()))
}

/// A row to write.
#[derive(Debug, Clone)]
pub struct NewRow {
    /// Its id.
    pub id: Uuid,
    /// Kind of the operation.
    pub kind: Kind,
    /// Stored outcome: as [`OperationOutcome`], or 2 for a refusal.
    pub outcome: i16,
    /// Idempotency scope.
    pub key: KeyId,
    /// Owner of the API key.
    pub owner: Uuid,
    /// The route's stored number.
    pub route: i16,
    /// The idempotency key.
    pub idem_key: String,
    /// Hash of the request's body.
    pub request_hash: Hash32,
    /// The account that pays.
    pub payer: Option<Uuid>,
    /// The account that is paid.
    pub payee: Option<Uuid>,
    /// How much.
    pub amount: Amount,
    /// Where it stands in the payer's channel.
    pub debit: Option<RowLeg>,
    /// The same of the payee's.
    pub credit: Option<RowLeg>,
    /// The caller's own reference.
    pub client_ref: Option<String>,
    /// What is kept with it.
    pub extra: Option<serde_json::Value>,
}

/// Where an operation stands in one channel.
#[derive(Debug, Clone, Copy)]
pub struct RowLeg {
    /// Version of the state.
    pub version: u64,
    /// User balance after the operation.
    pub balance: Amount,
    /// Index of the state in its batch.
    pub leaf: u32,
    /// The operation of the account before this one.
    pub previous: Option<Uuid>,
}

/// Inserts rows of one hub and batch. Refusals and pending operations carry no batch.
pub async fn insert(
    connection: &mut PgConnection,
    hub_id: Uuid,
    batch: Uuid,
    now: OffsetDateTime,
    rows: &[NewRow],
) -> sqlx::Result<u64> {
    columns!(rows, row => {
        ids: row.id,
        kinds: row.kind as i16,
        outcomes: row.outcome,
        owners: row.owner,
        routes: row.route,
        keys: row.idem_key.as_str(),
        hashes: PgHash(row.request_hash),
        payers: row.payer,
        payees: row.payee,
        amounts: PgAmount(row.amount),
        payer_versions: row.debit.map(|leg| leg.version.cast_signed()),
        payee_versions: row.credit.map(|leg| leg.version.cast_signed()),
        payer_balances: row.debit.map(|leg| PgAmount(leg.balance)),
        payee_balances: row.credit.map(|leg| PgAmount(leg.balance)),
        payer_leaves: row.debit.map(|leg| leg.leaf.cast_signed()),
        payee_leaves: row.credit.map(|leg| leg.leaf.cast_signed()),
        payer_previous: row.debit.and_then(|leg| leg.previous),
        payee_previous: row.credit.and_then(|leg| leg.previous),
        references: row.client_ref.as_deref(),
        extras: row.extra.as_ref().map(Json),
    });
    let done = sqlx::query(
        "INSERT INTO account.operations (id, hub_id, kind, outcome, owner, route, idem_key, request_hash,
            payer, payee, amount, payer_version, payee_version, payer_balance, payee_balance,
            payer_leaf, payee_leaf, payer_previous, payee_previous, batch, client_ref, extra, created_at)
         SELECT n.id, $1, n.kind, n.outcome, n.owner, n.route, n.idem_key, n.request_hash,
            n.payer, n.payee, n.amount, n.payer_version, n.payee_version, n.payer_balance,
            n.payee_balance, n.payer_leaf, n.payee_leaf, n.payer_previous, n.payee_previous,
            CASE WHEN n.outcome = 1 THEN $2 END, n.client_ref, n.extra, $3
         FROM unnest($4::uuid[], $5::smallint[], $6::smallint[], $7::uuid[], $8::smallint[], $9::text[],
            $10::bytea[], $11::uuid[], $12::uuid[], $13::numeric[], $14::bigint[], $15::bigint[],
            $16::numeric[], $17::numeric[], $18::int[], $19::int[], $20::uuid[], $21::uuid[],
            $22::text[], $23::jsonb[])
            AS n(id, kind, outcome, owner, route, idem_key, request_hash, payer, payee, amount,
                payer_version, payee_version, payer_balance, payee_balance, payer_leaf, payee_leaf,
                payer_previous, payee_previous, client_ref, extra)",
    )
    .bind(hub_id)
    .bind(batch)
    .bind(now)
    .bind(ids)
    .bind(kinds)
    .bind(outcomes)
    .bind(owners)
    .bind(routes)
    .bind(keys)
    .bind(hashes)
    .bind(payers)
    .bind(payees)
    .bind(amounts)
    .bind(payer_versions)
    .bind(payee_versions)
    .bind(payer_balances)
    .bind(payee_balances)
    .bind(payer_leaves)
    .bind(payee_leaves)
    .bind(payer_previous)
    .bind(payee_previous)
    .bind(references)
    .bind(extras)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Kept with an issuance that waited for funding, so that it is replayed as it was first answered.
pub const WAITED: &str = "waited";

/// Completes an issuance that waited for funding. One row, or none when it is not pending.
pub async fn complete_pending(
    connection: &mut PgConnection,
    id: Uuid,
    batch: Uuid,
    leg: RowLeg,
) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "UPDATE account.operations
         SET outcome = 1, batch = $2, payee_version = $3, payee_balance = $4, payee_leaf = $5,
            payee_previous = $6, extra = coalesce(extra, '{}') || jsonb_build_object($7::text, true)
         WHERE id = $1 AND outcome = 3",
    )
    .bind(id)
    .bind(batch)
    .bind(leg.version.cast_signed())
    .bind(PgAmount(leg.balance))
    .bind(leg.leaf.cast_signed())
    .bind(leg.previous)
    .bind(WAITED)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Which of these issuances still wait for funding.
pub async fn still_pending(pool: &PgPool, ids: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar("SELECT id FROM account.operations WHERE id = ANY($1) AND outcome = 3")
        .bind(ids)
        .fetch_all(pool)
        .await
}
