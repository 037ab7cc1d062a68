//! Hands signed transactions to the node, again and again until they are mined, and raises the
//! fees of those that wait too long. All forms of a nonce have one calldata: at most one counts.

use crate::error::StepError;
use crate::store::transactions::{self, Attempt, Open, Status};
use crate::store::{commands, messages};
use crate::track;
use crate::worker::{Lead, Memory, Worker};
use chain::{Fees, Sent, Transaction};
use chain_messages::{Envelope, Event};
use hub_core::{Address, Amount};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Pause before the same bytes are handed over again: nodes drop transactions, and restart.
const AGAIN_AFTER: Duration = Duration::from_secs(3);
/// A raise by a quarter; nodes take a replacement from a tenth on.
const RAISE_PERCENT: u128 = 125;

/// When each form was last handed over by this process.
pub type LastSent = HashMap<(Address, u64, i32), Instant>;

/// Hands over what is due.
///
/// # Errors
/// As the node and the database fail.
pub async fn step(worker: &Worker, lead: Lead, memory: &mut Memory) -> Result<(), StepError> {
    let open = {
        let mut db = worker.pool.acquire().await?;
        transactions::open(&mut db).await?
    };
    let is_open = |key: &(Address, u64, i32)| {
        let slot = (key.0, key.1);
        open.iter()
            .any(|tx| (tx.sender, tx.nonce) == slot && tx.status < Status::Mined)
    };
    memory.sent.retain(|key, _| is_open(key));
    for tx in open.iter().filter(|tx| tx.status < Status::Mined) {
        let Some(newest) = tx.attempts.last() else {
            continue;
        };
        let raised = if is_stuck(worker, newest) {
            raise(worker, lead, tx, newest).await?
        } else {
            None
        };
        hand_over(worker, lead, memory, tx, raised.as_ref().unwrap_or(newest)).await?;
    }
    Ok(())
}

fn is_stuck(worker: &Worker, attempt: &Attempt) -> bool {
    attempt
        .broadcast_at
        .is_some_and(|at| runtime::clock::now() - at > worker.settings.bump_after)
}

async fn hand_over(
    worker: &Worker,
    lead: Lead,
    memory: &mut Memory,
    tx: &Open,
    attempt: &Attempt,
) -> Result<(), StepError> {
    let key = (tx.sender, tx.nonce, attempt.number);
    if memory
        .sent
        .get(&key)
        .is_some_and(|at| at.elapsed() < AGAIN_AFTER)
    {
        return Ok(());
    }
    memory.sent.insert(key, Instant::now());
    let (correlation_id, tx_hash) = (&tx.correlation_id, attempt.signed.hash);
    match worker.chain.node().send_raw(&attempt.signed.raw).await? {
        Sent::Accepted | Sent::Known => accepted(worker, lead, tx, attempt).await,
        // Mined, or displaced: receipts and final blocks tell.
        Sent::NonceUsed => Ok(()),
        Sent::Underpriced => raise(worker, lead, tx, attempt).await.map(drop),
        Sent::NoGas => {
            tracing::error!(correlation_id, hub = %tx.sender, "the operator can't pay for gas; send it coin");
            Ok(())
        }
        Sent::Refused(reason) => {
            tracing::error!(correlation_id, %tx_hash, reason, "the node refuses a transaction");
            Ok(())
        }
    }
}

async fn accepted(
    worker: &Worker,
    lead: Lead,
    tx: &Open,
    attempt: &Attempt,
) -> Result<(), StepError> {
    if attempt.broadcast_at.is_some() {
        return Ok(());
    }
    let now = runtime::clock::now();
    let slot = (tx.sender, tx.nonce);
    let mut db = worker.begin(lead).await?;
    if transactions::mark_broadcast(&mut db, slot, attempt.number, now).await? {
        for command in commands::carried(&mut *db, tx.sender, tx.nonce).await? {
            let Some(request_id) = command.request_id else {
                continue;
            };
            let message = Envelope {
                id: Uuid::now_v7(),
                correlation_id: command.correlation_id,
                body: Event::WithdrawSubmitted {
                    request_id,
                    tx_hash: attempt.signed.hash,
                },
            };
            messages::publish(&mut db, &message, now).await?;
        }
    }
    db.commit().await?;
    worker.outbox.notify_one();
    let (correlation_id, tx_hash) = (&tx.correlation_id, attempt.signed.hash);
    tracing::info!(correlation_id, %tx_hash, nonce = tx.nonce, attempt = attempt.number, "broadcast");
    Ok(())
}

/// Stores another form with higher fees; nothing when the highest allowed is reached.
async fn raise(
    worker: &Worker,
    lead: Lead,
    tx: &Open,
    before: &Attempt,
) -> Result<Option<Attempt>, StepError> {
    let Some(hub) = worker.hub(tx.sender) else {
        return Ok(None);
    };
    let market = worker.chain.node().fees().await?;
    let Some(fees) = raised(before.fees, market, worker.settings.max_fee) else {
        tracing::error!(
            correlation_id = tx.correlation_id,
            nonce = tx.nonce,
            max_fee = before.fees.max,
            "a transaction waits at the highest fee allowed"
        );
        return Ok(None);
    };
    let signed = Transaction {
        chain_id: worker.chain.domain().chain_id,
        nonce: tx.nonce,
        to: Some(tx.call.to),
        value: Amount::ZERO,
        data: tx.call.data.clone(),
        gas: tx.call.gas,
        fees,
    }
    .sign(&hub.operator)?;
    let number = before.number + 1;
    let slot = (tx.sender, tx.nonce);
    let mut db = worker.begin(lead).await?;
    let now = runtime::clock::now();
    transactions::insert_attempt(&mut db, slot, number, (&signed, fees), now).await?;
    db.commit().await?;
    track::count(worker, tx.kind, "bumped");
    tracing::warn!(
        correlation_id = tx.correlation_id,
        tx_hash = %signed.hash,
        nonce = tx.nonce,
        attempt = number,
        max_fee = fees.max,
        "waits too long: fees raised"
    );
    Ok(Some(Attempt {
        number,
        signed,
        fees,
        broadcast_at: None,
    }))
}

/// What the market asks, but a quarter more than before in both fees, or nothing above the cap.
fn raised(before: Fees, market: Fees, cap: u128) -> Option<Fees> {
    let more = |fee: u128| fee.saturating_mul(RAISE_PERCENT) / 100 + 1;
    let fees = Fees {
        max: more(before.max).max(market.max),
        priority: more(before.priority).max(market.priority),
    };
    if fees.max <= cap {
        return Some(fees);
    }
    // One last raise to the cap itself, if nodes would take it.
    (cap >= more(before.max)).then_some(Fees { max: cap, ..fees })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fees(max: u128, priority: u128) -> Fees {
        Fees { max, priority }
    }

    #[test]
    fn a_raise_follows_the_market_replaces_the_form_before_and_ends_at_the_cap() {
        let cap = 1_000;
        assert_eq!(raised(fees(100, 8), fees(10, 1), cap), Some(fees(126, 11)));
        assert_eq!(
            raised(fees(100, 8), fees(500, 20), cap),
            Some(fees(500, 20))
        );
        assert_eq!(
            raised(fees(790, 8), fees(2_000, 1), cap),
            Some(fees(1_000, 11))
        );
        assert_eq!(raised(fees(900, 8), fees(2_000, 1), cap), None);
    }
}
