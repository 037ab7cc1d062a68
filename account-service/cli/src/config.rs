//! Where the system is: from the environment, or from a file of `NAME=value` lines.

use anyhow::{Context as _, bail};
use hub_core::Address;
use std::collections::HashMap;
use std::path::Path;

/// Names and values. Those of a file that was named come before those of the environment.
#[derive(Debug, Clone, Default)]
pub struct Config {
    values: HashMap<String, String>,
}

/// Where to call the API.
#[derive(Debug, Clone)]
pub struct ApiAt {
    /// Base URL without a slash at its end.
    pub base: String,
    /// The API key.
    pub key: String,
}

/// Where the chain is.
#[derive(Debug, Clone)]
pub struct ChainAt {
    /// URL of the node.
    pub rpc: String,
    /// The ERC20.
    pub token: Address,
    /// The channel contract.
    pub channels: Address,
}

impl Config {
    /// Reads the file, if one is named.
    pub fn read(env_file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = env_file else {
            return Ok(Self::default());
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{} can't be read; `make up` writes it", path.display()))?;
        Ok(Self {
            values: assignments(&text),
        })
    }

    /// A value, wherever it is.
    pub fn get(&self, name: &str) -> Option<String> {
        let found = self.values.get(name).cloned();
        found
            .or_else(|| std::env::var(name).ok())
            .filter(|value| !value.is_empty())
    }

    fn required(&self, name: &str) -> anyhow::Result<String> {
        self.get(name).with_context(|| {
            format!(
                "{name} is not known: set it, or name the file that `make up` writes: \
                 --env-file .local/dev.env"
            )
        })
    }

    fn url(&self, name: &str) -> anyhow::Result<String> {
        let url = self.required(name)?;
        if !url.starts_with("http://") {
            bail!("{name} is {url:?}; this program speaks plain HTTP: http://host:port");
        }
        Ok(url.trim_end_matches('/').to_owned())
    }

    fn address(&self, name: &str) -> anyhow::Result<Address> {
        let text = self.required(name)?;
        Address::parse_checked(&text).with_context(|| format!("{name} is {text:?}"))
    }

    /// Where to call the API.
    pub fn api(&self) -> anyhow::Result<ApiAt> {
        Ok(ApiAt {
            base: self.url("ACCOUNT_API")?,
            key: self.required("ACCOUNT_API_KEY")?,
        })
    }

    /// Where the chain is.
    pub fn chain(&self) -> anyhow::Result<ChainAt> {
        Ok(ChainAt {
            rpc: self.url("CHAIN_RPC")?,
            token: self.address("TOKEN_ADDRESS")?,
            channels: self.address("CHANNELS_ADDRESS")?,
        })
    }

    /// Addresses that nobody can be paid at, as far as they are known.
    pub fn barred(&self) -> Vec<Address> {
        ["TOKEN_ADDRESS", "CHANNELS_ADDRESS"]
            .iter()
            .filter_map(|name| self.address(name).ok())
            .collect()
    }
}

fn assignments(text: &str) -> HashMap<String, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config {
            values: assignments(text),
        }
    }

    #[test]
    fn a_file_of_assignments_says_where_the_system_is() {
        let config = config(
            "# local\nACCOUNT_API=http://127.0.0.1:18080/\nACCOUNT_API_KEY=k=1\n\nCHAIN_RPC=http://127.0.0.1:18545\n\
             TOKEN_ADDRESS=0x5FbDB2315678afecb367f032d93F642f64180aa3\n\
             CHANNELS_ADDRESS=0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed\n",
        );
        let api = config.api().unwrap();
        assert_eq!(
            (api.base.as_str(), api.key.as_str()),
            ("http://127.0.0.1:18080", "k=1")
        );
        assert_eq!(config.chain().unwrap().rpc, "http://127.0.0.1:18545");
        assert_eq!(config.barred().len(), 2);
    }

    #[test]
    fn what_is_missing_or_not_plain_http_is_named() {
        let error = config("ACCOUNT_API=https://bank\nACCOUNT_API_KEY=k")
            .api()
            .unwrap_err();
        assert!(error.to_string().contains("plain HTTP"), "{error}");
        let error = config("ACCOUNT_API=http://bank\nACCOUNT_API_KEY=")
            .api()
            .unwrap_err();
        assert!(error.to_string().contains("ACCOUNT_API_KEY"), "{error}");
        let error = config("CHAIN_RPC=http://node\nTOKEN_ADDRESS=0x1")
            .chain()
            .unwrap_err();
        assert!(error.to_string().contains("TOKEN_ADDRESS"), "{error}");
    }
}
