//! What a decided batch writes, in one transaction.

use super::ByChannel;
use super::attempt::Prepared;
use super::closing;
use super::decide::{Decision, sides};
use super::job::{Group, Job};
use super::lane::Lane;
use super::types::{Order, Refused};
use crate::store::closing::{Ended, Reopening};
use crate::store::directory::{self, Account};
use crate::store::heads::{self, Advance, NewHead};
use crate::store::journal::{self, KeptRefusal, NewRow, RowLeg};
use crate::store::settlement::{self, NewWithdrawal};
use crate::store::{self, RowCount};
use chain_messages::{Command, topology};
use hub_core::fold::LegOutcome;
use hub_core::{Action, Amount, ChannelId};
use sqlx::PgConnection;
use std::sync::Arc;
use uuid::Uuid;

/// Stored outcome of a refusal.
const REFUSED: i16 = 2;
/// Stored outcome of an operation that is done.
const DONE: i16 = 1;
/// Stored outcome of an issuance that waits for funding.
const PENDING: i16 = 3;

/// Why nothing was written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// A row is not what the batch was computed from.
    Stale,
    /// The database refused.
    Database(sqlx::Error),
}

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<RowCount> for WriteError {
    fn from(rows: RowCount) -> Self {
        tracing::warn!(%rows, "a batch found another number of rows");
        Self::Stale
    }
}

/// The rows of a batch.
#[derive(Debug, Default)]
pub(crate) struct Write {
    advances: Vec<Advance>,
    opened: Vec<(Arc<Account>, super::types::NewAccount)>,
    new_heads: Vec<NewHead>,
    rows: Vec<NewRow>,
    completions: Vec<(Uuid, RowLeg)>,
    withdrawals: Vec<NewWithdrawal>,
    deposits: Vec<(Uuid, Uuid)>,
    refunds: Vec<Uuid>,
    reopened: Vec<Reopening>,
    funding: Option<(Amount, String)>,
    /// The newest operation of each account that has one in this batch.
    newest: ByChannel<Uuid>,
}

impl Write {
    /// Collects the rows.
    pub fn of(groups: &[Group], prepared: &Prepared) -> Self {
        let mut write = Self::default();
        for (next, hash) in prepared.plan.successors.iter().zip(&prepared.hashes) {
            if let Some(head) = prepared.heads.get(&next.state.channel_id)
                && !closing::begins_epoch(head, &next.base)
            {
                write.advances.push(Advance {
                    from: *head,
                    to: next.state,
                    to_hash: *hash,
                    newest: head.newest,
                });
            }
        }
        for (group, decisions) in groups.iter().zip(&prepared.plan.decisions) {
            for (at, (job, decision)) in group.jobs.iter().zip(decisions).enumerate() {
                match decision {
                    Decision::Answered(_) | Decision::Dropped => {}
                    Decision::Refused(refusal) if job.keeps_refusal() => {
                        write.rows.push(refused_row(group, at, refusal));
                    }
                    Decision::Refused(_) => {}
                    Decision::Pending => write.pending(job),
                    Decision::Posted(outcomes) => write.posted(job, outcomes, prepared),
                }
            }
        }
        write.end_threads();
        // In the order of the index that they go into.
        write
            .new_heads
            .sort_unstable_by_key(|head| head.state.channel_id);
        write
    }

    /// Threads a posted operation: it comes before what was the newest one of the account.
    fn thread(&mut self, channel: ChannelId, job: &Job, prepared: &Prepared) -> Option<Uuid> {
        let before = self.newest.insert(channel, job.operation_id());
        before.or_else(|| prepared.heads.get(&channel)?.newest)
    }

    /// Heads name the newest operation of all that were posted.
    fn end_threads(&mut self) {
        for step in &mut self.advances {
            let newest = self.newest.get(&step.to.channel_id);
            step.newest = newest.copied().or(step.newest);
        }
        for head in &mut self.new_heads {
            head.newest = self.newest.get(&head.state.channel_id).copied();
        }
        for step in &mut self.reopened {
            step.newest = self.newest.get(&step.to.channel_id).copied();
        }
    }

