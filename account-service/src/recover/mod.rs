//! Takes back from the hub what a database that was set back has lost (N5).
//!
//! Heads, balances, versions and batches become what both sides signed. Openings, withdrawals,
//! refunds and deposits come back by their own names, from the hub's orders and the chain. What
//! was moved between accounts, issued or redeemed is not told apart by what was signed: each
//! state's rest is one line of its own kind. Idempotency keys and references of what was lost
//! were known to that database alone.

mod batch;
mod chain;
mod lines;

use crate::config::HubOption;
use crate::engine::Refused;
use crate::store::{batches, hubs, hubs_write, pending, recover};
use anyhow::{Context as _, ensure};
use batch::{Books, Brought};
use hub_client::{Fate, HubClient, SignedOrders, Terms};
use hub_core::{Address, OperationId};
use sqlx::PgPool;
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;
use uuid::Uuid;

/// Journal entries read at once.
const JOURNAL_PAGE: u32 = 1_000;
/// Orders asked for at once; the hub takes as many.
const ORDERS: usize = 1_000;
/// How long the hub may take for a page.
const HUB_LIMIT: Duration = Duration::from_secs(30);

/// Where to take it from.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// URL of Postgres, as role chub_account
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// The hub and the file with the token for it, as URL,TOKEN_FILE
    #[arg(long)]
    pub hub: HubOption,
    /// URL of a node: deposits and payouts that were lost are read from the chain
    #[arg(long, env = "CHAIN_RPC")]
    pub chain_rpc: String,
    /// Address of the ERC20
    #[arg(long, env = "TOKEN_ADDRESS")]
    pub token_address: Address,
    /// Address of the channel contract
    #[arg(long, env = "CHANNELS_ADDRESS")]
    pub channels_address: Address,
    /// Blocks on top of one that is final
    #[arg(long, env = "CONFIRMATIONS", default_value_t = 6)]
    pub confirmations: u64,
    /// Block from which on the chain is read: at least as old as the backup
    #[arg(long, env = "DEPLOY_BLOCK", default_value_t = 0)]
    pub from_block: u64,
    /// Code of the asset
    #[arg(long, env = "ASSET", default_value = "INF")]
    pub asset: String,
    /// Whose accounts are to be that were opened after the backup: an owner of API keys
    #[arg(long)]
    pub owner: Option<Uuid>,
}

/// Does it, and says what came back. Can be run again whenever it was stopped.
pub async fn run(pool: &PgPool, options: &Options) -> anyhow::Result<()> {
    let token = runtime::config::read_secret(&options.hub.token_file)?;
    let client = HubClient::new(&options.hub.url, &token, HUB_LIMIT)?;
    let terms = fenced(pool, &client).await?;
    let place = chain::Place {
        rpc: options.chain_rpc.clone(),
        token: options.token_address,
        channels: options.channels_address,
        from: options.from_block,
        confirmations: options.confirmations,
    };
    let told = chain::read(&place, terms.hub).await?;
    let books = Books {
        terms: &terms,
        told: &told,
        asset: &options.asset,
        owner: options.owner,
    };
    let lost = lost(pool, &client, terms.hub_id).await?;
    let brought = bring(pool, &client, &books, &lost).await?;
    let orders = take_terms(pool, &client, &terms).await?;
    chain::note(pool, &place, &told).await?;
    let failed = fail_waiting(pool, terms.hub_id).await?;
    println!(
        "{} batches are back: {} states, {} accounts, {} lines; {orders} orders have their terms, \
         {failed} issuances that waited have failed",
        lost.len(),
        brought.states,
        brought.accounts,
        brought.lines,
    );
    println!(
        "keys and references of lost requests are unknown: have callers compare entries before \
         they repeat anything; then compare with the newest anchor and lift the fence"
    );
    Ok(())
}

