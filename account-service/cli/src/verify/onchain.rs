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
/// mode what is paid is minted then; in vault mode it leaves the contract, and what the accounts
/// still hold must lie there. A vault may be filled at any time, from a stock or with new tokens.
pub fn compare_supply(
    mode: Mode,
    chains: [&Snapshot; 2],
    paid: &BTreeMap<Address, Amount>,
    ledger: &Ledger,
) -> Vec<Difference> {
    let [before, after] = chains;
    let total = Amount::sum(paid.values().copied()).unwrap_or(Amount::MAX);
    let (minted, taken) = match mode {
        Mode::Mint => (total, Amount::ZERO),
        Mode::Vault => (Amount::ZERO, total),
    };
    let difference = |what: &str, expected: String, found: Amount| Difference {
        line: None,
        what: what.into(),
        expected,
        found: found.to_string(),
    };
    let what = "ERC20 balance of the contract";
    let whole = after.contract.checked_add(taken);
    let Some(filled) = whole.and_then(|whole| whole.checked_sub(before.contract)) else {
        let least = format!("at least {} less payouts of {taken}", before.contract);
        return vec![difference(what, least, after.contract)];
    };
    let mut differences = Vec::new();
    let held = ledger.totals().held;
    if mode == Mode::Vault && after.contract < held {
        let least = format!("at least {held}, which the accounts hold");
        differences.push(difference(what, least, after.contract));
    }
    let least = before.supply.checked_add(minted);
    let most = least.and_then(|least| least.checked_add(filled));
    if Some(after.supply) < least || Some(after.supply) > most {
        let range = format!(
            "{} and {minted} for payouts, at most {filled} more for the vault",
            before.supply
        );
        differences.push(difference("ERC20 supply", range, after.supply));
    }
    differences
}

fn differs(what: String, expected: Option<Amount>, found: Amount) -> Option<Difference> {
    (expected != Some(found)).then(|| Difference {
        line: None,
        what,
        expected: expected.map_or("more than there can be".into(), |amount| amount.to_string()),
        found: found.to_string(),
    })
}
