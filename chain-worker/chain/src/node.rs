//! JSON-RPC of one node.

use crate::convert::{address, hash, our_address, our_hash};
use crate::decode::error_name;
use crate::error::ChainError;
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::network::Ethereum;
use alloy::primitives::Bytes;
use alloy::providers::{Provider as _, RootProvider};
use alloy::rpc::client::RpcClient;
use alloy::rpc::types::TransactionRequest;
use alloy::transports::{RpcError, TransportErrorKind, http::reqwest};
use hub_core::{Address, Amount, Hash32};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a node may take for one answer.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Told the method, the time it took, and whether it was answered.
pub type Observer = Arc<dyn Fn(&'static str, Duration, bool) + Send + Sync>;

/// A node of the chain.
#[derive(Clone)]
pub struct Node {
    provider: RootProvider<Ethereum>,
    observer: Option<Observer>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Node")
    }
}

/// At which block something is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The newest block.
    Latest,
    /// The newest block and what waits to be mined.
    Pending,
    /// The newest block that the chain itself calls final.
    Finalized,
    /// This block. Nodes that keep no history only know the last hundred or so.
    Block(u64),
}

impl From<At> for BlockNumberOrTag {
    fn from(at: At) -> Self {
        match at {
            At::Latest => Self::Latest,
            At::Pending => Self::Pending,
            At::Finalized => Self::Finalized,
            At::Block(number) => Self::Number(number),
        }
    }
}

/// A block, as far as we care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: Hash32,
    /// The hash of the block before.
    pub parent: Hash32,
    /// Its time, Unix seconds.
    pub timestamp: u64,
}

/// What a transaction offers for gas, in wei.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fees {
    /// The most it pays for a unit of gas.
    pub max: u128,
    /// What of that goes to the block's maker at least.
    pub priority: u128,
}

/// A mined transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Its block.
    pub block: u64,
    /// Hash of its block.
    pub block_hash: Hash32,
    /// `false` when it was reverted.
    pub success: bool,
    /// Gas it used.
    pub gas_used: u64,
    /// The contract it made.
    pub created: Option<Address>,
}

/// What a node said to a raw transaction. None of it but a receipt decides its fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// It is in the node's pool.
    Accepted,
    /// It was there before.
    Known,
    /// Its nonce is used: by itself, an earlier form of it, or another transaction.
    NonceUsed,
    /// Its fees are too low, alone or to replace another of this nonce.
    Underpriced,
    /// The sender can't pay for its gas.
    NoGas,
    /// Something else.
    Refused(String),
}

impl Node {
    /// A node at this URL. Nothing is asked yet.
    pub fn new(url: &str) -> Result<Self, ChainError> {
        let bad = |reason: String| ChainError::Url(format!("{url}: {reason}"));
        let parsed = url
            .parse::<reqwest::Url>()
            .map_err(|e| bad(e.to_string()))?;
        let http = reqwest::Client::builder()
            .timeout(CALL_LIMIT)
            .no_proxy()
            .build()
            .map_err(|e| bad(e.to_string()))?;
        Ok(Self {
            provider: RootProvider::new(RpcClient::new_http_with_client(http, parsed)),
            observer: None,
        })
    }

    /// The same node, whose calls are observed.
    pub fn observed(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    pub(crate) fn provider(&self) -> &RootProvider<Ethereum> {
        &self.provider
    }

    pub(crate) async fn ask<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<T, RpcError<TransportErrorKind>>>,
    ) -> Result<T, ChainError> {
        let start = Instant::now();
        let outcome = call.await;
        if let Some(observer) = &self.observer {
            observer(method, start.elapsed(), outcome.is_ok());
        }
        outcome.map_err(|error| match error {
            RpcError::ErrorResp(payload) => ChainError::Refused {
                method,
                code: payload.code,
                message: reason(&payload.message, payload.as_revert_data()),
            },
            other => ChainError::Unreachable {
                method,
                reason: other.to_string(),
            },
        })
    }

    /// Id of the chain.
    pub async fn chain_id(&self) -> Result<u64, ChainError> {
        self.ask("eth_chainId", async { self.provider.get_chain_id().await })
            .await
    }

    /// A block; nothing when the node does not have it.
    pub async fn block(&self, at: At) -> Result<Option<Block>, ChainError> {
        let call = async { self.provider.get_block_by_number(at.into()).await };
        let block = self.ask("eth_getBlockByNumber", call).await?;
        Ok(block.map(|block| Block {
            number: block.header.number,
            hash: our_hash(block.header.hash),
            parent: our_hash(block.header.parent_hash),
            timestamp: block.header.timestamp,
        }))
    }

    /// The newest block.
    pub async fn head(&self) -> Result<Block, ChainError> {
        self.block(At::Latest)
            .await?
            .ok_or_else(|| ChainError::WrongChain("the node has no block at all".into()))
    }

