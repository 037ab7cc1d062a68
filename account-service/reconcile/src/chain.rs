//! What reconciliation needs to know of the chain. The caller reads it; this crate knows no node.

use hub_core::{Address, Amount, ChannelId, Epoch};
use std::collections::HashMap;

/// The chain can't be read: nothing can be said about the run.
#[derive(Debug, thiserror::Error)]
#[error("chain: {0}")]
pub struct ChainError(pub String);

/// Reads the chain at final blocks.
pub trait ChainView: Sync {
    /// The newest final block. Asked after the database's snapshot was taken, so that it is at
    /// least as new as anything the snapshot calls final.
    fn newest_final(&self) -> impl Future<Output = Result<u64, ChainError>> + Send;

    /// Token and hubs at a block.
    fn numbers(
        &self,
        block: u64,
        hubs: &[Address],
    ) -> impl Future<Output = Result<ChainNumbers, ChainError>> + Send;

    /// Channels at a block, in the order asked for; one the contract has never heard of is all
    /// zero. At most [`CHANNELS_PER_CALL`] are asked for at once.
    fn channels(
        &self,
        block: u64,
        channels: &[ChannelId],
    ) -> impl Future<Output = Result<Vec<ChannelNumbers>, ChainError>> + Send;
}

/// Channels asked for at once: a few hundred words fit any node's limit on a batch of calls.
pub const CHANNELS_PER_CALL: usize = 200;

/// Token and contract at one block.
#[derive(Debug, Clone, Default)]
pub struct ChainNumbers {
    /// Tokens there are, in minor units.
    pub total_supply: Amount,
    /// Tokens the contract holds, in minor units.
    pub contract_balance: Amount,
    /// Tokens that somebody else than the contract created, in minor units, where that is known.
    pub created_elsewhere: Option<Amount>,
    /// Each hub asked for.
    pub hubs: HashMap<Address, HubNumbers>,
}

/// A hub in the contract's books.
#[derive(Debug, Clone, Copy, Default)]
pub struct HubNumbers {
    /// Vault mode: tokens held for it. Mint mode: tokens it may still create. In minor units.
    pub funds: Amount,
    /// What it could not pay yet, in minor units.
    pub owed: Amount,
    /// Its bond, in minor units.
    pub bond: Amount,
}

/// A channel in the contract's books.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChannelNumbers {
    /// Its epoch.
    pub epoch: Epoch,
    /// Paid out for withdrawals in this epoch, in minor units.
    pub withdrawn: Amount,
    /// Paid in during this epoch, in minor units.
    pub deposited: Amount,
    /// Hard collateral, in minor units.
    pub collateral: Amount,
}
