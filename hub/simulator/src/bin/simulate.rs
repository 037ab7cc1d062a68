//! Runs settings and prints the table of the crate's README.

use clap::Parser;
use simulator::setting::{Expect, Setting, Tally};
use simulator::settings;
use std::process::ExitCode;

/// Simulates the channel protocol: parties, network, crashes, restores, a chain.
#[derive(Parser)]
struct Args {
    /// Runs of each setting.
    #[arg(long, default_value_t = 10_000)]
    runs: u64,
    /// A setting's name, or all.
    #[arg(long, default_value = "all")]
    setting: String,
    /// First seed; alone with a setting it shows what that one run finds.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut chosen = settings::all();
    chosen.retain(|setting| args.setting == "all" || args.setting == setting.name);
    if chosen.is_empty() {
        eprintln!("there is no setting {:?}; the names are:", args.setting);
        for setting in settings::all() {
            eprintln!("  {}", setting.name);
        }
        return ExitCode::FAILURE;
    }
    if let (Some(seed), [setting]) = (args.seed, chosen.as_slice()) {
        return replay(setting, seed);
    }
    let mut failed = false;
    println!("| setting | what it is | runs | result |");
    println!("|---|---|---|---|");
    for setting in chosen {
        let tally = setting.tally(args.seed.unwrap_or(1), args.runs);
        println!(
            "| {} | {} | {} | {} |",
            setting.name,
            setting.about,
            tally.runs,
            result(&tally, setting.expect)
        );
        if let Some(why) = setting.verdict(&tally) {
            failed = true;
            eprintln!("{why}");
        }
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn replay(setting: &Setting, seed: u64) -> ExitCode {
    let found = (setting.run)(seed);
    println!("{} seed {seed}: {}", setting.name, found.events.join(", "));
    for violation in &found.violations {
        println!("  {violation}");
    }
    let clean = found.violations.is_empty() || setting.expect != Expect::Clean;
    if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn result(tally: &Tally, expect: Expect) -> String {
    if tally.violations.is_empty() {
        return "no violation".to_owned();
    }
    let found: Vec<_> = tally
        .violations
        .iter()
        .map(|(violation, (runs, _))| match expect {
            Expect::Caught(expected) if expected == *violation => format!("**{violation} {runs}**"),
            _ => format!("{violation} {runs}"),
        })
        .collect();
    found.join(", ")
}
