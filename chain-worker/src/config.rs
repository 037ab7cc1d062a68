//! What the worker is told at its start.

use crate::tower::pull::AccountSource;
use anyhow::Context as _;
use chain::FundingMode;
use clap::{Parser, ValueEnum};
use hub_core::dispute::answer::Guard;
use hub_core::{Address, Amount};
use signer::Signer;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Executes withdrawals, funds vaults, watches the chain.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub struct Args {
    /// Where the probes and metrics answer.
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:18081")]
    pub listen: SocketAddr,
    /// Database, as the role of the worker.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// Broker.
    #[arg(long, env = "AMQP_URL", hide_env_values = true)]
    pub amqp_url: String,
    /// Begins the name of every exchange and queue.
    #[arg(long, env = "QUEUE_PREFIX", default_value = "")]
    pub queue_prefix: String,
    /// JSON-RPC of a chain node.
    #[arg(long, env = "CHAIN_RPC", hide_env_values = true)]
    pub chain_rpc: String,
    /// The ERC20.
    #[arg(long, env = "TOKEN_ADDRESS", value_parser = Address::parse_checked)]
    pub token_address: Address,
    /// HubChannels.
    #[arg(long, env = "CHANNELS_ADDRESS", value_parser = Address::parse_checked)]
    pub channels_address: Address,
    /// The block HubChannels was made in: reading begins there.
    #[arg(long, env = "DEPLOY_BLOCK", default_value_t = 0)]
    pub deploy_block: u64,
    /// What makes a block final.
    #[arg(long, env = "FINALITY", value_enum, default_value_t = Finality::Blocks)]
    pub finality: Finality,
    /// Blocks on top of a final one, where blocks decide.
    #[arg(long, env = "CONFIRMATIONS", default_value_t = 6)]
    pub confirmations: u64,
    /// A hub: operator key file, URL of its internal API, token file, `vault` or `mint`. May be
    /// repeated; in the environment several are separated by semicolons.
    #[arg(
        long = "hub",
        env = "HUBS",
        value_delimiter = ';',
        required = true,
        value_name = "KEY_FILE,URL,TOKEN_FILE,MODE"
    )]
    pub hubs: Vec<HubArg>,
    /// A vault is topped up by at least this much, in minor units. Default: 100,000 tokens.
    #[arg(long, env = "VAULT_BUFFER", default_value = "100000000000000000000000")]
    pub vault_buffer: Amount,
    /// Headroom below which a vault is topped up without being asked, in minor units; 0: never.
    #[arg(long, env = "VAULT_THRESHOLD", default_value = "0")]
    pub vault_threshold: Amount,
    /// Own transactions that may wait to be mined; more commands wait in the database.
    #[arg(long, env = "MAX_UNCONFIRMED", default_value_t = 64)]
    pub max_unconfirmed: u64,
    /// Pause between two looks at the chain, milliseconds.
    #[arg(long, env = "POLL_MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..))]
    pub poll_ms: u64,
    /// After so many milliseconds a transaction that is not mined gets higher fees.
    #[arg(long, env = "BUMP_AFTER_MS", default_value_t = 30_000)]
    pub bump_after_ms: u64,
    /// API of account-service, whose co-signed states the watchtower copies beside those of the hubs.
    #[arg(long, env = "ACCOUNT_URL", requires = "account_key_file")]
    pub account_url: Option<String>,
    /// File with a key of account-service with the scope `admin:tower`.
    #[arg(long, env = "ACCOUNT_KEY_FILE", requires = "account_url")]
    pub account_key_file: Option<PathBuf>,
    /// Pause between two rounds of copying, milliseconds. A copy must not be older than a minute.
    #[arg(long, env = "TOWER_PULL_MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=30_000))]
    pub tower_pull_ms: u64,
    /// Whose money the watchtower guards: `hub`, `user`, or `both` for every stale close to be
    /// answered and every cheater punished. It never makes its own side forfeit: where the hub's
    /// key posted a state that the hub had given up, a tower of the hub leaves it.
    #[arg(long, env = "TOWER_GUARD", default_value = "hub")]
    pub tower_guard: Guard,
    /// The most that is paid for a unit of gas, in wei. Default: 500 gwei.
    #[arg(long, env = "MAX_FEE_WEI", default_value_t = 500_000_000_000)]
    pub max_fee_wei: u128,
}

