//! R4, account by account: the operations add up to what the account has.

use super::Context;
use crate::findings::{Findings, Row};
use crate::report::{CheckId, Class};
use crate::run::Error;
use crate::store::journal;
use futures_util::TryStreamExt as _;

/// Compares every account's head with the sum of its operations.
pub async fn run(context: &mut Context) -> Result<(), Error> {
    let heads = journal::count_heads(&mut context.tx).await?;
    let mut findings = Findings::default();
    findings.compared(CheckId::R4, heads);
    context.merge(findings);
    balances(context).await?;
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

async fn balances(context: &mut Context) -> Result<(), Error> {
    let max = context.options.max_breaks;
    let (named, findings) = (&context.named, &mut context.findings);
    let mut rows = journal::differing_balances(&mut context.tx);
    while let Some(row) = rows.try_next().await? {
        let balance = journal::balance_of(&row)?;
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
    Ok(())
}
