//! `account.operations`: idempotency record, journal and answer of every money request in one row.

use crate::engine::{Entry, Kind, OperationOutcome, Posted, Refused, Route};
use hub_core::{Amount, Hash32, State, Typed, encoding};
use runtime::pg::{PgAmount, PgHash};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool, Row};
use std::collections::HashMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// The scope in which a request has exactly one effect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyId {
    /// Owner of the API key.
    pub owner: Uuid,
    /// The route's stored number.
    pub route: i16,
    /// The idempotency key.
    pub key: String,
}

impl KeyId {
    /// Of a request.
    pub fn new(owner: Uuid, route: Route, key: &str) -> Self {
        Self {
            owner,
            route: route as i16,
            key: key.to_owned(),
        }
    }
}

/// What an idempotency key was used for.
#[derive(Debug, Clone)]
pub struct Existing {
    /// Hash of the body it came with.
    pub request_hash: Hash32,
    /// What came of it.
    pub result: ExistingResult,
}

/// What came of an earlier request.
#[derive(Debug, Clone)]
pub enum ExistingResult {
    /// It was posted, or accepted.
    Posted(Box<Posted>),
    /// It was refused.
    Refused(Refused),
}

/// A query for operations with the states they became part of; the tail selects which.
macro_rules! select_operations {
    ($tail:literal) => {
        concat!(
            "SELECT o.owner, o.route, o.idem_key, o.request_hash, o.id, o.kind, o.outcome, o.hub_id,
                o.amount, o.payer, o.payee, o.payer_version, o.payee_version, o.payer_balance,
                o.payee_balance, o.payer_leaf, o.payee_leaf, o.batch, o.client_ref, o.extra,
                o.created_at,
                substring(b.states FROM o.payer_leaf * 214 + 1 FOR 214) AS payer_state,
                substring(b.states FROM o.payee_leaf * 214 + 1 FOR 214) AS payee_state
             FROM account.operations o LEFT JOIN account.batches b ON b.id = o.batch ",
            $tail
        )
    };
}
pub(crate) use select_operations;

const _: () = assert!(encoding::STATE_LEN == 214);

/// The requests among these keys that were answered before.
pub async fn find_keys(pool: &PgPool, keys: &[&KeyId]) -> sqlx::Result<HashMap<KeyId, Existing>> {
    let owners: Vec<_> = keys.iter().map(|k| k.owner).collect();
    let routes: Vec<_> = keys.iter().map(|k| k.route).collect();
    let texts: Vec<_> = keys.iter().map(|k| k.key.as_str()).collect();
    let rows = sqlx::query(select_operations!(
        "JOIN unnest($1::uuid[], $2::smallint[], $3::text[]) AS w(owner, route, idem_key)
            ON o.owner = w.owner AND o.route = w.route AND o.idem_key = w.idem_key"
    ))
    .bind(owners)
    .bind(routes)
    .bind(texts)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            let key = KeyId {
                owner: row.try_get("owner")?,
                route: row.try_get("route")?,
                key: row.try_get("idem_key")?,
            };
            Ok((key, existing_of(row)?))
        })
        .collect()
}

/// Which of these (owner, client reference) pairs are used.
pub async fn used_client_refs(
    pool: &PgPool,
    owners: &[Uuid],
    refs: &[&str],
) -> sqlx::Result<Vec<(Uuid, String)>> {
    sqlx::query_as(
        "SELECT o.owner, o.client_ref FROM account.operations o
         JOIN unnest($1::uuid[], $2::text[]) AS w(owner, client_ref)
            ON o.owner = w.owner AND o.client_ref = w.client_ref",
    )
    .bind(owners)
    .bind(refs)
    .fetch_all(pool)
    .await
}

fn existing_of(row: &PgRow) -> sqlx::Result<Existing> {
    let refused = row.try_get::<i16, _>("outcome")? == 2;
    let result = if refused {
        ExistingResult::Refused(row.try_get::<Json<Refused>, _>("extra")?.0)
    } else {
        ExistingResult::Posted(Box::new(posted_of(row)?))
    };
    Ok(Existing {
        request_hash: row.try_get::<PgHash, _>("request_hash")?.0,
        result,
    })
}

