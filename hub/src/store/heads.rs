//! `hub.heads` and `hub.channels`.

use super::{Connection, decode, epoch, unsigned};
use crate::engine::decide::Move;
use crate::engine::head::Head;
use hub_core::encoding::{decode_state, encode_states};
use hub_core::{ChannelId, ChannelParams, State, Typed as _};
use runtime::columns;
use runtime::pg::{PgAmount, PgChannelId, PgHash, PgParams};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;
use uuid::Uuid;

/// Key by key, whatever the planner thinks of tables that are too new for it to know: joined by
/// hash, each batch of a fresh hub would read all of them.
const LOAD: &str = "SELECT h.*, (h.signed_batch = 0 OR j.fate IS NOT DISTINCT FROM 1) AS committed
     FROM unnest($2::bytea[]) AS n(channel_id)
     CROSS JOIN LATERAL (
         SELECT * FROM hub.heads h WHERE h.channel_id = n.channel_id AND h.hub_id = $1 OFFSET 0
     ) h
     LEFT JOIN LATERAL (
         SELECT fate FROM hub.journal j WHERE j.hub_id = $1 AND j.batch_id = h.signed_batch OFFSET 0
     ) j ON true";

const LOAD_PENDING: &str = "SELECT h.*, false AS committed
     FROM hub.heads h LEFT JOIN hub.journal j ON j.hub_id = h.hub_id AND j.batch_id = h.signed_batch
     WHERE h.hub_id = $1 AND h.signed_batch > 0 AND j.fate IS DISTINCT FROM 1";

/// Heads read from their rows.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Those that hash to what was signed.
    pub intact: Vec<Head>,
    /// Those that don't: somebody edited them.
    pub damaged: Vec<ChannelId>,
}

/// Reads the heads of these channels, each named once, as far as they have one.
pub async fn load(
    connection: &mut Connection,
    hub_id: Uuid,
    channels: &[ChannelId],
) -> sqlx::Result<Loaded> {
    let ids: Vec<_> = channels.iter().copied().map(PgChannelId).collect();
    let rows = sqlx::query(LOAD)
        .bind(hub_id)
        .bind(ids)
        .fetch_all(connection)
        .await?;
    collect(&rows)
}

/// Reads all heads whose newest state is not co-signed here and gives something beyond the held
/// one.
pub async fn load_pending(connection: &mut Connection, hub_id: Uuid) -> sqlx::Result<Loaded> {
    let rows = sqlx::query(LOAD_PENDING)
        .bind(hub_id)
        .fetch_all(connection)
        .await?;
    collect(&rows)
}

/// Sum of the entitlements of all heads whose newest state is co-signed here.
pub async fn committed_entitlements(
    connection: &mut Connection,
    hub_id: Uuid,
) -> sqlx::Result<i128> {
    let sum: String = sqlx::query_scalar(
        "SELECT coalesce(sum(h.user_balance + h.withdrawn - h.deposited - h.credited), 0)::text
         FROM hub.heads h
         LEFT JOIN hub.journal j ON j.hub_id = h.hub_id AND j.batch_id = h.signed_batch
         WHERE h.hub_id = $1 AND (h.signed_batch = 0 OR j.fate = 1)",
    )
    .bind(hub_id)
    .fetch_one(connection)
    .await?;
    sum.parse()
        .map_err(|error| decode(format!("sum {sum}: {error}")))
}

