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
    /// Before this operation.
    pub before: Option<Uuid>,
    /// At most so many.
    pub limit: i64,
}

/// Walks the thread, a look-up by key for each operation: from the account's newest one or from the
/// one before the cursor's, until there are enough or all others are older. An operation is accepted
/// before its batch gets its id, and a day makes up for clocks that are set back.
const LINES: &str = "
    WITH RECURSIVE thread AS (
        SELECT CASE WHEN $6::uuid IS NULL THEN h.newest WHEN c.payer = $1 THEN c.payer_previous
                    ELSE c.payee_previous END AS next, account.first_id($3::timestamptz - interval '1 day') AS oldest,
               NULL::uuid AS id, NULL::smallint AS kind, NULL::boolean AS debit, NULL::numeric AS amount,
               NULL::numeric AS balance, NULL::bigint AS version, NULL::int AS leaf, NULL::uuid AS batch,
               NULL::uuid AS counterparty, NULL::timestamptz AS created_at
        FROM account.accounts a JOIN account.heads h ON h.channel_id = a.channel_id
        LEFT JOIN account.operations c ON c.id = $6
        WHERE a.id = $1
        UNION ALL
        SELECT CASE WHEN o.payer = $1 THEN o.payer_previous ELSE o.payee_previous END, t.oldest,
               o.id, o.kind, coalesce(o.payer = $1, false),
               o.amount, CASE WHEN o.payer = $1 THEN o.payer_balance ELSE o.payee_balance END,
               CASE WHEN o.payer = $1 THEN o.payer_version ELSE o.payee_version END,
               CASE WHEN o.payer = $1 THEN o.payer_leaf ELSE o.payee_leaf END, o.batch,
               CASE WHEN o.payer = $1 THEN o.payee ELSE o.payer END, o.created_at
        FROM thread t CROSS JOIN LATERAL (SELECT * FROM account.operations n WHERE n.id = t.next LIMIT 1) o
        WHERE t.oldest IS NULL OR t.batch IS NULL OR t.batch >= t.oldest
    )
    SELECT t.*,
           (SELECT d.id FROM account.deposits d
            WHERE t.kind = 5 AND d.account_id = $1 AND d.operation_id = t.id LIMIT 1) AS deposit
    FROM thread t
    WHERE t.id IS NOT NULL AND t.kind <> 7 AND ($2::smallint IS NULL OR t.kind = $2)
      AND ($3::timestamptz IS NULL OR t.created_at >= $3) AND ($4::timestamptz IS NULL OR t.created_at < $4)
    LIMIT $5";

/// Lines of an account, newest first.
pub async fn lines(pool: &PgPool, filter: &LineFilter) -> sqlx::Result<Vec<Line>> {
    let rows = sqlx::query(LINES)
        .bind(filter.account)
        .bind(filter.kind.map(|kind| kind as i16))
        .bind(filter.from)
        .bind(filter.to)
        .bind(filter.limit)
        .bind(filter.before)
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