/// The terms of the hub as they are stored here. Nothing may be posted meanwhile, so its fence
/// must be up.
async fn fenced(pool: &PgPool, client: &HubClient) -> anyhow::Result<Terms> {
    let theirs = client.terms().await.context("asking the hub")?;
    let known = hubs::list(pool).await?;
    let ours = known.into_iter().map(|hub| hub.terms);
    let ours = ours
        .into_iter()
        .find(|terms| terms.hub_id == theirs.hub_id)
        .context("this hub was never connected to this database")?;
    ensure!(
        ours.same_identity(&theirs),
        "the hub has other keys, another contract or another funding mode than before"
    );
    let fence = hubs_write::read_fence(pool, ours.hub_id).await?;
    ensure!(
        fence.is_some(),
        "the fence of this hub is not up; raise it first"
    );
    Ok(ours)
}

/// Numbers of the batches that the hub holds with both signatures and that are not here.
async fn lost(pool: &PgPool, client: &HubClient, hub_id: Uuid) -> anyhow::Result<BTreeSet<u64>> {
    let (mut after, mut lost) = (0, BTreeSet::new());
    loop {
        let page = client.journal(after, JOURNAL_PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(lost);
        };
        after = last.batch_id;
        let committed = page
            .iter()
            .filter(|entry| matches!(entry.fate, Some(Fate::Committed { .. })));
        let ids: Vec<_> = committed.map(|entry| entry.batch_id).collect();
        let here = batches::read(pool, hub_id, &ids).await?;
        let burned = |fate: &batches::StoredFate| *fate == batches::StoredFate::Burned;
        if let Some((id, _)) = here.iter().find(|(_, fate)| burned(fate)) {
            anyhow::bail!("batch {id} was burned here, and the hub holds it with our signature");
        }
        let here: HashSet<_> = here.into_iter().map(|(id, _)| id).collect();
        lost.extend(ids.into_iter().filter(|id| !here.contains(id)));
    }
}

/// Writes the lost batches down, oldest first, each in a transaction of its own.
async fn bring(
    pool: &PgPool,
    client: &HubClient,
    books: &Books<'_>,
    lost: &BTreeSet<u64>,
) -> anyhow::Result<Brought> {
    let mut all = Brought::default();
    let (Some(first), Some(last)) = (lost.first(), lost.last()) else {
        return Ok(all);
    };
    let mut after = first - 1;
    while after < *last {
        let page = client.committed(after).await?;
        let Some(newest) = page.batches.last() else {
            break;
        };
        after = newest.attested.batch_id;
        for given in &page.batches {
            let batch_id = given.attested.batch_id;
            if !lost.contains(&batch_id) {
                continue;
            }
            let mut tx = pool.begin().await?;
            let one = batch::apply(&mut tx, books, given)
                .await
                .with_context(|| format!("batch {batch_id}"))?;
            tx.commit().await?;
            all.batches += one.batches;
            all.states += one.states;
            all.accounts += one.accounts;
            all.lines += one.lines;
        }
    }
    ensure!(
        all.batches == lost.len(),
        "the hub has {} of {} lost batches with their states: its retention was shorter than your \
         backup is old",
        all.batches,
        lost.len()
    );
    Ok(all)
}

/// Gives orders that wait to be signed the terms that the hub has signed already: it signs no
/// others.
async fn take_terms(pool: &PgPool, client: &HubClient, terms: &Terms) -> anyhow::Result<u64> {
    let mut changed = 0;
    for page in recover::open_orders(pool, terms.hub_id)
        .await?
        .chunks(ORDERS)
    {
        let orders = page.iter().map(|id| OperationId(*id.as_bytes()));
        let request = SignedOrders {
            orders: orders.collect(),
        };
        for signed in client.signed_orders(&request).await?.withdraws {
            let id = Uuid::from_bytes(signed.order.0);
            changed += recover::set_terms(pool, id, &signed.withdraw).await?;
        }
    }
    Ok(changed)
}

/// An issuance that waited in the backup may have been made since: made again, it would be
/// doubled.
async fn fail_waiting(pool: &PgPool, hub_id: Uuid) -> anyhow::Result<u64> {
    let why = Refused {
        code: "RESTORE_FENCE".into(),
        detail: "The database was restored while it waited. If the account's entries do not show \
                 it, order it again with a new key."
            .into(),
        available: None,
        required: None,
        limit: None,
    };
    let mut failed = 0;
    for id in recover::waiting(pool, hub_id).await? {
        failed += pending::fail(pool, id, &why).await?;
    }
    Ok(failed)
}
