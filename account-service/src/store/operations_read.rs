//! `account.operations` as callers read them: one by id or reference, and entries of accounts.

use super::journal::{KeyId, kind_of, posted_of, select_operations, states_of, used_keys};
use super::states::{self, Place};
use crate::engine::{Kind, Posted};
use hub_core::{Amount, Hash32, State, Typed as _, Version};
use runtime::pg::PgAmount;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

/// How an operation is looked for.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    /// Its id.
    Id(Uuid),
    /// Reference of the caller.
    ClientRef(&'a str),
}

/// Operations of a kind that `owner` ordered (`None`: anybody): one by id; by reference one per
/// owner.
pub async fn get(
    pool: &PgPool,
    kind: Kind,
    owner: Option<Uuid>,
    by: By<'_>,
) -> sqlx::Result<Vec<Posted>> {
    let (id, client_ref) = match by {
        By::Id(id) => (Some(id), None),
        By::ClientRef(text) => (None, Some(text)),
    };
    let rows = sqlx::query(select_operations!(
        "WHERE o.kind = $1 AND o.outcome <> 2 AND ($2::uuid IS NULL OR o.owner = $2)
           AND ($3::uuid IS NULL OR o.id = $3) AND ($4::text IS NULL OR o.client_ref = $4)
         ORDER BY o.id LIMIT 100"
    ))
    .bind(kind as i16)
    .bind(owner)
    .bind(id)
    .bind(client_ref)
    .fetch_all(pool)
    .await?;
    let states = states_of(pool, &rows).await?;
    rows.iter().map(|row| posted_of(row, &states)).collect()
}

/// Of these keys, the hashes of the requests they were used for.
pub async fn request_hashes(pool: &PgPool, keys: &[KeyId]) -> sqlx::Result<Vec<Vec<u8>>> {
    let used = used_keys(pool, keys).await?;
    let ids: Vec<_> = used.into_iter().map(|(_, operation)| operation).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("SELECT request_hash FROM account.operations WHERE id = ANY($1)")
        .bind(ids)
        .fetch_all(pool)
        .await
}

/// One line of an account.
#[derive(Debug, Clone)]
pub struct Line {
    /// The operation.
    pub operation: Uuid,
    /// What it was.
    pub kind: Kind,
    /// Whether the account paid.
    pub debit: bool,
    /// How much.
    pub amount: Amount,
    /// User balance after it.
    pub balance_after: Amount,
    /// The state it is part of.
    pub version: Version,
    /// That state's hash.
    pub state_hash: Hash32,
    /// The other account of a transfer.
    pub counterparty: Option<Uuid>,
    /// The chain event of a deposit.
    pub deposit: Option<Uuid>,
    /// When it was accepted.
    pub created_at: OffsetDateTime,
}

/// What a list of lines is narrowed to.
#[derive(Debug, Clone)]
pub struct LineFilter {
    /// The account.
    pub account: Uuid,
    /// Only of this kind.
    pub kind: Option<Kind>,
    /// Accepted at or after.
    pub from: Option<OffsetDateTime>,
    /// Accepted before.
    pub to: Option<OffsetDateTime>,
    /// Before this version and operation.
    pub before: Option<(Version, Uuid)>,
    /// At most so many.
    pub limit: i64,
}

const LINES: &str = "
    WITH lines AS (
        (SELECT id, kind, true AS debit, amount, payer_balance AS balance, payer_version AS version,
                payer_leaf AS leaf, batch, payee AS counterparty, created_at
         FROM account.operations
         WHERE payer = $1 AND outcome = 1 AND kind <> 7 AND payer_version IS NOT NULL
           AND ($2::smallint IS NULL OR kind = $2)
           AND ($3::timestamptz IS NULL OR created_at >= $3) AND ($4::timestamptz IS NULL OR created_at < $4)
           AND ($5::bigint IS NULL OR (payer_version, id) < ($5, $6::uuid))
         ORDER BY payer_version DESC, id DESC LIMIT $7)
        UNION ALL
        (SELECT id, kind, false, amount, payee_balance, payee_version, payee_leaf, batch, payer, created_at
         FROM account.operations
         WHERE payee = $1 AND outcome = 1 AND kind <> 7 AND payee_version IS NOT NULL
           AND ($2::smallint IS NULL OR kind = $2)
           AND ($3::timestamptz IS NULL OR created_at >= $3) AND ($4::timestamptz IS NULL OR created_at < $4)
           AND ($5::bigint IS NULL OR (payee_version, id) < ($5, $6::uuid))
         ORDER BY payee_version DESC, id DESC LIMIT $7)
    )
    SELECT l.*,
           (SELECT d.id FROM account.deposits d
            WHERE l.kind = 5 AND d.account_id = $1 AND d.operation_id = l.id LIMIT 1) AS deposit
    FROM lines l
    ORDER BY l.version DESC, l.id DESC LIMIT $7";

/// Lines of an account, newest first.
pub async fn lines(pool: &PgPool, filter: &LineFilter) -> sqlx::Result<Vec<Line>> {
    let rows = sqlx::query(LINES)
        .bind(filter.account)
        .bind(filter.kind.map(|kind| kind as i16))
        .bind(filter.from)
        .bind(filter.to)
        .bind(filter.before.map(|(version, _)| version.cast_signed()))
        .bind(filter.before.map(|(_, id)| id))
        .bind(filter.limit)
        .fetch_all(pool)
        .await?;
    let places = rows
        .iter()
        .map(place_of)
        .collect::<sqlx::Result<Vec<_>>>()?;
    let states = states::read(pool, &places).await?;
    rows.iter()
        .zip(places)
        .map(|(row, place)| line_of(row, states.get(&place)))
        .collect()
}

fn place_of(row: &PgRow) -> sqlx::Result<Place> {
    Ok((row.try_get("batch")?, row.try_get("leaf")?))
}

fn line_of(row: &PgRow, state: Option<&State>) -> sqlx::Result<Line> {
    let operation: Uuid = row.try_get("id")?;
    let gone = || sqlx::Error::Decode(format!("the state of operation {operation} is gone").into());
    let state = state.ok_or_else(gone)?;
    Ok(Line {
        operation,
        kind: kind_of(row.try_get("kind")?)?,
        debit: row.try_get("debit")?,
        amount: row.try_get::<PgAmount, _>("amount")?.0,
        balance_after: row.try_get::<PgAmount, _>("balance")?.0,
        version: row.try_get::<i64, _>("version")?.cast_unsigned(),
        state_hash: state.hash_struct(),
        counterparty: row.try_get("counterparty")?,
        deposit: row.try_get("deposit")?,
        created_at: row.try_get("created_at")?,
    })
}
