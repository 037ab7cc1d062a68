//! R5 and R6: what users have against what was issued, and against what the contract holds.

use super::Context;
use super::batches::SignedTotals;
use super::settlement::OnChain;
use crate::chain::{ChainNumbers, ChainView, HubNumbers};
use crate::findings::{Findings, Row};
use crate::report::{CheckId, Class};
use crate::run::Error;
use crate::store::journal::Totals;
use crate::store::withdrawals::{self, Folded};
use hub_client::{FundingMode, Terms};
use hub_core::Amount;
use std::collections::HashMap;
use uuid::Uuid;

/// A sum that may fall below zero; 128 bits hold the sum of all channels of a hub.
fn signed(amount: Amount) -> i128 {
    i128::try_from(amount.units()).unwrap_or(i128::MAX)
}

fn sum(parts: &[i128]) -> i128 {
    parts
        .iter()
        .fold(0_i128, |sum, part| sum.saturating_add(*part))
}

/// Operations summed up, by hub.
pub type ByHub = HashMap<Uuid, Totals>;

/// R5 of each hub: the credit line enters no total.
pub fn issue_identity(context: &mut Context, users: &SignedTotals, totals: &ByHub) {
    let mut hubs: Vec<_> = context
        .hubs
        .keys()
        .chain(users.keys())
        .chain(totals.keys())
        .collect();
    hubs.sort_unstable();
    hubs.dedup();
    let mut findings = Findings::default();
    for hub in hubs {
        findings.compared(CheckId::R5, 1);
        let t = totals.get(hub).copied().unwrap_or_default();
        let minus = |amount| -signed(amount);
        let expected = sum(&[
            signed(t.issued),
            minus(t.redeemed),
            signed(t.deposited),
            minus(t.withdrawn),
            signed(t.refunded),
            minus(t.settled),
            signed(t.gained),
            minus(t.lost),
        ]);
        let found = signed(users.get(hub).copied().unwrap_or_default());
        if expected != found {
            let text = format!(
                "users have {expected}: issued {} - redeemed {} + deposited {} - withdrawn {} + refunded {} - settled {} + recovered {}",
                t.issued,
                t.redeemed,
                t.deposited,
                t.withdrawn,
                t.refunded,
                t.settled,
                sum(&[signed(t.gained), minus(t.lost)])
            );
            let class = (CheckId::R5, Class::AmountMismatch);
            findings.found(
                class,
                Row::account("hubs", hub),
                text,
                format!("users have {found}"),
            );
        }
    }
    context.merge(findings);
}

/// R6: vaults against what they owe, the contract against its books, the supply against what
/// was created.
pub async fn escrow<C: ChainView>(
    context: &mut Context,
    chain: &C,
    users: &SignedTotals,
    totals: &ByHub,
    on_chain: &HashMap<Uuid, OnChain>,
) -> Result<(), Error> {
    let folded: HashMap<_, _> = withdrawals::folded(&mut context.tx)
        .await?
        .into_iter()
        .collect();
    let hubs = context.hubs.clone();
    let addresses: Vec<_> = hubs.values().map(|terms| terms.hub).collect();
    let numbers = chain.numbers(context.block, &addresses).await?;
    let mut findings = Findings::default();
    let mut held = 0_i128;
    for (hub_id, terms) in hubs.iter() {
        let Some(hub) = numbers.hubs.get(&terms.hub) else {
            let class = (CheckId::R6, Class::MissingExternal);
            let row = Row::account("hubs", hub_id);
            findings.found(
                class,
                row,
                format!("hub {} registered", terms.hub),
                "not registered",
            );
            continue;
        };
        let there = on_chain.get(hub_id).copied().unwrap_or_default();
        held = sum(&[held, signed(hub.bond), signed(there.collateral)]);
        if terms.mode == FundingMode::Vault {
            held = held.saturating_add(signed(hub.funds));
            let owes = Owed {
                users: users.get(hub_id).copied().unwrap_or_default(),
                folded: folded.get(hub_id).copied().unwrap_or_default(),
                there,
            };
            vault(*hub_id, hub, &owes, &mut findings);
        }
    }
    findings.compared(CheckId::R6, 1);
    if signed(numbers.contract_balance) < held {
        let row = Row::account("hubs", "all");
        let expected = format!("the contract holds {held}: vaults, bonds and collateral");
        let found = format!("it holds {}", numbers.contract_balance);
        findings.found((CheckId::R6, Class::MissingExternal), row, expected, found);
    }
    supply(&hubs, &numbers, (totals, on_chain), &mut findings);
    context.merge(findings);
    Ok(())
}

