//! R4, account by account: the operations add up to what the account has.

use super::Context;
use super::ledger::{Accounts, Ledger, Sum};
use crate::findings::{Findings, Row};
use crate::report::{CheckId, Class};
use crate::run::Error;
use crate::store::{copy, journal};
use futures_util::TryStreamExt as _;
use hub_core::{Amount, ChannelId};
use uuid::Uuid;

/// Compares every account's head with the sum of its operations.
pub async fn run(
    context: &mut Context,
    accounts: &Accounts,
    ledger: &mut Ledger,
) -> Result<(), Error> {
    let (named, findings) = (&context.named, &mut context.findings);
    let max = context.options.max_breaks;
    let mut differ = |channel: ChannelId, account: Uuid, head: Option<(Amount, i64)>, sum: &Sum| {
        if named.operations.contains(&channel) {
            return;
        }
        // The head's own row is wrong and named: what counts is the signed state.
        let is_head = named.heads.contains_key(&channel) || named.signed.contains_key(&channel);
        let signed = named.signed.get(&channel).copied();
        if is_head && (signed.is_none() || signed == sum.total()) {
            return;
        }
        let class = match head {
            Some((total, _)) if Some(total) == sum.total() => Class::StaleState,
            _ => Class::AmountMismatch,
        };
        let expected = head.map_or("no head".to_owned(), |(total, version)| {
            shown(Some(total), Some(version))
        });
        let mut found = Findings::default();
        found.found(
            (CheckId::R4, class),
            Row::account("accounts", account),
            format!("journal as the head: {expected}"),
            shown(sum.total(), sum.version()),
        );
        findings.merge(found, max);
    };
    let mut unthreaded = Vec::new();
    let mut heads = 0;
    let mut rows = copy::rows(&mut context.tx, journal::BALANCES, journal::balance_of).await?;
    while let Some(head) = rows.try_next().await? {
        heads += 1;
        let sum = ledger.compare(head.account, accounts);
        if sum.total() != Some(head.total) || sum.version() != Some(head.version) {
            let of_head = Some((head.total, head.version));
            differ(head.channel, head.account, of_head, &sum);
        } else if head.newest.unwrap_or_default() != sum.newest() {
            unthreaded.push((head.channel, head.account, head.newest));
        }
    }
    drop(rows);
    for (account, sum) in ledger.without_head(accounts) {
        differ(ChannelId::default(), account, None, &sum);
    }
    for (channel, account, newest) in unthreaded {
        // An operation that is missing or wrong is named, and so is a head.
        if !context.named.operations.contains(&channel)
            && !context.named.heads.contains_key(&channel)
        {
            let newest = newest.map_or("none".to_owned(), |id| id.to_string());
            let mut findings = Findings::default();
            findings.found(
                (CheckId::R4, Class::Tamper),
                Row::account("accounts", account),
                format!("each operation but newest={newest} before another one"),
                "a thread that leaves some out, or ends elsewhere",
            );
            context.merge(findings);
        }
    }
    context.findings.compared(CheckId::R4, heads);
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

fn shown(total: Option<Amount>, version: Option<i64>) -> String {
    let total = total.map_or("less than nothing".to_owned(), |total| total.to_string());
    let version = version.map_or("none".to_owned(), |version| version.to_string());
    format!("total={total} version={version}")
}
