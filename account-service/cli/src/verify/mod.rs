//! Compares the system with what the file leads to, over the public API and the chain alone.

pub mod balances;
pub mod onchain;
pub mod payouts;
pub mod system;

use system::{channels, entries, proof, reconcile};

use crate::chain::Chain;
use crate::client::Api;
use crate::import::{Difference, Imported, Settings};
use crate::model::Ledger;
use crate::plan::{NameIndex, Plan};
use crate::progress::Progress;
use crate::report::Verified;
use crate::wire::Hub;
use onchain::Snapshot;
use payouts::Ordered;
use std::collections::HashSet;

/// Reads under way at once.
pub const READS: usize = 16;

/// What is compared with what.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The API.
    pub api: &'a Api,
    /// The chain.
    pub chain: &'a Chain,
    /// The file.
    pub plan: &'a Plan,
    /// What it leads to.
    pub ledger: &'a Ledger,
    /// The run.
    pub settings: &'a Settings,
    /// The hub.
    pub hub: &'a Hub,
    /// Whether nothing else uses the system, so that supply and contract must be exact too.
    pub alone: bool,
}

impl Case<'_> {
    /// Name of an account.
    pub fn name(&self, account: NameIndex) -> &str {
        self.plan
            .names
            .get(account as usize)
            .map_or("?", String::as_str)
    }
}

/// The chain before an import, and the withdrawals that an earlier start of it had paid by then.
#[derive(Debug, Clone)]
pub struct Before {
    snapshot: Snapshot,
    paid: HashSet<usize>,
}

/// Looks at the chain before an import. Withdrawals of an earlier start are waited for, so that
/// each is wholly before or wholly after.
pub async fn before(case: Case<'_>, progress: &mut Progress) -> anyhow::Result<Before> {
    let ordered = payouts::ordered(case.plan);
    let paid = payouts::settle_earlier(case, &ordered, progress).await?;
    Ok(Before {
        snapshot: onchain::snapshot(case, &ordered).await?,
        paid,
    })
}

/// Compares everything after an import.
pub async fn after(
    case: Case<'_>,
    imported: &Imported,
    before: &Before,
    progress: &mut Progress,
) -> anyhow::Result<(Verified, Vec<Difference>)> {
    let mut differences = Vec::new();
    let ordered = payouts::ordered(case.plan);
    let states = payouts::wait(case, imported, &ordered, progress).await?;
    differences.extend(payouts::compare(case, &ordered, &states));

    progress.step("comparing balances, entries and channels");
    let held = balances::read(case, imported).await?;
    differences.extend(balances::compare(case.plan, case.ledger, &held));
    let (entries, found) = entries(case, imported).await?;
    differences.extend(found);
    let (channels_restored, found) = channels(case, imported).await?;
    differences.extend(found);

    progress.step("reading the chain, checking a proof");
    let snapshot = onchain::snapshot(case, &ordered).await?;
    let fresh = |ordered: &&Ordered| !before.paid.contains(&ordered.index);
    let expected = payouts::by_address(ordered.iter().filter(fresh));
    let chains = [&before.snapshot, &snapshot];
    differences.extend(onchain::compare_payouts(chains, &expected));
    if case.alone {
        let mode = case.hub.funding_mode;
        differences.extend(onchain::compare_supply(
            mode,
            chains,
            &expected,
            case.ledger,
        ));
    }
    let (proof, found) = proof(case, imported).await?;
    differences.extend(found);

    progress.step("reconciling ledger, channels and chain");
    let (reconciliation, found) = reconcile(case).await?;
    differences.extend(found);
    let sent = snapshot
        .transactions
        .saturating_sub(before.snapshot.transactions);
    let operations = u64::try_from(case.plan.operations.len().max(1)).unwrap_or(u64::MAX);
    let verified = Verified {
        balances: held.len(),
        entries,
        payouts: payouts::shown(&ordered, &states, chains),
        channels_restored,
        supply: onchain::change(chains, |snapshot| snapshot.supply),
        contract: onchain::change(chains, |snapshot| snapshot.contract),
        chain_transactions: sent,
        chain_transactions_per_100k: sent.saturating_mul(100_000) / operations,
        proof,
        reconciliation,
    };
    Ok((verified, differences))
}
