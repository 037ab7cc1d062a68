//! The chain as the rest of the system sees it: blocks, the logs and views of our two contracts,
//! signed transactions. The only crate that names the EVM library; its public types are ours.
//!
//! * [`Node`]: JSON-RPC of one node, with a time limit on every call;
//! * [`Chain`]: a node and the addresses of our contracts: logs by range, balances, channels. It
//!   only reads, so reconciliation uses it too;
//! * [`calls`] and [`transaction`]: what is sent, and its signature;
//! * [`deploy`]: contracts and hubs of a local chain.

mod bindings;
pub mod calls;
pub mod client;
mod convert;
pub mod deploy;
pub mod error;
pub mod log;
pub mod node;
pub mod transaction;
pub mod wallet;

pub use calls::{FundingMode, Registration};
pub use client::{Chain, ChannelView, HubView};
pub use error::ChainError;
pub use log::{ChainLog, LogBody, WithdrawFault};
pub use node::{At, Block, Fees, Node, Receipt, Sent};
pub use transaction::{Signed, Transaction};
pub use wallet::Wallet;
