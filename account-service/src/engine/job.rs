//! A request on its way through the engine.

use super::types::{GroupRefused, Kind, Order, Outcome, Refused, Request};
use crate::store::directory::Account;
use crate::store::journal::KeyId;
use hub_core::{Action, Amount, Operation, OperationId, Version};
use std::sync::Arc;
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

/// How a group of jobs ended: an outcome for each, or the job that refused an atomic group.
pub(crate) type GroupResult = Result<Vec<Outcome>, GroupRefused>;

/// Jobs that are posted in one batch: a single request, or an atomic batch of transfers.
#[derive(Debug)]
pub(crate) struct Group {
    pub jobs: Vec<Job>,
    /// All or none.
    pub atomic: bool,
    pub reply: oneshot::Sender<GroupResult>,
}

impl Group {
    /// Answers every job of the group alike.
    pub fn answer_all(self, outcome: &Outcome) {
        let outcomes = vec![outcome.clone(); self.jobs.len()];
        // A caller that went away finds its answer by its key.
        let _ = self.reply.send(Ok(outcomes));
    }
}
