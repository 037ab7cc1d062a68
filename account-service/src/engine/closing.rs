//! What the engine makes of closes and settlements: a channel that is being closed signs nothing,
//! and one that was settled goes on in its next epoch.
//!
//! The step into the next epoch is an operation like others: it takes the balance that the
//! settlement dealt with out of the ledger, and the hub co-signs the empty first state.

use super::decide::Known;
use super::lane::Lane;
use super::refusals;
use super::types::{Order, Refused};
use super::{Engine, settle};
use crate::store::closing::{self, Ended, Seen};
use crate::store::directory::Account;
use crate::store::heads::{ChannelStatus, Head};
use chain_messages::{Certainty, Event, Place};
use hub_core::{ChannelId, State};
use sqlx::PgConnection;
use std::sync::Arc;
use time::OffsetDateTime;

/// Epochs begun in one round.
const PAGE: i64 = 200;

/// Takes in a close or a settlement.
pub(super) async fn handle(
    connection: &mut PgConnection,
    event: &Event,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let seen = |channel: ChannelId, epoch: u32, place: &Place| Seen {
        channel,
        epoch,
        tx_hash: place.tx_hash,
    };
    match event {
        Event::Closed {
            state,
            certainty,
            place,
            ..
        } => {
            let close = seen(state.channel_id, state.epoch, place);
            tracing::warn!(channel = %close.channel, version = state.version, ?certainty, "channel closed on chain");
            match certainty {
                Certainty::Orphaned => closing::orphaned(connection, &close, now).await,
                Certainty::Seen | Certainty::Final => closing::seen(connection, &close, now).await,
            }
        }
        Event::Settled {
            channel_id,
            epoch,
            paid,
            place,
        } => {
            let close = seen(*channel_id, *epoch, place);
            tracing::warn!(channel = %channel_id, epoch, %paid, "channel settled on chain");
            closing::settled(connection, &close, *paid, now).await
        }
        _ => Ok(()),
    }
}

/// Begins the next epochs of channels that were settled.
pub(super) async fn round(engine: &Engine, lane: &Arc<Lane>) -> sqlx::Result<()> {
    for ended in closing::ended(&lane.pool, lane.terms.hub_id, PAGE).await? {
        let key = format!("settle:{}", ended.closing);
        settle::system(engine, key, Order::Reopen(ended)).await;
    }
    Ok(())
}

/// The null state that a channel's next epoch begins from, if its head still is that of the epoch
/// that ended, and what both sides signed.
pub(super) fn next_null(known: &Known, account: &Account, ended: &Ended) -> Result<State, Refused> {
    let head = known.heads.get(&account.channel);
    let head = head
        .filter(|head| head.is_intact())
        .ok_or_else(refusals::frozen_channel)?;
    let state = &head.state;
    let waits = head.status == ChannelStatus::Closing
        && state.epoch == ended.epoch
        && state.user_balance.checked_add(state.user_locked) == Some(ended.balance);
    let epoch = state.epoch.checked_add(1).filter(|_| waits);
    let epoch = epoch.ok_or_else(refusals::not_refundable)?;
    Ok(State::null(account.channel, epoch, account.params.capacity))
}

/// Whether a state begins the epoch after the head's.
pub(super) fn begins_epoch(head: &Head, base: &State) -> bool {
    head.state.epoch < base.epoch
}
