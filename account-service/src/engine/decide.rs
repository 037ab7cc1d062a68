//! Which requests of a batch are posted, which are refused, and what states they lead to.
//!
//! No I/O: everything read from the database comes in, everything to write goes out.

use super::job::{Group, Job};
use super::types::{Order, Outcome, Refused, RetryReason};
use super::{ByChannel, Channels, closing, refusals};
use crate::store::heads::{ChannelStatus, Head};
use crate::store::journal::{Existing, ExistingResult, KeyId};
use hub_core::fold::{LegOutcome, Successor};
use hub_core::types::LegKind;
use hub_core::{
    Action, Amount, ChannelId, Domain, Facts, Fold, Operation, OperationId, Refusal, Version,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// What the database says about a batch before it is decided.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Heads of all touched channels that have one.
    pub heads: Arc<ByChannel<Head>>,
    /// Channels whose heads were read for this batch, and not remembered from an earlier one.
    pub fresh: Channels,
    /// Of the issuances to complete, those that still wait.
    pub waiting: HashSet<Uuid>,
    /// Keys that were used before.
    pub keys: HashMap<KeyId, Existing>,
    /// Client references that were used before.
    pub client_refs: HashSet<KeyId>,
    /// External ids that are taken.
    pub external_ids: HashSet<(Uuid, String)>,
    /// Highest version the hub said is used, where it lies above the head's.
    pub floors: ByChannel<Version>,
}

/// What the hub or the database said about operations and channels in earlier tries.
#[derive(Debug, Default, Clone)]
pub(crate) struct Verdicts {
    /// Operations that the hub refuses, with the answer to give.
    pub refused: HashMap<OperationId, Refused>,
    /// Operations that the hub refuses on facts that may change.
    pub deferred: HashSet<OperationId>,
    /// Channels whose rows don't match what was signed.
    pub frozen: HashSet<ChannelId>,
    /// Issuances that need funding first.
    pub unfunded: HashSet<OperationId>,
    /// What may still be issued before funding is needed.
    pub headroom: Option<Amount>,
    /// What the hub issues in one order at most, once known.
    pub per_order: Option<Amount>,
}

/// What becomes of one job.
#[derive(Debug, Clone)]
pub(crate) enum Decision {
    /// Answered from an earlier request with the same key.
    Answered(Outcome),
    /// Refused; the refusal is kept with the key.
    Refused(Refused),
    /// An issuance accepted until there is funding.
    Pending,
    /// Posted, with the balances after it.
    Posted(Vec<LegOutcome>),
    /// Its atomic group was refused by another job.
    Dropped,
}

/// A decided batch.
#[derive(Debug)]
pub(crate) struct Plan {
    /// One per job of each group.
    pub decisions: Vec<Vec<Decision>>,
    /// Of the posted jobs, in order.
    pub operations: Vec<Operation>,
    /// The new states, in channel id order.
    pub successors: Vec<Successor>,
}

struct Decider<'a> {
    domain: &'a Domain,
    known: &'a Known,
    verdicts: &'a Verdicts,
    headroom: Option<Amount>,
    fold: Fold,
    keys: HashSet<KeyId>,
    client_refs: HashSet<KeyId>,
    external_ids: HashSet<(Uuid, String)>,
    operations: Vec<Operation>,
}

/// Decides a batch.
pub(crate) fn decide(
    domain: &Domain,
    groups: &[Group],
    known: &Known,
    verdicts: &Verdicts,
) -> Result<Plan, Refusal> {
    let mut fold = Fold::new();
    for head in known.heads.values() {
        fold.insert(head.state, head.facts);
    }
    let mut decider = Decider {
        domain,
        known,
        verdicts,
        headroom: verdicts.headroom,
        fold,
        keys: HashSet::new(),
        client_refs: HashSet::new(),
        external_ids: HashSet::new(),
        operations: Vec::new(),
    };
    let decisions = groups.iter().map(|group| decider.group(group)).collect();
    // Versions go on growing in the next epoch, so that a channel's history has one order.
    let floor = |channel: &ChannelId| {
        let before = known
            .heads
            .get(channel)
            .map_or(0, |head| head.state.version);
        let used = known.floors.get(channel).copied().unwrap_or(0);
        before.max(used)
    };
    Ok(Plan {
        decisions,
        operations: decider.operations,
        successors: decider.fold.finish(floor)?,
    })
}