    /// How many transactions an account had sent.
    pub async fn nonce(&self, account: Address, at: At) -> Result<u64, ChainError> {
        let count = self.provider.get_transaction_count(address(account));
        let count = count.block_id(BlockId::Number(at.into()));
        self.ask("eth_getTransactionCount", async { count.await })
            .await
    }

    /// An account's native coin in wei, for gas.
    pub async fn gas_coin(&self, account: Address) -> Result<u128, ChainError> {
        let call = self.provider.get_balance(address(account));
        let wei = self.ask("eth_getBalance", async { call.await }).await?;
        Ok(u128::try_from(wei).unwrap_or(u128::MAX))
    }

    /// Whether there is a contract.
    pub async fn has_code(&self, account: Address) -> Result<bool, ChainError> {
        let call = self.provider.get_code_at(address(account));
        Ok(!self
            .ask("eth_getCode", async { call.await })
            .await?
            .is_empty())
    }

    /// Fees with which a transaction gets in soon: twice the base fee, so that six full blocks in
    /// a row don't outprice it.
    pub async fn fees(&self) -> Result<Fees, ChainError> {
        let call = async { self.provider.get_max_priority_fee_per_gas().await };
        let priority = self.ask("eth_maxPriorityFeePerGas", call).await?;
        let call = async {
            let tag = BlockNumberOrTag::Latest;
            self.provider.get_block_by_number(tag).await
        };
        let block = self.ask("eth_getBlockByNumber", call).await?;
        let base = block.and_then(|block| block.header.base_fee_per_gas);
        Ok(Fees {
            max: u128::from(base.unwrap_or_default()) * 2 + priority,
            priority,
        })
    }

    /// Hands a signed transaction to the node. An error means that it may have arrived.
    pub async fn send_raw(&self, raw: &[u8]) -> Result<Sent, ChainError> {
        let raw = Bytes::copy_from_slice(raw);
        let method = "eth_sendRawTransaction";
        let call = async {
            self.provider
                .raw_request::<_, Hash>(method.into(), (raw,))
                .await
        };
        match self.ask(method, call).await {
            Ok(_) => Ok(Sent::Accepted),
            Err(ChainError::Refused { message, .. }) => Ok(classify(message)),
            Err(error) => Err(error),
        }
    }

    /// Where a transaction was mined; nothing when it was not, as far as this node knows.
    pub async fn receipt(&self, transaction: Hash32) -> Result<Option<Receipt>, ChainError> {
        let call = async {
            self.provider
                .get_transaction_receipt(hash(transaction))
                .await
        };
        let receipt = self.ask("eth_getTransactionReceipt", call).await?;
        Ok(receipt.and_then(|receipt| {
            Some(Receipt {
                block: receipt.block_number?,
                block_hash: our_hash(receipt.block_hash?),
                success: receipt.status(),
                gas_used: receipt.gas_used,
                created: receipt.contract_address.map(our_address),
            })
        }))
    }

    /// How much gas a transaction would use now, or why it would fail.
    pub async fn estimate(
        &self,
        from: Address,
        to: Option<Address>,
        data: &[u8],
        value: Amount,
    ) -> Result<u64, ChainError> {
        let request = TransactionRequest {
            from: Some(address(from)),
            to: Some(to.map_or(alloy::primitives::TxKind::Create, |to| {
                alloy::primitives::TxKind::Call(address(to))
            })),
            value: Some(alloy::primitives::U256::from(value.units())),
            ..Default::default()
        }
        .input(Bytes::copy_from_slice(data).into());
        let call = self.provider.estimate_gas(request);
        self.ask("eth_estimateGas", async { call.await }).await
    }
}

/// The node's words, and the name of the contract's error where they give its bytes only.
fn reason(message: &str, reverted: Option<Bytes>) -> String {
    match reverted.as_ref().and_then(|bytes| error_name(bytes)) {
        Some(name) => format!("{message}: {name}"),
        None => message.to_owned(),
    }
}

type Hash = alloy::primitives::B256;

/// Nodes agree on the words of these refusals, not on their codes.
fn classify(message: String) -> Sent {
    let lower = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if says(&["already known", "already imported", "known transaction"]) {
        Sent::Known
    } else if says(&["nonce too low", "nonce is too low"]) {
        Sent::NonceUsed
    } else if says(&["underpriced", "fee too low", "less than block base fee"]) {
        Sent::Underpriced
    } else if says(&["insufficient funds"]) {
        Sent::NoGas
    } else {
        Sent::Refused(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart_by_their_words() {
        for (message, expected) in [
            ("transaction already imported", Sent::Known),
            ("already known", Sent::Known),
            ("nonce too low: next nonce 5", Sent::NonceUsed),
            ("replacement transaction underpriced", Sent::Underpriced),
            ("Insufficient funds for gas * price + value", Sent::NoGas),
        ] {
            assert_eq!(classify(message.to_owned()), expected, "{message}");
        }
        let other = "exceeds block gas limit";
        assert_eq!(classify(other.to_owned()), Sent::Refused(other.to_owned()));
    }
}
