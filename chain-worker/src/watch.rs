//! Reads the chain by block range, and undoes what was orphaned.

use crate::error::StepError;
use crate::store::cursor::{self, Cursor};
use crate::store::{disputes, hubs, logs, messages};
use crate::worker::{Lead, Worker};
use chain::{At, Block, ChainLog, LogBody};
use chain_messages::{Certainty, Envelope, Event};
use hub_core::Amount;
use hub_core::settlement::Closer;
use sqlx::PgConnection;
use std::collections::HashMap;
use uuid::Uuid;

/// Blocks whose logs are asked for at once; nodes limit answers, not ours alone.
const RANGE: u64 = 500;
/// Below this many blocks under the head hashes are kept, to find where a reorganisation began.
const WINDOW: u64 = 96;

/// Reads one range; `true` when there is more.
///
/// # Errors
/// [`StepError::Halted`] when a block that was final is not on the chain any more.
pub async fn step(worker: &Worker, lead: Lead) -> Result<bool, StepError> {
    let head = worker.chain.node().head().await?;
    show_head(worker, &head);
    let cursor = match cursor::load(&worker.pool).await? {
        Some(cursor) => undo_orphaned(worker, lead, cursor, &head).await?,
        None => start(worker, lead).await?,
    };
    if cursor.scanned >= head.number {
        worker.metrics.scan_lag.set(0);
        return Ok(false);
    }
    let to = head.number.min(cursor.scanned + RANGE);
    scan(worker, lead, &cursor, to, &head).await?;
    let left = head.number - to;
    worker
        .metrics
        .scan_lag
        .set(left.try_into().unwrap_or(i64::MAX));
    Ok(left > 0)
}

fn show_head(worker: &Worker, head: &Block) {
    let number = head.number.try_into().unwrap_or(i64::MAX);
    worker.metrics.head_block.set(number);
    let now = runtime::clock::now().unix_timestamp();
    let age = now.saturating_sub_unsigned(head.timestamp).max(0);
    worker.metrics.head_age.set(age as f64);
}

async fn block(worker: &Worker, number: u64) -> Result<Block, StepError> {
    let block = worker.chain.node().block(At::Block(number)).await?;
    block.ok_or_else(|| StepError::Moving(format!("the node does not have block {number}")))
}

async fn start(worker: &Worker, lead: Lead) -> Result<Cursor, StepError> {
    let before = worker.settings.deploy_block.saturating_sub(1);
    let before = block(worker, before).await?;
    let mut tx = worker.begin(lead).await?;
    cursor::begin_after(&mut tx, &before).await?;
    tx.commit().await?;
    tracing::info!(block = before.number, "reading begins");
    Ok(Cursor {
        scanned: before.number,
        scanned_hash: before.hash,
        finalized: before.number,
        final_hash: before.hash,
        final_timestamp: before.timestamp,
    })
}

/// Goes back to the newest block that is still on the chain. A head below the cursor counts as a
/// reorganisation: the blocks above it are gone until they come again.
async fn undo_orphaned(
    worker: &Worker,
    lead: Lead,
    cursor: Cursor,
    head: &Block,
) -> Result<Cursor, StepError> {
    if head.number >= cursor.scanned
        && block(worker, cursor.scanned).await?.hash == cursor.scanned_hash
    {
        return Ok(cursor);
    }
    if head.number < cursor.finalized {
        let (head, done) = (head.number, cursor.finalized);
        return Err(StepError::Moving(format!(
            "the node is at block {head}, below the final block {done}"
        )));
    }
    let (common, hash) = common_block(worker, &cursor, head).await?;
    let depth = cursor.scanned - common;
    worker.metrics.reorg_depth.observe(depth as f64);
    tracing::warn!(depth, common, "blocks were orphaned");
    let now = runtime::clock::now();
    let mut tx = worker.begin(lead).await?;
    for log in logs::orphan_above(&mut tx, common).await? {
        announce(worker, &mut tx, &log, Certainty::Orphaned, 0, now).await?;
    }
    cursor::drop_blocks_above(&mut tx, common).await?;
    cursor::set_scanned(&mut tx, common, hash).await?;
    tx.commit().await?;
    worker.outbox.notify_one();
    worker.push.notify_waiters();
    Ok(Cursor {
        scanned: common,
        scanned_hash: hash,
        ..cursor
    })
}

async fn common_block(
    worker: &Worker,
    cursor: &Cursor,
    head: &Block,
) -> Result<(u64, hub_core::Hash32), StepError> {
    let mut number = cursor.scanned.min(head.number);
    while number > cursor.finalized {
        let kept = cursor::block_hash(&worker.pool, number).await?;
        if let Some(hash) = kept
            && block(worker, number).await?.hash == hash
        {
            return Ok((number, hash));
        }
        number -= 1;
    }
    if block(worker, cursor.finalized).await?.hash == cursor.final_hash {
        return Ok((cursor.finalized, cursor.final_hash));
    }
    Err(StepError::Halted(format!(
        "block {} was final with hash {} and is not on the chain any more",
        cursor.finalized, cursor.final_hash
    )))
}

