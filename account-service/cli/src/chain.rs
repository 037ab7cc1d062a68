//! What the chain itself says: plain JSON-RPC, calldata made by hand.

use crate::config::ChainAt;
use anyhow::{Context as _, anyhow, bail};
use hub_core::{Address, Amount, keccak256};
use serde_json::{Value, json};
use std::time::Duration;

/// A node answers a read at once or not at all.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Tries of one call; reading again never hurts.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// Reads from a node.
#[derive(Debug)]
pub struct Chain {
    http: reqwest::Client,
    at: ChainAt,
}

impl Chain {
    /// A reader.
    pub fn new(at: ChainAt) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .build()?;
        Ok(Self { http, at })
    }

    /// The channel contract.
    pub fn channels(&self) -> Address {
        self.at.channels
    }

    /// The ERC20.
    pub fn token(&self) -> Address {
        self.at.token
    }

    /// Id of the chain.
    pub async fn id(&self) -> anyhow::Result<u64> {
        quantity(&self.rpc("eth_chainId", json!([])).await?)
    }

    /// Transactions that an account has sent.
    pub async fn transactions(&self, account: Address) -> anyhow::Result<u64> {
        let params = json!([account.to_string(), "latest"]);
        quantity(&self.rpc("eth_getTransactionCount", params).await?)
    }

    /// ERC20 balance in minor units.
    pub async fn balance(&self, owner: Address) -> anyhow::Result<Amount> {
        self.read("balanceOf(address)", Some(owner)).await
    }

    /// ERC20 supply in minor units.
    pub async fn supply(&self) -> anyhow::Result<Amount> {
        self.read("totalSupply()", None).await
    }

    /// Decimals of the ERC20.
    pub async fn decimals(&self) -> anyhow::Result<u8> {
        let decimals = self.read("decimals()", None).await?.units();
        let fits = u8::try_from(decimals)
            .ok()
            .filter(|decimals| *decimals <= 36);
        fits.ok_or_else(|| anyhow!("the token has {decimals} decimals"))
    }

    async fn read(&self, function: &str, argument: Option<Address>) -> anyhow::Result<Amount> {
        let call = json!([
            {"to": self.at.token.to_string(), "data": calldata(function, argument)},
            "latest"
        ]);
        let answer = self.rpc("eth_call", call).await?;
        word(&answer).with_context(|| format!("{function} of the token {}", self.at.token))
    }

    async fn rpc(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let mut tries = 1;
        loop {
            match self.try_rpc(&request).await {
                Ok(mut answer) => {
                    if let Some(error) = answer.get("error") {
                        bail!("the node at {} refuses {method}: {error}", self.at.rpc);
                    }
                    return Ok(answer["result"].take());
                }
                Err(_) if tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("the node at {} does not answer", self.at.rpc));
                }
            }
        }
    }

    async fn try_rpc(&self, request: &Value) -> reqwest::Result<Value> {
        let response = self.http.post(&self.at.rpc).json(request).send().await?;
        response.error_for_status()?.json().await
    }
}

/// The selector, and the argument as a word.
fn calldata(function: &str, argument: Option<Address>) -> String {
    let mut text = String::from("0x");
    let selector = keccak256(function.as_bytes()).to_string();
    text.push_str(&selector[2..10]);
    if let Some(address) = argument {
        text.push_str(&format!("{:0>64}", &address.to_string()[2..]));
    }
    text
}

/// A number as the node writes it.
fn quantity(value: &Value) -> anyhow::Result<u64> {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    number.ok_or_else(|| anyhow!("the node answers {value} where a number belongs"))
}

/// A 32-byte word that holds an amount.
fn word(value: &Value) -> anyhow::Result<Amount> {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    let digits = digits.filter(|digits| digits.len() == 64 && digits.is_ascii());
    let digits = digits.ok_or_else(|| {
        anyhow!("the node answers {value}; is that the address of the token, on this chain?")
    })?;
    let (high, low) = digits.split_at(32);
    if high.bytes().any(|digit| digit != b'0') {
        bail!("{value} is more than any amount");
    }
    Ok(Amount::new(u128::from_str_radix(low, 16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calldata_is_selector_and_padded_address() {
        // Selectors of the ERC20 standard.
        assert_eq!(calldata("totalSupply()", None), "0x18160ddd");
        assert_eq!(calldata("decimals()", None), "0x313ce567");
        let data = calldata("balanceOf(address)", Some(Address([0x11; 20])));
        assert_eq!(
            data,
            format!("0x70a08231{}{}", "0".repeat(24), "11".repeat(20))
        );
    }

    #[test]
    fn a_word_is_an_amount_or_an_error_that_says_why() {
        let text = |digits: String| json!(format!("0x{digits}"));
        assert_eq!(
            word(&text(format!("{:064x}", 1250))).unwrap(),
            Amount::new(1250)
        );
        assert!(word(&text("f".repeat(64))).is_err());
        let error = word(&json!("0x")).unwrap_err().to_string();
        assert!(error.contains("address of the token"), "{error}");
        assert_eq!(quantity(&json!("0x1f")).unwrap(), 31);
        assert!(quantity(&json!(31)).is_err());
    }
}
