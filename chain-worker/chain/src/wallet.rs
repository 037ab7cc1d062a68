//! Sends one transaction after the other and waits for each: for setting up a chain, tests and
//! tools. The worker does not use it: it keeps what it sends in its database.

use crate::calls::Call;
use crate::error::ChainError;
use crate::node::{At, Fees, Node, Receipt, Sent};
use crate::transaction::Transaction;
use hub_core::{Address, Amount, Hash32};
use signer::Signer;
use std::time::{Duration, Instant};

/// How long a transaction may take to be mined.
const MINING_LIMIT: Duration = Duration::from_secs(60);
/// After so long without being mined it gets higher fees: the time of about one block.
const RAISE_AFTER: Duration = Duration::from_secs(12);
/// Raises to outbid what waits under the same nonce: 20 of an eighth are the tenfold fees.
const RAISES: u32 = 20;
/// Pause between two looks for its receipt.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The most gas a transaction may use on the chains we know (EIP-7825).
pub const GAS_CAP: u64 = 16_777_216;

/// A key that sends.
#[derive(Debug, Clone)]
pub struct Wallet {
    node: Node,
    signer: Signer,
    replaces: bool,
}

impl Wallet {
    /// A key on a node.
    pub fn new(node: Node, signer: Signer) -> Self {
        Self {
            node,
            signer,
            replaces: false,
        }
    }

    /// The same key for something urgent: what it sends takes the place of whatever of its own
    /// still waits to be mined, by higher fees, instead of queueing behind it.
    pub fn replacing(mut self) -> Self {
        self.replaces = true;
        self
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
        let next = if self.replaces {
            At::Latest
        } else {
            At::Pending
        };
        let mut transaction = Transaction {
            chain_id: self.node.chain_id().await?,
            nonce: self.node.nonce(from, next).await?,
            to,
            value,
            data,
            gas: (estimate + estimate / 4 + 20_000).max(gas).min(GAS_CAP),
            fees: self.node.fees().await?,
        };
        let start = Instant::now();
        let mut sent = vec![self.hand_over(&mut transaction).await?];
        let mut raise_at = RAISE_AFTER;
        loop {
            for hash in &sent {
                match self.node.receipt(*hash).await? {
                    Some(receipt) if receipt.success => return Ok(receipt),
                    Some(_) => return Err(failed(*hash, "reverted".into())),
                    None => {}
                }
            }
            let waited = start.elapsed();
            if waited > MINING_LIMIT {
                let why = format!("not mined in {MINING_LIMIT:?}");
                return Err(failed(sent[0], why));
            }
            if self.replaces && waited > raise_at {
                raise_at = waited + RAISE_AFTER;
                transaction.fees = raised(transaction.fees, self.node.fees().await?);
                // An earlier form may be mined by now: its receipt tells.
                if let Ok(hash) = self.hand_over(&mut transaction).await {
                    sent.push(hash);
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Signs it and hands it to the node; where something else waits under its nonce, with fees
    /// that outbid that.
    async fn hand_over(&self, transaction: &mut Transaction) -> Result<Hash32, ChainError> {
        for _ in 0..=RAISES {
            let signed = transaction.sign(&self.signer)?;
            match self.node.send_raw(&signed.raw).await? {
                Sent::Accepted | Sent::Known => return Ok(signed.hash),
                Sent::Underpriced if self.replaces => {
                    transaction.fees = raised(transaction.fees, transaction.fees);
                }
                other => return Err(failed(signed.hash, format!("{other:?}"))),
            }
        }
        let why = "what waits under its nonce offers more than ten times the usual fees";
        Err(ChainError::Failed {
            what: format!("with nonce {}", transaction.nonce),
            reason: why.into(),
        })
    }
}

/// Fees that nodes take in the place of others: both fields up by an eighth, and not below the
/// usual ones.
fn raised(before: Fees, usual: Fees) -> Fees {
    let eighth_more = |wei: u128| wei.saturating_add(wei.div_ceil(8)).saturating_add(1);
    Fees {
        max: eighth_more(before.max).max(usual.max),
        priority: eighth_more(before.priority).max(usual.priority),
    }
}

fn failed(hash: Hash32, reason: String) -> ChainError {
    ChainError::Failed {
        what: hash.to_string(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raised_fees_are_an_eighth_more_in_both_fields_and_never_below_the_usual() {
        let fees = |max, priority| Fees { max, priority };
        let usual = fees(50, 2);
        for before in [fees(100, 8), fees(1, 0), fees(u128::MAX, 7), fees(40, 40)] {
            let after = raised(before, usual);
            let enough = |old: u128, new: u128| new == u128::MAX || new - old > old / 8;
            assert!(enough(before.max, after.max), "{before:?} {after:?}");
            assert!(enough(before.priority, after.priority), "{before:?}");
            assert!(after.max >= usual.max && after.priority >= usual.priority);
        }
    }
}