fn collect(rows: &[PgRow]) -> sqlx::Result<Loaded> {
    let mut loaded = Loaded::default();
    for row in rows {
        match head(row) {
            Ok(Some(head)) => loaded.intact.push(head),
            // A value outside its type was written by hand as well.
            Ok(None) | Err(sqlx::Error::ColumnDecode { .. }) => {
                let channel: PgChannelId = row.try_get("channel_id")?;
                loaded.damaged.push(channel.0);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(loaded)
}

/// The head, unless its columns are not what was signed.
fn head(row: &PgRow) -> sqlx::Result<Option<Head>> {
    let amount = |column: &str| Ok::<_, sqlx::Error>(row.try_get::<PgAmount, _>(column)?.0);
    let signed = State {
        channel_id: row.try_get::<PgChannelId, _>("channel_id")?.0,
        epoch: epoch(row)?,
        version: unsigned(row, "version")?,
        ack_version: unsigned(row, "ack_version")?,
        hub_balance: amount("hub_balance")?,
        user_balance: amount("user_balance")?,
        hub_locked: amount("hub_locked")?,
        user_locked: amount("user_locked")?,
        withdrawn: amount("withdrawn")?,
        deposited: amount("deposited")?,
        credited: amount("credited")?,
        locks_hash: row.try_get::<PgHash, _>("locks_hash")?.0,
        transfers_root: row.try_get::<PgHash, _>("transfers_root")?.0,
    };
    let signed_hash = row.try_get::<PgHash, _>("state_hash")?.0;
    let below = decode_state(row.try_get("held_state")?).ok();
    let fits = |below: &State| {
        below.channel_id == signed.channel_id
            && below.epoch == signed.epoch
            && below.version <= signed.version
            && below.total() == signed.total()
    };
    let intact = signed.hash_struct() == signed_hash;
    let Some(below) = below.filter(|below| intact && fits(below)) else {
        return Ok(None);
    };
    Ok(Some(Head {
        max_signed: unsigned(row, "max_signed")?,
        signed,
        signed_hash,
        signed_batch: unsigned(row, "signed_batch")?,
        committed: row.try_get("committed")?,
        below,
        below_batch: unsigned(row, "held_batch")?,
        pending_increase: amount("pending_increase")?,
    }))
}

/// Moves heads up; each only if its row still is what it was when it was read. Returns how many
/// moved.
pub async fn advance(
    connection: &mut Connection,
    hub_id: Uuid,
    batch_id: u64,
    moves: &[(&Head, &Move)],
) -> sqlx::Result<u64> {
    columns!(moves, (old, Move { after: new, .. }) => {
        channels: PgChannelId(new.signed.channel_id),
        versions: new.signed.version.cast_signed(),
        acks: new.signed.ack_version.cast_signed(),
        hub_balances: PgAmount(new.signed.hub_balance),
        user_balances: PgAmount(new.signed.user_balance),
        withdrawn: PgAmount(new.signed.withdrawn),
        deposited: PgAmount(new.signed.deposited),
        transfers_roots: PgHash(new.signed.transfers_root),
        hashes: PgHash(new.signed_hash),
        held_states: encode_states([&new.below]),
        held_batches: new.below_batch.cast_signed(),
        pending_increases: PgAmount(new.pending_increase),
        old_max: old.max_signed.cast_signed(),
        old_versions: old.signed.version.cast_signed(),
        old_hub_balances: PgAmount(old.signed.hub_balance),
        old_user_balances: PgAmount(old.signed.user_balance),
        old_hub_locked: PgAmount(old.signed.hub_locked),
        old_user_locked: PgAmount(old.signed.user_locked),
        old_withdrawn: PgAmount(old.signed.withdrawn),
        old_deposited: PgAmount(old.signed.deposited),
        old_credited: PgAmount(old.signed.credited),
        old_hashes: PgHash(old.signed_hash),
        old_batches: old.signed_batch.cast_signed(),
    });
    let done = sqlx::query(
        "UPDATE hub.heads h SET
             max_signed = n.version, version = n.version, ack_version = n.ack_version,
             hub_balance = n.hub_balance, user_balance = n.user_balance,
             withdrawn = n.withdrawn, deposited = n.deposited,
             transfers_root = n.transfers_root, state_hash = n.state_hash, signed_batch = $2,
             held_state = n.held_state, held_batch = n.held_batch,
             pending_increase = n.pending_increase
         FROM UNNEST($3::bytea[], $4::int8[], $5::int8[], $6::numeric[], $7::numeric[],
                 $8::numeric[], $9::numeric[], $10::bytea[], $11::bytea[], $12::bytea[],
                 $13::int8[], $14::numeric[],
                 $15::int8[], $16::int8[], $17::numeric[], $18::numeric[], $19::numeric[],
                 $20::numeric[], $21::numeric[], $22::numeric[], $23::numeric[], $24::bytea[],
                 $25::int8[])
             AS n(channel_id, version, ack_version, hub_balance, user_balance, withdrawn,
                 deposited, transfers_root, state_hash, held_state, held_batch, pending_increase,
                 old_max, old_version, old_hub, old_user, old_hub_locked, old_user_locked,
                 old_withdrawn, old_deposited, old_credited, old_hash, old_batch)
         WHERE h.channel_id = n.channel_id AND h.hub_id = $1
           AND h.max_signed = n.old_max AND h.version = n.old_version
           AND h.hub_balance = n.old_hub AND h.user_balance = n.old_user
           AND h.hub_locked = n.old_hub_locked AND h.user_locked = n.old_user_locked
           AND h.withdrawn = n.old_withdrawn AND h.deposited = n.old_deposited
           AND h.credited = n.old_credited AND h.state_hash = n.old_hash
           AND h.signed_batch = n.old_batch",
    )
    .bind(hub_id)
    .bind(batch_id.cast_signed())
    .bind(channels)
    .bind(versions)
    .bind(acks)
    .bind(hub_balances)
    .bind(user_balances)
    .bind(withdrawn)
    .bind(deposited)
    .bind(transfers_roots)
    .bind(hashes)
    .bind(held_states)
    .bind(held_batches)
    .bind(pending_increases)
    .bind(old_max)
    .bind(old_versions)
    .bind(old_hub_balances)
    .bind(old_user_balances)
    .bind(old_hub_locked)
    .bind(old_user_locked)
    .bind(old_withdrawn)
    .bind(old_deposited)
    .bind(old_credited)
    .bind(old_hashes)
    .bind(old_batches)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Inserts the heads of channels that are opened. Fails when one of them has one.
pub async fn insert(
    connection: &mut Connection,
    hub_id: Uuid,
    batch_id: u64,
    heads: &[&Head],
) -> sqlx::Result<()> {
    columns!(heads, head => {
        ids: PgChannelId(head.signed.channel_id),
        versions: head.signed.version.cast_signed(),
        hub_balances: PgAmount(head.signed.hub_balance),
        user_balances: PgAmount(head.signed.user_balance),
        withdrawn: PgAmount(head.signed.withdrawn),
        deposited: PgAmount(head.signed.deposited),
        locks_hashes: PgHash(head.signed.locks_hash),
        transfers_roots: PgHash(head.signed.transfers_root),
        hashes: PgHash(head.signed_hash),
        held_states: encode_states([&head.below]),
        pending: PgAmount(head.pending_increase),
    });
    // A new channel has no locks and no credits.
    sqlx::query(
        "INSERT INTO hub.heads (channel_id, hub_id, epoch, max_signed, version, ack_version,
             hub_balance, user_balance, hub_locked, user_locked, withdrawn, deposited, credited,
             locks_hash, transfers_root, state_hash, signed_batch, held_state, held_batch,
             pending_increase)
         SELECT n.channel_id, $1, 0, n.version, n.version, 0, n.hub_balance, n.user_balance, 0, 0,
             n.withdrawn, n.deposited, 0, n.locks_hash, n.transfers_root, n.state_hash, $2,
             n.held_state, 0, n.pending
         FROM UNNEST($3::bytea[], $4::int8[], $5::numeric[], $6::numeric[], $7::numeric[],
                 $8::numeric[], $9::bytea[], $10::bytea[], $11::bytea[], $12::bytea[],
                 $13::numeric[])
             AS n(channel_id, version, hub_balance, user_balance, withdrawn, deposited,
                 locks_hash, transfers_root, state_hash, held_state, pending)",
    )
    .bind(hub_id)
    .bind(batch_id.cast_signed())
    .bind(ids)
    .bind(versions)
    .bind(hub_balances)
    .bind(user_balances)
    .bind(withdrawn)
    .bind(deposited)
    .bind(locks_hashes)
    .bind(transfers_roots)
    .bind(hashes)
    .bind(held_states)
    .bind(pending)
    .execute(connection)
    .await
    .map(drop)
}

/// Rows of `hub.channels` from arrays; the tail says what becomes of those that are there.
macro_rules! insert_channels {
    ($tail:literal) => {
        concat!(
            "INSERT INTO hub.channels (channel_id, hub_id, params, opened_batch, created_at)
             SELECT n.channel_id, $1, n.params, $2, $3
             FROM UNNEST($4::bytea[], $5::bytea[]) AS n(channel_id, params) ",
            $tail
        )
    };
}

/// Keeps the parameters of channels that are opened for the first time. Fails when one of them is
/// there: asking for each of them whether it is costs a fifth of the insert.
pub async fn insert_channels(
    connection: &mut Connection,
    hub_id: Uuid,
    batch_id: u64,
    opened: &[(ChannelId, ChannelParams)],
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let statement = insert_channels!("");
    put_channels(connection, statement, hub_id, batch_id, opened, now).await
}

/// Keeps the parameters of channels that may have been opened before: those of an opening that
/// was never completed stay, they hash to the same id.
pub async fn keep_channels(
    connection: &mut Connection,
    hub_id: Uuid,
    batch_id: u64,
    opened: &[(ChannelId, ChannelParams)],
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let statement = insert_channels!("ON CONFLICT (channel_id) DO NOTHING");
    put_channels(connection, statement, hub_id, batch_id, opened, now).await
}

async fn put_channels(
    connection: &mut Connection,
    statement: &'static str,
    hub_id: Uuid,
    batch_id: u64,
    opened: &[(ChannelId, ChannelParams)],
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let ids: Vec<_> = opened.iter().map(|(id, _)| PgChannelId(*id)).collect();
    let params: Vec<_> = opened.iter().map(|(_, params)| PgParams(*params)).collect();
    sqlx::query(statement)
        .bind(hub_id)
        .bind(batch_id.cast_signed())
        .bind(now)
        .bind(ids)
        .bind(params)
        .execute(connection)
        .await
        .map(drop)
}

/// Sets a channel's held state anew. Returns whether its row was still the one that was read.
pub async fn set_held(
    connection: &mut Connection,
    hub_id: Uuid,
    head: &Head,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE hub.heads SET held_state = $3, held_batch = $4, pending_increase = $5
         WHERE hub_id = $1 AND channel_id = $2 AND max_signed = $6 AND state_hash = $7",
    )
    .bind(hub_id)
    .bind(PgChannelId(head.signed.channel_id))
    .bind(encode_states([&head.below]))
    .bind(head.below_batch.cast_signed())
    .bind(PgAmount(head.pending_increase))
    .bind(head.max_signed.cast_signed())
    .bind(PgHash(head.signed_hash))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Channels whose head is of an epoch that the chain has settled: it had been edited when the
/// settlement came, or was imported after it.
pub async fn behind(connection: &mut Connection, hub_id: Uuid) -> sqlx::Result<Vec<ChannelId>> {
    let rows: Vec<PgChannelId> = sqlx::query_scalar(
        "SELECT f.channel_id FROM hub.channel_facts f
         JOIN hub.heads h ON h.hub_id = f.hub_id AND h.channel_id = f.channel_id
         WHERE f.hub_id = $1 AND h.epoch < f.epoch",
    )
    .bind(hub_id)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Begins a channel's next epoch with its null state.
pub async fn begin_epoch(
    connection: &mut Connection,
    hub_id: Uuid,
    head: &Head,
) -> sqlx::Result<()> {
    let state = &head.signed;
    sqlx::query(
        "UPDATE hub.heads SET epoch = $3, max_signed = $9, version = 0, ack_version = 0,
             hub_balance = $4, user_balance = 0, hub_locked = 0, user_locked = 0, withdrawn = 0,
             deposited = 0, credited = 0, locks_hash = $5, transfers_root = $6, state_hash = $7,
             signed_batch = 0, held_state = $8, held_batch = 0, pending_increase = 0
         WHERE hub_id = $1 AND channel_id = $2",
    )
    .bind(hub_id)
    .bind(PgChannelId(state.channel_id))
    .bind(i64::from(state.epoch))
    .bind(PgAmount(state.hub_balance))
    .bind(PgHash(state.locks_hash))
    .bind(PgHash(state.transfers_root))
    .bind(PgHash(head.signed_hash))
    .bind(encode_states([&head.below]))
    .bind(head.max_signed.cast_signed())
    .execute(connection)
    .await
    .map(drop)
}
