//! Does what is due about closes: one transaction for all that are due together.

use super::copy::Copy;
use super::dispute::Step;
use super::fold;
use crate::config::Hub;
use crate::error::StepError;
use crate::plan::{self, Order};
use crate::store::copies;
use crate::store::cursor::{self, Cursor};
use crate::store::disputes::{self, Open, Sent};
use crate::store::transactions::{Kind, Status};
use crate::worker::{Lead, Worker};
use chain::calls::{self, Call, claims, dispute};
use chain::record::{Close, close_of};
use chain::{At, Evidence};
use hub_core::dispute::answer::{self, Closing, Held};
use hub_core::settlement::{ChainTotals, Closer};
use hub_core::{Address, Amount, ChannelParams};
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;

/// Gas of one transaction's calls: with what comes on top it stays below the 16.7 million that one
/// transaction may use: 34 settlements.
const GAS: u64 = 15_000_000;
/// Calldata of one transaction: nodes take none above 128 KiB. A challenge out of a full batch has
/// 2.3 kB, so 43 fit.
const BYTES: usize = 100_000;
/// How long a new close waits for sources that do not answer at once. A window is 10 minutes at
/// least.
const PATIENCE: Duration = Duration::from_secs(15);
/// Seconds of a window that no waiting may use up: an answer needs some blocks, and its replacement
/// by higher fees some more.
const SPARE: u64 = 120;
/// Pause before something is sent again that was mined without effect. What has no deadline waits
/// twice as long each time.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// A dispute with all that is known about it.
struct Case {
    open: Open,
    close: Close,
    params: Option<ChannelParams>,
    copy: Option<Copy>,
}

/// How many cases are how.
#[derive(Debug, Default, Clone, Copy)]
struct Standing {
    open: i64,
    without_copy: i64,
    ahead_of_copy: i64,
}

/// Looks at every close that is not over.
///
/// # Errors
/// As the node and the database fail; what was sent before stays.
pub async fn step(worker: &Worker, lead: Lead) -> Result<(), StepError> {
    let open = disputes::open(&worker.pool).await?;
    fold::find(worker, &open, lead).await?;
    let Some(cursor) = cursor::load(&worker.pool).await? else {
        return Ok(());
    };
    let now = if open.is_empty() {
        0
    } else {
        worker.chain.node().head().await?.timestamp
    };
    let mut standings: BTreeMap<_, Standing> = BTreeMap::new();
    let mut due: BTreeMap<_, Vec<Case>> = BTreeMap::new();
    for open in open {
        let Some(case) = look(worker, lead, open).await? else {
            continue;
        };
        stand(standings.entry(open.hub).or_default(), &case);
        let Some(step) = next(worker, &case, now).await? else {
            continue;
        };
        if may_send(worker, &cursor, &case, step, now).await? {
            due.entry((open.hub, step)).or_default().push(case);
        }
    }
    for hub in &worker.hubs {
        let standing = standings.get(&hub.address()).copied();
        show(worker, hub, standing.unwrap_or_default());
    }
    for ((hub, step), cases) in due {
        let Some(hub) = worker.hub(hub) else { continue };
        let contract = worker.chain.channels();
        let calls = cases
            .iter()
            .filter_map(|case| Some((case, call(case, step, contract)?)));
        for some in chunks(calls.collect()) {
            send(worker, lead, hub, step, &some, now).await?;
        }
    }
    Ok(())
}

/// Reads a case; one that is over for good is taken off the list.
async fn look(worker: &Worker, lead: Lead, open: Open) -> Result<Option<Case>, StepError> {
    let logs = disputes::logs(&worker.pool, open.channel).await?;
    let close = close_of(open.channel, open.epoch, logs.iter().map(|(log, _)| log));
    let certain = logs.iter().all(|(_, is_final)| *is_final);
    let Some(close) = close.filter(|close| !(certain && close.is_over())) else {
        let mut tx = worker.begin(lead).await?;
        disputes::end(&mut tx, open.channel, open.epoch).await?;
        copies::drop_old(&mut tx).await?;
        tx.commit().await?;
        return Ok(None);
    };
    Ok(Some(Case {
        open,
        close,
        params: copies::params(&worker.pool, open.channel).await?,
        copy: copies::get(&worker.pool, open.channel, open.epoch).await?,
    }))
}

/// What is to be done about a case now.
async fn next(worker: &Worker, case: &Case, now: u64) -> Result<Option<Step>, StepError> {
    let (guard, close) = (worker.settings.tower_guard, &case.close);
    let held = case.copy.as_ref().map(|copy| Held::new(copy.state));
    // Only whether an own close is worth correcting depends on what was paid in and out.
    let totals = if guard.covers(close.dispute.closer) && close.late.is_none() {
        let view = worker.chain.channel(case.open.channel, At::Latest).await?;
        ChainTotals {
            withdrawn: view.withdrawn,
            deposited: view.deposited,
            credit_max: Amount::ZERO,
        }
    } else {
        ChainTotals::default()
    };
    let closing = Closing {
        dispute: close.dispute,
        late: close.late,
        totals,
        now,
    };
    Ok(answer::next(&closing, held.as_ref(), guard).and_then(Step::of))
}

