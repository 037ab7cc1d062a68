//! Checks a `channel-proof/1` without asking anybody.

use anyhow::{Context as _, anyhow};
use hub_core::proof::ChannelProof;
use hub_core::{Address, Amount, ChannelId, Hash32, types::state_hash};
use serde::Serialize;
use std::fmt;

/// What a valid proof proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Name of the account in the file, where it came from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The channel.
    pub channel: ChannelId,
    /// Its epoch.
    pub epoch: u32,
    /// Version of the state.
    pub version: u64,
    /// What the user holds, in minor units.
    pub user_balance: Amount,
    /// What the hub holds, in minor units.
    pub hub_balance: Amount,
    /// What left the channel for the chain, in minor units.
    pub withdrawn: Amount,
    /// Hash of the state: the leaf.
    pub state_hash: Hash32,
    /// The batch it was signed in.
    pub batch_id: u64,
    /// Its place there.
    pub leaf_index: u32,
    /// Levels of the batch's tree.
    pub depth: u8,
    /// Who signed for the hub.
    pub hub_signer: Address,
    /// Who signed for the user.
    pub user_signer: Address,
    /// The chain it can be enforced on.
    pub chain_id: u64,
    /// The contract there.
    pub contract: Address,
    /// Whether it was the newest state when the proof was made.
    pub newest: bool,
}

/// Reads a proof.
pub fn parse(text: &str) -> anyhow::Result<ChannelProof> {
    serde_json::from_str(text).context("this is no channel-proof/1 document")
}

/// Checks a proof: sums, path, both signatures.
pub fn check(proof: &ChannelProof) -> anyhow::Result<Shown> {
    proof
        .verify()
        .map_err(|error| anyhow!("the proof does not hold: {error}"))?;
    let state = &proof.state_typed_data.message;
    let batch = &proof.batch_typed_data.message;
    let domain = proof.domain();
    Ok(Shown {
        account: None,
        channel: state.channel_id,
        epoch: state.epoch,
        version: state.version,
        user_balance: state.user_balance,
        hub_balance: state.hub_balance,
        withdrawn: state.withdrawn,
        state_hash: state_hash(state),
        batch_id: batch.batch_id,
        leaf_index: proof.merkle.leaf_index,
        depth: batch.depth,
        hub_signer: proof.signatures.hub.signer,
        user_signer: proof.signatures.user.signer,
        chain_id: domain.chain_id,
        contract: domain.verifying_contract,
        newest: proof.newest,
    })
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = if self.newest { ", newest" } else { "" };
        writeln!(f, "the proof holds: both parties signed this state{age}")?;
        writeln!(f, "  channel      {}", self.channel)?;
        writeln!(f, "  epoch        {}, version {}", self.epoch, self.version)?;
        writeln!(f, "  user         {} minor units", self.user_balance)?;
        writeln!(f, "  hub          {} minor units", self.hub_balance)?;
        writeln!(f, "  withdrawn    {} minor units", self.withdrawn)?;
        writeln!(f, "  state hash   {}", self.state_hash)?;
        writeln!(
            f,
            "  batch        {}, leaf {}, depth {}",
            self.batch_id, self.leaf_index, self.depth
        )?;
        writeln!(f, "  hub signer   {}", self.hub_signer.checksummed())?;
        writeln!(f, "  user signer  {}", self.user_signer.checksummed())?;
        write!(
            f,
            "  enforceable  on chain {} at {}",
            self.chain_id,
            self.contract.checksummed()
        )
    }
}
