//! Heads of a restored hub, as co-signed batches prove them.

use super::Connection;
use crate::engine::head::Head;
use hub_core::encoding::encode_states;
use runtime::pg::{PgAmount, PgChannelId, PgHash};
use uuid::Uuid;

/// Puts a head in the place of the one that is there, if any. Versions used stay used.
pub async fn put_head(connection: &mut Connection, hub_id: Uuid, head: &Head) -> sqlx::Result<()> {
    let state = &head.signed;
    sqlx::query(
        "INSERT INTO hub.heads (channel_id, hub_id, epoch, max_signed, version, ack_version,
             hub_balance, user_balance, hub_locked, user_locked, withdrawn, deposited, credited,
             locks_hash, transfers_root, state_hash, signed_batch, held_state, held_batch,
             pending_increase)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
             $19, 0)
         ON CONFLICT (channel_id) DO UPDATE SET
             max_signed = greatest(hub.heads.max_signed, EXCLUDED.max_signed),
             epoch = EXCLUDED.epoch, version = EXCLUDED.version,
             ack_version = EXCLUDED.ack_version, hub_balance = EXCLUDED.hub_balance,
             user_balance = EXCLUDED.user_balance, hub_locked = EXCLUDED.hub_locked,
             user_locked = EXCLUDED.user_locked, withdrawn = EXCLUDED.withdrawn,
             deposited = EXCLUDED.deposited, credited = EXCLUDED.credited,
             locks_hash = EXCLUDED.locks_hash, transfers_root = EXCLUDED.transfers_root,
             state_hash = EXCLUDED.state_hash, signed_batch = EXCLUDED.signed_batch,
             held_state = EXCLUDED.held_state, held_batch = EXCLUDED.held_batch,
             pending_increase = 0",
    )
    .bind(PgChannelId(state.channel_id))
    .bind(hub_id)
    .bind(i64::from(state.epoch))
    .bind(head.max_signed.cast_signed())
    .bind(state.version.cast_signed())
    .bind(state.ack_version.cast_signed())
    .bind(PgAmount(state.hub_balance))
    .bind(PgAmount(state.user_balance))
    .bind(PgAmount(state.hub_locked))
    .bind(PgAmount(state.user_locked))
    .bind(PgAmount(state.withdrawn))
    .bind(PgAmount(state.deposited))
    .bind(PgAmount(state.credited))
    .bind(PgHash(state.locks_hash))
    .bind(PgHash(state.transfers_root))
    .bind(PgHash(head.signed_hash))
    .bind(head.signed_batch.cast_signed())
    .bind(encode_states([&head.below]))
    .bind(head.below_batch.cast_signed())
    .execute(connection)
    .await
    .map(drop)
}
