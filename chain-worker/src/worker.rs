//! The leader's round.

use crate::config::{Args, Finality, Hub, LEASE};
use crate::error::StepError;
use crate::metrics::WorkerMetrics;
use crate::store::leases;
use crate::tower::pull::AccountSource;
use crate::tower::{self, Tower};
use crate::{finality, plan, send, track, watch};
use chain::Chain;
use hub_core::dispute::answer::Guard;
use hub_core::{Address, Amount};
use runtime::amqp::BrokerMetrics;
use runtime::shutdown::Shutdown;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch as channel};
use uuid::Uuid;

/// The lease by which one worker acts: gives out nonces, moves the cursor, talks to the hubs.
const LEADER: &str = "worker";
/// Pause between two tries to become the leader.
const CANDIDATE_PAUSE: Duration = Duration::from_millis(300);

/// What every part of the worker has at hand.
#[derive(Debug)]
pub struct Worker {
    /// The database.
    pub pool: PgPool,
    /// The chain.
    pub chain: Chain,
    /// The hubs served.
    pub hubs: Vec<Hub>,
    /// Limits and choices.
    pub settings: Settings,
    /// What is counted.
    pub metrics: WorkerMetrics,
    /// What is counted about the broker.
    pub broker_metrics: BrokerMetrics,
    /// Notified when there is something to plan.
    pub wake: Arc<Notify>,
    /// Notified when the outbox has something.
    pub outbox: Arc<Notify>,
    /// Notified when hubs have something to be told.
    pub push: Notify,
    /// What the watchtower's parts tell each other.
    pub tower: Tower,
    /// Who leads, as far as this process knows; nobody else's business.
    pub lead: channel::Sender<Option<Lead>>,
    /// What this process is called in the lease.
    pub holder: Uuid,
}

/// Limits and choices of a deployment.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The block `HubChannels` was made in.
    pub deploy_block: u64,
    /// What makes a block final.
    pub finality: Finality,
    /// Blocks on top of a final one.
    pub confirmations: u64,
    /// Least top-up of a vault.
    pub vault_buffer: Amount,
    /// Headroom below which a vault is topped up unasked.
    pub vault_threshold: Amount,
    /// Own transactions that may wait to be mined.
    pub max_unconfirmed: u64,
    /// Pause between two rounds.
    pub poll: Duration,
    /// Age at which a waiting transaction gets higher fees.
    pub bump_after: Duration,
    /// The most that is paid for a unit of gas, in wei.
    pub max_fee: u128,
    /// Pause between two rounds of copying states.
    pub tower_pull: Duration,
    /// Whose money the watchtower guards.
    pub tower_guard: Guard,
    /// Account-service as a source of copies, if it is one.
    pub account: Option<AccountSource>,
}

impl Settings {
    /// From what the worker was told, and account-service as a source of copies.
    pub fn new(args: &Args, account: Option<AccountSource>) -> Self {
        Self {
            deploy_block: args.deploy_block,
            finality: args.finality,
            confirmations: args.confirmations,
            vault_buffer: args.vault_buffer,
            vault_threshold: args.vault_threshold,
            max_unconfirmed: args.max_unconfirmed,
            poll: Duration::from_millis(args.poll_ms),
            bump_after: Duration::from_millis(args.bump_after_ms),
            max_fee: args.max_fee_wei,
            tower_pull: Duration::from_millis(args.tower_pull_ms),
            tower_guard: args.tower_guard,
            account,
        }
    }
}

/// The right to act, until somebody else takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lead {
    fence: i64,
}

/// What the rounds of one leader remember. All of it can be lost.
#[derive(Debug, Default)]
pub struct Memory {
    /// When forms of transactions were last handed to the node.
    pub sent: send::LastSent,
    /// The chain was last found to be the one that was read before. Until then nothing new is
    /// signed; a node that does not answer decides nothing.
    pub trusted: bool,
    /// Rounds made.
    pub rounds: u64,
}

impl Worker {
    /// The hub with this operator.
    pub fn hub(&self, address: Address) -> Option<&Hub> {
        self.hubs.iter().find(|hub| hub.address() == address)
    }