/// What a hub's vault may have to pay.
struct Owed {
    users: Amount,
    folded: Folded,
    there: OnChain,
}

/// Headroom (P4) is never below zero.
fn vault(hub_id: Uuid, hub: &HubNumbers, owes: &Owed, findings: &mut Findings) {
    findings.compared(CheckId::R6, 1);
    let there = &owes.there;
    let payable = sum(&[
        signed(owes.users),
        signed(owes.folded.hub_locked),
        // Withdrawals that are taken from balances and not paid yet.
        signed(owes.folded.withdrawn),
        -signed(there.withdrawn),
        // Deposits that are paid in and not in balances yet.
        signed(there.deposited),
        -signed(owes.folded.deposited),
        signed(hub.owed),
    ]);
    let available = sum(&[signed(hub.funds), signed(there.collateral)]);
    if available < payable {
        let row = Row::account("hubs", hub_id);
        let expected = format!("vault and collateral of at least {payable}");
        let class = (CheckId::R6, Class::MissingExternal);
        findings.found(class, row, expected, available);
    }
}

/// Mint mode: what was paid out and not paid in again is all the contract created. Which
/// channels the contract paid is known for those of the hubs here.
fn supply(
    hubs: &HashMap<Uuid, Terms>,
    numbers: &ChainNumbers,
    (totals, on_chain): (&ByHub, &HashMap<Uuid, OnChain>),
    findings: &mut Findings,
) {
    let minting: Vec<_> = hubs
        .iter()
        .filter(|(_, t)| t.mode == FundingMode::Mint)
        .collect();
    if minting.is_empty() {
        return;
    }
    findings.compared(CheckId::R6, 1);
    let created = minting.iter().fold(0_i128, |sum, (id, _)| {
        let there = on_chain.get(*id).copied().unwrap_or_default();
        sum.saturating_add(signed(there.withdrawn) - signed(there.deposited))
    });
    let row = || Row::account("hubs", ids(&minting));
    let class = (CheckId::R6, Class::AmountMismatch);
    let found = signed(numbers.total_supply);
    match numbers.created_elsewhere {
        Some(elsewhere) if found != sum(&[signed(elsewhere), created]) => {
            let expected = format!(
                "supply of {}: {elsewhere} created elsewhere, {created} paid out and not paid in again",
                sum(&[signed(elsewhere), created])
            );
            findings.found(class, row(), expected, format!("supply of {found}"));
        }
        None if found < created => {
            let expected = format!("supply of at least {created}, paid out and not paid in again");
            findings.found(class, row(), expected, format!("supply of {found}"));
        }
        _ => {}
    }
    // More can't have been paid than users' balances were lowered by.
    let ordered = minting.iter().fold(0_i128, |sum, (id, _)| {
        let t = totals.get(*id).copied().unwrap_or_default();
        sum.saturating_add(signed(t.withdrawn) - signed(t.refunded) - signed(t.deposited))
    });
    if created > ordered {
        let expected = format!("at most {ordered} paid out: withdrawn - refunded - deposited");
        findings.found(
            class,
            row(),
            expected,
            format!("{created} paid out and not paid in again"),
        );
    }
}

fn ids(hubs: &[(&Uuid, &Terms)]) -> String {
    let mut ids: Vec<_> = hubs.iter().map(|(id, _)| id.to_string()).collect();
    ids.sort_unstable();
    ids.join(" ")
}
