//! EIP-1559 transactions, signed by our own keys.

use crate::convert::{address, our_hash};
use crate::error::ChainError;
use crate::node::Fees;
use alloy::consensus::{SignableTransaction as _, TxEip1559};
use alloy::eips::eip2718::Encodable2718 as _;
use alloy::primitives::{Bytes, Signature as EvmSignature, TxKind, U256};
use hub_core::{Address, Amount, Hash32};
use signer::Signer;

/// What is to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The chain it counts on.
    pub chain_id: u64,
    /// Its place in the sender's order.
    pub nonce: u64,
    /// Whom it calls; `None` makes a contract.
    pub to: Option<Address>,
    /// Native coin it carries, in wei.
    pub value: Amount,
    /// Calldata.
    pub data: Vec<u8>,
    /// The most gas it may use.
    pub gas: u64,
    /// What it pays for gas.
    pub fees: Fees,
}

/// A signed transaction, as it goes to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Its hash.
    pub hash: Hash32,
    /// Its bytes.
    pub raw: Vec<u8>,
}

impl Transaction {
    /// Signs it. The same transaction and key always give the same bytes.
    ///
    /// # Errors
    /// [`ChainError::Failed`] when the signature is not one of the chain's form, which only a
    /// mistake in the program brings about.
    pub fn sign(&self, signer: &Signer) -> Result<Signed, ChainError> {
        let unsigned = TxEip1559 {
            chain_id: self.chain_id,
            nonce: self.nonce,
            gas_limit: self.gas,
            max_fee_per_gas: self.fees.max,
            max_priority_fee_per_gas: self.fees.priority.min(self.fees.max),
            to: self
                .to
                .map_or(TxKind::Create, |to| TxKind::Call(address(to))),
            value: U256::from(self.value.units()),
            access_list: Default::default(),
            input: Bytes::copy_from_slice(&self.data),
        };
        let signature = signer.sign_transaction(our_hash(unsigned.signature_hash()));
        let signature =
            EvmSignature::from_raw(&signature.0).map_err(|error| ChainError::Failed {
                what: format!("with nonce {}", self.nonce),
                reason: error.to_string(),
            })?;
        let signed = unsigned.into_signed(signature);
        Ok(Signed {
            hash: our_hash(*signed.hash()),
            raw: signed.encoded_2718(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::consensus::TxEnvelope;
    use alloy::eips::eip2718::Decodable2718 as _;
    use hub_core::signature::recover;

    #[test]
    fn a_signed_transaction_decodes_to_its_sender_and_is_reproducible() {
        let signer = Signer::from_bytes(&[7; 32]).unwrap();
        let transaction = Transaction {
            chain_id: 31337,
            nonce: 5,
            to: Some(Address([9; 20])),
            value: Amount::ZERO,
            data: vec![1, 2, 3],
            gas: 100_000,
            fees: Fees {
                max: 10,
                priority: 50,
            },
        };
        let signed = transaction.sign(&signer).unwrap();
        assert_eq!(signed, transaction.sign(&signer).unwrap());
        let decoded = TxEnvelope::decode_2718(&mut signed.raw.as_slice()).unwrap();
        assert_eq!(our_hash(*decoded.tx_hash()), signed.hash);
        let inner = decoded.as_eip1559().unwrap().tx();
        let signature = hub_core::Signature(decoded.signature().as_bytes());
        let sender = recover(our_hash(inner.signature_hash()), &signature);
        assert_eq!(sender, Ok(signer.address()));
        assert!(inner.max_priority_fee_per_gas <= inner.max_fee_per_gas);
    }
}