/// What makes a block final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Finality {
    /// A number of blocks on top.
    Blocks,
    /// The chain's own finalized tag.
    Tag,
}

/// A hub to serve.
#[derive(Debug, Clone)]
pub struct HubArg {
    key_file: PathBuf,
    url: String,
    token_file: PathBuf,
    mode: FundingMode,
}

impl FromStr for HubArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split(',').collect();
        let [key_file, url, token_file, mode] = parts[..] else {
            return Err("expected KEY_FILE,URL,TOKEN_FILE,MODE".into());
        };
        Ok(Self {
            key_file: key_file.into(),
            url: url.into(),
            token_file: token_file.into(),
            mode: match mode {
                "vault" => FundingMode::Vault,
                "mint" => FundingMode::Mint,
                _ => return Err(format!("the mode is vault or mint, not {mode:?}")),
            },
        })
    }
}

/// A hub with its secrets read.
#[derive(Debug, Clone)]
pub struct Hub {
    /// The operator's key: sends the hub's transactions, owns its vault.
    pub operator: Signer,
    /// Where its internal API is.
    pub url: String,
    /// With what it lets us in.
    pub token: String,
    /// How it pays.
    pub mode: FundingMode,
}

impl Hub {
    /// The hub's address on chain.
    pub fn address(&self) -> Address {
        self.operator.address()
    }
}

/// How long a worker that is gone still counts as the leader: longer than a round whose node
/// hangs, short enough that a restart is at work within the 5 s it has.
pub const LEASE: Duration = Duration::from_secs(4);

impl Args {
    /// Account-service as a source of copies, if it is one.
    ///
    /// # Errors
    /// A key file that can't be used.
    pub fn read_account(&self) -> anyhow::Result<Option<AccountSource>> {
        let (Some(url), Some(file)) = (&self.account_url, &self.account_key_file) else {
            return Ok(None);
        };
        let key = runtime::config::read_secret(file).context("key of account-service")?;
        let url = url.clone();
        Ok(Some(AccountSource { url, key }))
    }

    /// Reads keys and tokens.
    ///
    /// # Errors
    /// A file that can't be used, or an operator that is named twice.
    pub fn read_hubs(&self) -> anyhow::Result<Vec<Hub>> {
        let mut hubs: Vec<Hub> = Vec::new();
        for arg in &self.hubs {
            let hub = Hub {
                operator: Signer::from_file(&arg.key_file)?,
                url: arg.url.clone(),
                token: runtime::config::read_secret(&arg.token_file)
                    .context("token of a hub's internal API")?,
                mode: arg.mode,
            };
            let twice = hubs.iter().any(|other| other.address() == hub.address());
            anyhow::ensure!(!twice, "operator {} is named twice", hub.address());
            hubs.push(hub);
        }
        Ok(hubs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_has_four_parts_and_one_of_two_modes() {
        let hub: HubArg = "k,http://h:1,t,mint".parse().unwrap();
        assert_eq!(hub.mode, FundingMode::Mint);
        for text in ["", "k,u,t", "k,u,t,both", "k,u,t,mint,x"] {
            assert!(text.parse::<HubArg>().is_err(), "{text}");
        }
    }

    #[test]
    fn several_hubs_can_come_from_one_variable() {
        let args = [
            "chain-worker",
            "--database-url=d",
            "--amqp-url=a",
            "--chain-rpc=c",
            "--token-address=0x5fbdb2315678afecb367f032d93f642f64180aa3",
            "--channels-address=0x5fbdb2315678afecb367f032d93f642f64180aa3",
            "--hub=a,b,c,vault;d,e,f,mint",
        ];
        let args = Args::try_parse_from(args).unwrap();
        let modes: Vec<_> = args.hubs.iter().map(|hub| hub.mode).collect();
        assert_eq!(modes, [FundingMode::Vault, FundingMode::Mint]);
        assert_eq!(args.confirmations, 6);
        assert_eq!(args.tower_guard, Guard::Hub);
    }
}
