//! `hub.hubs`: who may write for a hub, and whether it is fenced.

use super::{Connection, unsigned};
use crate::engine::HUB_RESTORED;
use crate::engine::ledger::Seal;
use hub_client::{BatchMark, Terms};
use hub_core::{Hash32, Version};
use runtime::pg::PgHash;
use sqlx::Row as _;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

/// The hub's row, with the batch that a request made before, if it did.
#[derive(Debug)]
pub struct Own {
    /// Which process writes.
    pub session: Uuid,
    /// Which reading of the rows is good.
    pub generation: i64,
    /// Why nothing is signed, if so.
    pub fence: Option<String>,
    /// What the request made.
    pub earlier: Option<Earlier>,
    /// Root of the batch that was asked for.
    pub newest: Option<Hash32>,
}

/// A batch that a request made.
#[derive(Debug, Clone, Copy)]
pub struct Earlier {
    /// The batch.
    pub batch_id: u64,
    /// What is signed.
    pub seal: Seal,
    /// Digest of the request.
    pub digest: Hash32,
}

/// Takes the hub over for a new session; every other process of the hub stops writing at its
/// next transaction. Returns the terms the hub had before, if any.
pub async fn take_over(
    connection: &mut Connection,
    terms: &Terms,
    session: Uuid,
) -> sqlx::Result<Option<Terms>> {
    let before: Option<Json<Terms>> =
        sqlx::query_scalar("SELECT terms FROM hub.hubs WHERE hub_id = $1 FOR UPDATE")
            .bind(terms.hub_id)
            .fetch_optional(&mut *connection)
            .await?;
    sqlx::query(
        "INSERT INTO hub.hubs (hub_id, terms, session, account_root) VALUES ($1, $2, $3, $4)
         ON CONFLICT (hub_id) DO UPDATE SET terms = EXCLUDED.terms, session = EXCLUDED.session",
    )
    .bind(terms.hub_id)
    .bind(Json(terms))
    .bind(session)
    .bind(PgHash(Hash32::ZERO))
    .execute(connection)
    .await?;
    Ok(before.map(|Json(terms)| terms))
}

/// Reads the hub's row and keeps it from being taken over until the transaction ends. With it
/// come what a request made before, and the root of a batch.
pub async fn own(
    connection: &mut Connection,
    hub_id: Uuid,
    request_id: Option<Uuid>,
    newest: u64,
) -> sqlx::Result<Own> {
    let row = sqlx::query(
        "SELECT h.session, h.generation, h.fence, j.batch_id, j.prev_root, j.root, j.depth,
                j.operations_digest, n.root AS newest
         FROM hub.hubs h
         LEFT JOIN hub.journal j ON j.hub_id = h.hub_id AND j.request_id = $2
         LEFT JOIN hub.journal n ON n.hub_id = h.hub_id AND n.batch_id = $3
         WHERE h.hub_id = $1 FOR SHARE OF h",
    )
    .bind(hub_id)
    .bind(request_id)
    .bind(newest.cast_signed())
    .fetch_one(connection)
    .await?;
    let earlier = match row.try_get::<Option<i64>, _>("batch_id")? {
        None => None,
        Some(batch_id) => Some(Earlier {
            batch_id: batch_id.cast_unsigned(),
            seal: super::journal::seal(&row)?,
            digest: row.try_get::<PgHash, _>("operations_digest")?.0,
        }),
    };
    Ok(Own {
        session: row.try_get("session")?,
        generation: row.try_get("generation")?,
        fence: row.try_get("fence")?,
        earlier,
        newest: row
            .try_get::<Option<PgHash>, _>("newest")?
            .map(|root| root.0),
    })
}

/// Keeps the hub's row as it is until the transaction ends.
pub async fn lock(connection: &mut Connection, hub_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("SELECT 1 FROM hub.hubs WHERE hub_id = $1 FOR UPDATE")
        .bind(hub_id)
        .execute(connection)
        .await
        .map(drop)
}

/// The hub's marks: generation, batch floor, fence, and the newest mark of the account side.
pub async fn marks(connection: &mut Connection, hub_id: Uuid) -> sqlx::Result<Marks> {
    let row = sqlx::query(
        "SELECT generation, batch_floor, version_floor, fence, account_batch, account_root, imported
         FROM hub.hubs WHERE hub_id = $1",
    )
    .bind(hub_id)
    .fetch_one(connection)
    .await?;
    Ok(Marks {
        generation: row.try_get("generation")?,
        floor: unsigned(&row, "batch_floor")?,
        version_floor: unsigned(&row, "version_floor")?,
        imported: unsigned(&row, "imported")?,
        fence: row.try_get("fence")?,
        account: BatchMark {
            batch_id: unsigned(&row, "account_batch")?,
            root: row.try_get::<PgHash, _>("account_root")?.0,
        },
    })
}