impl Decider<'_> {
    fn group(&mut self, group: &Group) -> Vec<Decision> {
        if !group.atomic {
            return group.jobs.iter().map(|job| self.job(job)).collect();
        }
        if let Some(refused) = self.refused_before(group) {
            return refused;
        }
        self.fold.begin();
        let before = (
            self.operations.len(),
            self.headroom,
            self.client_refs.clone(),
            self.keys.clone(),
        );
        let mut decisions: Vec<_> = Vec::with_capacity(group.jobs.len());
        for (at, job) in group.jobs.iter().enumerate() {
            let decision = self.job(job);
            let done = matches!(
                decision,
                Decision::Posted(_) | Decision::Answered(Outcome::Done { .. })
            );
            if !done {
                self.fold.undo();
                let operations;
                (operations, self.headroom, self.client_refs, self.keys) = before;
                self.operations.truncate(operations);
                self.keys.extend(group.key());
                return alone(group.jobs.len(), at, decision);
            }
            decisions.push(decision);
        }
        self.fold.keep();
        decisions
    }

    /// A group that was refused before is refused again, by the job that refused it.
    fn refused_before(&self, group: &Group) -> Option<Vec<Decision>> {
        let existing = self.known.keys.get(&group.key()?)?;
        let at = match existing.result {
            ExistingResult::Refused(_) => existing.refused_at.unwrap_or(0),
            ExistingResult::Posted(_) => return None,
        };
        // With another body there may be no such job.
        let at = at.min(group.jobs.len() - 1);
        let answer = Decision::Answered(replay(&group.jobs[at], existing));
        Some(alone(group.jobs.len(), at, answer))
    }

    fn job(&mut self, job: &Job) -> Decision {
        if let Some(existing) = self
            .known
            .keys
            .get(&job.key)
            .filter(|_| job.resumes.is_none())
        {
            return Decision::Answered(replay(job, existing));
        }
        if !self.keys.insert(job.key) {
            // The first is not committed yet; once it is, its hash tells same from other.
            return Decision::Answered(Outcome::Retry(RetryReason::InFlight));
        }
        let completed = |id| !self.known.waiting.contains(&id);
        if job.resumes.is_some_and(completed) {
            // Another replica was first.
            return Decision::Answered(Outcome::Retry(RetryReason::InFlight));
        }
        match self.posted(job) {
            Ok(decision) => decision,
            Err(refusal) => Decision::Refused(refusal),
        }
    }

    fn posted(&mut self, job: &Job) -> Result<Decision, Refused> {
        let action = job.action.clone()?;
        let operation = job.operation(action);
        if let Some(refusal) = self.verdicts.refused.get(&operation.id) {
            return Err(refusal.clone());
        }
        if self.verdicts.deferred.contains(&operation.id) {
            let retry = Outcome::Retry(RetryReason::HubUnavailable);
            return Ok(Decision::Answered(retry));
        }
        self.check_uniqueness(job)?;
        self.check_channels(job)?;
        if let (Order::Reopen(ended), Some(account)) = (&job.request.order, &job.payer) {
            let null = closing::next_null(self.known, account, ended)?;
            self.fold.insert(null, Facts::default());
        }
        if let Action::Issue { amount, .. } = action {
            self.check_order_cap(&operation, amount)?;
            let short = self.headroom.is_some_and(|headroom| amount > headroom);
            if short || self.verdicts.unfunded.contains(&operation.id) {
                return self.wait_for_funding(job, &operation);
            }
        }
        let outcomes = self
            .fold
            .apply(self.domain, &operation)
            .map_err(refusals::of_machine)?;
        if let Action::Issue { amount, .. } = action {
            self.headroom = self.headroom.map(|headroom| headroom.less(amount));
        }
        self.claim(job);
        self.operations.push(operation);
        Ok(Decision::Posted(outcomes))
    }

    /// What the hub would never sign is refused before anything waits for it. The channel's own
    /// rules come first: they say more.
    fn check_order_cap(&self, operation: &Operation, amount: Amount) -> Result<(), Refused> {
        let Some(cap) = self.verdicts.per_order.filter(|cap| amount > *cap) else {
            return Ok(());
        };
        self.fold
            .clone()
            .apply(self.domain, operation)
            .map_err(refusals::of_machine)?;
        Err(refusals::above_order_cap(cap, amount))
    }

    /// An issuance beyond the headroom. One that waits already goes on waiting.
    fn wait_for_funding(&mut self, job: &Job, operation: &Operation) -> Result<Decision, Refused> {
        if job.resumes.is_some() {
            let retry = Outcome::Retry(RetryReason::HubUnavailable);
            return Ok(Decision::Answered(retry));
        }
        // The rules of the channel are checked all the same, on a copy.
        self.fold
            .clone()
            .apply(self.domain, operation)
            .map_err(refusals::of_machine)?;
        self.claim(job);
        Ok(Decision::Pending)
    }

    fn check_uniqueness(&self, job: &Job) -> Result<(), Refused> {
        if let Some(id) = job.reference()
            && job.resumes.is_none()
            && (self.client_refs.contains(&id) || self.known.client_refs.contains(&id))
        {
            return Err(refusals::duplicate_client_ref());
        }
        if let Some(id) = external_id(job)
            && (self.external_ids.contains(&id) || self.known.external_ids.contains(&id))
        {
            return Err(refusals::duplicate_external_id());
        }
        Ok(())
    }

    fn claim(&mut self, job: &Job) {
        self.client_refs.extend(job.reference());
        self.external_ids.extend(external_id(job));
    }

    fn check_channels(&self, job: &Job) -> Result<(), Refused> {
        if matches!(job.request.order, Order::Open(_) | Order::Reopen(_)) {
            return Ok(());
        }
        let touched = [&job.payer, &job.payee];
        for account in touched.into_iter().flatten() {
            let head = self.known.heads.get(&account.channel);
            let head = head.ok_or_else(refusals::frozen_channel)?;
            // A remembered head was made here, or found intact when it was read.
            let edited = self.known.fresh.contains(&account.channel) && !head.is_intact();
            if edited || self.verdicts.frozen.contains(&account.channel) {
                return Err(refusals::frozen_channel());
            }
            match head.status {
                ChannelStatus::Open => {}
                ChannelStatus::Frozen => return Err(refusals::frozen_account(account)),
                ChannelStatus::Closed => return Err(refusals::closed_account(account)),
                ChannelStatus::Closing => {
                    return Err(refusals::of_machine(Refusal::Closing(account.channel)));
                }
            }
        }
        if let (Some(expected), Some(payer)) = (job.expected_version(), &job.payer) {
            self.check_version(&payer.channel, expected)?;
        }
        Ok(())
    }

    fn check_version(&self, channel: &ChannelId, expected: Version) -> Result<(), Refused> {
        let head = self.known.heads.get(channel).map(|head| head.state);
        let touched = head.as_ref() != self.fold.current(channel);
        match head {
            Some(state) if state.version == expected && !touched => Ok(()),
            Some(state) => Err(refusals::version_conflict(
                state.version + Version::from(touched),
            )),
            None => Err(refusals::frozen_channel()),
        }
    }
}

