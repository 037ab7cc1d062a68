//! What exit tool and tower share: proof files, the chain's history of a channel, and sending.

pub mod history;
pub mod keys;
pub mod material;
pub mod tell;
pub mod trade;

use anyhow::{Context as _, bail};
use chain::{Chain, ChainError, Node};
use hub_core::Domain;

/// Connects to the contract of a proof and makes sure that it is that one.
///
/// # Errors
/// Another chain, no contract there, or no answer: with what to do about it.
pub async fn connect(rpc: &str, domain: Domain) -> anyhow::Result<Chain> {
    let node = Node::new(rpc)?;
    let id = node.chain_id().await.context("the node can't be asked")?;
    if id != domain.chain_id {
        bail!(
            "wrong chain: the proof is for chain {}, the node at {rpc} is on chain {id}; name a \
             node of chain {} by --rpc",
            domain.chain_id,
            domain.chain_id
        );
    }
    match Chain::find(node, domain.verifying_contract).await {
        Ok(chain) => Ok(chain),
        Err(
            error @ (ChainError::WrongChain(_)
            | ChainError::Undecodable { .. }
            | ChainError::Refused { .. }),
        ) => Err(error).with_context(|| {
            format!(
                "wrong contract: the proof is for {}; the node at {rpc} knows no HubChannels \
                     there. Is it synchronized, and is it the chain the proof is for?",
                domain.verifying_contract.checksummed()
            )
        }),
        Err(error) => Err(error.into()),
    }
}
