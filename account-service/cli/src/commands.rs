//! The commands, and with which code each ends.

use crate::args::{Args, Command, Demo, HubMode, Import, Proof, Sending, Story};
use crate::client::{Api, Patience};
use crate::config::Config;
use crate::model::{self, Contradiction, Expectation, Rules};
use crate::money::count;
use crate::report::Report;
use crate::session::{Contradicted, Job, Session, read_plan};
use crate::wire::Mode;
use crate::{exit, generate, proof, tower, wire};
use anyhow::Context as _;
use hub_core::ChannelId;
use serde::Serialize;
use serde_json::json;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use time::OffsetDateTime;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All is as expected.
    Agrees,
    /// Something differs.
    Differs,
    /// It could not be run to its end.
    NotRun,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        Self::from(match end {
            End::Agrees => 0,
            End::Differs => 1,
            End::NotRun => 2,
        })
    }
}

/// Runs a command and says how it ended.
pub async fn run(args: Args) -> End {
    let json = args.json;
    match dispatch(args).await {
        Ok(end) => end,
        Err(error) => failed(&error, json),
    }
}

async fn dispatch(args: Args) -> anyhow::Result<End> {
    let config = Config::read(args.env_file.as_deref())?;
    let shared = Shared {
        config,
        json: args.json,
        quiet: args.quiet,
    };
    match args.command {
        Command::Import(import) => shared.import(&import).await,
        Command::Story(story) => shared.story(&story).await,
        Command::Check { file } => shared.check(&file),
        Command::Proof(Proof::Verify { file }) => shared.verify_proof(&file),
        Command::Proof(Proof::Fetch { channel }) => shared.fetch_proof(channel).await,
        Command::Exit(args) => exit::run(&shared.config, &args, shared.json, shared.quiet).await,
        Command::Tower(args) => tower::run(&shared.config, &args, shared.json, shared.quiet).await,
        Command::Demo(Demo::Generate {
            seed,
            operations,
            out,
        }) => generate_day(seed, operations as usize, out.as_deref()),
    }
}

fn failed(error: &anyhow::Error, as_json: bool) -> End {
    if let Some(Contradicted(rows)) = error.downcast_ref() {
        contradicted(rows, as_json);
        return End::Differs;
    }
    if as_json {
        println!(
            "{:#}",
            json!({"agrees": false, "error": format!("{error:#}")})
        );
    }
    eprintln!("acctl: {error:#}");
    End::NotRun
}

fn contradicted(rows: &[Contradiction], as_json: bool) {
    if as_json {
        println!("{:#}", json!({"agrees": false, "contradictions": rows}));
    }
    for row in rows {
        eprintln!(
            "line {}: expects {}, but the rows before it lead to {}",
            row.line, row.expected, row.computed
        );
    }
    eprintln!("acctl: {}", Contradicted(Vec::new()));
}

struct Shared {
    config: Config,
    json: bool,
    quiet: bool,
}

impl Shared {
    async fn connect(&self, sending: &Sending, with_chain: bool) -> anyhow::Result<Session> {
        Session::connect(&self.config, sending, with_chain, self.quiet).await
    }

    async fn import(&self, args: &Import) -> anyhow::Result<End> {
        let plan = read_plan(&args.file)?;
        let session = self.connect(&args.sending, args.verify).await?;
        let hub = session.hub(args.hub.as_deref())?;
        let job = Job {
            file: &args.file,
            run_id: args.run_id.clone(),
            sending: &args.sending,
            alone: false,
        };
        let report = session.run(&plan, hub, &job).await?;
        if self.json {
            print_json(&report)?;
        } else {
            print!("{report}");
        }
        Ok(end_of(std::slice::from_ref(&report)))
    }