/// An operation from a row of [`select_operations`]; not for refused ones.
pub(crate) fn posted_of(row: &PgRow) -> sqlx::Result<Posted> {
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
        debit: entry_of(row, payer, "payer_balance", "payer_state")?,
        credit: entry_of(row, payee, "payee_balance", "payee_state")?,
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
    balance: &str,
    state: &str,
) -> sqlx::Result<Option<Entry>> {
    let balance: Option<PgAmount> = row.try_get(balance)?;
    let bytes: Option<Vec<u8>> = row.try_get(state)?;
    let (Some(account), Some(balance), Some(bytes)) = (account, balance, bytes) else {
        return Ok(None);
    };
    let state = encoding::decode_state(&bytes).map_err(|e| sqlx::Error::Decode(e.into()))?;
    Ok(Some(entry(account, &state, state.hash_struct(), balance.0)))
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
    /// Hash of the request's body.
    pub request_hash: Hash32,
    /// The account that pays.
    pub payer: Option<Uuid>,
    /// The account that is paid.
    pub payee: Option<Uuid>,
    /// How much.
    pub amount: Amount,
    /// Version, balance after and leaf of the payer's state.
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
}

/// Inserts rows of one hub and batch. Refusals and pending operations carry no batch.
pub async fn insert(
    connection: &mut PgConnection,
    hub_id: Uuid,
    batch: Uuid,
    now: OffsetDateTime,
    rows: &[NewRow],
) -> sqlx::Result<u64> {
    let legs = |leg: fn(&NewRow) -> Option<RowLeg>| {
        let versions: Vec<_> = rows
            .iter()
            .map(|r| leg(r).map(|l| l.version.cast_signed()))
            .collect();
        let balances: Vec<_> = rows
            .iter()
            .map(|r| leg(r).map(|l| PgAmount(l.balance)))
            .collect();
        let leaves: Vec<_> = rows
            .iter()
            .map(|r| leg(r).map(|l| l.leaf.cast_signed()))
            .collect();
        (versions, balances, leaves)
    };
    let (payer_versions, payer_balances, payer_leaves) = legs(|r| r.debit);
    let (payee_versions, payee_balances, payee_leaves) = legs(|r| r.credit);
    let done = sqlx::query(
        "INSERT INTO account.operations (id, hub_id, kind, outcome, owner, route, idem_key, request_hash,
            payer, payee, amount, payer_version, payee_version, payer_balance, payee_balance,
            payer_leaf, payee_leaf, batch, client_ref, extra, created_at)
         SELECT n.id, $1, n.kind, n.outcome, n.owner, n.route, n.idem_key, n.request_hash,
            n.payer, n.payee, n.amount, n.payer_version, n.payee_version, n.payer_balance,
            n.payee_balance, n.payer_leaf, n.payee_leaf,
            CASE WHEN n.outcome = 1 THEN $2 END, n.client_ref, n.extra, $3
         FROM unnest($4::uuid[], $5::smallint[], $6::smallint[], $7::uuid[], $8::smallint[], $9::text[],
            $10::bytea[], $11::uuid[], $12::uuid[], $13::numeric[], $14::bigint[], $15::bigint[],
            $16::numeric[], $17::numeric[], $18::int[], $19::int[], $20::text[], $21::jsonb[])
            AS n(id, kind, outcome, owner, route, idem_key, request_hash, payer, payee, amount,
                payer_version, payee_version, payer_balance, payee_balance, payer_leaf, payee_leaf,
                client_ref, extra)",
    )
    .bind(hub_id)
    .bind(batch)
    .bind(now)
    .bind(rows.iter().map(|r| r.id).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.kind as i16).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.outcome).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.key.owner).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.key.route).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.key.key.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| PgHash(r.request_hash)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.payer).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.payee).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| PgAmount(r.amount)).collect::<Vec<_>>())
    .bind(payer_versions)
    .bind(payee_versions)
    .bind(payer_balances)
    .bind(payee_balances)
    .bind(payer_leaves)
    .bind(payee_leaves)
    .bind(rows.iter().map(|r| r.client_ref.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.extra.as_ref().map(Json)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Completes an issuance that waited for funding. One row, or none when it is not pending.
pub async fn complete_pending(
    connection: &mut PgConnection,
    id: Uuid,
    batch: Uuid,
    leg: RowLeg,
) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "UPDATE account.operations
         SET outcome = 1, batch = $2, payee_version = $3, payee_balance = $4, payee_leaf = $5
         WHERE id = $1 AND outcome = 3",
    )
    .bind(id)
    .bind(batch)
    .bind(leg.version.cast_signed())
    .bind(PgAmount(leg.balance))
    .bind(leg.leaf.cast_signed())
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
