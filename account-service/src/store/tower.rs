//! What a watchtower copies: committed batches, and the parameters of their channels.

use hub_core::{Address, ChannelId, ChannelParams, Hash32, Signature};
use runtime::pg::{PgChannelId, PgHash, PgParams, PgSignature};
use sqlx::{PgPool, Row as _};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// A number that is missing below a batch of this age will never be there: no transaction lasts
/// so long.
const SETTLED_AFTER: Duration = Duration::minutes(2);

/// A committed batch.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The hub's number.
    pub batch_id: u64,
    /// Root of the batch before.
    pub prev_root: Hash32,
    /// The hub's signature.
    pub hub_signature: Signature,
    /// The custody signature.
    pub user_signature: Signature,
    /// The states, in their stored form.
    pub states: Vec<u8>,
}

/// Some batches.
#[derive(Debug, Clone)]
pub struct Page {
    /// Those that are committed, oldest first.
    pub committed: Vec<Committed>,
    /// The page went up to here.
    pub last: u64,
    /// Every batch up to here has a fate, and nothing in them that is needed was left out.
    pub next: u64,
    /// Whether there are more.
    pub more: bool,
}

/// The hub with this operator account.
pub async fn hub_of(pool: &PgPool, hub: Address) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar("SELECT hub_id FROM account.hubs WHERE lower(terms ->> 'hub') = $1")
        .bind(hub.to_string())
        .fetch_optional(pool)
        .await
}

/// Up to `limit` batches of a hub above a number. Replicas commit out of order: the page ends the
/// stretch without gaps before a number that may still come. Batches whose states are gone are left
/// out.
pub async fn page(
    pool: &PgPool,
    hub_id: Uuid,
    after: u64,
    limit: u32,
    now: OffsetDateTime,
) -> sqlx::Result<Page> {
    let rows = sqlx::query(
        "SELECT b.batch_id, b.fate, b.prev_root, b.hub_signature, b.user_signature, s.states, b.created_at,
                s.id IS NULL AND EXISTS (SELECT 1 FROM account.kept_leaves k WHERE k.batch = b.id) AS partly
         FROM account.batches b LEFT JOIN account.batch_states s ON s.id = b.id
         WHERE b.hub_id = $1 AND b.batch_id > $2 ORDER BY b.batch_id LIMIT $3",
    )
    .bind(hub_id)
    .bind(i64::try_from(after).unwrap_or(i64::MAX))
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    let mut page = Page {
        committed: Vec::new(),
        last: after,
        next: after,
        more: u32::try_from(rows.len()) == Ok(limit),
    };
    let mut whole = true;
    for row in &rows {
        let batch_id = row.try_get::<i64, _>("batch_id")?.cast_unsigned();
        let created_at: OffsetDateTime = row.try_get("created_at")?;
        whole &= batch_id == page.next + 1 || created_at + SETTLED_AFTER < now;
        // What is kept of an old batch can't be shown as a batch: the hub has to be asked for it.
        whole &= !row.try_get::<bool, _>("partly")?;
        page.last = batch_id;
        if whole {
            page.next = batch_id;
        }
        let states: Option<Vec<u8>> = row.try_get("states")?;
        if let (1, Some(states)) = (row.try_get::<i16, _>("fate")?, states) {
            page.committed.push(Committed {
                batch_id,
                prev_root: row.try_get::<PgHash, _>("prev_root")?.0,
                hub_signature: row.try_get::<PgSignature, _>("hub_signature")?.0,
                user_signature: row.try_get::<PgSignature, _>("user_signature")?.0,
                states,
            });
        }
    }
    Ok(page)
}

/// The parameters of those of these channels that have an account.
pub async fn params(pool: &PgPool, channels: &[ChannelId]) -> sqlx::Result<Vec<ChannelParams>> {
    let ids: Vec<_> = channels.iter().copied().map(PgChannelId).collect();
    let rows: Vec<PgParams> = sqlx::query_scalar(
        "SELECT a.params FROM account.heads h JOIN account.accounts a ON a.id = h.account_id
         WHERE h.channel_id = ANY($1)",
    )
    .bind(ids)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|params| params.0).collect())
}
