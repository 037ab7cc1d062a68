//! Signing a batch: decide, journal, commit, and only then sign.

use super::decide::{Budget, Move, Plan, View, decide};
use super::ledger::{Ledger, Seal};
use super::refusal::{body, malformed};
use super::{Core, Fault, Hub, Work, operations_digest};
use crate::store::{self, journal::NewBatch};
use hub_client::{BatchRequest, ErrorBody, HubRefusal, SignedBatch};
use hub_core::{Action, Facts, Hash32, OperationId};
use prometheus::HistogramVec;
use sqlx::{Postgres, Transaction};
use std::collections::HashMap;
use std::time::Instant;

impl Hub {
    /// Signs a batch as a whole, or says why not. The identical request gets the identical
    /// answer, also after a restart.
    pub async fn sign_batch(&self, request: BatchRequest) -> Result<SignedBatch, ErrorBody> {
        let work = SignBatch {
            digest: operations_digest(&request),
            clock: Clock::start(self.core.parts.metrics.phases.clone()),
            request,
        };
        self.work(work).await
    }
}

struct SignBatch {
    request: BatchRequest,
    digest: Hash32,
    clock: Clock,
}

impl Work for SignBatch {
    type Output = SignedBatch;

    async fn run(&mut self, core: &Core, ledger: &mut Ledger) -> Result<SignedBatch, Fault> {
        self.clock.lap("wait");
        core.sign_batch(ledger, &self.request, self.digest, &mut self.clock)
            .await
    }
}

/// Measures the phases of one batch.
struct Clock {
    phases: HistogramVec,
    last: Instant,
}

impl Clock {
    fn start(phases: HistogramVec) -> Self {
        let last = Instant::now();
        Self { phases, last }
    }

    fn lap(&mut self, phase: &str) {
        let now = Instant::now();
        self.phases
            .with_label_values(&[phase])
            .observe((now - self.last).as_secs_f64());
        self.last = now;
    }
}

impl Core {
    async fn sign_batch(
        &self,
        ledger: &mut Ledger,
        request: &BatchRequest,
        digest: Hash32,
        clock: &mut Clock,
    ) -> Result<SignedBatch, Fault> {
        let (mut tx, earlier) = self.begin(ledger, Some(request.request_id)).await?;
        if let Some(earlier) = earlier {
            return self.replay(ledger, &earlier, digest).map_err(Fault::from);
        }
        self.check_signing(ledger)?;
        if request.session != self.session() {
            return Err(self.other_session().into());
        }
        let new_fates = self.take_in(&mut tx, ledger, &request.fates).await?;
        let plan = match self.plan(&mut tx, ledger, request, clock).await {
            Err(Fault::Refused(body)) => {
                if new_fates {
                    tx.commit().await?;
                }
                return Err(Fault::Refused(body));
            }
            plan => plan?,
        };
        let batch_id = ledger.next_batch().ok_or(Fault::Stale)?;
        let now = runtime::clock::now();
        let seal = Seal {
            root: plan.root,
            depth: plan.depth,
            prev_root: ledger.newest.root,
        };
        let row = NewBatch {
            hub_id: self.hub_id(),
            batch_id,
            request_id: request.request_id,
            seal,
            states: plan.moves.iter().map(|step| &step.after.signed).collect(),
            digest,
            issued: plan.issued,
            now,
        };
        write(&mut tx, &plan, &row).await?;
        clock.lap("journal");
        tx.commit().await?;
        // From here on the batch exists: nothing below may fail.
        clock.lap("commit");
        ledger.signed(batch_id, &plan, seal.prev_root, now);
        let answer = self.answer(ledger, batch_id, &seal);
        clock.lap("sign");
        let metrics = &self.parts.metrics;
        metrics.batches.inc();
        metrics.states.inc_by(plan.moves.len() as u64);
        metrics.operations.inc_by(request.operations.len() as u64);
        Ok(answer)
    }

    /// The answer that the request got before, made again from the journal.
    fn replay(
        &self,
        ledger: &Ledger,
        earlier: &store::hubs::Earlier,
        digest: Hash32,
    ) -> Result<SignedBatch, ErrorBody> {
        if let Some(why) = &ledger.fence {
            return Err(super::refusal::fenced(why));
        }
        if earlier.digest != digest {
            return Err(malformed("the request id was used for another batch"));
        }
        self.parts.metrics.replays.inc();
        Ok(self.answer(ledger, earlier.batch_id, &earlier.seal))
    }

