//! What is final: events that count, commands that are decided.

use crate::config::Finality;
use crate::error::StepError;
use crate::store::commands::{self, Sent};
use crate::store::{cursor, hubs, logs, messages};
use crate::watch;
use crate::worker::{Lead, Worker};
use chain::{At, Block, ChainLog, FundingMode, LogBody, WithdrawFault};
use chain_messages::{Certainty, Envelope, Event, Place};
use hub_core::{Address, Amount, Hash32};
use sqlx::PgConnection;
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// Times a command is tried before it is left to its expiry.
const TRIES: i32 = 8;
/// Pause before a second try; doubled each time.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// A vault that changed: what the broker and the hub are told.
struct VaultChange {
    hub: Address,
    before: Option<Amount>,
    after: Amount,
}

/// Makes final what has become so.
///
/// # Errors
/// As the node and the database fail; then nothing is final that was not.
pub async fn step(worker: &Worker, lead: Lead) -> Result<(), StepError> {
    let Some(cursor) = cursor::load(&worker.pool).await? else {
        return Ok(());
    };
    let Some(target) = target(worker).await? else {
        return Ok(());
    };
    let target = target.min(cursor.scanned);
    if target <= cursor.finalized {
        return Ok(());
    }
    let block = worker.chain.node().block(At::Block(target)).await?;
    let block = block.ok_or_else(|| StepError::Moving(format!("no block {target}")))?;
    if let Some(hash) = cursor::block_hash(&worker.pool, target).await?
        && hash != block.hash
    {
        return Err(StepError::Moving(format!("block {target} was replaced")));
    }
    let now = runtime::clock::now();
    let mut tx = worker.begin(lead).await?;
    let vaults = if logs::any_seen(&mut tx, target).await? {
        vaults(worker, &mut tx, target).await?
    } else {
        Vec::new()
    };
    let found = logs::finalize(&mut tx, target).await?;
    report(worker, &mut tx, &found, &vaults, now).await?;
    decide(worker, &mut tx, &found, block.timestamp, now).await?;
    finalized(&mut tx, &block, now).await?;
    cursor::set_final(&mut tx, &block).await?;
    tx.commit().await?;
    worker
        .metrics
        .final_block
        .set(target.try_into().unwrap_or(i64::MAX));
    worker.outbox.notify_one();
    worker.push.notify_waiters();
    Ok(())
}

async fn target(worker: &Worker) -> Result<Option<u64>, StepError> {
    let node = worker.chain.node();
    Ok(match worker.settings.finality {
        Finality::Blocks => {
            let head = node.head().await?.number;
            head.checked_sub(worker.settings.confirmations)
        }
        Finality::Tag => node.block(At::Finalized).await?.map(|block| block.number),
    })
}

/// Vaults that differ from what was last reported, as of a final block.
async fn vaults(
    worker: &Worker,
    tx: &mut PgConnection,
    block: u64,
) -> Result<Vec<VaultChange>, StepError> {
    let mut changes = Vec::new();
    for hub in worker
        .hubs
        .iter()
        .filter(|hub| hub.mode == FundingMode::Vault)
    {
        let hub = hub.address();
        let before = hubs::vault(tx, hub).await?;
        // What is owed to somebody is not there for others.
        let view = worker.chain.hub(hub, At::Block(block)).await?;
        let after = view.funds.less(view.owed);
        if before != Some(after) {
            changes.push(VaultChange { hub, before, after });
        }
    }
    Ok(changes)
}

