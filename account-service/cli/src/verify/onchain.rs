//! The ERC20 before and after.

use super::payouts::{Ordered, by_address};
use super::{Case, READS};
use crate::import::Difference;
use crate::model::Ledger;
use crate::report::Change;
use crate::wire::Mode;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hub_core::{Address, Amount};
use std::collections::BTreeMap;

/// The chain at one moment. Amounts in minor units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// ERC20 supply.
    pub supply: Amount,
    /// What the channel contract has.
    pub contract: Amount,
    /// What the payout addresses have.
    pub balances: BTreeMap<Address, Amount>,
    /// Transactions that the hub's operator has sent.
    pub transactions: u64,
}

/// Reads the chain.
pub async fn snapshot(case: Case<'_>, ordered: &[Ordered]) -> anyhow::Result<Snapshot> {
    let chain = case.chain;
    let addresses: Vec<_> = by_address(ordered).into_keys().collect();
    let balances = stream::iter(addresses)
        .map(|address| async move { anyhow::Ok((address, chain.balance(address).await?)) })
        .buffer_unordered(READS)
        .try_collect()
        .await?;
    Ok(Snapshot {
        supply: chain.supply().await?,
        contract: chain.balance(chain.channels()).await?,
        balances,
        transactions: chain.transactions(case.hub.address).await?,
    })
}

/// A value before and after.
pub fn change(chains: [&Snapshot; 2], value: impl Fn(&Snapshot) -> Amount) -> Change {
    Change {
        before: value(chains[0]),
        after: value(chains[1]),
    }
}

/// Names every payout address that did not get exactly what is `paid`.
pub fn compare_payouts(
    chains: [&Snapshot; 2],
    paid: &BTreeMap<Address, Amount>,
) -> Vec<Difference> {
    let balance = |snapshot: &Snapshot, address: &Address| {
        snapshot.balances.get(address).copied().unwrap_or_default()
    };
    let addresses = chains[1].balances.keys();
    addresses
        .filter_map(|address| {
            let before = balance(chains[0], address);
            let paid = paid.get(address).copied().unwrap_or_default();
            let what = format!("ERC20 balance of {}", address.checksummed());
            differs(what, before.checked_add(paid), balance(chains[1], address))
        })
        .collect()
}

/// Compares supply and contract with what was paid, on a chain that nothing else uses. In mint
/// mode what is paid is minted then; in vault mode it leaves the contract, into which the hub
/// may have paid meanwhile, and what the accounts still hold must lie there.
pub fn compare_supply(
    mode: Mode,
    chains: [&Snapshot; 2],
    paid: &BTreeMap<Address, Amount>,
    ledger: &Ledger,
) -> Vec<Difference> {
    let [before, after] = chains;
    let total = Amount::sum(paid.values().copied()).unwrap_or(Amount::MAX);
    match mode {
        Mode::Mint => {
            let minted = before.supply.checked_add(total);
            let supply = differs("ERC20 supply".into(), minted, after.supply);
            let contract = differs(
                "ERC20 balance of the contract".into(),
                Some(before.contract),
                after.contract,
            );
            supply.into_iter().chain(contract).collect()
        }
        Mode::Vault => {
            let mut differences = Vec::new();
            let left = after.contract.checked_add(total);
            let funded = left.and_then(|left| left.checked_sub(before.contract));
            let least = |what: &str, least: String, found: Amount| Difference {
                line: None,
                what: what.into(),
                expected: least,
                found: found.to_string(),
            };
            let what = "ERC20 balance of the contract";
            let Some(funded) = funded else {
                let text = format!("{} less payouts of {total}", before.contract);
                return vec![least(what, text, after.contract)];
            };
            let held = ledger.totals().held;
            if after.contract < held {
                let text = format!("at least {held}, which the accounts hold");
                differences.push(least(what, text, after.contract));
            }
            let most = before.supply.checked_add(funded);
            if after.supply < before.supply || Some(after.supply) > most {
                let text = format!("{} and at most {funded} more", before.supply);
                differences.push(least("ERC20 supply", text, after.supply));
            }
            differences
        }
    }
}

fn differs(what: String, expected: Option<Amount>, found: Amount) -> Option<Difference> {
    (expected != Some(found)).then(|| Difference {
        line: None,
        what,
        expected: expected.map_or("more than there can be".into(), |amount| amount.to_string()),
        found: found.to_string(),
    })
}
