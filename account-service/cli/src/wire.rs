//! The parts of the API's documents that are read here.

use crate::client::{Api, CallError};
use hub_core::{Address, Amount, ChannelId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// How a hub's credit is covered on chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// ERC20 lies in the hub's vault before it is credited.
    Vault,
    /// The contract mints what it pays out.
    Mint,
}

impl Mode {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Mint => "mint",
        }
    }
}

/// A hub.
#[derive(Debug, Clone, Deserialize)]
pub struct Hub {
    /// Its id.
    pub id: String,
    /// How its credit is covered.
    #[serde(alias = "mode")]
    pub funding_mode: Mode,
    /// The operator's account, which sends its transactions.
    #[serde(alias = "hub")]
    pub address: Address,
    /// The channel contract.
    pub contract: Address,
    /// The most an account of it can hold, in minor units.
    pub capacity: Amount,
}

/// A page of a list.
#[derive(Debug, Clone, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub data: Vec<T>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// An account as it was opened.
#[derive(Debug, Clone, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// Asset code.
    pub asset: String,
    /// Its channel.
    pub channel: AccountChannel,
}

/// The channel of an account.
#[derive(Debug, Clone, Deserialize)]
pub struct AccountChannel {
    /// Its id.
    pub id: ChannelId,
}

/// What an account holds, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Balances {
    /// What can be spent.
    pub available: Amount,
    /// Holds and locks.
    pub locked: Amount,
}

/// A posted operation, of any kind.
#[derive(Debug, Clone, Deserialize)]
pub struct Posted {
    /// Its id.
    pub id: String,
    /// How far it is.
    pub status: String,
    /// Minor units.
    pub amount: Amount,
    /// The transaction of a withdrawal.
    #[serde(default)]
    pub tx_hash: Option<String>,
    /// Why a withdrawal failed.
    #[serde(default)]
    pub failure: Option<String>,
}

/// A line of an account.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    /// What kind of operation it is of.
    #[serde(rename = "type")]
    pub kind: String,
    /// `debit` or `credit`.
    pub direction: String,
    /// Minor units.
    pub amount: Amount,
    /// What could be spent after it, in minor units.
    pub balance_after: Amount,
    /// The operation.
    pub operation_id: String,
}

/// A channel, in minor units.
#[derive(Debug, Clone, Deserialize)]
pub struct Channel {
    /// Sum of all balances.
    pub capacity: Amount,
    /// The hub's side.
    pub hub_balance: Amount,
    /// The user's side.
    pub user_balance: Amount,
    /// Locks of both.
    pub locked: Amount,
    /// What left it for the chain.
    pub withdrawn: Amount,
}

/// A reconciliation run.
#[derive(Debug, Clone, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// `running`, `clean`, `breaks` or `failed`.
    pub status: String,
    /// What was compared.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Why it could not be made.
    #[serde(default)]
    pub failure: Option<String>,
}

/// One comparison of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Check {
    /// For example `R1`.
    pub id: String,
    /// Rows compared.
    pub compared: u64,
    /// Differences found.
    pub breaks: u64,
}

/// A difference that a run found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Break {
    /// The comparison.
    pub check: String,
    /// Where: the schema,
    pub schema: String,
    /// the table,
    pub table: String,
    /// and the row's key.
    pub key: String,
    /// What should be there.
    pub expected: String,
    /// What is.
    pub found: String,
}

/// Reads a document.
pub fn document<T: DeserializeOwned>(what: &str, body: Value) -> Result<T, CallError> {
    serde_json::from_value(body).map_err(|error| CallError::Unexpected {
        what: what.to_owned(),
        why: error.to_string(),
    })
}

/// Asks for a document that must be there.
pub async fn fetch<T: DeserializeOwned>(api: &Api, path: &str) -> Result<T, CallError> {
    document(path, api.fetch(path).await?)
}

/// The UUID of an id, whatever its prefix.
pub fn uuid_of(id: &str) -> Option<Uuid> {
    let digits = id.rsplit_once('_').map_or(id, |(_, digits)| digits);
    Uuid::try_parse(digits).ok()
}

/// All lines of an account, newest first, until `stop` says that enough were read.
pub async fn entries(
    api: &Api,
    account: &str,
    mut stop: impl FnMut(&Entry) -> bool,
) -> Result<Vec<Entry>, CallError> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/accounts/{account}/entries?limit=100{cursor}");
        let page: Page<Entry> = fetch(api, &path).await?;
        for entry in page.data {
            let enough = stop(&entry);
            all.push(entry);
            if enough {
                return Ok(all);
            }
        }
        match page.next_cursor {
            // Cursors are made of characters that need no escaping in a query.
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(all),
        }
    }
}

/// All hubs.
pub async fn hubs(api: &Api) -> Result<Vec<Hub>, CallError> {
    let page: Page<Hub> = fetch(api, "/v1/hubs").await?;
    Ok(page.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_uuid_under_any_prefix() {
        let uuid = Uuid::from_u128(7);
        assert_eq!(uuid_of(&format!("trf_{}", uuid.simple())), Some(uuid));
        assert_eq!(uuid_of(&uuid.to_string()), Some(uuid));
        assert_eq!(uuid_of("trf_"), None);
    }

    #[test]
    fn a_hub_is_read_under_either_name_of_its_fields() {
        let common = r#""id":"hub_1","contract":"0x1111111111111111111111111111111111111111","capacity":"9""#;
        let address = "\"0x2222222222222222222222222222222222222222\"";
        for text in [
            format!("{{{common},\"mode\":\"mint\",\"hub\":{address}}}"),
            format!("{{{common},\"funding_mode\":\"mint\",\"address\":{address}}}"),
        ] {
            let hub: Hub = serde_json::from_str(&text).unwrap();
            assert_eq!(
                (hub.funding_mode, hub.address),
                (Mode::Mint, Address([0x22; 20]))
            );
        }
    }
}
