//! The command line.

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Imports files of operations into the account system and checks what comes of them.
///
/// Reads ACCOUNT_API, ACCOUNT_API_KEY, CHAIN_RPC, TOKEN_ADDRESS and CHANNELS_ADDRESS from the
/// environment or from --env-file. Exits with 0 when all is as expected, 1 when something
/// differs, 2 when it could not be run to its end.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Args {
    /// File of NAME=value lines, for example .local/dev.env; its values come first.
    #[arg(long, global = true, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// Show no progress.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sends the operations of a file, each exactly once; started again with the same run id, it
    /// goes on where it was.
    Import(Import),
    /// Plays a business day at a hub of each funding mode and checks everything that came of it.
    Story(Story),
    /// Says what a file leads to, or what is wrong with it, without sending anything.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Fetches and checks proofs of co-signed states.
    #[command(subcommand)]
    Proof(Proof),
    /// The file of the story.
    #[command(subcommand)]
    Demo(Demo),
}

/// How to send.
#[derive(Debug, Clone, Group)]
pub struct Sending {
    /// Requests under way at once.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,
    /// Seconds to keep asking while there is no answer.
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub patience: u32,
    /// Seconds that funding, payouts and a reconciliation may take.
    #[arg(long, default_value_t = 180, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub wait: u32,
}

impl Sending {
    /// How long something may take that completes by itself.
    pub fn wait(&self) -> Duration {
        Duration::from_secs(self.wait.into())
    }
}

/// `acctl import`.
#[derive(Debug, Group)]
pub struct Import {
    /// CSV file: line,op,account,counterparty,amount,to,expect.
    pub file: PathBuf,
    /// Names the run. The same file under the same name has one effect, however often it is
    /// started.
    #[arg(long, value_parser = run_id)]
    pub run_id: String,
    /// Hub to open the accounts at; the first of GET /v1/hubs when not given.
    #[arg(long, value_name = "ID")]
    pub hub: Option<String>,
    /// Compare balances, entries, payouts and proofs afterwards, and reconcile.
    #[arg(long)]
    pub verify: bool,
    /// How to send.
    #[command(flatten)]
    pub sending: Sending,
}

/// `acctl story`.
#[derive(Debug, Group)]
pub struct Story {
    /// The business day.
    #[arg(long, default_value = "deploy/demo/business-day.csv")]
    pub file: PathBuf,
    /// Names the run, to resume it; a new name each time when not given.
    #[arg(long, value_parser = run_id)]
    pub run_id: Option<String>,
    /// Funding modes to play it in.
    #[arg(long, value_enum, default_value_t = HubMode::Both)]
    pub hub_mode: HubMode,
    /// Only send, compare nothing afterwards.
    #[arg(long)]
    pub no_verify: bool,
    /// How to send.
    #[command(flatten)]
    pub sending: Sending,
}

/// Funding modes to play the story in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HubMode {
    /// ERC20 lies in the vault before it is credited.
    Vault,
    /// The contract mints what it pays out.
    Mint,
    /// One after the other.
    Both,
}

/// `acctl proof`.
#[derive(Debug, Subcommand)]
pub enum Proof {
    /// Checks a proof without asking anybody.
    Verify {
        /// The file; - for standard input.
        file: PathBuf,
    },
    /// Prints the proof of a channel's newest state, once it has been checked.
    Fetch {
        /// The channel's id: 0x and 64 hexadecimal digits.
        channel: hub_core::ChannelId,
    },
}

/// `acctl demo`.
#[derive(Debug, Subcommand)]
pub enum Demo {
    /// Makes up a business day; the same seed gives the same file.
    Generate {
        /// Another day for each seed.
        #[arg(long, default_value_t = 7)]
        seed: u64,
        /// Rows of the file.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(crate::generate::MIN_OPERATIONS as i64..=1_000_000))]
        operations: u32,
        /// Where to write it; standard output when not given.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// A run id becomes part of idempotency keys, of names and of URLs.
fn run_id(text: &str) -> Result<String, String> {
    let fits = (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if fits {
        Ok(text.to_owned())
    } else {
        Err("use 1 to 64 letters, digits, dots, dashes or underscores".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_refuses_what_it_can_not_use() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
        for bad in [
            &["acctl", "import", "f.csv"][..],
            &["acctl", "import", "f.csv", "--run-id", ""],
            &["acctl", "import", "f.csv", "--run-id", "a b"],
            &[
                "acctl",
                "import",
                "f.csv",
                "--run-id",
                "a",
                "--concurrency",
                "0",
            ],
            &["acctl", "story", "--hub-mode", "other"],
            &["acctl", "demo", "generate", "--operations", "3"],
            &["acctl", "proof", "fetch", "0x12"],
        ] {
            assert!(Args::try_parse_from(bad).is_err(), "{bad:?}");
        }
        let args = [
            "acctl", "import", "f.csv", "--run-id", "day-1", "--verify", "--json",
        ];
        let args = Args::try_parse_from(args).unwrap();
        assert!(args.json);
        assert!(
            matches!(args.command, Command::Import(import) if import.verify && import.run_id == "day-1")
        );
    }
}
