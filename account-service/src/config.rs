//! Options of the service, from the command line or the environment.

use crate::retention::Keep;
use hub_core::Address;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// A hub and the file with the token for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubOption {
    /// For example `http://127.0.0.1:18082`.
    pub url: String,
    /// File with the bearer token.
    pub token_file: PathBuf,
}

impl FromStr for HubOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(',').filter(|(url, file)| {
            (url.starts_with("http://") || url.starts_with("https://")) && !file.is_empty()
        });
        let (url, file) =
            parts.ok_or("write URL,TOKEN_FILE, for example http://127.0.0.1:18082,hub.token")?;
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            token_file: file.into(),
        })
    }
}

/// What the service runs with.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:18080")]
    pub listen: SocketAddr,
    /// Threads that serve HTTP; by default one per processor
    #[arg(long, env = "HTTP_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub http_workers: Option<u16>,
    /// Connections to Postgres at most
    #[arg(long, env = "DATABASE_CONNECTIONS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub database_connections: u32,
    /// URL of Postgres, as role chub_account
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// URL of Postgres, as role chub_recon; without it no reconciliation runs are made
    #[arg(long, env = "RECON_DATABASE_URL", hide_env_values = true)]
    pub recon_database_url: Option<String>,
    /// URL of Redis; without it nothing is cached, and rate limits hold per process
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// What all keys in Redis begin with
    #[arg(long, env = "REDIS_PREFIX", default_value = "account:")]
    pub redis_prefix: String,
    /// URL of RabbitMQ; without it nothing reaches the chain
    #[arg(long, env = "AMQP_URL", hide_env_values = true)]
    pub amqp_url: Option<String>,
    /// What all names on the broker begin with
    #[arg(long, env = "QUEUE_PREFIX", default_value = "")]
    pub queue_prefix: String,
    /// A hub, as URL,TOKEN_FILE; may be repeated, in HUBS separated by blanks
    #[arg(long = "hub", env = "HUBS", value_delimiter = ' ', required = true)]
    pub hubs: Vec<HubOption>,
    /// File with the key that signs for all custodial channels: 64 hexadecimal digits, mode 0600
    #[arg(long, env = "CUSTODY_KEY_FILE")]
    pub custody_key_file: PathBuf,
    /// File with a secret of at least 32 bytes that authenticates cursors; the same for all replicas
    #[arg(long, env = "CURSOR_KEY_FILE")]
    pub cursor_key_file: PathBuf,
    /// URL of the EVM node, read only, for reconciliation
    #[arg(long, env = "CHAIN_RPC", hide_env_values = true)]
    pub chain_rpc: Option<String>,
    /// Blocks on top of one that reconciliation calls final; no more than the chain-worker waits for
    #[arg(long, env = "CONFIRMATIONS", default_value_t = 6)]
    pub confirmations: u64,
    /// Address of the ERC20
    #[arg(long, env = "TOKEN_ADDRESS")]
    pub token_address: Address,
    /// Address of the channel contract
    #[arg(long, env = "CHANNELS_ADDRESS")]
    pub channels_address: Address,
    /// Operations in one state batch at most
    #[arg(long, env = "BATCH_MAX", default_value_t = 2_048, value_parser = clap::value_parser!(u16).range(1..=2_048))]
    pub batch_max: u16,
    /// Code of the asset
    #[arg(long, env = "ASSET", default_value = "INF")]
    pub asset: String,
    /// Seconds in which a signed withdrawal can be executed
    #[arg(long, env = "WITHDRAW_VALIDITY_S", default_value_t = 86_400, value_parser = clap::value_parser!(u64).range(60..=604_800))]
    pub withdraw_validity_s: u64,
    /// Headroom, in minor units, below which a vault is topped up before anything waits for it; 0 for never
    #[arg(long, env = "VAULT_THRESHOLD", default_value = "0")]
    pub vault_threshold: hub_core::Amount,
    /// How long old rows are kept
    #[command(flatten)]
    pub keep: Keep,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_is_a_url_and_a_file() {
        assert_eq!(
            "http://h:1/,/run/token".parse(),
            Ok(HubOption {
                url: "http://h:1".into(),
                token_file: "/run/token".into(),
            })
        );
        for bad in ["", "http://h:1", "http://h:1,", "h:1,/token", ",/token"] {
            assert!(bad.parse::<HubOption>().is_err(), "{bad}");
        }
    }
}