    /// Counts a command.
    pub fn count_command(&self, kind: &str, outcome: &str) {
        let counter = &self.metrics.commands;
        counter.with_label_values(&[kind, outcome]).inc();
    }

    /// A transaction that only the leader can commit.
    ///
    /// # Errors
    /// [`StepError::NotLeader`] when another worker has taken over.
    pub async fn begin(&self, lead: Lead) -> Result<Transaction<'static, Postgres>, StepError> {
        let mut tx = self.pool.begin().await?;
        if leases::hold(&mut tx, LEADER, lead.fence).await? {
            Ok(tx)
        } else {
            Err(StepError::NotLeader)
        }
    }

    /// Leads, or waits to, until the drain begins.
    pub async fn run(&self, shutdown: Shutdown) {
        let mut memory = Memory::default();
        while !shutdown.is_draining() {
            let pause = match self.campaign().await {
                Some(lead) => {
                    if self.lead.borrow().is_none_or(|before| before != lead) {
                        tracing::info!(fence = lead.fence, "leading");
                        memory = Memory::default();
                    }
                    self.lead.send_replace(Some(lead));
                    if self.round(lead, &mut memory).await {
                        continue;
                    }
                    self.settings.poll
                }
                None => {
                    self.lead.send_replace(None);
                    CANDIDATE_PAUSE
                }
            };
            let leads = self.lead.borrow().is_some();
            self.metrics.leader.set(i64::from(leads));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wake.notified(), if leads => {}
                () = shutdown.begun() => {}
            }
        }
        self.lead.send_replace(None);
        if let Err(error) = leases::release(&self.pool, LEADER, self.holder).await {
            tracing::warn!(%error, "the lease ends by itself");
        }
    }

    async fn campaign(&self) -> Option<Lead> {
        match leases::acquire(&self.pool, LEADER, self.holder, LEASE).await {
            Ok(fence) => fence.map(|fence| Lead { fence }),
            Err(error) => {
                tracing::warn!(%error, "no lease");
                None
            }
        }
    }

    /// One round; `true` when there is more to read at once. A step that fails does not keep the
    /// others from their work.
    async fn round(&self, lead: Lead, memory: &mut Memory) -> bool {
        let watched = watch::step(self, lead).await;
        let behind = matches!(watched, Ok(true));
        match &watched {
            Ok(_) => memory.trusted = true,
            Err(StepError::Halted(_)) => memory.trusted = false,
            Err(_) => {}
        }
        let halted = matches!(watched, Err(StepError::Halted(_)));
        if halted || memory.trusted {
            self.metrics.halted.set(i64::from(halted));
        }
        self.note("watch", watched.map(drop));
        if memory.trusted {
            let finalized = finality::step(self, lead).await;
            self.note("finality", finalized);
        }
        let tracked = track::step(self, lead, memory).await;
        self.note("track", tracked);
        // What is not read yet may already be the answer.
        if memory.trusted && !behind {
            let answered = tower::answer::step(self, lead).await;
            self.note("tower", answered);
        }
        if memory.trusted {
            let planned = plan::step(self, lead, memory).await;
            self.note("plan", planned);
        }
        let sent = send::step(self, lead, memory).await;
        self.note("send", sent);
        memory.rounds += 1;
        behind
    }

    fn note(&self, step: &str, outcome: Result<(), StepError>) {
        match outcome {
            Ok(()) => {}
            Err(StepError::Halted(why)) => {
                self.metrics.failures.with_label_values(&[step]).inc();
                tracing::error!(step, why, "halted: look into it before anything else");
            }
            Err(error) => {
                self.metrics.failures.with_label_values(&[step]).inc();
                tracing::warn!(step, %error, "step failed");
            }
        }
    }

    /// The id by which people follow what happened on chain: of the request that caused it, or
    /// the transaction's hash.
    pub async fn correlation(
        &self,
        db: &mut PgConnection,
        log: &chain::ChainLog,
    ) -> sqlx::Result<String> {
        let known = match log.body.request_id() {
            Some(request) => crate::store::commands::correlation(db, request).await?,
            None => None,
        };
        Ok(known.unwrap_or_else(|| format!("chain:{}", log.place.tx_hash)))
    }
}