/// All that is final now, in the order of the chain. A vault that fell is told before everything
/// else and one that rose after it, so that nobody ever counts more headroom than there is.
async fn report(
    worker: &Worker,
    tx: &mut PgConnection,
    found: &[ChainLog],
    vaults: &[VaultChange],
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let fell = |change: &&VaultChange| change.before.is_some_and(|before| change.after < before);
    let last = found.last().map(|log| log.place);
    for change in vaults.iter().filter(fell) {
        vault_changed(tx, change, last, now).await?;
    }
    for log in found {
        let confirmations = worker.settings.confirmations + 1;
        let Some(event) = watch::event(worker, log, Certainty::Final, confirmations) else {
            continue;
        };
        let message = Envelope {
            id: Uuid::now_v7(),
            correlation_id: worker.correlation(tx, log).await?,
            body: event,
        };
        messages::publish(tx, &message, now).await?;
        if let Some(hub) = log.body.hub() {
            hubs::append(tx, hub, &message).await?;
        }
    }
    for change in vaults.iter().filter(|change| !fell(change)) {
        vault_changed(tx, change, last, now).await?;
    }
    Ok(())
}

async fn vault_changed(
    tx: &mut PgConnection,
    change: &VaultChange,
    place: Option<Place>,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let Some(place) = place else { return Ok(()) };
    let message = Envelope {
        id: Uuid::now_v7(),
        correlation_id: format!("chain:{}", place.tx_hash),
        body: Event::VaultChanged {
            hub: change.hub,
            vault: change.after,
            place,
        },
    };
    hubs::set_vault(tx, change.hub, change.after).await?;
    messages::publish(tx, &message, now).await?;
    hubs::append(tx, change.hub, &message).await
}

async fn finalized(tx: &mut PgConnection, block: &Block, now: OffsetDateTime) -> sqlx::Result<()> {
    let message = Envelope {
        id: Uuid::now_v7(),
        correlation_id: format!("block:{}", block.number),
        body: Event::Finalized {
            block: block.number,
            timestamp: block.timestamp,
        },
    };
    messages::publish(tx, &message, now).await
}

/// Ends the commands that final logs decide: all that were paid first, because an order that was
/// paid may also have been skipped.
async fn decide(
    worker: &Worker,
    tx: &mut PgConnection,
    found: &[ChainLog],
    timestamp: u64,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    for log in found {
        if let LogBody::Withdrawn { request_id, .. } = log.body {
            let ended = commands::paid(tx, request_id, now).await?;
            if ended > 0 {
                worker.count_command("withdraw", "done");
            }
        }
    }
    for log in found {
        if let LogBody::WithdrawSkipped {
            request_id, fault, ..
        } = log.body
        {
            skipped(
                worker,
                tx,
                (request_id, log.place.tx_hash),
                fault,
                timestamp,
                now,
            )
            .await?;
        }
    }
    Ok(())
}

async fn skipped(
    worker: &Worker,
    tx: &mut PgConnection,
    what: (Hash32, Hash32),
    fault: WithdrawFault,
    timestamp: u64,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    // None: paid by an earlier transaction, or sent by somebody else.
    let Some(command) = commands::carried_by(tx, what.0, what.1).await? else {
        return Ok(());
    };
    let labels = [fault.name()];
    worker.metrics.skipped.with_label_values(&labels).inc();
    tracing::warn!(
        correlation_id = command.correlation_id,
        command = %command.id,
        request_id = %what.0,
        tx_hash = %what.1,
        fault = fault.name(),
        "the contract did not pay a withdrawal"
    );
    let in_time = command.valid_until.is_some_and(|until| until > timestamp);
    if fault.may_pass() && in_time {
        again(worker, tx, "withdraw", &command, fault.name(), now).await
    } else {
        worker.count_command("withdraw", "failed");
        commands::fail(tx, command.id, fault.name(), now).await
    }
}

/// Plans a command anew after a pause, or gives it up after many tries. Money goes back to a user
/// only by the expiry of the order, which the account side sees by itself.
pub async fn again(
    worker: &Worker,
    tx: &mut PgConnection,
    kind: &str,
    command: &Sent,
    why: &str,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    if command.tries + 1 >= TRIES {
        worker.count_command(kind, "failed");
        return commands::fail(tx, command.id, why, now).await;
    }
    let pause = RETRY_AFTER * 2_u32.saturating_pow(command.tries.unsigned_abs());
    commands::replan(tx, command.id, now + pause.min(RETRY_MAX), now).await
}
