//! Sends one transaction after the other and waits for each: for setting up a chain, tests and
//! tools. The worker does not use it: it keeps what it sends in its database.

use crate::calls::Call;
use crate::error::ChainError;
use crate::node::{At, Node, Receipt, Sent};
use crate::transaction::Transaction;
use hub_core::{Address, Amount};
use signer::Signer;
use std::time::{Duration, Instant};

/// How long a transaction may take to be mined.
const MINING_LIMIT: Duration = Duration::from_secs(60);
/// Pause between two looks for its receipt.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The most gas a transaction may use on the chains we know (EIP-7825).
pub const GAS_CAP: u64 = 16_777_216;

/// A key that sends.
#[derive(Debug, Clone)]
pub struct Wallet {
    node: Node,
    signer: Signer,
}

impl Wallet {
    /// A key on a node.
    pub fn new(node: Node, signer: Signer) -> Self {
        Self { node, signer }
    }

    /// Its account.
    pub fn address(&self) -> Address {
        self.signer.address()
    }

    /// Calls a contract and waits until that is mined. It may use the gas that the call names:
    /// an estimate of a batch is what the batch takes when its calls fail for lack of gas.
    ///
    /// # Errors
    /// [`ChainError::Refused`] with the contract's reason when it would fail.
    pub async fn call(&self, call: &Call) -> Result<Receipt, ChainError> {
        self.send(Some(call.to), Amount::ZERO, call.data.clone(), call.gas)
            .await
    }

    /// Sends native coin, in wei, and waits until that is mined.
    pub async fn pay(&self, to: Address, wei: Amount) -> Result<Receipt, ChainError> {
        self.send(Some(to), wei, Vec::new(), 0).await
    }

    /// Makes a contract from its creation code and waits until that is mined.
    pub async fn create(&self, code: Vec<u8>) -> Result<(Address, u64), ChainError> {
        let receipt = self.send(None, Amount::ZERO, code, 0).await?;
        let created = receipt.created.ok_or_else(|| ChainError::Failed {
            what: "that makes a contract".into(),
            reason: "the receipt names none".into(),
        })?;
        Ok((created, receipt.block))
    }

    async fn send(
        &self,
        to: Option<Address>,
        value: Amount,
        data: Vec<u8>,
        gas: u64,
    ) -> Result<Receipt, ChainError> {
        let from = self.address();
        let estimate = self.node.estimate(from, to, &data, value).await?;
        let transaction = Transaction {
            chain_id: self.node.chain_id().await?,
            nonce: self.node.nonce(from, At::Pending).await?,
            to,
            value,
            data,
            gas: (estimate + estimate / 4 + 20_000).max(gas).min(GAS_CAP),
            fees: self.node.fees().await?,
        };
        let signed = transaction.sign(&self.signer)?;
        let failed = |reason: String| ChainError::Failed {
            what: signed.hash.to_string(),
            reason,
        };
        match self.node.send_raw(&signed.raw).await? {
            Sent::Accepted | Sent::Known => {}
            other => return Err(failed(format!("{other:?}"))),
        }
        let start = Instant::now();
        loop {
            match self.node.receipt(signed.hash).await? {
                Some(receipt) if receipt.success => return Ok(receipt),
                Some(_) => return Err(failed("reverted".into())),
                None if start.elapsed() > MINING_LIMIT => {
                    return Err(failed(format!("not mined in {MINING_LIMIT:?}")));
                }
                None => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }
}
