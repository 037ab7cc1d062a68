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
use crate::api::proofs;
use crate::store::closing::{self, Ended, Seen, Unsent};
use crate::store::directory::Account;
use crate::store::heads::{self, ChannelStatus, Head};
use crate::store::{batches_read, settlement};
use chain_messages::{Certainty, CloseCommand, Command, Event, Place, topology};
use hub_core::types::CloseIntent;
use hub_core::{ChannelId, State};
use sqlx::PgConnection;
use std::sync::Arc;
use time::OffsetDateTime;
use uuid::Uuid;

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

/// Sends ordered closes, gives channels free whose close nobody can post any more, and begins the
/// next epochs of channels that were settled.
pub(super) async fn round(engine: &Engine, lane: &Arc<Lane>) -> sqlx::Result<()> {
    let hub_id = lane.terms.hub_id;
    for close in closing::unsent(&lane.pool, hub_id, PAGE).await? {
        send(engine, lane, close).await?;
    }
    for (channel, epoch) in closing::lapsed(&lane.pool, hub_id).await? {
        let mut tx = lane.pool.begin().await?;
        closing::lapse(&mut tx, channel, epoch, runtime::clock::now()).await?;
        tx.commit().await?;
    }
    for ended in closing::ended(&lane.pool, lane.terms.hub_id, PAGE).await? {
        settle::system(engine, Order::Reopen(ended)).await;
    }
    Ok(())
}

/// The custody signature is made after the order is durable, and always over the same content; row
/// and command commit as one.
async fn send(engine: &Engine, lane: &Lane, close: Unsent) -> sqlx::Result<()> {
    let Some(account) = engine.account(close.account).await.map_err(|e| e.0)? else {
        tracing::error!(closing = %close.id, "a close of no account");
        return Ok(());
    };
    let head = {
        let mut connection = lane.pool.acquire().await?;
        heads::load(&mut connection, &[close.channel]).await?.pop()
    };
    let head = head.filter(|head| head.is_intact() && head.state_hash == close.state_hash);
    let proved = match &head {
        Some(head) => batches_read::proved(&lane.pool, head.batch, &head.state).await?,
        None => None,
    };
    let domain = lane.terms.domain;
    let proof = head
        .zip(proved)
        .map(|(head, proved)| proofs::build(proved, &head.state, account.params, domain, true));
    let Some(proof) = proof else {
        tracing::error!(closing = %close.id, channel = %close.channel, "the state to close with is not what both sides signed");
        return Ok(());
    };
    let intent = CloseIntent {
        channel_id: close.channel,
        epoch: proof.state_typed_data.message.epoch,
        state_hash: close.state_hash,
        valid_until: close.valid_until,
    };
    let command = Command::Close(Box::new(CloseCommand {
        signature: lane.custody.sign(&domain, &intent),
        intent,
        proof,
    }));
    let now = runtime::clock::now();
    let mut tx = lane.pool.begin().await?;
    if closing::sent(&mut tx, close.id, now).await? == 1 {
        let route = (topology::COMMANDS, topology::COMMANDS);
        let id = Uuid::now_v7();
        settlement::enqueue(&mut tx, id, route, &close.correlation_id, &command, now).await?;
        tx.commit().await?;
        lane.outbox.notify_one();
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
    if waits && ended.next > state.epoch {
        let capacity = account.params.capacity;
        Ok(State::null(account.channel, ended.next, capacity))
    } else {
        Err(refusals::not_refundable())
    }
}

/// Whether a state begins the epoch after the head's.
pub(super) fn begins_epoch(head: &Head, base: &State) -> bool {
    head.state.epoch < base.epoch
}