    /// The newest operation of each account that has one in this batch.
    pub fn into_newest(self) -> ByChannel<Uuid> {
        self.newest
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.completions.is_empty() && self.advances.is_empty()
    }

    /// Wakes whoever publishes the outbox, if it has a row of this batch.
    pub fn nudge(&self, lane: &Lane) {
        if self.funding.is_some() {
            lane.outbox.notify_one();
        }
    }

    fn pending(&mut self, job: &Job) {
        self.rows.push(row(job, PENDING, job.request.extra.clone()));
        let before = self
            .funding
            .take()
            .map_or(Amount::ZERO, |(amount, _)| amount);
        let needed = before.checked_add(job.amount()).unwrap_or(Amount::MAX);
        self.funding = Some((needed, job.request.correlation_id.clone()));
    }

    fn posted(&mut self, job: &Job, outcomes: &[LegOutcome], prepared: &Prepared) {
        let mut leg = |outcome: Option<LegOutcome>| {
            let outcome = outcome?;
            let (leaf, state, _) = prepared.state(&outcome.channel)?;
            Some(RowLeg {
                version: state.version,
                balance: outcome.user_balance_after,
                leaf,
                previous: self.thread(outcome.channel, job, prepared),
            })
        };
        let (debit, credit) = sides(outcomes);
        let (mut debit, mut credit) = (leg(debit), leg(credit));
        if let (Order::Open(new), Some(account)) = (&job.request.order, &job.payee) {
            credit = self.open(job, account, new, prepared);
        }

        if let (Order::Reopen(ended), Some(account)) = (&job.request.order, &job.payer) {
            debit = self.reopen(job, ended, account, prepared);
        }
        if let (Some(id), Some(credit)) = (job.resumes, credit) {
            self.completions.push((id, credit));
            return;
        }
        let mut row = row(job, DONE, job.request.extra.clone());
        (row.debit, row.credit) = (debit, credit);
        self.rows.push(row);
        match (&job.request.order, &job.action) {
            (Order::Deposit { deposit }, _) => self.deposits.push((*deposit, job.operation_id())),
            (Order::Refund { withdrawal }, _) => self.refunds.push(*withdrawal),
            (
                Order::Withdraw { .. },
                Ok(Action::Withdraw {
                    channel,
                    amount,
                    to,
                }),
            ) => {
                let head = prepared.heads.get(channel);
                self.withdrawals.push(NewWithdrawal {
                    id: job.operation_id(),
                    account: job.payer.as_ref().map_or(Uuid::nil(), |account| account.id),
                    channel: *channel,
                    epoch: head.map_or(0, |head| head.state.epoch),
                    amount: *amount,
                    to: *to,
                    correlation_id: job.request.correlation_id.clone(),
                });
            }
            _ => {}
        }
    }

    /// The balance of the epoch that ended is gone; the new one begins with nothing.
    fn reopen(
        &mut self,
        job: &Job,
        ended: &Ended,
        account: &Account,
        prepared: &Prepared,
    ) -> Option<RowLeg> {
        let (leaf, state, hash) = prepared.state(&account.channel)?;
        self.reopened.push(Reopening {
            closing: ended.closing,
            operation: job.operation_id(),
            from: *prepared.heads.get(&account.channel)?,
            to: *state,
            to_hash: *hash,
            newest: None,
        });
        Some(RowLeg {
            version: state.version,
            balance: Amount::ZERO,
            leaf,
            previous: self.thread(account.channel, job, prepared),
        })
    }

    fn open(
        &mut self,
        job: &Job,
        account: &Arc<Account>,
        new: &super::types::NewAccount,
        prepared: &Prepared,
    ) -> Option<RowLeg> {
        let (leaf, state, hash) = prepared.state(&account.channel)?;
        self.opened.push((account.clone(), new.clone()));
        self.new_heads.push(NewHead {
            account: account.id,
            state: *state,
            state_hash: *hash,
            newest: None,
        });
        Some(RowLeg {
            version: state.version,
            balance: Amount::ZERO,
            leaf,
            previous: self.thread(account.channel, job, prepared),
        })
    }
}

