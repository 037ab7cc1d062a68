//! R4, account by account: the operations add up to what the account has.

use super::Context;
use crate::findings::{Findings, Row};
use crate::report::{CheckId, Class};
use crate::run::Error;
use crate::store::journal::{self, Balance};
use futures_util::StreamExt as _;
use sqlx::{Postgres, Transaction};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Accounts that differ and wait for their turn: most often there are none.
const AHEAD: usize = 1_024;

/// The sums of all accounts' operations, which the database makes while other checks go on.
pub struct Sums {
    differing: mpsc::Receiver<sqlx::Result<Balance>>,
    /// One task, which ends with the run, whatever becomes of that.
    task: JoinSet<()>,
}

impl Sums {
    /// Lets the database begin.
    pub fn begin(mut tx: Transaction<'static, Postgres>) -> Self {
        let (send, differing) = mpsc::channel(AHEAD);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut rows = journal::differing_balances(&mut tx);
            while let Some(row) = rows.next().await {
                let balance = row.and_then(|row| journal::balance_of(&row));
                if send.send(balance).await.is_err() {
                    return;
                }
            }
        });
        Self { differing, task }
    }
}

/// Compares every account's head with the sum of its operations.
pub async fn run(context: &mut Context, sums: Sums) -> Result<(), Error> {
    let heads = journal::count_heads(&mut context.tx).await?;
    let mut findings = Findings::default();
    findings.compared(CheckId::R4, heads);
    context.merge(findings);
    balances(context, sums).await?;
    // Where operations are traced, each one's balance was followed to that of its state.
    if !context.options.trace_operations {
        let limit = i64::try_from(context.options.max_breaks).unwrap_or(i64::MAX);
        for missing in journal::without_last_entry(&mut context.tx, limit).await? {
            let mut findings = Findings::default();
            let row = Row::account("operations", missing.key);
            let class = (CheckId::R4, Class::MissingInternal);
            findings.found(class, row, missing.expected, missing.found);
            context.merge(findings);
        }
    }
    Ok(())
}

async fn balances(context: &mut Context, mut sums: Sums) -> Result<(), Error> {
    let max = context.options.max_breaks;
    let (named, findings) = (&context.named, &mut context.findings);
    while let Some(balance) = sums.differing.recv().await {
        let balance = balance?;
        if named.operations.contains(&balance.channel) {
            continue;
        }
        // The head's own row is wrong and named: what counts is the signed state.
        let is_head = named.heads.contains_key(&balance.channel)
            || named.signed.contains_key(&balance.channel);
        let signed = named.signed.get(&balance.channel).copied();
        if is_head && (signed.is_none() || signed == balance.journal_total) {
            continue;
        }
        let class = if balance.same_total {
            Class::StaleState
        } else {
            Class::AmountMismatch
        };
        let mut found = Findings::default();
        found.found(
            (CheckId::R4, class),
            Row::account("accounts", balance.account),
            format!("journal as the head: {}", balance.head),
            balance.journal,
        );
        findings.merge(found, max);
    }
    // One that died says nothing of the accounts it did not come to.
    while let Some(done) = sums.task.join_next().await {
        done?;
    }
    Ok(())
}