/// The null state of a later epoch needs no copy: until something is signed there is none.
fn stand(standing: &mut Standing, case: &Case) {
    standing.open += 1;
    if case.close.late.is_some() {
        return;
    }
    let posted = case.close.dispute.closed_version;
    match &case.copy {
        None if posted > 0 || case.open.epoch == 0 => standing.without_copy += 1,
        Some(copy) if copy.state.version < posted => standing.ahead_of_copy += 1,
        _ => {}
    }
}

fn show(worker: &Worker, hub: &Hub, standing: Standing) {
    let label = hub.address().to_string();
    let labels = [label.as_str()];
    let metrics = &worker.metrics;
    for (gauge, value) in [
        (&metrics.tower_open, standing.open),
        (&metrics.tower_without_copy, standing.without_copy),
        (&metrics.tower_ahead, standing.ahead_of_copy),
    ] {
        let gauge = gauge.with_label_values(&labels);
        if value > gauge.get() && value > 0 {
            tracing::error!(
                hub = label,
                open = standing.open,
                without_copy = standing.without_copy,
                ahead_of_copy = standing.ahead_of_copy,
                "closes on chain"
            );
        }
        gauge.set(value);
    }
}

/// Whether a step can be sent now: not while the same is under way, not while a source may still
/// give a newer copy, and after a pause when it was mined without effect.
async fn may_send(
    worker: &Worker,
    cursor: &Cursor,
    case: &Case,
    step: Step,
    head: u64,
) -> Result<bool, StepError> {
    let (open, now) = (&case.open, runtime::clock::now());
    if case.params.is_none() {
        return Ok(false);
    }
    let left = case.close.dispute.deadline.saturating_sub(head);
    let asked = worker.tower.pulled_since(open.hub, open.seen_at);
    if !asked && waits_for_sources(step, left, now - open.seen_at) {
        return Ok(false);
    }
    let before = disputes::sent(&worker.pool, open.channel, open.epoch).await?;
    Ok(is_due(&before, step, cursor.scanned, now))
}

/// Whether a close seen so long ago, with so many seconds left, may wait for sources that have not
/// answered since.
fn waits_for_sources(step: Step, left: u64, seen: time::Duration) -> bool {
    let answers = matches!(step, Step::Challenge | Step::Penalize);
    answers && left >= SPARE && seen < PATIENCE
}

fn is_due(before: &[Sent], step: Step, scanned: u64, now: OffsetDateTime) -> bool {
    let same: Vec<_> = before.iter().filter(|sent| sent.step == step).collect();
    let under_way = same.iter().any(|sent| match sent.status {
        Status::Signed | Status::Broadcast => true,
        // Its logs are not read yet.
        Status::Mined => sent.block.is_none_or(|block| block > scanned),
        Status::Final | Status::Failed | Status::Displaced => false,
    });
    let Some(last) = same.last() else { return true };
    let longest = match step {
        // Whoever gets in between again and again must not push us past the window.
        Step::Challenge | Step::Penalize => RETRY_AFTER,
        Step::Settle | Step::Claim => RETRY_MAX,
    };
    let doublings = u32::try_from(same.len() - 1).unwrap_or(u32::MAX);
    let pause = RETRY_AFTER.saturating_mul(2_u32.saturating_pow(doublings));
    !under_way && now >= last.at + pause.min(longest)
}

/// As many calls as one transaction takes, and the rest in others.
fn chunks<T>(calls: Vec<(T, Call)>) -> Vec<Vec<(T, Call)>> {
    let mut chunks: Vec<Vec<(T, Call)>> = Vec::new();
    let (mut gas, mut bytes) = (GAS, BYTES);
    for item in calls {
        gas = gas.saturating_add(item.1.gas);
        bytes = bytes.saturating_add(item.1.data.len());
        if chunks.is_empty() || gas > GAS || bytes > BYTES {
            (gas, bytes) = (item.1.gas, item.1.data.len());
            chunks.push(Vec::new());
        }
        if let Some(last) = chunks.last_mut() {
            last.push(item);
        }
    }
    chunks
}

async fn send(
    worker: &Worker,
    lead: Lead,
    hub: &Hub,
    step: Step,
    found: &[(&Case, Call)],
    now: u64,
) -> Result<(), StepError> {
    let calls: Vec<Call> = found.iter().map(|(_, call)| call.clone()).collect();
    let Some((first, _)) = found.first() else {
        return Ok(());
    };
    let disputes = found
        .iter()
        .map(|(case, _)| (case.open.channel, case.open.epoch))
        .collect();
    let order = Order {
        kind: match step {
            Step::Challenge | Step::Penalize => Kind::Answer,
            Step::Settle => Kind::Settle,
            Step::Claim => Kind::Claim,
        },
        call: calls::batch(worker.chain.channels(), &calls),
        amount: Amount::ZERO,
        ids: Vec::new(),
        correlation_id: format!("dispute:{}", first.open.channel),
        step: Some((step, disputes)),
    };
    if !plan::sign(worker, lead, hub, order).await? {
        return Ok(());
    }
    let label = hub.address().to_string();
    for (case, _) in found {
        let (channel, dispute) = (case.open.channel, &case.close.dispute);
        let left = dispute.deadline.saturating_sub(now);
        tracing::warn!(%channel, epoch = case.open.epoch, step = step.name(), posted = dispute.closed_version, seconds_left = left, "answering a close");
        let labels = [label.as_str(), step.name()];
        worker
            .metrics
            .tower_answers
            .with_label_values(&labels)
            .inc();
        if step == Step::Challenge {
            worker.metrics.tower_seconds_left.observe(left as f64);
        }
    }
    Ok(())
}

