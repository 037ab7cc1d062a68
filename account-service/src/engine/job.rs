//! A request on its way through the engine.

use super::limits;
use super::types::{GroupRefused, Kind, Order, Outcome, Refused, Request};
use crate::store::directory::Account;
use crate::store::journal::KeyId;
use hub_core::{Action, Amount, ChannelId, Operation, OperationId, Version};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::oneshot;
use uuid::Uuid;

/// A request whose accounts are known.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub request: Request,
    pub key: KeyId,
    pub kind: Kind,
    pub payer: Option<Arc<Account>>,
    pub payee: Option<Arc<Account>>,
    /// What the hub is asked to agree to, or why it is not even asked.
    pub action: Result<Action, Refused>,
    /// The row of a pending issuance that this job completes.
    pub resumes: Option<Uuid>,
}

impl Job {
    /// What keeps its client reference from being used twice.
    pub fn reference(&self) -> Option<KeyId> {
        let client_ref = self.request.client_ref.as_deref()?;
        Some(KeyId::of_reference(self.request.owner, client_ref))
    }

    /// The id the operation has in the journal and towards the hub.
    pub fn operation_id(&self) -> Uuid {
        self.resumes.unwrap_or(self.request.id)
    }

    pub fn operation(&self, action: Action) -> Operation {
        Operation {
            id: OperationId(*self.operation_id().as_bytes()),
            action,
        }
    }

    pub fn amount(&self) -> Amount {
        match &self.request.order {
            Order::Open(_) => Amount::ZERO,
            Order::Reopen(ended) => ended.balance,
            Order::Issue { amount, .. }
            | Order::Redeem { amount, .. }
            | Order::Transfer { amount, .. }
            | Order::Withdraw { amount, .. } => *amount,
            Order::Refund { .. } | Order::Deposit { .. } => match &self.action {
                Ok(action) => action.amount(),
                Err(_) => Amount::ZERO,
            },
        }
    }

    pub fn expected_version(&self) -> Option<Version> {
        match &self.request.order {
            Order::Transfer {
                expected_version, ..
            } => *expected_version,
            _ => None,
        }
    }

    /// Whether a refusal is an answer kept with the key. The system's own orders are tried
    /// again until they go through.
    pub fn keeps_refusal(&self) -> bool {
        self.request.route != super::types::Route::System
    }
}

/// Room for the operations of a lane that are not answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Room(Arc<AtomicUsize>);

impl Room {
    /// Takes room for so many jobs; `None` where none is left. Who comes while any is free gets in
    /// whole: beside single transfers a long list would never find all it needs free at once.
    pub fn enter(&self, jobs: usize) -> Option<Place> {
        let taken = self.0.fetch_add(jobs, Ordering::Relaxed);
        let room = self.0.clone();
        let place = Place { room, jobs };
        (taken < limits::ACCEPTED).then_some(place)
    }
}

/// Room that is taken, and given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    room: Arc<AtomicUsize>,
    jobs: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.fetch_sub(self.jobs, Ordering::Relaxed);
    }
}

/// How a group of jobs ended: an outcome for each, or the job that refused an atomic group.
pub(crate) type GroupResult = Result<Vec<Outcome>, GroupRefused>;

/// Jobs that are posted in one batch: a single request, or an atomic batch of transfers.
#[derive(Debug)]
pub(crate) struct Group {
    pub jobs: Vec<Job>,
    /// All that the jobs touch, each once.
    pub channels: Vec<ChannelId>,
    /// All or none.
    pub atomic: bool,
    /// Held until the group is answered and dropped; the system's own orders need none.
    #[expect(dead_code, reason = "it counts by being there")]
    pub place: Option<Place>,
    pub reply: oneshot::Sender<GroupResult>,
}

impl Group {
    pub fn new(
        jobs: Vec<Job>,
        atomic: bool,
        place: Option<Place>,
        reply: oneshot::Sender<GroupResult>,
    ) -> Self {
        let sides = jobs.iter().flat_map(|job| [&job.payer, &job.payee]);
        let mut channels: Vec<_> = sides.flatten().map(|account| account.channel).collect();
        channels.sort_unstable();
        channels.dedup();
        Self {
            jobs,
            channels,
            atomic,
            place,
            reply,
        }
    }

    /// What an atomic group is refused under, whichever job refuses it: the key of its first, which
    /// every other body under the same key has as well.
    pub fn key(&self) -> Option<KeyId> {
        self.jobs.first().map(|job| job.key)
    }

    /// Answers every job of the group alike.
    pub fn answer_all(self, outcome: &Outcome) {
        let outcomes = vec![outcome.clone(); self.jobs.len()];
        // A caller that went away finds its answer by its key.
        let _ = self.reply.send(Ok(outcomes));
    }
}