/// The hub's row as far as it is no session's.
#[derive(Debug)]
pub struct Marks {
    /// Which reading of the rows is good.
    pub generation: i64,
    /// No batch up to here will be made any more.
    pub floor: u64,
    /// No version up to here is signed in a channel that is not known.
    pub version_floor: Version,
    /// Every committed batch up to here was imported after a restore.
    pub imported: u64,
    /// Why nothing is signed, if so.
    pub fence: Option<String>,
    /// The newest batch that a replica named.
    pub account: BatchMark,
}

/// Keeps the newest mark of the account side.
pub async fn note_account(
    connection: &mut Connection,
    hub_id: Uuid,
    mark: BatchMark,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE hub.hubs SET account_batch = $2, account_root = $3
         WHERE hub_id = $1 AND account_batch < $2",
    )
    .bind(hub_id)
    .bind(mark.batch_id.cast_signed())
    .bind(PgHash(mark.root))
    .execute(connection)
    .await
    .map(drop)
}

/// Raises the fence; one that stands already stays as it is.
pub async fn raise_fence(
    connection: &mut Connection,
    hub_id: Uuid,
    why: &str,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE hub.hubs SET fence = $2, fenced_at = $3 WHERE hub_id = $1 AND fence IS NULL",
    )
    .bind(hub_id)
    .bind(why)
    .bind(now)
    .execute(connection)
    .await
    .map(drop)
}

/// Raises the fence of a hub whose database was set back. One that stands already for another
/// reason is named behind it: lifting it must not pass over what was lost, and imports of an
/// earlier restore don't count. With `sessions` the
/// hub's session becomes the second one, if it is the first. Returns the reason that stands now;
/// none when the session is another one.
pub async fn raise_restored(
    connection: &mut Connection,
    hub_id: Uuid,
    why: &str,
    sessions: Option<(Uuid, Uuid)>,
    now: OffsetDateTime,
) -> sqlx::Result<Option<String>> {
    let (from, to) = sessions.unzip();
    sqlx::query_scalar(
        "UPDATE hub.hubs
         SET fence = CASE WHEN fence IS NULL THEN $2 WHEN starts_with(fence, $6) THEN fence
                     ELSE $2 || '. Fenced before: ' || fence END,
             fenced_at = coalesce(fenced_at, $3), session = coalesce($5, session), imported = 0
         WHERE hub_id = $1 AND ($4::uuid IS NULL OR session = $4) RETURNING fence",
    )
    .bind(hub_id)
    .bind(why)
    .bind(now)
    .bind(from)
    .bind(to)
    .bind(HUB_RESTORED)
    .fetch_optional(connection)
    .await
}

/// Notes what was imported: whoever serves reads everything anew.
pub async fn imported(
    connection: &mut Connection,
    hub_id: Uuid,
    complete: Option<u64>,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE hub.hubs SET generation = generation + 1, imported = greatest(imported, $2)
         WHERE hub_id = $1",
    )
    .bind(hub_id)
    .bind(complete.unwrap_or(0).cast_signed())
    .execute(connection)
    .await
    .map(drop)
}

/// Lifts the fence: every version and every batch number that a lost row may have had is passed
/// over by a jump (P12). Returns whether there was a fence.
pub async fn lift_fence(
    connection: &mut Connection,
    hub_id: Uuid,
    jump: u64,
) -> sqlx::Result<bool> {
    let jump = jump.cast_signed();
    let lifted = sqlx::query(
        "UPDATE hub.hubs SET fence = NULL, fenced_at = NULL, generation = generation + 1,
             version_floor = version_floor + $2,
             batch_floor = greatest(batch_floor, account_batch,
                 (SELECT coalesce(max(batch_id), 0) FROM hub.journal WHERE hub_id = $1)) + $2
         WHERE hub_id = $1 AND fence IS NOT NULL",
    )
    .bind(hub_id)
    .bind(jump)
    .execute(&mut *connection)
    .await?
    .rows_affected()
        == 1;
    if lifted {
        sqlx::query("UPDATE hub.heads SET max_signed = max_signed + $2 WHERE hub_id = $1")
            .bind(hub_id)
            .bind(jump)
            .execute(connection)
            .await?;
    }
    Ok(lifted)
}