/// The call for one case; nothing when what it needs is not here.
fn call(case: &Case, step: Step, contract: Address) -> Option<Call> {
    let params = case.params.as_ref()?;
    let record = &case.close.dispute;
    Some(match step {
        Step::Challenge => {
            let newer = case.copy.as_ref()?.co_signed(params.hub);
            dispute::challenge(contract, params, record, &newer)
        }
        Step::Penalize => {
            let shown = case.copy.as_ref()?.co_signed(params.hub);
            let attestation = match record.closer {
                Closer::Hub => shown.hub,
                Closer::User | Closer::Exit => shown.user,
            };
            let evidence = Evidence::State {
                state: Box::new(shown.state),
                attestation,
            };
            let running = case.close.late.is_none().then_some(record);
            dispute::penalize(contract, params, case.open.epoch, running, &evidence)
        }
        Step::Settle => dispute::settle(contract, params, record),
        Step::Claim => claims::claim_delayed(contract, params, case.open.epoch),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(step: Step, status: Status, block: Option<u64>, at: OffsetDateTime) -> Sent {
        Sent {
            step,
            status,
            block,
            at,
        }
    }

    #[test]
    fn a_transaction_takes_as_many_calls_as_gas_and_nodes_allow() {
        let call = |gas| Call {
            to: Address::ZERO,
            data: vec![0; 2_300],
            gas,
        };
        let sizes = |gas| -> Vec<usize> {
            let calls = (0..100).map(|at| (at, call(gas))).collect();
            chunks(calls).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(430_000), [34, 34, 32]);
        assert_eq!(sizes(150_000), [43, 43, 14]);
        assert!(chunks::<()>(Vec::new()).is_empty());
        assert_eq!(chunks(vec![((), call(GAS + 1))]).len(), 1);
    }

    #[test]
    fn a_step_is_not_sent_while_it_is_under_way_and_again_when_it_had_no_effect() {
        let begun = OffsetDateTime::UNIX_EPOCH;
        let later = begun + Duration::from_secs(6);
        let due = |before: &[Sent], now| is_due(before, Step::Challenge, 100, now);
        assert!(due(&[], begun));
        let other = [sent(Step::Settle, Status::Broadcast, None, begun)];
        assert!(due(&other, begun));
        for status in [Status::Signed, Status::Broadcast] {
            assert!(!due(&[sent(Step::Challenge, status, None, begun)], later));
        }
        let unread = [sent(Step::Challenge, Status::Mined, Some(101), begun)];
        assert!(!due(&unread, later));
        for status in [
            Status::Mined,
            Status::Final,
            Status::Failed,
            Status::Displaced,
        ] {
            let vain = [sent(Step::Challenge, status, Some(100), begun)];
            assert!(!due(&vain, begun + Duration::from_secs(4)));
            assert!(due(&vain, later));
        }
    }

    #[test]
    fn what_has_a_deadline_is_tried_again_as_soon_as_ever_and_what_has_none_waits_longer() {
        let begun = OffsetDateTime::UNIX_EPOCH;
        let due = |step, times, seconds| {
            let before = vec![sent(step, Status::Final, Some(90), begun); times];
            is_due(&before, step, 100, begun + Duration::from_secs(seconds))
        };
        for step in [Step::Challenge, Step::Penalize] {
            for times in [1, 2, 7, 60] {
                assert!(!due(step, times, 4), "{step:?} {times}");
                assert!(due(step, times, 5), "{step:?} {times}");
            }
        }
        for step in [Step::Settle, Step::Claim] {
            assert!(!due(step, 2, 9) && due(step, 2, 10), "{step:?}");
            assert!(!due(step, 60, 299) && due(step, 60, 300), "{step:?}");
        }
    }

    #[test]
    fn an_answer_does_not_wait_for_sources_when_little_of_the_window_is_left() {
        let waits = |step, left, seen| waits_for_sources(step, left, time::Duration::seconds(seen));
        for step in [Step::Challenge, Step::Penalize] {
            assert!(waits(step, 120, 0) && waits(step, 600, 14));
            assert!(!waits(step, 119, 0) && !waits(step, 0, 0));
            assert!(!waits(step, 600, 15));
        }
        assert!(!waits(Step::Settle, 0, 0) && !waits(Step::Claim, 600, 0));
    }
}
