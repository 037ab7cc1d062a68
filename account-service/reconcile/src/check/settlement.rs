//! R7 and R8: withdrawals and deposits, at account-service and on chain.

use super::Context;
use crate::chain::{CHANNELS_PER_CALL, ChainView, ChannelNumbers};
use crate::findings::{Findings, Row};
use crate::report::{CheckId, Class};
use crate::run::Error;
use crate::store::withdrawals::{self, Signed, Touched};
use crate::store::{Differing, deposits, logs};
use futures_util::TryStreamExt as _;
use hub_core::{Amount, signature};
use std::collections::HashMap;
use time::Duration;
use uuid::Uuid;

/// What the contract has of a hub's channels, in minor units.
#[derive(Debug, Clone, Copy, Default)]
pub struct OnChain {
    /// Paid out for withdrawals in their epochs.
    pub withdrawn: Amount,
    /// Paid in during their epochs.
    pub deposited: Amount,
    /// Hard collateral.
    pub collateral: Amount,
}

/// Checks both; says what the contract has of each hub's channels.
pub async fn run<C: ChainView>(
    context: &mut Context,
    chain: &C,
) -> Result<HashMap<Uuid, OnChain>, Error> {
    withdrawal_rows(context).await?;
    signatures(context).await?;
    deposit_rows(context).await?;
    log_rows(context).await?;
    channels(context, chain).await
}

fn limit(context: &Context) -> i64 {
    i64::try_from(context.options.max_breaks).unwrap_or(i64::MAX)
}

