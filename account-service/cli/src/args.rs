//! The command line.

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use hub_core::dispute::answer::Guard;
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
    /// Enforces a proof on chain with nobody's help: closes, waits, challenges, settles, unlocks
    /// and claims. Started again at any stage, it looks at the chain and does the next step.
    ///
    /// Needs a proof file, a node and a key, and none of the system's services. The money goes to the
    /// channel's payout address and nowhere else, whoever sends the transactions.
    ///
    /// The key's role decides what a close means. The payout address of a custodial channel makes an
    /// *exit*: a newer state replaces it, and it never forfeits. The user's signer (the custody key,
    /// or the customer's own) and the hub's signer close as a *party*: a party that posts a state it
    /// had moved past forfeits, and its own payout comes the channel's self delay later. Any other key
    /// can't close, but settle, unlock and claim.
    ///
    /// A file is what `acctl proof fetch` prints. These members may be added to it: `locks` (the list
    /// that locksHash names), `preimages` (32 bytes each), `meters` ({signer, terms, delivered,
    /// signature} each), `cheques` ({signer, terms, beneficiary, cumulative, signature} each), `credit`
    /// ({cumulative, signature}) and `revoke` ({signer, version, signature}). Give several files of one
    /// channel to use the newest.
    ///
    /// Who has only deposits or a credit, and no state that both sides signed, gives a file
    /// {"format": "channel-null/1", "channel_params", "domain": {chainId, verifyingContract},
    /// "epoch"} instead; a party then says --old-state.
    ///
    /// Without --watch it does what can be done now and says when to run it again.
    ///
    /// Exits with 0 when it did what could be done, 1 when it refuses, 2 when it could not be run.
    Exit(Exit),
    /// Watches channels for somebody else and answers stale closes, for the bounty.
    #[command(subcommand)]
    Tower(Tower),
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

/// `acctl exit`.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  acctl proof fetch 0x<channel> > proof.json
  acctl exit proof.json --rpc http://127.0.0.1:8545 --plan
  acctl exit proof.json --rpc http://127.0.0.1:8545 --key-file my.key --watch")]
pub struct Exit {
    /// Proof files of one channel.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// URL of a node of the proof's chain [env: CHAIN_RPC].
    #[arg(long, value_name = "URL")]
    pub rpc: Option<String>,
    /// File with the key that sends: 64 hexadecimal digits, mode 0600 [env: EXIT_KEY, the digits
    /// themselves]. It needs some of the chain's coin for gas.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Show what would happen and send nothing. Without a key, as the payout address.
    #[arg(long, conflicts_with = "watch")]
    pub plan: bool,
    /// Go on to the end: wait for the window and for payouts that are due later.
    #[arg(long)]
    pub watch: bool,
    /// Go on although the chain has a newer state than the file.
    #[arg(long)]
    pub accept_newer: bool,
    /// Close as a party with a state that was not the newest when the file was made. It forfeits
    /// if both sides signed a later one.
    #[arg(long)]
    pub old_state: bool,
    /// Seconds between two looks at the chain while waiting.
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub poll: u32,
}

/// `acctl tower`.
#[derive(Debug, Subcommand)]
pub enum Tower {
    /// Checks proof files and puts them into the tower's directory. What they replace is removed.
    Add {
        /// Proof files, with locks, credit or revoke as for `acctl exit`.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The tower's directory.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// Watches until it is stopped.
    ///
    /// Holds proofs of other people's channels, and no key of theirs. At each look it reads the new
    /// blocks from its own cursor on; a close with an older state than the one it holds is answered
    /// within the window, many closes in one transaction; a closer that had moved past what it posted
    /// forfeits, and the bounty goes to the tower's key when the tower settles after the window.
    ///
    /// Proofs come from a directory: put there by `acctl tower add`, or by any program that writes a
    /// file beside it and renames it to *.json. With --pull it also fetches the newest proof of the
    /// channels it knows from the API, with ACCOUNT_API and ACCOUNT_API_KEY. A file that can't be used
    /// is reported once and changes nothing for the others.
    ///
    /// The cursor is DIR/tower.state, written to disk whole before it counts. A tower that was down
    /// reads on where it was; the first start goes back as far as the longest window of the contract.
    ///
    /// Exits with 0 when it was stopped, or with --once when all is answered; 1 when something could
    /// not be answered; 2 when it could not be run.
    Run(TowerRun),
}

/// `acctl tower run`.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  acctl tower add proof.json --dir tower
  acctl tower run --dir tower --rpc http://127.0.0.1:8545 --key-file tower.key
  acctl tower run --dir tower --rpc http://127.0.0.1:8545 --key-file tower.key --once")]
pub struct TowerRun {
    /// The tower's directory: proofs as *.json, and the cursor.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// URL of a node [env: CHAIN_RPC].
    #[arg(long, value_name = "URL")]
    pub rpc: Option<String>,
    /// File with the tower's own key, which pays for gas and earns the bounty: 64 hexadecimal
    /// digits, mode 0600 [env: TOWER_KEY, the digits themselves].
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Whose money it guards: `user`, `hub`, or `both` for every stale close to be answered. A
    /// close by the guarded side itself is answered only when that costs it nothing.
    #[arg(long, value_name = "SIDE", default_value = "user")]
    pub guard: Guard,
    /// Look once, answer what there is, and end.
    #[arg(long)]
    pub once: bool,
    /// Fetch the newest proofs of all known channels from the API this often.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub pull: Option<u32>,
    /// Channels to pull although there is no file of them yet.
    #[arg(long, value_name = "ID", requires = "pull")]
    pub channel: Vec<hub_core::ChannelId>,
    /// Seconds between two looks at the chain.
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub poll: u32,
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
            &["acctl", "exit"],
            &["acctl", "exit", "p.json", "--plan", "--watch"],
            &["acctl", "exit", "p.json", "--key", "00"],
            &["acctl", "tower", "run"],
            &["acctl", "tower", "add", "--dir", "d"],
            &["acctl", "tower", "run", "--dir", "d", "--channel", "0x12"],
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
