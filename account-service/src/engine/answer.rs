//! Answers the callers of a committed batch.

use super::attempt::Prepared;
use super::decide::{Decision, sides};
use super::job::{Group, Job};
use super::lane::Lane;
use super::types::{Entry, GroupRefused, Kind, OperationOutcome, Outcome, Posted};
use crate::store::directory::Account;
use crate::store::journal::entry;
use hub_core::Amount;
use hub_core::fold::LegOutcome;
use std::sync::Arc;

/// Answers everybody.
pub(crate) fn answer(lane: &Lane, groups: Vec<Group>, prepared: Prepared) {
    let posted = prepared.plan.operations.len();
    if posted > 0 {
        // Far below 2^52, so exact.
        #[allow(clippy::cast_precision_loss)]
        lane.metrics.batch_size.observe(posted as f64);
    }
    for (group, decisions) in groups.into_iter().zip(&prepared.plan.decisions) {
        let dropped = |d: &Decision| matches!(d, Decision::Dropped);
        let refused_at = decisions
            .iter()
            .position(|d| !dropped(d))
            .filter(|_| group.atomic && decisions.iter().any(dropped));
        let result = match refused_at {
            Some(at) => Err(GroupRefused::new(
                at,
                outcome(lane, &group.jobs[at], &decisions[at], &prepared),
            )),
            None => Ok(group
                .jobs
                .iter()
                .zip(decisions)
                .map(|(job, decision)| outcome(lane, job, decision, &prepared))
                .collect::<Vec<_>>()),
        };
        // An atomic group of one has nothing to drop, yet its refusal is the group's.
        let result = match result {
            Ok(outcomes) if group.atomic && !outcomes.iter().all(is_done) => {
                match outcomes.into_iter().next() {
                    Some(outcome) => Err(GroupRefused::new(0, outcome)),
                    None => Ok(Vec::new()),
                }
            }
            result => result,
        };
        // A caller that went away finds its answer by its key.
        let _ = group.reply.send(result);
    }
}

fn is_done(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Done { .. })
}

fn outcome(lane: &Lane, job: &Job, decision: &Decision, prepared: &Prepared) -> Outcome {
    let count = |outcome: &str| {
        let labels = [kind_label(job.kind), outcome];
        lane.metrics.operations.with_label_values(&labels).inc();
    };
    match decision {
        Decision::Answered(outcome) => {
            count("replayed");
            outcome.clone()
        }
        Decision::Refused(refusal) => {
            count("refused");
            Outcome::Refused {
                refusal: refusal.clone(),
                replayed: false,
            }
        }
        Decision::Pending => {
            count("pending_funding");
            done(posted(job, &[], prepared, OperationOutcome::PendingFunding))
        }
        Decision::Posted(outcomes) => {
            count("done");
            done(posted(job, outcomes, prepared, OperationOutcome::Done))
        }
        // Its group is answered by the job that refused it.
        Decision::Dropped => Outcome::KeyMismatch,
    }
}

fn done(operation: Posted) -> Outcome {
    Outcome::Done {
        operation: Box::new(operation),
        replayed: false,
    }
}

/// The operation as a later reader of the journal would find it.
pub(crate) fn posted(
    job: &Job,
    outcomes: &[LegOutcome],
    prepared: &Prepared,
    outcome: OperationOutcome,
) -> Posted {
    let (debit, credit) = sides(outcomes);
    let side = |account: &Option<Arc<Account>>, leg: Option<LegOutcome>| -> Option<Entry> {
        let (account, leg) = (account.as_ref()?, leg?);
        let (_, state, hash) = prepared.state(&leg.channel)?;
        Some(entry(account.id, state, *hash, leg.user_balance_after))
    };
    let mut credit = side(&job.payee, credit);
    if let (Kind::Open, Some(account)) = (job.kind, &job.payee) {
        credit = prepared
            .state(&account.channel)
            .map(|(_, state, hash)| entry(account.id, state, *hash, Amount::ZERO));
    }
    let is_done = outcome == OperationOutcome::Done;
    Posted {
        id: job.operation_id(),
        kind: job.kind,
        outcome,
        hub_id: job
            .payer
            .as_ref()
            .or(job.payee.as_ref())
            .map(|account| account.hub_id)
            .unwrap_or_default(),
        amount: job.amount(),
        payer: job.payer.as_ref().map(|account| account.id),
        payee: job.payee.as_ref().map(|account| account.id),
        debit: side(&job.payer, debit),
        credit,
        batch: is_done.then_some(prepared.id),
        client_ref: job.request.client_ref.clone(),
        extra: job.request.extra.clone(),
        created_at: prepared.now,
    }
}

fn kind_label(kind: Kind) -> &'static str {
    match kind {
        Kind::Issue => "issue",
        Kind::Redeem => "redeem",
        Kind::Transfer => "transfer",
        Kind::Withdraw => "withdraw",
        Kind::Deposit => "deposit",
        Kind::Refund => "refund",
        Kind::Open => "open",
        Kind::Settle => "settle",
        Kind::Gained => "gained",
        Kind::Lost => "lost",
    }
}