fn row(job: &Job, outcome: i16, extra: Option<serde_json::Value>) -> NewRow {
    NewRow {
        id: job.operation_id(),
        kind: job.kind,
        outcome,
        key: job.key,
        owner: job.request.owner,
        route: job.request.route as i16,
        idem_key: job.request.key.clone(),
        request_hash: job.request.request_hash,
        payer: job.payer.as_ref().map(|account| account.id),
        payee: job.payee.as_ref().map(|account| account.id),
        amount: job.amount(),
        debit: None,
        credit: None,
        client_ref: job.request.client_ref.clone(),
        extra,
    }
}

/// A refusal moves nothing, so it names no account and uses up no client reference. An atomic group
/// is refused under its first job's key, with the place of the job that refused it.
fn refused_row(group: &Group, at: usize, refusal: &Refused) -> NewRow {
    let (job, index) = if group.atomic {
        (&group.jobs[0], Some(at))
    } else {
        (&group.jobs[at], None)
    };
    let refusal = refusal.clone();
    let stored = serde_json::to_value(KeptRefusal { refusal, index }).unwrap_or_default();
    NewRow {
        payer: None,
        payee: None,
        client_ref: None,
        ..row(job, REFUSED, Some(stored))
    }
}

/// Writes everything but the batch's own row, which comes last. Heads first: their locks, in
/// channel id order, are what other replicas wait for.
pub(crate) async fn write(
    lane: &Lane,
    connection: &mut PgConnection,
    prepared: &Prepared,
    write: &Write,
) -> Result<(), WriteError> {
    let (hub_id, batch, now) = (lane.terms.hub_id, prepared.id, prepared.now);
    if !write.advances.is_empty() {
        let moved = heads::advance(connection, &write.advances, batch).await?;
        RowCount::check("advance heads", write.advances.len(), moved)?;
    }
    for step in &write.reopened {
        let rows = store::closing::reopen(connection, step, batch).await?;
        RowCount::check("begin an epoch", 2, rows)?;
    }
    if !write.opened.is_empty() {
        let accounts: Vec<_> = write.opened.iter().map(|(a, n)| (a.as_ref(), n)).collect();
        let opened = directory::insert(connection, &accounts, now).await?;
        RowCount::check("insert accounts", write.opened.len(), opened)?;
        let heads = heads::insert(connection, hub_id, batch, &write.new_heads).await?;
        RowCount::check("insert heads", write.new_heads.len(), heads)?;
    }
    if !write.rows.is_empty() {
        let references = write.rows.iter().filter(|row| row.client_ref.is_some());
        let wanted = write.rows.len() + references.count();
        let keys = journal::claim_keys(connection, &write.rows).await?;
        RowCount::check("claim keys", wanted, keys)?;
        let rows = journal::insert(connection, hub_id, batch, now, &write.rows).await?;
        RowCount::check("insert operations", write.rows.len(), rows)?;
    }
    for (id, leg) in &write.completions {
        let rows = journal::complete_pending(connection, *id, batch, *leg).await?;
        RowCount::check("complete issuance", 1, rows)?;
    }
    if !write.withdrawals.is_empty() {
        let rows =
            settlement::insert_withdrawals(connection, hub_id, now, &write.withdrawals).await?;
        RowCount::check("insert withdrawals", write.withdrawals.len(), rows)?;
    }
    for (deposit, operation) in &write.deposits {
        let rows = settlement::credit_deposit(connection, *deposit, *operation, now).await?;
        RowCount::check("credit deposit", 1, rows)?;
    }
    for withdrawal in &write.refunds {
        let rows = settlement::refund(connection, *withdrawal, now).await?;
        RowCount::check("refund withdrawal", 1, rows)?;
    }
    if let Some((needed, correlation_id)) = &write.funding {
        let command = Command::FundVault {
            hub: lane.terms.hub,
            needed: *needed,
        };
        let route = (topology::COMMANDS, topology::COMMANDS);
        settlement::enqueue(
            connection,
            Uuid::now_v7(),
            route,
            correlation_id,
            &command,
            now,
        )
        .await?;
    }
    Ok(())
}
