//! Withdrawals: ordered by the file, paid by the chain.

use super::onchain::Snapshot;
use super::{Case, READS};
use crate::import::{Difference, Imported, POLL};
use crate::plan::{Action, Expect, Plan};
use crate::progress::Progress;
use crate::report::{Change, Payout};
use crate::wire::{self, Page, Posted};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hub_core::{Address, Amount};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

/// A withdrawal that the file orders and expects to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ordered {
    /// Its place in the plan.
    pub index: usize,
    /// Its line number.
    pub line: u64,
    /// Minor units.
    pub amount: Amount,
    /// Who is paid.
    pub to: Address,
}

/// The withdrawals as the API shows them, by their place in the plan.
pub type States = BTreeMap<usize, Posted>;

/// The withdrawals of a file, in file order.
pub fn ordered(plan: &Plan) -> Vec<Ordered> {
    let mut own = HashMap::new();
    let mut all = Vec::new();
    for (index, operation) in plan.operations.iter().enumerate() {
        if operation.expect != Expect::Done {
            continue;
        }
        match operation.action {
            Action::Open {
                account,
                chain_address: Some(address),
            } => {
                own.insert(account, address);
            }
            Action::Withdraw {
                account,
                amount,
                to,
            } => {
                // A file that agrees with the model has an address for each.
                if let Some(to) = to.or_else(|| own.get(&account).copied()) {
                    all.push(Ordered {
                        index,
                        line: operation.line,
                        amount,
                        to,
                    });
                }
            }
            _ => {}
        }
    }
    all
}

/// What each address is paid by some withdrawals.
pub fn by_address<'a>(ordered: impl IntoIterator<Item = &'a Ordered>) -> BTreeMap<Address, Amount> {
    let mut sums: BTreeMap<Address, Amount> = BTreeMap::new();
    for payout in ordered {
        let sum = sums.entry(payout.to).or_default();
        // Payouts of one file stay far below 2^128; one beyond would differ from the chain.
        *sum = sum.checked_add(payout.amount).unwrap_or(Amount::MAX);
    }
    sums
}

fn is_final(posted: &Posted) -> bool {
    matches!(posted.status.as_str(), "completed" | "failed" | "cancelled")
}

/// Waits until all withdrawals that exist already are paid, and says which they are.
pub async fn settle_earlier(
    case: Case<'_>,
    ordered: &[Ordered],
    progress: &mut Progress,
) -> anyhow::Result<HashSet<usize>> {
    let begun = Instant::now();
    loop {
        let found: Vec<(usize, Vec<Posted>)> = stream::iter(ordered)
            .map(|payout| async move {
                let key = case.settings.key(payout.line);
                let path = format!("/v1/withdrawals?client_ref={key}");
                let page: Page<Posted> = wire::fetch(case.api, &path).await?;
                anyhow::Ok((payout.index, page.data))
            })
            .buffer_unordered(READS)
            .try_collect()
            .await?;
        let open = found
            .iter()
            .filter(|(_, list)| !list.iter().all(is_final))
            .count();
        if open == 0 || begun.elapsed() > case.settings.wait {
            let exists = |(index, list): (usize, Vec<Posted>)| (!list.is_empty()).then_some(index);
            return Ok(found.into_iter().filter_map(exists).collect());
        }
        progress.update(|| format!("waiting for {open} withdrawals of an earlier start"));
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until every withdrawal is paid or has failed, or for as long as it may take.
pub async fn wait(
    case: Case<'_>,
    imported: &Imported,
    ordered: &[Ordered],
    progress: &mut Progress,
) -> anyhow::Result<States> {
    let begun = Instant::now();
    let mut states = States::new();
    loop {
        for payout in ordered {
            if states.get(&payout.index).is_some_and(is_final) {
                continue;
            }
            let Some(id) = imported.ids.get(&payout.index) else {
                continue;
            };
            let path = format!("/v1/withdrawals/wdr_{}", id.simple());
            let posted: Posted = wire::fetch(case.api, &path).await?;
            states.insert(payout.index, posted);
        }
        let open = states.values().filter(|posted| !is_final(posted)).count();
        if open == 0 || begun.elapsed() > case.settings.wait {
            progress.clear();
            return Ok(states);
        }
        let paid = states.len() - open;
        progress.update(|| format!("{paid} of {} withdrawals paid on chain", states.len()));
        tokio::time::sleep(POLL).await;
    }
}

/// Names every withdrawal that is not paid.
pub fn compare(case: Case<'_>, ordered: &[Ordered], states: &States) -> Vec<Difference> {
    let differs = |payout: &Ordered| {
        let found = match states.get(&payout.index) {
            None => "no such withdrawal".to_owned(),
            Some(posted) if posted.status == "completed" && posted.tx_hash.is_some() => {
                return None;
            }
            Some(posted) if posted.status == "completed" => "completed without transaction".into(),
            Some(posted) if is_final(posted) => {
                let why = posted.failure.as_deref().unwrap_or("no reason given");
                format!("{}: {why}", posted.status)
            }
            Some(posted) => {
                format!(
                    "still {} after {} s",
                    posted.status,
                    case.settings.wait.as_secs()
                )
            }
        };
        Some(Difference {
            line: Some(payout.line),
            what: "withdrawal".into(),
            expected: "completed".into(),
            found,
        })
    };
    ordered.iter().filter_map(differs).collect()
}

/// The withdrawals as a person wants to see them.
pub fn shown(ordered: &[Ordered], states: &States, chains: [&Snapshot; 2]) -> Vec<Payout> {
    let balance =
        |snapshot: &Snapshot, to: &Address| snapshot.balances.get(to).copied().unwrap_or_default();
    let show = |payout: &Ordered| {
        let state = states.get(&payout.index);
        Payout {
            line: payout.line,
            amount: payout.amount,
            to: payout.to,
            status: state.map_or("unknown".into(), |state| state.status.clone()),
            tx_hash: state.and_then(|state| state.tx_hash.clone()),
            on_chain: Change {
                before: balance(chains[0], &payout.to),
                after: balance(chains[1], &payout.to),
            },
        }
    };
    ordered.iter().map(show).collect()
}
