//! `chain.copies`, `chain.channels`, `chain.copy_marks`: the worker's own copy of every channel's
//! newest co-signed state.

use super::{expect_rows, int, uint};
use crate::tower::copy::{Copy, Seal};
use hub_core::encoding::{decode_state, encode_states};
use hub_core::{Address, ChannelId, ChannelParams, Epoch, Hash32};
use runtime::pg::{PgAddress, PgChannelId, PgHash, PgParams, PgSignature};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row as _};
use std::collections::HashMap;
use time::OffsetDateTime;

/// Makes the mark of a hub that is watched for the first time.
pub async fn ensure_mark(db: impl PgExecutor<'_>, hub: Address) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO chain.copy_marks (hub) VALUES ($1) ON CONFLICT (hub) DO NOTHING")
        .bind(PgAddress(hub))
        .execute(db)
        .await
        .map(drop)
}

/// Up to which batch all of a hub's were copied, and when a source last gave all it had.
pub async fn mark(
    db: impl PgExecutor<'_>,
    hub: Address,
) -> sqlx::Result<(u64, Option<OffsetDateTime>)> {
    let row: (i64, Option<OffsetDateTime>) =
        sqlx::query_as("SELECT batch_id, copied_at FROM chain.copy_marks WHERE hub = $1")
            .bind(PgAddress(hub))
            .fetch_one(db)
            .await?;
    Ok((uint(row.0), row.1))
}

/// Raises the mark; `copied_at` when a source has nothing more.
pub async fn raise_mark(
    db: &mut PgConnection,
    hub: Address,
    batch_id: u64,
    copied_at: Option<OffsetDateTime>,
) -> sqlx::Result<()> {
    let done = sqlx::query(
        "UPDATE chain.copy_marks SET batch_id = greatest(batch_id, $2),
            copied_at = coalesce($3, copied_at) WHERE hub = $1",
    )
    .bind(PgAddress(hub))
    .bind(int(batch_id))
    .bind(copied_at)
    .execute(db)
    .await?;
    expect_rows("raise the mark of copies", 1, done.rows_affected())
}

/// Keeps parameters.
pub async fn keep_params(
    db: &mut PgConnection,
    channels: &[(ChannelId, ChannelParams)],
) -> sqlx::Result<()> {
    let ids: Vec<_> = channels.iter().map(|(id, _)| PgChannelId(*id)).collect();
    let hubs: Vec<_> = channels.iter().map(|(_, p)| PgAddress(p.hub)).collect();
    let params: Vec<_> = channels
        .iter()
        .map(|(_, params)| PgParams(*params))
        .collect();
    sqlx::query(
        "INSERT INTO chain.channels (channel_id, hub, params)
         SELECT * FROM UNNEST($1::bytea[], $2::bytea[], $3::bytea[])
         ON CONFLICT (channel_id) DO NOTHING",
    )
    .bind(ids)
    .bind(hubs)
    .bind(params)
    .execute(db)
    .await
    .map(drop)
}

/// Stores copies; an older version never takes the place of a newer one.
pub async fn store(db: &mut PgConnection, copies: &[Copy]) -> sqlx::Result<()> {
    fn column<T>(copies: &[Copy], of: impl Fn(&Copy) -> T) -> Vec<T> {
        copies.iter().map(of).collect()
    }
    sqlx::query(
        "INSERT INTO chain.copies (channel_id, epoch, version, state, batch_id, root, prev_root,
            depth, leaf, siblings, hub_signature, user_signature)
         SELECT * FROM UNNEST($1::bytea[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bigint[],
            $6::bytea[], $7::bytea[], $8::smallint[], $9::int[], $10::bytea[], $11::bytea[],
            $12::bytea[])
         ON CONFLICT (channel_id, epoch) DO UPDATE SET version = EXCLUDED.version,
            state = EXCLUDED.state, batch_id = EXCLUDED.batch_id, root = EXCLUDED.root,
            prev_root = EXCLUDED.prev_root, depth = EXCLUDED.depth, leaf = EXCLUDED.leaf,
            siblings = EXCLUDED.siblings, hub_signature = EXCLUDED.hub_signature,
            user_signature = EXCLUDED.user_signature
         WHERE copies.version < EXCLUDED.version",
    )
    .bind(column(copies, |c| PgChannelId(c.state.channel_id)))
    .bind(column(copies, |c| i64::from(c.state.epoch)))
    .bind(column(copies, |c| int(c.state.version)))
    .bind(column(copies, |c| encode_states([&c.state])))
    .bind(column(copies, |c| int(c.seal.batch_id)))
    .bind(column(copies, |c| PgHash(c.seal.root)))
    .bind(column(copies, |c| PgHash(c.seal.prev_root)))
    .bind(column(copies, |c| i16::from(c.seal.depth)))
    .bind(column(copies, |c| c.leaf.cast_signed()))
    .bind(column(copies, |c| {
        c.siblings.iter().flat_map(|s| s.0).collect::<Vec<u8>>()
    }))
    .bind(column(copies, |c| PgSignature(c.seal.hub_signature)))
    .bind(column(copies, |c| PgSignature(c.seal.user_signature)))
    .execute(db)
    .await
    .map(drop)
}