    fn answer(&self, ledger: &Ledger, batch_id: u64, seal: &Seal) -> SignedBatch {
        let message = self.message(batch_id, seal);
        SignedBatch {
            batch_id,
            prev_root: seal.prev_root,
            root: seal.root,
            depth: seal.depth,
            signature: self.parts.signer.sign(&self.parts.terms.domain, &message),
            low_water: ledger.low_water(),
            headroom: self.headroom(ledger),
        }
    }

    async fn plan(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        ledger: &mut Ledger,
        request: &BatchRequest,
        clock: &mut Clock,
    ) -> Result<Plan, Fault> {
        if let Some(batches) = ledger.overdue() {
            let error = HubRefusal::BaseUnknown { batches };
            return Err(body(error, "too many batches have no fate: send theirs").into());
        }
        let channels: Vec<_> = request.proposals.iter().map(|p| p.channel).collect();
        let heads = self.heads(tx, ledger, &channels).await?;
        let facts: HashMap<_, Facts> = channels
            .iter()
            .filter(|channel| ledger.facts.contains_key(channel))
            .map(|channel| (*channel, ledger.facts_of(channel)))
            .collect();
        let orders = named_orders(request);
        let orders = if orders.is_empty() {
            HashMap::new()
        } else {
            store::orders::known(tx, self.hub_id(), &orders).await?
        };
        clock.lap("read");
        let budget = Budget {
            headroom: self.headroom(ledger),
            issued: ledger.issued.total(runtime::clock::now()),
            abandoned: ledger.abandoned_total(),
            abandoned_by: &ledger.abandoned,
        };
        let view = View {
            terms: &self.parts.terms,
            limits: &self.parts.limits,
            heads: &heads,
            facts: &facts,
            orders: &orders,
            budget,
            final_timestamp: ledger.chain.timestamp,
            version_floor: ledger.version_floor,
        };
        let plan = decide(&view, request)?;
        clock.lap("decide");
        Ok(plan)
    }
}

/// Writes a batch: heads, openings, orders, journal. A row that is not what was signed last is
/// not moved; then nothing is.
async fn write(
    tx: &mut Transaction<'static, Postgres>,
    plan: &Plan,
    row: &NewBatch<'_>,
) -> Result<(), Fault> {
    let (hub_id, batch_id) = (row.hub_id, row.batch_id);
    let moved: Vec<_> = plan
        .moves
        .iter()
        .filter_map(|step: &Move| Some((step.before.as_ref()?, step)))
        .collect();
    if !moved.is_empty()
        && store::heads::advance(tx, hub_id, batch_id, &moved).await? != moved.len() as u64
    {
        return Err(Fault::Stale);
    }
    let new: Vec<_> = plan
        .moves
        .iter()
        .filter(|step| step.before.is_none())
        .map(|step| &step.after)
        .collect();
    if !new.is_empty() {
        store::heads::insert(tx, hub_id, batch_id, &new).await?;
    }
    let (first, again): (Vec<_>, Vec<_>) = plan.opened.iter().copied().partition(|(channel, _)| {
        new.binary_search_by_key(channel, |head| head.signed.channel_id)
            .is_ok()
    });
    if !first.is_empty() {
        store::heads::insert_channels(tx, hub_id, batch_id, &first, row.now).await?;
    }
    if !again.is_empty() {
        store::heads::keep_channels(tx, hub_id, batch_id, &again, row.now).await?;
    }
    if !plan.orders.is_empty() {
        store::orders::insert(tx, hub_id, batch_id, &plan.orders).await?;
    }
    store::journal::insert(tx, row).await?;
    Ok(())
}

fn named_orders(request: &BatchRequest) -> Vec<OperationId> {
    let order = |operation: &hub_core::Operation| match operation.action {
        Action::Withdraw { .. } => Some(operation.id),
        Action::Refund { order, .. } => Some(order),
        _ => None,
    };
    request.operations.iter().filter_map(order).collect()
}