fn alone(jobs: usize, at: usize, decision: Decision) -> Vec<Decision> {
    let mut decisions = vec![Decision::Dropped; jobs];
    decisions[at] = decision;
    decisions
}

fn external_id(job: &Job) -> Option<(Uuid, String)> {
    match &job.request.order {
        Order::Open(account) => account
            .external_id
            .clone()
            .map(|external_id| (job.request.owner, external_id)),
        _ => None,
    }
}

fn replay(job: &Job, existing: &Existing) -> Outcome {
    if existing.request_hash != job.request.request_hash {
        return Outcome::KeyMismatch;
    }
    match &existing.result {
        ExistingResult::Posted(operation) => Outcome::Done {
            operation: operation.clone(),
            replayed: true,
        },
        ExistingResult::Refused(refusal) => Outcome::Refused {
            refusal: refusal.clone(),
            replayed: true,
        },
    }
}

/// The legs of an outcome by the side of the account they belong to.
pub(crate) fn sides(outcomes: &[LegOutcome]) -> (Option<LegOutcome>, Option<LegOutcome>) {
    let mut sides = (None, None);
    for outcome in outcomes {
        match outcome.kind {
            LegKind::Redeem | LegKind::Debit | LegKind::Withdraw => sides.0 = Some(*outcome),
            LegKind::Issue | LegKind::Credit | LegKind::Deposit | LegKind::Refund => {
                sides.1 = Some(*outcome);
            }
        }
    }
    sides
}