    async fn story(&self, args: &Story) -> anyhow::Result<End> {
        let plan = read_plan(&args.file)?;
        let modes: &[Mode] = match args.hub_mode {
            HubMode::Vault => &[Mode::Vault],
            HubMode::Mint => &[Mode::Mint],
            HubMode::Both => &[Mode::Vault, Mode::Mint],
        };
        let session = self.connect(&args.sending, !args.no_verify).await?;
        let run_id = args.run_id.clone().unwrap_or_else(fresh_run_id);
        let mut reports = Vec::new();
        for mode in modes {
            let job = Job {
                file: &args.file,
                run_id: format!("{run_id}-{}", mode.word()),
                sending: &args.sending,
                alone: true,
            };
            let hub = session.hub_of(*mode)?;
            let report = session.run(&plan, hub, &job).await;
            let report = report.with_context(|| {
                format!("the story stopped; `acctl story --run-id {run_id}` goes on with it")
            })?;
            if !self.json {
                println!("{report}");
            }
            reports.push(report);
        }
        let end = end_of(&reports);
        if self.json {
            let agrees = end == End::Agrees;
            print_json(&json!({"run_id": run_id, "agrees": agrees, "runs": reports}))?;
        }
        Ok(end)
    }

    fn check(&self, file: &Path) -> anyhow::Result<End> {
        let plan = read_plan(file)?;
        let rules = Rules {
            barred: self.config.barred(),
            ..Rules::default()
        };
        let (ledger, contradictions) = model::compute(&plan, rules);
        if !contradictions.is_empty() {
            anyhow::bail!(Contradicted(contradictions));
        }
        let expectation = Expectation::of(&plan, &ledger);
        if self.json {
            print_json(&expectation)?;
        } else {
            let totals = &expectation.totals;
            println!(
                "{}: {} operations on {} accounts, {} refused as expected; the accounts hold {} \
                 minor units at the end",
                file.display(),
                count(totals.operations),
                count(totals.accounts),
                count(totals.refusals),
                totals.held
            );
        }
        Ok(End::Agrees)
    }

    fn verify_proof(&self, file: &Path) -> anyhow::Result<End> {
        let text = read_text(file).with_context(|| format!("{} can't be read", file.display()))?;
        let proof = proof::parse(&text)?;
        match proof::check(&proof) {
            Ok(shown) if self.json => print_json(&json!({"holds": true, "state": shown}))?,
            Ok(shown) => println!("{shown}"),
            Err(error) => {
                if self.json {
                    print_json(&json!({"holds": false, "error": error.to_string()}))?;
                }
                eprintln!("acctl: {error}");
                return Ok(End::Differs);
            }
        }
        Ok(End::Agrees)
    }

    async fn fetch_proof(&self, channel: ChannelId) -> anyhow::Result<End> {
        let api = Api::new(self.config.api()?, Patience::default())?;
        let path = format!("/v1/channels/{channel}/states/latest/proof");
        let document = api.fetch(&path).await?;
        // Printed as it came, so that nothing of it is lost on the way to another program.
        let text = serde_json::to_string_pretty(&document)?;
        let proof = wire::document(&path, document)?;
        println!("{text}");
        match proof::check(&proof) {
            Ok(_) => Ok(End::Agrees),
            Err(error) => {
                eprintln!("acctl: {error}");
                Ok(End::Differs)
            }
        }
    }
}

fn read_text(file: &Path) -> std::io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
}

fn generate_day(seed: u64, operations: usize, out: Option<&Path>) -> anyhow::Result<End> {
    let text = generate::business_day(seed, operations);
    match out {
        Some(path) => std::fs::write(path, text)
            .with_context(|| format!("{} can't be written", path.display()))?,
        None => print!("{text}"),
    }
    Ok(End::Agrees)
}

fn end_of(reports: &[Report]) -> End {
    if reports.iter().all(|report| report.agrees) {
        End::Agrees
    } else {
        End::Differs
    }
}

fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// A name that no other run has: the second, and the process within it.
fn fresh_run_id() -> String {
    let now = OffsetDateTime::now_utc();
    format!(
        "story-{:04}{:02}{:02}-{:02}{:02}{:02}-{}",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second(),
        std::process::id()
    )
}
