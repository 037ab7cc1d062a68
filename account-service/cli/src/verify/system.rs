//! Entries, channels, one proof, and the system's own reconciliation.

use super::{Case, READS};
use crate::import::{Difference, Imported, Opened, POLL};
use crate::plan::{Action, Expect, NameIndex};
use crate::proof::{self as proofs, Shown};
use crate::report::Reconciliation;
use crate::wire::{self, Break, Channel, Entry, Page, Run, uuid_of};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hub_core::Amount;
use hub_core::proof::ChannelProof;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;
use uuid::Uuid;

/// One side of an operation: the operation, whether it is a debit, how much.
pub type Side = (Uuid, bool, Amount);

fn difference(what: String, expected: impl ToString, found: impl ToString) -> Difference {
    Difference {
        line: None,
        what,
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

/// Reads all entries of all accounts and compares them with the operations that were done: each
/// once on each of its accounts, and nothing else. Says how many were compared.
pub async fn entries(
    case: Case<'_>,
    imported: &Imported,
) -> anyhow::Result<(usize, Vec<Difference>)> {
    let expected = sides(case, imported);
    let found: Vec<(NameIndex, Vec<Entry>)> = stream::iter(&imported.accounts)
        .map(|(index, opened)| async move {
            let entries = wire::entries(case.api, &opened.id, |_| false).await?;
            anyhow::Ok((*index, entries))
        })
        .buffer_unordered(READS)
        .try_collect()
        .await?;
    let mut compared = 0;
    let mut differences = Vec::new();
    for (index, entries) in found {
        let sides: Vec<Side> = entries
            .iter()
            .filter(|entry| entry.kind != "open")
            .filter_map(|entry| {
                let id = uuid_of(&entry.operation_id)?;
                Some((id, entry.direction == "debit", entry.amount))
            })
            .collect();
        compared += sides.len();
        let none = Vec::new();
        let expected = expected.get(&index).unwrap_or(&none);
        differences.extend(compare_entries(case.name(index), expected, &sides));
    }
    differences.sort();
    Ok((compared, differences))
}

/// The sides of all operations that were done, by account.
fn sides(case: Case<'_>, imported: &Imported) -> HashMap<NameIndex, Vec<Side>> {
    let mut sides: HashMap<NameIndex, Vec<Side>> = HashMap::new();
    for (index, operation) in case.plan.operations.iter().enumerate() {
        let (Some(id), Expect::Done) = (imported.ids.get(&index), &operation.expect) else {
            continue;
        };
        let mut side = |account, debit, amount| {
            sides.entry(account).or_default().push((*id, debit, amount));
        };
        match operation.action {
            Action::Issue { account, amount } => side(account, false, amount),
            Action::Redeem { account, amount }
            | Action::Withdraw {
                account, amount, ..
            } => {
                side(account, true, amount);
            }
            Action::Transfer { from, to, amount } => {
                side(from, true, amount);
                side(to, false, amount);
            }
            Action::Open { .. } | Action::Balance { .. } => {}
        }
    }
    sides
}

/// Names entries that are missing, there more than once, or not of the file.
pub fn compare_entries(name: &str, expected: &[Side], found: &[Side]) -> Vec<Difference> {
    let mut counts: BTreeMap<Side, (usize, usize)> = BTreeMap::new();
    for side in expected {
        counts.entry(*side).or_default().0 += 1;
    }
    for side in found {
        counts.entry(*side).or_default().1 += 1;
    }
    counts
        .into_iter()
        .filter(|(_, (expected, found))| expected != found)
        .map(|((id, debit, amount), (expected, found))| {
            let side = if debit { "debits" } else { "credits" };
            difference(
                format!("{side} of {amount} by operation {id} on {name}"),
                expected,
                found,
            )
        })
        .collect()
}

/// Checks that the channels of all accounts with withdrawals are whole again. Says how many are.
pub async fn channels(
    case: Case<'_>,
    imported: &Imported,
) -> anyhow::Result<(usize, Vec<Difference>)> {
    let with_withdrawals = case
        .ledger
        .accounts()
        .filter(|(_, holding)| !holding.withdrawn.is_zero())
        .filter_map(|(index, holding)| Some((index, holding, imported.accounts.get(&index)?)));
    let found: Vec<Vec<Difference>> = stream::iter(with_withdrawals)
        .map(|(index, holding, opened)| async move {
            let path = format!("/v1/channels/{}", opened.channel);
            let channel: Channel = wire::fetch(case.api, &path).await?;
            anyhow::Ok(compare_channel(
                case.name(index),
                [holding.balance, holding.withdrawn],
                &channel,
            ))
        })
        .buffered(READS)
        .try_collect()
        .await?;
    let restored = found.iter().filter(|list| list.is_empty()).count();
    Ok((restored, found.into_iter().flatten().collect()))
}

/// Names what is not restored in a channel whose user side must hold and have withdrawn so much.
pub fn compare_channel(
    name: &str,
    [balance, withdrawn]: [Amount; 2],
    channel: &Channel,
) -> Vec<Difference> {
    let both = channel.hub_balance.checked_add(channel.user_balance);
    let rows = [
        (
            "hub and user balance",
            channel.capacity,
            both.unwrap_or(Amount::MAX),
        ),
        ("user balance", balance, channel.user_balance),
        ("withdrawn total", withdrawn, channel.withdrawn),
        ("locks", Amount::ZERO, channel.locked),
    ];
    rows.into_iter()
        .filter(|(_, expected, found)| expected != found)
        .map(|(what, expected, found)| {
            difference(format!("{what} in the channel of {name}"), expected, found)
        })
        .collect()
}

/// Fetches the proof of one account, of one with a withdrawal if there is any, and checks it
/// offline.
pub async fn proof(
    case: Case<'_>,
    imported: &Imported,
) -> anyhow::Result<(Option<Shown>, Vec<Difference>)> {
    let richest = case
        .ledger
        .accounts()
        .filter_map(|(index, holding)| Some((holding, index, imported.accounts.get(&index)?)))
        .max_by_key(|(holding, _, _)| (!holding.withdrawn.is_zero(), holding.balance));
    let Some((holding, index, opened)) = richest else {
        return Ok((None, Vec::new()));
    };
    let name = case.name(index);
    let proof = fetch(case, opened).await?;
    let shown = match proofs::check(&proof) {
        Ok(shown) => shown,
        Err(error) => {
            let what = format!("proof of {name}");
            return Ok((None, vec![difference(what, "valid", error)]));
        }
    };
    let rows = [
        (
            "channel",
            opened.channel.to_string(),
            shown.channel.to_string(),
        ),
        (
            "user balance",
            holding.balance.to_string(),
            shown.user_balance.to_string(),
        ),
        (
            "withdrawn total",
            holding.withdrawn.to_string(),
            shown.withdrawn.to_string(),
        ),
        (
            "chain",
            case.chain.id().await?.to_string(),
            shown.chain_id.to_string(),
        ),
        (
            "contract",
            case.chain.channels().to_string(),
            shown.contract.to_string(),
        ),
        ("newest state", "true".into(), shown.newest.to_string()),
    ];
    let differences: Vec<_> = rows
        .into_iter()
        .filter(|(_, expected, found)| expected != found)
        .map(|(what, expected, found)| {
            difference(format!("{what} in the proof of {name}"), expected, found)
        })
        .collect();
    // A valid proof of something else proves nothing here.
    let shown = differences.is_empty().then(|| Shown {
        account: Some(name.to_owned()),
        ..shown
    });
    Ok((shown, differences))
}

async fn fetch(case: Case<'_>, opened: &Opened) -> anyhow::Result<ChannelProof> {
    let path = format!("/v1/channels/{}/states/latest/proof", opened.channel);
    Ok(wire::fetch(case.api, &path).await?)
}

/// Starts a reconciliation and waits for its verdict.
pub async fn reconcile(case: Case<'_>) -> anyhow::Result<(Reconciliation, Vec<Difference>)> {
    let path = "/v1/reconciliation/runs";
    // Each run looks anew; an answer from an earlier one would prove nothing.
    let key = format!(
        "{}:reconciliation:{}",
        case.settings.run_id,
        Uuid::now_v7().simple()
    );
    let answer = case.api.post(path, &key, &json!({})).await?;
    if !answer.is_done() {
        return Err(crate::client::unexpected("POST", path, &answer).into());
    }
    let mut run: Run = wire::document(path, answer.body)?;
    let begun = Instant::now();
    while run.status == "running" && begun.elapsed() < case.settings.wait {
        tokio::time::sleep(POLL).await;
        run = wire::fetch(case.api, &format!("{path}/{}", run.id)).await?;
    }
    let mut breaks = Vec::new();
    if run.status == "breaks" {
        let path = format!("{path}/{}/breaks?limit=100", run.id);
        let page: Page<Break> = wire::fetch(case.api, &path).await?;
        breaks = page.data;
    }
    let mut differences = Vec::new();
    if run.status != "clean" {
        let why = run.failure.as_deref().unwrap_or_default();
        let found = format!("{} {why}", run.status);
        differences.push(difference("reconciliation".into(), "clean", found.trim()));
    }
    let reconciliation = Reconciliation {
        id: run.id,
        status: run.status,
        checks: run.checks,
        breaks,
    };
    Ok((reconciliation, differences))
}
