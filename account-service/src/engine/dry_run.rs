//! What a request would do: the same decisions on heads read just now, and nothing written.

use super::answer;
use super::attempt::Prepared;
use super::decide::{Decision, Known, Verdicts, decide};
use super::job::{Group, GroupResult, Job};
use super::types::{GroupRefused, OperationOutcome, Outcome, RetryReason};
use super::{ByChannel, Engine};
use crate::store;
use std::sync::Arc;
use tokio::sync::oneshot;
use uuid::Uuid;

/// Answers with what would happen. Idempotency keys and client references are not looked at:
/// a dry run uses none.
pub(super) async fn run(engine: &Engine, jobs: &[Job], atomic: bool) -> GroupResult {
    let failed = |reason| Err(GroupRefused::new(0, Outcome::Retry(reason)));
    let Some(handle) = jobs
        .iter()
        .find_map(Job::hub)
        .and_then(|hub| engine.lane(&hub))
    else {
        return refuse_or(jobs, RetryReason::HubUnavailable);
    };
    let (reply, _) = oneshot::channel();
    let group = Group::new(jobs.to_vec(), atomic, None, reply);
    let heads = async {
        let mut connection = engine.pool().acquire().await?;
        store::heads::load(&mut connection, &group.channels).await
    };
    let heads: ByChannel<_> = match heads.await {
        Ok(heads) => heads
            .into_iter()
            .map(|head| (head.state.channel_id, head))
            .collect(),
        Err(error) => {
            tracing::error!(%error, "heads can't be read");
            return failed(RetryReason::of(&error));
        }
    };
    let known = Known {
        fresh: heads.keys().copied().collect(),
        heads: Arc::new(heads),
        ..Known::default()
    };
    let verdicts = Verdicts {
        headroom: handle.lane.headroom(),
        per_order: handle.lane.caps().map(|caps| caps.per_order),
        ..Verdicts::default()
    };
    let groups = [group];
    let Ok(plan) = decide(&handle.lane.terms.domain, &groups, &known, &verdicts) else {
        return failed(RetryReason::Internal);
    };
    let prepared = Prepared::new(Uuid::nil(), plan, &known);
    let outcomes: Vec<_> = jobs
        .iter()
        .zip(&prepared.plan.decisions[0])
        .map(|(job, decision)| would_do(job, decision, &prepared))
        .collect();
    let refused = outcomes
        .iter()
        .position(|o| matches!(o, Some(Outcome::Refused { .. })));
    match refused {
        Some(at) if atomic => Err(GroupRefused::new(
            at,
            outcomes[at].clone().unwrap_or(Outcome::KeyMismatch),
        )),
        _ => Ok(outcomes.into_iter().flatten().collect()),
    }
}

fn refuse_or(jobs: &[Job], reason: RetryReason) -> GroupResult {
    let refusal = jobs.iter().position(|job| job.action.is_err());
    match refusal.map(|at| (at, &jobs[at].action)) {
        Some((at, Err(refusal))) => Err(GroupRefused::new(
            at,
            Outcome::Refused {
                refusal: refusal.clone(),
                replayed: false,
            },
        )),
        _ => Err(GroupRefused::new(0, Outcome::Retry(reason))),
    }
}

fn would_do(job: &Job, decision: &Decision, prepared: &Prepared) -> Option<Outcome> {
    let posted = |outcomes: &[_], outcome| {
        let mut posted = answer::posted(job, outcomes, prepared, outcome);
        posted.batch = None;
        Some(Outcome::WouldDo(Box::new(posted)))
    };
    match decision {
        Decision::Answered(outcome) => Some(outcome.clone()),
        Decision::Refused(refusal) => Some(Outcome::Refused {
            refusal: refusal.clone(),
            replayed: false,
        }),
        Decision::Pending => posted(&[], OperationOutcome::PendingFunding),
        Decision::Posted(outcomes) => posted(outcomes, OperationOutcome::Done),
        Decision::Dropped => None,
    }
}
