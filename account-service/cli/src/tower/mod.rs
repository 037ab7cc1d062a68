//! `acctl tower`: answers stale closes for somebody else, with nothing but proofs and a key of its
//! own.

pub mod answer;
pub mod cursor;
mod pull;
pub mod shelf;
mod watch;

use crate::args::{Tower, TowerRun};
use crate::commands::End;
use crate::config::Config;
use crate::dispute::tell::Unit;
use crate::dispute::{connect, keys};
use anyhow::{Context as _, bail};
use chain::Wallet;
use cursor::Cursor;
use pull::Puller;
use shelf::Shelf;
use std::path::{Path, PathBuf};
use std::time::Duration;
use watch::Watch;

/// Runs the command.
///
/// # Errors
/// Directory, key or chain can't be used.
pub async fn run(config: &Config, args: &Tower, json: bool, quiet: bool) -> anyhow::Result<End> {
    match args {
        Tower::Add { files, dir } => add(files, dir),
        Tower::Run(args) => watch(config, args, Report { json, quiet }).await,
    }
}

fn add(files: &[PathBuf], dir: &Path) -> anyhow::Result<End> {
    for file in files {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("{} can't be read", file.display()))?;
        let (id, news) = shelf::add(dir, &text).with_context(|| file.display().to_string())?;
        let what = if news {
            "watched by"
        } else {
            "known already to"
        };
        println!("{id}: {what} the tower in {}", dir.display());
    }
    Ok(End::Agrees)
}

/// Where lines go: people read them, or programs, one JSON object a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    json: bool,
    quiet: bool,
}

impl Report {
    /// Something happened.
    pub(crate) fn news(self, what: &str, text: &str) {
        if self.json {
            println!("{}", serde_json::json!({"event": what, "text": text}));
        } else {
            println!("{what}: {text}");
        }
    }

    /// Something is wrong.
    pub(crate) fn trouble(self, text: &str) {
        eprintln!("acctl: {text}");
    }

    /// Something that only matters to somebody who looks on.
    pub(crate) fn aside(self, text: &str) {
        if !self.quiet && !self.json {
            eprintln!("{text}");
        }
    }
}

async fn watch(config: &Config, args: &TowerRun, report: Report) -> anyhow::Result<End> {
    let rpc = args.rpc.clone().or_else(|| config.get("CHAIN_RPC"));
    let rpc = rpc.context("no chain: name a node by --rpc, or set CHAIN_RPC")?;
    let signer = keys::read(config, args.key_file.as_deref(), "TOWER_KEY")?;
    std::fs::create_dir_all(&args.dir)
        .with_context(|| format!("{} can't be made", args.dir.display()))?;
    let watched = Cursor::load(&args.dir)?.map(|cursor| cursor.domain);
    let mut puller = Puller::new(config, args)?;
    let mut shelf = Shelf::default();
    let mut end = End::Agrees;
    let mut refresh = |shelf: &mut Shelf| {
        for wrong in shelf.refresh(&args.dir)? {
            report.trouble(&wrong);
            end = End::Differs;
        }
        anyhow::Ok(())
    };
    let domain = loop {
        // What is held already says what to fetch.
        refresh(&mut shelf)?;
        puller.pull(&shelf, &args.dir, report).await;
        refresh(&mut shelf)?;
        match shelf.domain(watched)? {
            Some(domain) => break domain,
            None if args.once => bail!(
                "no proof in {}: put one there by `acctl tower add`",
                args.dir.display()
            ),
            None => {
                report.aside("no proof yet");
                tokio::time::sleep(poll(args)).await;
            }
        }
    };
    let chain = connect(&rpc, domain).await?;
    let (decimals, symbol) = chain.unit().await?;
    let wallet = Wallet::new(chain.node().clone(), signer).replacing();
    let unit = Unit { decimals, symbol };
    let mut watch = Watch::open(chain, wallet, unit, args, report).await?;
    let mut stopped = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let missed = match watch.round(&shelf).await {
            Ok(missed) => missed,
            Err(error) if args.once => return Err(error),
            Err(error) => {
                report.trouble(&format!("{error:#}; trying again"));
                0
            }
        };
        if args.once {
            return Ok(if missed == 0 { end } else { End::Differs });
        }
        tokio::select! {
            _ = &mut stopped => return Ok(End::Agrees),
            () = tokio::time::sleep(poll(args)) => {}
        }
        puller.pull(&shelf, &args.dir, report).await;
        match shelf.refresh(&args.dir) {
            Ok(wrong) => wrong.iter().for_each(|wrong| report.trouble(wrong)),
            // What was read before stays good.
            Err(error) => report.trouble(&format!("{error:#}")),
        }
    }
}

fn poll(args: &TowerRun) -> Duration {
    Duration::from_secs(args.poll.into())
}
