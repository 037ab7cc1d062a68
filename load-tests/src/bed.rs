//! The system that is measured, with accounts that have money.

use crate::generator::{AccountBatches, Fundings, Load, Openings, Orders, Outcome, Pace};
use crate::probe::Processes;
use crate::{System, store};
use anyhow::{Context as _, ensure};
use serde_json::json;
use sqlx::PgPool;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Minor units of every account: enough to pay one at a time for ever.
const FUNDS: u128 = 1_000_000_000_000;
/// Accounts that fund the others, so that fundings overlap.
const TREASURIES: usize = 8;
/// Rounds of opening until there are enough accounts.
const OPENING_ROUNDS: usize = 5;
/// Accounts or transfers of one request while the bed is made.
const BATCH: usize = 1_000;

/// Longest that a reconciliation may take.
const RECONCILIATION: Duration = Duration::from_secs(600);

/// A system under load.
pub struct Bed {
    /// The system.
    pub system: System,
    /// Its database, entered as the owner.
    pub pool: PgPool,
    /// Id of the hub whose accounts are used: in mint mode, so that nothing waits for a chain.
    pub hub: String,
    /// Accounts with money.
    pub accounts: Arc<Vec<Uuid>>,
    /// What is watched.
    pub processes: Processes,
    loads: u32,
}

impl Bed {
    /// A bed on a running system.
    pub async fn on(system: System) -> anyhow::Result<Self> {
        let hubs = system.get("/v1/hubs").await?;
        let mut list = hubs.body["data"].as_array().into_iter().flatten();
        let hub = list
            .find(|hub| hub["funding_mode"] == "mint")
            .and_then(|hub| hub["id"].as_str())
            .with_context(|| format!("no hub in mint mode in {}", hubs.body))?
            .to_owned();
        Ok(Self {
            pool: system.database().await?,
            processes: Processes::of(&system)?,
            system,
            hub,
            accounts: Arc::default(),
            loads: 0,
        })
    }

    /// Starts again what was killed.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.system.restart().await?;
        self.processes = Processes::of(&self.system)?;
        Ok(())
    }

    /// A load with keys of its own.
    pub fn load(&mut self, connections: u32) -> anyhow::Result<Load> {
        self.loads += 1;
        Ok(Load {
            address: self.system.api_address()?,
            api_key: self.system.env("ACCOUNT_API_KEY").to_owned(),
            // A kept database knows the keys of earlier runs.
            run: format!("{}-{}", Uuid::now_v7().simple(), self.loads),
            connections: usize::try_from(connections)?,
            pace: Pace::Closed,
            limit: None,
            remember: false,
        })
    }

    /// Opens and funds accounts until there are so many.
    pub async fn fill(&mut self, wanted: u32) -> anyhow::Result<()> {
        let wanted = usize::try_from(wanted)?;
        let hub = Uuid::parse_str(self.hub.trim_start_matches("hub_"))?;
        let begun = Instant::now();
        let funded = store::funded_accounts(&self.pool, hub).await?.len();
        let missing = wanted.saturating_sub(funded);
        if missing > 0 {
            let mut empty = store::empty_accounts(&self.pool, hub).await?;
            for _ in 0..OPENING_ROUNDS {
                let unopened = missing.saturating_sub(empty.len());
                if unopened == 0 {
                    break;
                }
                let batches = AccountBatches::new(&self.hub, BATCH.min(unopened));
                let requests = unopened.div_ceil(BATCH) as u64;
                // On a crowded machine some of a batch may be told to come again: the next round.
                self.send(4, requests, batches, &[201, 207]).await?;
                empty = store::empty_accounts(&self.pool, hub).await?;
            }
            empty.truncate(missing);
            let opened = begun.elapsed();
            let treasuries = self.treasuries(empty.len()).await?;
            let fundings = Fundings {
                accounts: Arc::new(empty),
                treasuries: Arc::new(treasuries),
                size: BATCH,
                amount: FUNDS,
            };
            let requests = fundings.requests();
            self.send(TREASURIES as u32, requests, fundings, &[201])
                .await?;
            eprintln!(
                "{missing} accounts opened in {:.1} s, funded in {:.1} s",
                opened.as_secs_f64(),
                (begun.elapsed() - opened).as_secs_f64()
            );
        }
        let mut accounts = store::funded_accounts(&self.pool, hub).await?;
        ensure!(
            accounts.len() >= wanted,
            "{} accounts have money",
            accounts.len()
        );
        accounts.truncate(wanted);
        self.accounts = Arc::new(accounts);
        Ok(())
    }

    /// Sends a limited load, all of which must go well.
    async fn send(
        &mut self,
        connections: u32,
        requests: u64,
        orders: impl Orders + 'static,
        good: &[u16],
    ) -> anyhow::Result<Outcome> {
        let load = Load {
            limit: Some(requests),
            ..self.load(connections)?
        };
        let outcome = load.all(orders).await?;
        let went_well: u64 = good
            .iter()
            .filter_map(|status| outcome.statuses.get(status))
            .sum();
        ensure!(
            went_well == requests,
            "the bed can't be made: {:?} {}",
            outcome.statuses,
            outcome.troubles()
        );
        Ok(outcome)
    }

    async fn treasuries(&mut self, accounts: usize) -> anyhow::Result<Vec<Uuid>> {
        let share = FUNDS * (accounts.div_ceil(TREASURIES * BATCH) * BATCH) as u128 + FUNDS;
        let mut treasuries = Vec::with_capacity(TREASURIES);
        for _ in 0..TREASURIES {
            let key = || format!("treasury-{}", Uuid::now_v7().simple());
            let body = json!({"hub_id": self.hub});
            let account = self.posted("/v1/accounts", body, &key()).await?;
            let body = json!({"account_id": account, "amount": share.to_string()});
            self.posted("/v1/issuances", body, &key()).await?;
            treasuries.push(Uuid::parse_str(account.trim_start_matches("acc_"))?);
        }
        Ok(treasuries)
    }

    async fn posted(
        &self,
        path: &str,
        body: serde_json::Value,
        key: &str,
    ) -> anyhow::Result<String> {
        let method = reqwest::Method::POST;
        let answer = self.system.call_with_key(method, path, body, key).await?;
        ensure!(answer.status.is_success(), "{path}: {answer:?}");
        Ok(answer.text("id").to_owned())
    }

    /// Runs a reconciliation, which must find nothing, and returns how long it took.
    pub async fn reconcile(&self) -> anyhow::Result<Duration> {
        Ok(self.reconcile_watched().await?.0)
    }

    /// The same, with the MiB by which account-service, which makes the run, grew meanwhile.
    pub async fn reconcile_watched(&self) -> anyhow::Result<(Duration, f64)> {
        let resident = || {
            let all = self.processes.resident_mib();
            all.get("account-service").copied().unwrap_or_default()
        };
        let (before, mut most) = (resident(), 0_f64);
        let begun = Instant::now();
        let mut run = self
            .system
            .post("/v1/reconciliation/runs", json!({}))
            .await?;
        let path = format!("/v1/reconciliation/runs/{}", run.text("id"));
        while run.text("status") == "running" {
            ensure!(begun.elapsed() < RECONCILIATION, "{run:?} does not end");
            tokio::time::sleep(Duration::from_millis(50)).await;
            most = most.max(resident() - before);
            run = self.system.get(&path).await?;
        }
        ensure!(run.text("status") == "clean", "reconciliation: {run:?}");
        Ok((begun.elapsed(), most))
    }

    /// One opening after the other.
    pub fn openings(&self) -> Openings {
        Openings {
            hub: self.hub.clone(),
        }
    }
}