/// Forgets copies of epochs that are over, of channels that have copies of a later one.
pub async fn drop_old(db: &mut PgConnection) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "DELETE FROM chain.copies o USING chain.disputes d, chain.copies n
         WHERE d.over AND o.channel_id = d.channel_id AND o.epoch = d.epoch
           AND n.channel_id = o.channel_id AND n.epoch > o.epoch",
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Of how many of a hub's channels there are copies.
pub async fn count(db: impl PgExecutor<'_>, hub: Address) -> sqlx::Result<u64> {
    let count = sqlx::query_scalar("SELECT count(*) FROM chain.channels WHERE hub = $1");
    Ok(uint(count.bind(PgAddress(hub)).fetch_one(db).await?))
}

/// The parameters of a channel, if they are known.
pub async fn params(
    db: impl PgExecutor<'_>,
    channel: ChannelId,
) -> sqlx::Result<Option<ChannelParams>> {
    let params: Option<PgParams> =
        sqlx::query_scalar("SELECT params FROM chain.channels WHERE channel_id = $1")
            .bind(PgChannelId(channel))
            .fetch_optional(db)
            .await?;
    Ok(params.map(|params| params.0))
}

/// The copy of a channel's newest state in an epoch.
pub async fn get(
    db: impl PgExecutor<'_>,
    channel: ChannelId,
    epoch: Epoch,
) -> sqlx::Result<Option<Copy>> {
    let row = sqlx::query("SELECT * FROM chain.copies WHERE channel_id = $1 AND epoch = $2")
        .bind(PgChannelId(channel))
        .bind(i64::from(epoch))
        .fetch_optional(db)
        .await?;
    row.as_ref().map(copy).transpose()
}

fn copy(row: &PgRow) -> sqlx::Result<Copy> {
    let state: Vec<u8> = row.try_get("state")?;
    let siblings: Vec<u8> = row.try_get("siblings")?;
    let depth: i16 = row.try_get("depth")?;
    Ok(Copy {
        state: decode_state(&state).map_err(|error| sqlx::Error::Decode(error.into()))?,
        leaf: row.try_get::<i32, _>("leaf")?.cast_unsigned(),
        siblings: siblings
            .chunks_exact(32)
            .filter_map(Hash32::from_slice)
            .collect(),
        seal: Seal {
            batch_id: uint(row.try_get("batch_id")?),
            root: row.try_get::<PgHash, _>("root")?.0,
            prev_root: row.try_get::<PgHash, _>("prev_root")?.0,
            depth: u8::try_from(depth).unwrap_or_default(),
            hub_signature: row.try_get::<PgSignature, _>("hub_signature")?.0,
            user_signature: row.try_get::<PgSignature, _>("user_signature")?.0,
        },
    })
}

/// The parameters of those of these channels that are known.
pub async fn all_params(
    db: impl PgExecutor<'_>,
    channels: &[ChannelId],
) -> sqlx::Result<HashMap<ChannelId, ChannelParams>> {
    let ids: Vec<_> = channels.iter().copied().map(PgChannelId).collect();
    let rows: Vec<(PgChannelId, PgParams)> =
        sqlx::query_as("SELECT channel_id, params FROM chain.channels WHERE channel_id = ANY($1)")
            .bind(ids)
            .fetch_all(db)
            .await?;
    Ok(rows
        .into_iter()
        .map(|(id, params)| (id.0, params.0))
        .collect())
}
