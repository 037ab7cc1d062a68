//! Makes a reconciliation run for the API: the database through a role that reads all schemas,
//! the chain through a node.

use crate::api::reconciliation::Findings;
use crate::store::recon::Break;
use anyhow::Context as _;
use chain::{At, Chain, Node};
use futures_util::future::try_join_all;
use hub_core::{Address, ChannelId};
use reconcile::{ChainError, ChainNumbers, ChainView, ChannelNumbers, HubNumbers, Options};
use serde_json::json;
use sqlx::PgPool;
use std::collections::HashMap;
use uuid::Uuid;

/// What runs are made from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Database, as role `chub_recon`.
    pub pool: Option<PgPool>,
    /// URL of the node.
    pub chain_rpc: Option<String>,
    /// The ERC20.
    pub token: Address,
    /// The channel contract.
    pub channels: Address,
    /// Blocks on top of one that is final.
    pub confirmations: u64,
}

/// Compares ledger, channels and chain.
pub async fn make(sources: Sources, run: Uuid) -> anyhow::Result<Findings> {
    let pool = sources
        .pool
        .context("this service has no RECON_DATABASE_URL; set it and start a run again")?;
    let url = sources
        .chain_rpc
        .context("this service has no CHAIN_RPC; set it and start a run again")?;
    let view = View {
        chain: Chain::connect(Node::new(&url)?, sources.token, sources.channels).await?,
        confirmations: sources.confirmations,
    };
    let report = reconcile::run(&pool, &view, &Options::default()).await?;
    let checks = report
        .checks
        .iter()
        .map(|check| {
            json!({"id": check.id.word(), "compared": check.compared, "breaks": check.breaks})
        })
        .collect();
    Ok(Findings {
        block: Some(report.block),
        checks,
        breaks: report
            .breaks
            .into_iter()
            .map(|found| stored(found, run))
            .collect(),
    })
}

fn stored(found: reconcile::Break, run: Uuid) -> Break {
    Break {
        id: Uuid::now_v7(),
        run_id: run,
        check: found.check.word().to_owned(),
        class: found.class.word().to_owned(),
        severity: found.severity.word().to_owned(),
        schema: found.schema.to_owned(),
        table: found.table.to_owned(),
        key: found.key,
        expected: found.expected,
        found: found.found,
        status: "open".to_owned(),
        resolution: None,
        created_at: runtime::clock::now(),
    }
}

/// The chain at final blocks.
struct View {
    chain: Chain,
    confirmations: u64,
}

fn failed(error: chain::ChainError) -> ChainError {
    ChainError(error.to_string())
}

impl ChainView for View {
    async fn newest_final(&self) -> Result<u64, ChainError> {
        let head = self.chain.node().head().await.map_err(failed)?;
        Ok(head.number.saturating_sub(self.confirmations))
    }

    async fn numbers(&self, block: u64, hubs: &[Address]) -> Result<ChainNumbers, ChainError> {
        let at = At::Block(block);
        let chain = &self.chain;
        let mut numbers = ChainNumbers {
            total_supply: chain.total_supply(at).await.map_err(failed)?,
            contract_balance: chain
                .balance_of(chain.channels(), at)
                .await
                .map_err(failed)?,
            created_elsewhere: None,
            hubs: HashMap::new(),
        };
        for hub in hubs {
            let view = chain.hub(*hub, at).await.map_err(failed)?;
            let known = HubNumbers {
                funds: view.funds,
                owed: view.owed,
                bond: view.bond,
            };
            numbers.hubs.insert(*hub, known);
        }
        Ok(numbers)
    }

    async fn channels(
        &self,
        block: u64,
        channels: &[ChannelId],
    ) -> Result<Vec<ChannelNumbers>, ChainError> {
        let at = At::Block(block);
        let asked = channels.iter().map(|id| self.chain.channel(*id, at));
        let views = try_join_all(asked).await.map_err(failed)?;
        let numbers = views.into_iter().map(|view| ChannelNumbers {
            epoch: view.epoch,
            withdrawn: view.withdrawn,
            deposited: view.deposited,
            collateral: view.collateral,
        });
        Ok(numbers.collect())
    }
}
