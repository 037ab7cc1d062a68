//! The balance of every account.

use super::{Case, READS};
use crate::import::{Difference, Imported};
use crate::model::Ledger;
use crate::plan::{NameIndex, Plan};
use crate::wire::{self, Balances};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hub_core::Amount;
use std::collections::BTreeMap;

/// What the system says accounts hold.
pub type Held = BTreeMap<NameIndex, Balances>;

/// Asks for the balance of every account that was opened.
pub async fn read(case: Case<'_>, imported: &Imported) -> anyhow::Result<Held> {
    let held = stream::iter(&imported.accounts)
        .map(|(index, opened)| async move {
            let path = format!("/v1/accounts/{}/balances", opened.id);
            let balances: Balances = wire::fetch(case.api, &path).await?;
            anyhow::Ok((*index, balances))
        })
        .buffer_unordered(READS)
        .try_collect()
        .await?;
    Ok(held)
}

/// Names every account that does not hold what the file leads to.
pub fn compare(plan: &Plan, ledger: &Ledger, held: &Held) -> Vec<Difference> {
    let difference = |index: NameIndex, what: &str, expected: Amount, found: String| {
        let name = plan.names.get(index as usize).map_or("?", String::as_str);
        Difference {
            line: None,
            what: format!("{what} of {name}"),
            expected: expected.to_string(),
            found,
        }
    };
    let mut differences = Vec::new();
    for (index, holding) in ledger.accounts() {
        let Some(found) = held.get(&index) else {
            let found = "no such account".to_owned();
            differences.push(difference(index, "balance", holding.balance, found));
            continue;
        };
        if found.available != holding.balance {
            let found = found.available.to_string();
            differences.push(difference(index, "balance", holding.balance, found));
        }
        if !found.locked.is_zero() {
            let found = found.locked.to_string();
            differences.push(difference(index, "locked balance", Amount::ZERO, found));
        }
    }
    differences
}
