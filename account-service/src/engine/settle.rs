//! Where the engine meets the chain: withdrawals are signed and ordered, payments and deposits
//! come back as events, and what waited for funding goes on.

use super::lane::Lane;
use super::types::{Order, Outcome, Request};
use super::{Engine, closing, fates, job, limits, refusals};
use crate::store::pending;
use crate::store::settlement::{self, DepositLog, Payment, Signable, WithdrawSignatures};
use chain_messages::{Certainty, Command, Envelope, Event, WithdrawCommand, topology};
use hub_client::{HubError, HubRefusal, WithdrawRequest};
use hub_core::{Amount, Hash32, OperationId, signature};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use uuid::Uuid;

/// How often the lane looks for work that the chain made possible.
const INTERVAL: Duration = Duration::from_millis(250);
/// Orders, deposits and issuances taken up at once.
const PAGE: i64 = 200;
/// How long funding may take before it is asked for again: a transaction and its finality.
const FUNDING_PATIENCE: Duration = Duration::from_secs(30);

/// Runs until the lane drains.
pub(super) async fn run(engine: Engine, lane: Arc<Lane>) {
    let mut progress = Progress::default();
    while !lane.draining.load(Ordering::Relaxed) {
        if lane.fence().is_none()
            && let Err(error) = round(&engine, &lane, &mut progress).await
        {
            tracing::warn!(%error, "settlement round failed");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// What is remembered from one round to the next. What can't be posted now must not hide what
/// can: each list is gone through page by page, and then from its beginning.
#[derive(Default)]
struct Progress {
    funding_asked: Option<Instant>,
    orders_after: Uuid,
    issuances_after: Uuid,
    refunds_after: Uuid,
    deposits_after: Uuid,
}

/// Where the next page begins.
fn next_page<T>(page: &[T], id: impl Fn(&T) -> Uuid) -> Uuid {
    let full = i64::try_from(page.len()) == Ok(PAGE);
    page.last().filter(|_| full).map(id).unwrap_or_default()
}

async fn round(
    engine: &Engine,
    lane: &Arc<Lane>,
    progress: &mut Progress,
) -> Result<(), fates::FateError> {
    let hub_id = lane.terms.hub_id;
    match sign_orders(engine, lane, progress).await {
        // The hub has restarted, and no batch has greeted it since.
        Err(fates::FateError::Hub(HubError::Refused(HubRefusal::Session { .. }))) => {
            return fates::hello(lane).await;
        }
        signed => signed?,
    }
    settlement::expire(&lane.pool, hub_id).await?;
    let after = progress.refunds_after;
    let page = settlement::refundable(&lane.pool, hub_id, PAGE, after).await?;
    progress.refunds_after = next_page(&page, |(id, ..)| *id);
    for (withdrawal, ..) in page {
        let order = Order::Refund { withdrawal };
        system(engine, order).await;
    }
    let after = progress.deposits_after;
    let page = settlement::uncredited(&lane.pool, hub_id, PAGE, after).await?;
    progress.deposits_after = next_page(&page, |(id, ..)| *id);
    for (deposit, ..) in page {
        let order = Order::Deposit { deposit };
        system(engine, order).await;
    }
    closing::round(engine, lane).await?;
    complete_pending(engine, lane, progress).await
}

/// Signs what can be signed, a page of it. Stops only where the hub has to be greeted first.
async fn sign_orders(
    engine: &Engine,
    lane: &Arc<Lane>,
    progress: &mut Progress,
) -> Result<(), fates::FateError> {
    let hub_id = lane.terms.hub_id;
    let validity = settlement::Validity {
        now: runtime::clock::now().unix_timestamp().cast_unsigned(),
        seconds: engine.inner.config.withdraw_validity_s,
    };
    settlement::fix_terms(&lane.pool, hub_id, validity, PAGE).await?;
    let after = progress.orders_after;
    let page = settlement::signable(&lane.pool, hub_id, PAGE, after).await?;
    let next = next_page(&page, |order| order.id);
    for order in page {
        let id = order.id;
        match sign(engine, lane, order).await {
            Ok(()) => {}
            Err(error @ fates::FateError::Hub(HubError::Refused(HubRefusal::Session { .. }))) => {
                return Err(error);
            }
            Err(error) => {
                tracing::warn!(%error, withdrawal = %id, "withdrawal not signed yet");
            }
        }
    }
    progress.orders_after = next;
    Ok(())
}

/// Posts an order of the system's own; what is refused now is tried again with the next round.
pub(super) async fn system(engine: &Engine, order: Order) {
    let request = Request::system(order, None);
    let (id, key) = (request.id, request.key.clone());
    match engine.submit(request).await {
        Outcome::Done { .. } => tracing::info!(%id, key, "posted"),
        other => tracing::debug!(key, ?other, "not posted yet"),
    }
}

/// Both signatures, then the command, in that order of durability: the terms are fixed in the
/// order's row, the hub's signature is checked, ours is made, and row and outbox commit as one.
async fn sign(engine: &Engine, lane: &Arc<Lane>, order: Signable) -> Result<(), fates::FateError> {
    let fates_sent = lane.carry_fates(limits::FATES_PER_REQUEST);
    let request = WithdrawRequest {
        order: OperationId(*order.id.as_bytes()),
        withdraw: order.withdraw,
        fates: fates_sent.clone(),
    };
    let signed = lane.client.sign_withdraw(&request).await?;
    fates::handed(lane, &fates_sent);
    let terms = &lane.terms;
    let digest = terms.domain.digest(&order.withdraw);
    if signature::verify(digest, &signed.signature, terms.hub_signer).is_err() {
        tracing::error!(withdrawal = %order.id, "the hub's signature on a withdrawal is wrong");
        return Ok(());
    }
    let user_signature = lane.custody.sign(&terms.domain, &order.withdraw);
    let Some(account) = engine
        .account(order.account)
        .await
        .map_err(|error| error.0)?
    else {
        tracing::error!(withdrawal = %order.id, "a withdrawal of no account");
        return Ok(());
    };
    let command = Command::Withdraw(Box::new(WithdrawCommand {
        params: account.params,
        withdraw: order.withdraw,
        hub_signature: signed.signature,
        user_signature,
    }));
    let now = runtime::clock::now();
    let mut tx = lane.pool.begin().await?;
    let signatures = WithdrawSignatures {
        hub: signed.signature,
        user: user_signature,
    };
    if settlement::submit(&mut tx, &order, signatures, now).await? == 1 {
        let route = (topology::COMMANDS, topology::COMMANDS);
        settlement::enqueue(
            &mut tx,
            Uuid::now_v7(),
            route,
            &order.correlation_id,
            &command,
            now,
        )
        .await?;
        tx.commit().await?;
        lane.outbox.notify_one();
    }
    Ok(())
}

/// Issuances that waited for funding and fit the headroom now, in order of arrival. The next page
/// has its turn only when all of this one fit: small ones don't overtake for ever.
async fn complete_pending(
    engine: &Engine,
    lane: &Arc<Lane>,
    progress: &mut Progress,
) -> Result<(), fates::FateError> {
    let after = std::mem::take(&mut progress.issuances_after);
    let waiting = pending::waiting(&lane.pool, lane.terms.hub_id, PAGE, after).await?;
    fates::refresh_headroom(lane, !waiting.is_empty()).await?;
    ask_for_funding(engine, lane, &waiting, &mut progress.funding_asked).await?;
    let next = next_page(&waiting, |(id, ..)| *id);
    let all = waiting.len();
    let mut headroom = lane.headroom();
    let mut jobs = Vec::new();
    for (id, account, amount) in waiting {
        if headroom.is_some_and(|headroom| amount > headroom) {
            break;
        }
        headroom = headroom.map(|headroom| headroom.less(amount));
        jobs.push((id, account, amount));
    }
    if jobs.len() == all {
        progress.issuances_after = next;
    }
    for (id, account, amount) in jobs {
        resume(engine, lane, id, account, amount)
            .await
            .map_err(|error| error.0)?;
    }
    Ok(())
}

/// Orders funding where headroom is below what waits or below the threshold, and again when
/// it did not come: the worker tops up, so that asking twice costs a transfer at most.
async fn ask_for_funding(
    engine: &Engine,
    lane: &Arc<Lane>,
    waiting: &[(Uuid, Uuid, Amount)],
    asked: &mut Option<Instant>,
) -> sqlx::Result<()> {
    let Some(headroom) = lane.headroom() else {
        return Ok(());
    };
    let wanted = Amount::sum(waiting.iter().map(|(.., amount)| *amount))
        .unwrap_or(Amount::MAX_BALANCE)
        .max(engine.inner.config.vault_threshold);
    let needed = wanted.less(headroom);
    if needed.is_zero() || asked.is_some_and(|at| at.elapsed() < FUNDING_PATIENCE) {
        return Ok(());
    }
    *asked = Some(Instant::now());
    let command = Command::FundVault {
        hub: lane.terms.hub,
        needed,
    };
    let (id, now) = (Uuid::now_v7(), runtime::clock::now());
    let mut connection = lane.pool.acquire().await?;
    let route = (topology::COMMANDS, topology::COMMANDS);
    settlement::enqueue(
        &mut connection,
        id,
        route,
        &format!("fund:{id}"),
        &command,
        now,
    )
    .await?;
    lane.outbox.notify_one();
    Ok(())
}

/// Posts an issuance that waited. One that is refused for good ends as failed.
async fn resume(
    engine: &Engine,
    lane: &Lane,
    id: Uuid,
    account: Uuid,
    amount: Amount,
) -> Result<(), super::EngineError> {
    let order = Order::Issue { account, amount };
    let mut job = engine
        .prepare(Request::system(order, Some(format!("issue:{id}"))))
        .await?;
    job.resumes = Some(id);
    let Some(handle) = job.hub().and_then(|hub| engine.lane(&hub)) else {
        return Ok(());
    };
    let (reply, answer) = oneshot::channel();
    let group = job::Group::new(vec![job], false, None, reply);
    // Whatever the answer is, the row says whether it still waits.
    if handle.queue.try_send(group).is_ok()
        && let Ok(Ok(outcomes)) = answer.await
        && let Some(Outcome::Refused { refusal, .. }) = outcomes.first()
        && !refusals::may_pass(refusal)
        && pending::fail(engine.pool(), id, refusal).await? == 1
    {
        tracing::warn!(%id, code = refusal.code, "an issuance that waited for funding failed");
        let labels = ["issue", "failed"];
        lane.metrics.operations.with_label_values(&labels).inc();
    }
    Ok(())
}

/// Takes in one event of the chain-worker, in one transaction with the note that it was taken.
/// A message that came before is passed over.
pub async fn handle_event(engine: &Engine, message: &Envelope<Event>) -> Result<(), sqlx::Error> {
    let now = runtime::clock::now();
    let mut tx = engine.pool().begin().await?;
    if !settlement::receive(&mut tx, message.id, now).await? {
        return Ok(());
    }
    match &message.body {
        Event::Finalized { block, timestamp } => {
            settlement::set_final(&mut tx, *block, *timestamp).await?;
        }
        // The hub counts headroom; its answers carry it here.
        Event::VaultChanged { .. } => {}
        Event::Deposited {
            channel_id,
            epoch,
            amount,
            total,
            certainty,
            place,
        } => {
            let (status, is_final, seen) = match certainty {
                Certainty::Seen => (1, None, *total),
                Certainty::Final => (2, Some(*total), *total),
                Certainty::Orphaned => (4, None, total.less(*amount)),
            };
            settlement::set_deposits(&mut tx, *channel_id, *epoch, seen, is_final).await?;
            let log = DepositLog {
                channel: *channel_id,
                epoch: *epoch,
                amount: *amount,
                status,
                block: place.block,
                block_hash: place.block_hash,
                tx_hash: place.tx_hash,
                log_index: place.log_index,
            };
            settlement::note_deposit(&mut tx, Uuid::now_v7(), &log, now).await?;
        }
        Event::WithdrawSubmitted {
            request_id,
            tx_hash,
        } => {
            progress(&mut tx, *request_id, *tx_hash, 0, 3).await?;
        }
        Event::Withdrawn {
            channel_id,
            epoch,
            request_id,
            total,
            certainty,
            confirmations,
            place,
            ..
        } => {
            let (status, confirmations) = match certainty {
                Certainty::Seen => (4, *confirmations),
                Certainty::Final => (5, *confirmations),
                Certainty::Orphaned => (3, 0),
            };
            if *certainty == Certainty::Final {
                settlement::raise_executed(&mut tx, *channel_id, *epoch, *total).await?;
            }
            progress(&mut tx, *request_id, place.tx_hash, confirmations, status).await?;
        }
        Event::Closed { .. } | Event::Settled { .. } => {
            closing::handle(&mut tx, &message.body, now).await?;
        }
    }
    tx.commit().await
}

async fn progress(
    connection: &mut sqlx::PgConnection,
    request_id: Hash32,
    tx_hash: Hash32,
    confirmations: u64,
    status: i16,
) -> sqlx::Result<()> {
    let Some(id) = settlement::order_of(request_id) else {
        return Ok(());
    };
    let payment = Payment {
        id,
        tx_hash,
        confirmations,
        status,
    };
    settlement::progress(connection, payment, runtime::clock::now()).await
}