fn add(
    context: &mut Context,
    (kind, table): ((CheckId, Class), &'static str),
    rows: Vec<Differing>,
) {
    let mut findings = Findings::default();
    for row in rows {
        let place = Row::account(table, row.key);
        findings.found(kind, place, row.expected, row.found);
    }
    context.merge(findings);
}

async fn withdrawal_rows(context: &mut Context) -> Result<(), Error> {
    use withdrawals::Difference as D;
    let compared = withdrawals::count(&mut context.tx).await?;
    context.findings.compared(CheckId::R7, compared);
    let limit = limit(context);
    for (difference, class, table) in [
        (D::UnlikeOperation, Class::MissingInternal, "withdrawals"),
        (D::WithoutOrder, Class::MissingInternal, "operations"),
        (D::NotRefunded, Class::MissingInternal, "withdrawals"),
        (D::RefundedAndPaid, Class::Duplicate, "withdrawals"),
        (D::RefundWithoutOrder, Class::MissingInternal, "operations"),
        (D::SamePlace, Class::Duplicate, "withdrawals"),
        (D::WithoutTransaction, Class::MissingExternal, "withdrawals"),
    ] {
        let rows = withdrawals::find(&mut context.tx, difference, limit).await?;
        add(context, ((CheckId::R7, class), table), rows);
    }
    let expired_before = context
        .mark
        .final_timestamp
        .saturating_sub(context.options.grace_s);
    let stuck = withdrawals::stuck(&mut context.tx, expired_before, limit).await?;
    add(context, ((CheckId::R7, Class::Stuck), "withdrawals"), stuck);
    Ok(())
}

/// An order that may still be paid is what both sides signed.
async fn signatures(context: &mut Context) -> Result<(), Error> {
    let (hubs, max) = (context.hubs.clone(), context.options.max_breaks);
    let findings = &mut context.findings;
    let mut rows = withdrawals::signed(&mut context.tx);
    while let Some(row) = rows.try_next().await? {
        let signed = withdrawals::signed_of(&row)?;
        let Some(terms) = hubs.get(&signed.hub_id) else {
            continue;
        };
        let digest = terms.domain.digest(&signed.withdraw);
        let who = |by: Option<hub_core::Signature>| {
            let signer = by.and_then(|signature| signature::recover(digest, &signature).ok());
            signer.map_or("nobody".to_owned(), |signer| signer.to_string())
        };
        let text =
            |hub: String, user: String| format!("hub_signature by {hub}, user_signature by {user}");
        let Signed {
            id,
            hub_signature,
            user_signature,
            ..
        } = signed;
        let found = text(who(hub_signature), who(user_signature));
        let expected = text(
            terms.hub_signer.to_string(),
            terms.custody_signer.to_string(),
        );
        if found != expected {
            let class = (CheckId::R7, Class::SignatureInvalid);
            let mut broken = Findings::default();
            broken.found(class, Row::account("withdrawals", id), expected, found);
            findings.merge(broken, max);
        }
    }
    Ok(())
}

async fn deposit_rows(context: &mut Context) -> Result<(), Error> {
    use deposits::Difference as D;
    let compared = deposits::count(&mut context.tx).await?;
    context.findings.compared(CheckId::R8, compared);
    let limit = limit(context);
    for (difference, class, table) in [
        (D::UnlikeOperation, Class::MissingInternal, "deposits"),
        (D::WithoutDeposit, Class::MissingInternal, "operations"),
        (D::SeveralDeposits, Class::Duplicate, "operations"),
    ] {
        let rows = deposits::find(&mut context.tx, difference, limit).await?;
        add(context, ((CheckId::R8, class), table), rows);
    }
    let grace = Duration::seconds(i64::try_from(context.options.grace_s).unwrap_or(i64::MAX));
    let stuck = deposits::stuck(&mut context.tx, context.mark.at - grace, limit).await?;
    add(context, ((CheckId::R8, Class::Stuck), "deposits"), stuck);
    Ok(())
}

/// A comparison with the logs, and the row that its key names.
type Rule = (logs::Difference, CheckId, Class, fn(String) -> Row);

async fn log_rows(context: &mut Context) -> Result<(), Error> {
    use logs::Difference as D;
    let (limit, known) = (limit(context), context.known);
    let chain_log = |key| Row {
        schema: "chain",
        table: "logs",
        key,
    };
    let order = |key| Row::account("withdrawals", key);
    let deposit = |key| Row::account("deposits", key);
    let facts = |key| Row::account("channel_facts", key);
    let rules: [Rule; 8] = [
        (
            D::OrderWithoutLog,
            CheckId::R7,
            Class::MissingExternal,
            order,
        ),
        (D::PaidNotCompleted, CheckId::R7, Class::StaleState, order),
        (
            D::PaidNotOrdered,
            CheckId::R7,
            Class::MissingInternal,
            chain_log,
        ),
        (D::PaidSeveralTimes, CheckId::R7, Class::Duplicate, order),
        (D::ExecutedUnlike, CheckId::R7, Class::AmountMismatch, facts),
        (
            D::DepositWithoutLog,
            CheckId::R8,
            Class::MissingExternal,
            deposit,
        ),
        (
            D::LogWithoutDeposit,
            CheckId::R8,
            Class::MissingInternal,
            chain_log,
        ),
        (D::DepositsUnlike, CheckId::R8, Class::AmountMismatch, facts),
    ];
    for (difference, check, class, place) in rules {
        let mut findings = Findings::default();
        for row in logs::find(&mut context.tx, difference, known, limit).await? {
            findings.found((check, class), place(row.key), row.expected, row.found);
        }
        context.merge(findings);
    }
    Ok(())
}

/// Every channel that the contract may have heard of, against the contract.
async fn channels<C: ChainView>(
    context: &mut Context,
    chain: &C,
) -> Result<HashMap<Uuid, OnChain>, Error> {
    let (max, block, known) = (context.options.max_breaks, context.block, context.known);
    let findings = &mut context.findings;
    let mut totals: HashMap<Uuid, OnChain> = HashMap::new();
    let mut chunks = withdrawals::touched(&mut context.tx).try_chunks(CHANNELS_PER_CALL);
    while let Some(rows) = chunks.try_next().await.map_err(|error| error.1)? {
        let here: Vec<_> = rows
            .iter()
            .map(withdrawals::touched_of)
            .collect::<Result<_, _>>()?;
        let ids: Vec<_> = here.iter().map(|touched| touched.channel).collect();
        let there = chain.channels(block, &ids).await?;
        let mut unlike = Vec::new();
        let mut broken = Findings::default();
        for (here, there) in here.iter().zip(&there) {
            if here.epoch == there.epoch {
                sum(totals.entry(here.hub_id).or_default(), there);
                hub_facts(here, there, &mut broken);
            }
            if differs(here, there) {
                unlike.push(*here);
            }
        }
        if unlike.is_empty() {
            findings.merge(broken, max);
            continue;
        }
        // What is newer than the snapshot is not known here yet, and needn't be.
        let ids: Vec<_> = unlike.iter().map(|touched| touched.channel).collect();
        let before = chain.channels(known, &ids).await?;
        let now = here
            .iter()
            .zip(&there)
            .filter(|(here, there)| differs(here, there));
        for ((here, there), before) in now.zip(&before) {
            compare(here, there, before, &mut broken);
        }
        findings.merge(broken, max);
    }
    Ok(totals)
}

fn sum(total: &mut OnChain, channel: &ChannelNumbers) {
    let add = |a: Amount, b: Amount| a.checked_add(b).unwrap_or(Amount::MAX);
    total.withdrawn = add(total.withdrawn, channel.withdrawn);
    total.deposited = add(total.deposited, channel.deposited);
    total.collateral = add(total.collateral, channel.collateral);
}

/// The hub may not know yet what happened; what did not happen it must not know.
fn hub_facts(here: &Touched, there: &ChannelNumbers, found: &mut Findings) {
    for (check, name, hub, there) in [
        (CheckId::R7, "executed", here.hub_executed, there.withdrawn),
        (
            CheckId::R8,
            "final_deposits",
            here.hub_deposits,
            there.deposited,
        ),
    ] {
        if hub > there {
            let row = Row {
                schema: "hub",
                table: "channel_facts",
                key: format!("{}/{}", here.hub_id, here.channel),
            };
            let expected = format!("{name}={there} at most, as on chain");
            found.found(
                (check, Class::MissingExternal),
                row,
                expected,
                format!("{name}={hub}"),
            );
        }
    }
}

fn differs(here: &Touched, there: &ChannelNumbers) -> bool {
    here.epoch != there.epoch
        || here.executed != there.withdrawn
        || here.final_deposits != there.deposited
}

/// `there` is the contract at the run's block, `before` at the newest block known here.
fn compare(here: &Touched, there: &ChannelNumbers, before: &ChannelNumbers, found: &mut Findings) {
    let row = || Row::account("channel_facts", format!("{}/{}", here.channel, here.epoch));
    if here.epoch != there.epoch {
        if here.epoch != before.epoch {
            let class = (CheckId::R7, Class::StaleState);
            let expected = format!("epoch={}, as on chain", before.epoch);
            found.found(class, row(), expected, format!("epoch={}", here.epoch));
        }
        return;
    }
    for (check, name, here, there, before) in [
        (
            CheckId::R7,
            "executed",
            here.executed,
            there.withdrawn,
            before.withdrawn,
        ),
        (
            CheckId::R8,
            "final_deposits",
            here.final_deposits,
            there.deposited,
            before.deposited,
        ),
    ] {
        let class = if here > there {
            Class::MissingExternal
        } else if here < before {
            Class::MissingInternal
        } else {
            continue;
        };
        let on_chain = if here > there { there } else { before };
        let expected = format!("{name}={on_chain}, as on chain");
        found.found((check, class), row(), expected, format!("{name}={here}"));
    }
}