/// Stores the logs after the cursor. The chain is read as one: headers follow each other, logs
/// carry their headers' hashes, and the last header is still there afterwards.
async fn scan(
    worker: &Worker,
    lead: Lead,
    cursor: &Cursor,
    to: u64,
    head: &Block,
) -> Result<(), StepError> {
    let from = cursor.scanned + 1;
    let first = from.max(head.number.saturating_sub(WINDOW)).min(to);
    let mut headers: Vec<Block> = Vec::new();
    for number in first..=to {
        let header = block(worker, number).await?;
        let parent = match headers.last() {
            Some(before) => Some(before.hash),
            None => (number == from).then_some(cursor.scanned_hash),
        };
        if parent.is_some_and(|parent| parent != header.parent) {
            return Err(StepError::Moving(format!(
                "block {number} has another parent"
            )));
        }
        headers.push(header);
    }
    let found = worker.chain.logs(from, to).await?;
    let hashes: HashMap<_, _> = headers.iter().map(|h| (h.number, h.hash)).collect();
    for log in &found {
        let place = log.place;
        let known = hashes.get(&place.block);
        if known.is_some_and(|hash| *hash != place.block_hash) {
            return Err(StepError::Moving(format!(
                "logs of another block {}",
                place.block
            )));
        }
    }
    let last = block(worker, to).await?;
    if hashes.get(&to) != Some(&last.hash) {
        return Err(StepError::Moving(format!("block {to} was replaced")));
    }
    let now = runtime::clock::now();
    let mut tx = worker.begin(lead).await?;
    for log in logs::unconfirmed(&mut tx, cursor.scanned).await? {
        let confirmations = head.number.saturating_sub(log.place.block) + 1;
        announce(worker, &mut tx, &log, Certainty::Seen, confirmations, now).await?;
    }
    logs::insert(&mut tx, &found).await?;
    for log in &found {
        let confirmations = head.number.saturating_sub(log.place.block) + 1;
        announce(worker, &mut tx, log, Certainty::Seen, confirmations, now).await?;
    }
    let closes = note_closes(worker, &mut tx, &found, now).await?;
    cursor::keep_blocks(&mut tx, &headers).await?;
    cursor::set_scanned(&mut tx, to, last.hash).await?;
    tx.commit().await?;
    worker.outbox.notify_one();
    if closes > 0 {
        worker.push.notify_waiters();
        worker.tower.ask();
    }
    Ok(())
}

/// Puts new closes of served hubs on the watchtower's list; says how many are news.
async fn note_closes(
    worker: &Worker,
    tx: &mut PgConnection,
    found: &[ChainLog],
    now: time::OffsetDateTime,
) -> sqlx::Result<u64> {
    let mut news = 0;
    for log in found {
        let LogBody::Closed { hub, state, .. } = &log.body else {
            continue;
        };
        if worker.hub(*hub).is_none() {
            continue;
        }
        if disputes::note(tx, *hub, state.channel_id, state.epoch, now).await? {
            let label = hub.to_string();
            tracing::warn!(channel = %state.channel_id, version = state.version, hub = label, "a channel is closed on chain");
            let labels = [label.as_str()];
            worker.metrics.tower_closes.with_label_values(&labels).inc();
            news += 1;
        }
    }
    Ok(news)
}

/// Tells the broker about a log that is not final. A close is told to the hub as well: neither side
/// may sign a state that the closer does not know; freezing a channel too early does no harm.
async fn announce(
    worker: &Worker,
    tx: &mut PgConnection,
    log: &ChainLog,
    certainty: Certainty,
    confirmations: u64,
    now: time::OffsetDateTime,
) -> sqlx::Result<()> {
    let Some(event) = event(worker, log, certainty, confirmations) else {
        return Ok(());
    };
    let message = Envelope {
        id: Uuid::now_v7(),
        correlation_id: worker.correlation(tx, log).await?,
        body: event,
    };
    messages::publish(tx, &message, now).await?;
    match log.body {
        LogBody::Closed { hub, .. } => hubs::append(tx, hub, &message).await,
        _ => Ok(()),
    }
}

/// The event that a log is at this certainty, if it is one and about a hub that we serve.
pub fn event(
    worker: &Worker,
    log: &ChainLog,
    certainty: Certainty,
    confirmations: u64,
) -> Option<Event> {
    worker.hub(log.body.hub()?)?;
    let place = log.place;
    match &log.body {
        LogBody::Deposited {
            channel_id,
            epoch,
            amount,
            total,
            ..
        } => Some(Event::Deposited {
            channel_id: *channel_id,
            epoch: *epoch,
            amount: *amount,
            total: *total,
            certainty,
            place,
        }),
        LogBody::Withdrawn {
            channel_id,
            epoch,
            request_id,
            to,
            amount,
            total,
            ..
        } => Some(Event::Withdrawn {
            channel_id: *channel_id,
            epoch: *epoch,
            request_id: *request_id,
            to: *to,
            amount: *amount,
            total: *total,
            certainty,
            confirmations,
            place,
        }),
        LogBody::Closed {
            state,
            closer,
            deadline,
            ..
        } => Some(Event::Closed {
            state: *state,
            by_hub: *closer == Closer::Hub,
            deadline: *deadline,
            certainty,
            place,
        }),
        LogBody::Settled {
            channel_id,
            epoch,
            paid,
            ..
        } if certainty == Certainty::Final => {
            // What is owed is part of what a close pays, and comes on top of what was agreed.
            let owed = if paid.agreed { paid.owed } else { Amount::ZERO };
            Some(Event::Settled {
                channel_id: *channel_id,
                epoch: *epoch,
                paid: paid.user_pay.checked_add(owed).unwrap_or(Amount::MAX),
                place,
            })
        }
        _ => None,
    }
}
