//! One file at one hub, from reading it to the report.

use crate::args::Sending;
use crate::chain::Chain;
use crate::client::{Api, Patience};
use crate::config::Config;
use crate::import::{self, Difference, Settings};
use crate::model::{self, Contradiction, Ledger, Rules};
use crate::plan::{self, Plan};
use crate::progress::Progress;
use crate::report::{DEFAULT_DECIMALS, Report, Verified};
use crate::verify::{self, Case};
use crate::wire::{self, Hub, Mode};
use anyhow::{Context as _, bail};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::{Duration, Instant};

/// The file contradicts itself: nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("the file expects what it does not lead to; nothing was sent")]
pub struct Contradicted(pub Vec<Contradiction>);

/// The system as one process sees it.
#[derive(Debug)]
pub struct Session {
    api: Api,
    chain: Option<Chain>,
    hubs: Vec<Hub>,
    config: Config,
    quiet: bool,
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The file.
    pub file: &'a Path,
    /// Names the run.
    pub run_id: String,
    /// How to send.
    pub sending: &'a Sending,
    /// Whether nothing else uses the system.
    pub alone: bool,
}

/// Reads a file.
pub fn read_plan(path: &Path) -> anyhow::Result<Plan> {
    let file = File::open(path).with_context(|| format!("{} can't be read", path.display()))?;
    plan::read(BufReader::new(file)).with_context(|| format!("{} is refused", path.display()))
}

impl Session {
    /// Connects. The chain is needed only to compare with it.
    pub async fn connect(
        config: &Config,
        sending: &Sending,
        with_chain: bool,
        quiet: bool,
    ) -> anyhow::Result<Self> {
        let patience = Patience {
            total: Duration::from_secs(sending.patience.into()),
            ..Patience::default()
        };
        let api = Api::new(config.api()?, patience)?;
        let chain = if with_chain {
            Some(Chain::new(config.chain()?)?)
        } else {
            None
        };
        let hubs = wire::hubs(&api).await?;
        if let Some(chain) = &chain {
            // The wrong addresses would show as a hundred differences later.
            chain.decimals().await?;
        }
        Ok(Self {
            api,
            chain,
            hubs,
            config: config.clone(),
            quiet,
        })
    }

    /// The hub with this id, or the first.
    pub fn hub(&self, id: Option<&str>) -> anyhow::Result<&Hub> {
        let found = match id {
            Some(id) => self.hubs.iter().find(|hub| hub.id == id),
            None => self.hubs.first(),
        };
        found.with_context(|| self.no_hub(id.unwrap_or("any id")))
    }

    /// The first hub of a funding mode.
    pub fn hub_of(&self, mode: Mode) -> anyhow::Result<&Hub> {
        let found = self.hubs.iter().find(|hub| hub.funding_mode == mode);
        found.with_context(|| self.no_hub(&format!("{} mode", mode.word())))
    }

    fn no_hub(&self, wanted: &str) -> String {
        let known = self
            .hubs
            .iter()
            .map(|hub| format!("{} ({})", hub.id, hub.funding_mode.word()));
        let known: Vec<_> = known.collect();
        format!(
            "no hub with {wanted}; GET /v1/hubs has: {}",
            known.join(", ")
        )
    }

    fn compute(&self, plan: &Plan, hub: &Hub) -> anyhow::Result<Ledger> {
        let rules = Rules {
            capacity: hub.capacity,
            barred: self.config.barred(),
        };
        let (ledger, contradictions) = model::compute(plan, rules);
        if contradictions.is_empty() {
            Ok(ledger)
        } else {
            bail!(Contradicted(contradictions))
        }
    }

    /// Imports a file at a hub, compares, and reports.
    pub async fn run(&self, plan: &Plan, hub: &Hub, job: &Job<'_>) -> anyhow::Result<Report> {
        let begun = Instant::now();
        let retries_before = self.api.retries();
        let ledger = self.compute(plan, hub)?;
        let settings = Settings {
            run_id: job.run_id.clone(),
            hub_id: hub.id.clone(),
            concurrency: job.sending.concurrency.into(),
            wait: job.sending.wait(),
        };
        let mut progress = Progress::new(self.quiet);
        let mode = hub.funding_mode.word();
        progress.step(&format!("run {} at {} ({mode})", settings.run_id, hub.id));
        let case = self.chain.as_ref().map(|chain| Case {
            api: &self.api,
            chain,
            plan,
            ledger: &ledger,
            settings: &settings,
            hub,
            alone: job.alone,
        });
        let before = match case {
            Some(case) => Some((case, verify::before(case, &mut progress).await?)),
            None => None,
        };
        let mut imported = import::run(&self.api, plan, &settings, &mut progress).await?;
        let mut differences = std::mem::take(&mut imported.differences);
        let mut verified = None;
        if let Some((case, before)) = &before {
            let (found, more) = verify::after(*case, &imported, before, &mut progress).await?;
            verified = Some(found);
            differences.extend(more);
        }
        progress.clear();
        let decimals = match &self.chain {
            Some(chain) => chain.decimals().await?,
            None => DEFAULT_DECIMALS,
        };
        let outcome = Outcome {
            imported: &imported,
            verified,
            differences,
            decimals,
            retries: self.api.retries() - retries_before,
            elapsed: begun.elapsed(),
        };
        Ok(self.report(hub, job, &ledger, outcome))
    }

    fn report(&self, hub: &Hub, job: &Job<'_>, ledger: &Ledger, outcome: Outcome<'_>) -> Report {
        let imported = outcome.imported;
        let agrees = outcome.differences.is_empty();
        Report {
            run_id: job.run_id.clone(),
            file: job.file.display().to_string(),
            hub_id: hub.id.clone(),
            hub_mode: hub.funding_mode.word(),
            asset: imported.asset.clone(),
            decimals: outcome.decimals,
            totals: ledger.totals().clone(),
            refused: ledger.refused().clone(),
            replayed: imported.replayed,
            retries: outcome.retries,
            import_ms: millis(imported.elapsed),
            transfers_per_second: rate(ledger.totals().transfers, imported.transfer_time),
            verified: outcome.verified,
            differences: outcome.differences,
            elapsed_ms: millis(outcome.elapsed),
            agrees,
        }
    }
}

struct Outcome<'a> {
    imported: &'a import::Imported,
    verified: Option<Verified>,
    differences: Vec<Difference>,
    decimals: u8,
    retries: u64,
    elapsed: Duration,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How many in each second; nothing where there is no time to speak of.
fn rate(number: usize, time: Duration) -> u64 {
    let number = u128::try_from(number).unwrap_or(u128::MAX);
    let rate = number
        .saturating_mul(1_000_000)
        .checked_div(time.as_micros());
    rate.and_then(|rate| u64::try_from(rate).ok()).unwrap_or(0)
}
