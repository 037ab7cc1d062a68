//! Arguments; each can be set in the environment as well.

use crate::api::Tokens;
use crate::engine::limits::Limits;
use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use hub_client::{FundingMode, Terms};
use hub_core::{Address, Amount, Domain};
use signer::Signer;
use std::net::SocketAddr;
use std::path::PathBuf;
use uuid::Uuid;

/// The counterparty of every channel: checks, journals, signs.
#[derive(Debug, Parser)]
#[command(name = "hub", version)]
pub struct Args {
    /// What to do; without it the hub serves.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How the hub serves.
    #[command(flatten)]
    pub serve: Serve,
}

/// What an operator does beside serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The fence that stops all signing after a database was restored.
    Fence {
        /// What to do with it.
        #[command(subcommand)]
        action: FenceAction,
    },
}

/// What an operator does with the fence.
#[derive(Debug, Clone, Subcommand)]
pub enum FenceAction {
    /// Shows whether there is one, and both databases' marks.
    Status,
    /// Raises it by hand: after a restore that nothing else shows, or when something looks wrong.
    Raise {
        /// Why.
        #[arg(long)]
        why: String,
    },
    /// Lifts it. All versions and batch numbers jump by 2^32, so that nothing a lost row may
    /// have had is signed again.
    Lift {
        /// I have compared both databases with the newest anchor.
        #[arg(long)]
        confirm: bool,
        /// Although account-service has not given back all that was lost.
        #[arg(long)]
        without_import: bool,
    },
}

/// How channels are funded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// The contract mints what it pays out.
    Mint,
    /// ERC20 lies in the vault first.
    Vault,
}

/// The arguments of a serving hub. Amounts are in minor units (10^-18 of a token), times in seconds.
#[derive(Debug, Clone, clap::Args)]
pub struct Serve {
    /// Where the internal API listens; port 0 picks a free one.
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:18082")]
    pub listen: SocketAddr,
    /// Postgres, as role chub_hub.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// Connections to Postgres.
    #[arg(long, env = "DATABASE_CONNECTIONS", default_value_t = 8)]
    pub database_connections: u32,
    /// The hub's id in the REST API.
    #[arg(long, env = "HUB_ID")]
    pub hub_id: Uuid,
    /// File with the hub key: 64 hexadecimal digits, mode 0600.
    #[arg(long, env = "HUB_KEY_FILE")]
    pub hub_key_file: PathBuf,
    /// File with one token a line: `scope[,scope] token`; scopes: propose, read, chain.
    #[arg(long, env = "HUB_TOKENS_FILE")]
    pub hub_tokens_file: PathBuf,
    /// The chain.
    #[arg(long, env = "CHAIN_ID")]
    pub chain_id: u64,
    /// The HubChannels contract.
    #[arg(long, env = "CHANNELS_ADDRESS", value_parser = Address::parse_checked)]
    pub channels_address: Address,
    /// The operator's account on chain.
    #[arg(long, env = "HUB_ADDRESS", value_parser = Address::parse_checked)]
    pub hub_address: Address,
    /// The user signer of custodial channels.
    #[arg(long, env = "CUSTODY_SIGNER", value_parser = Address::parse_checked)]
    pub custody_signer: Address,
    /// How channels are funded.
    #[arg(long, env = "FUNDING_MODE", value_enum)]
    pub funding_mode: Mode,
    /// Capacity of a channel.
    #[arg(
        long,
        env = "CAPACITY",
        default_value = "10000000000000000000000000000"
    )]
    pub capacity: Amount,
    /// Time to answer a close.
    #[arg(long, env = "CHALLENGE_PERIOD", default_value_t = 86_400)]
    pub challenge_period: u32,
    /// How long the closer waits longer.
    #[arg(long, env = "SELF_DELAY", default_value_t = 86_400)]
    pub self_delay: u32,
    /// The most the hub forfeits on one channel.
    #[arg(long, env = "PENALTY_CAP", default_value = "10000000000000000000000")]
    pub penalty_cap: Amount,
    /// Share of whoever proves a forfeit, in basis points.
    #[arg(long, env = "BOUNTY_BPS", default_value_t = 500, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    pub bounty_bps: u16,
    /// The most one issuance may be.
    #[arg(
        long,
        env = "ISSUE_LIMIT_PER_ORDER",
        default_value = "1000000000000000000000000000"
    )]
    pub issue_limit_per_order: Amount,
    /// The most that may be issued in any 60 minutes.
    #[arg(
        long,
        env = "ISSUE_LIMIT_PER_HOUR",
        default_value = "10000000000000000000000000000"
    )]
    pub issue_limit_per_hour: Amount,
    /// The most that abandoned batches may be able to yield.
    #[arg(
        long,
        env = "BURN_LIMIT",
        default_value = "1000000000000000000000000000"
    )]
    pub burn_limit: Amount,
    /// Days that superseded states are kept at least; for ever when left out.
    #[arg(long, env = "KEEP_STATES_DAYS", value_parser = clap::value_parser!(u16).range(30..=36_500))]
    pub keep_states_days: Option<u16>,
}

impl Serve {
    /// The terms these arguments describe; `signer` is the hub key.
    pub fn terms(&self, signer: &Signer) -> anyhow::Result<Terms> {
        anyhow::ensure!(
            !self.capacity.is_zero() && self.capacity.fits_balance(),
            "CAPACITY must be above zero and below 2^96 minor units"
        );
        anyhow::ensure!(
            self.penalty_cap.fits_balance(),
            "PENALTY_CAP must be below 2^96 minor units"
        );
        Ok(Terms {
            hub_id: self.hub_id,
            hub: self.hub_address,
            hub_signer: signer.address(),
            custody_signer: self.custody_signer,
            domain: Domain {
                chain_id: self.chain_id,
                verifying_contract: self.channels_address,
            },
            mode: match self.funding_mode {
                Mode::Mint => FundingMode::Mint,
                Mode::Vault => FundingMode::Vault,
            },
            capacity: self.capacity,
            challenge_period: self.challenge_period,
            self_delay: self.self_delay,
            penalty_cap: self.penalty_cap,
            bounty_bps: self.bounty_bps,
        })
    }

    /// What the operator allows.
    pub fn limits(&self) -> Limits {
        Limits {
            issue_per_order: self.issue_limit_per_order,
            issue_per_hour: self.issue_limit_per_hour,
            burn: self.burn_limit,
        }
    }

    /// The callers' tokens.
    pub fn tokens(&self) -> anyhow::Result<Tokens> {
        let text = runtime::config::read_secret(&self.hub_tokens_file)?;
        text.parse()
            .with_context(|| format!("tokens file {}", self.hub_tokens_file.display()))
    }
}
