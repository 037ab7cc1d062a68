//! The chain as the rest of the system sees it: blocks, the logs and views of our two contracts,
//! signed transactions. The only crate that names the EVM library; its public types are ours.
//!
//! * [`Node`]: JSON-RPC of one node, with a time limit on every call;
//! * [`Chain`]: a node and the addresses of our contracts: logs by range, balances, channels. It
//!   only reads, so reconciliation uses it too;
//! * [`calls`] and [`transaction`]: what is sent, and its signature;
//! * [`cosigned`] and [`record`]: states with their consents, and disputes as the contract
//!   remembers them, rebuilt from its logs;
//! * [`deploy`]: contracts and hubs of a local chain.

mod bindings;
pub mod calls;
pub mod client;
mod convert;
pub mod cosigned;
mod decode;
pub mod deploy;
pub mod error;
pub mod log;
pub mod node;
pub mod record;
pub mod transaction;
pub mod wallet;

pub use calls::{FundingMode, Registration};
pub use client::{Chain, ChannelView, HubView, PendingView};
pub use cosigned::{Attestation, CoSigned, Evidence};
pub use error::ChainError;
pub use log::{ChainLog, Ending, LogBody, WithdrawFault};
pub use node::{At, Block, Fees, Node, Receipt, Sent};
pub use record::SettledLocks;
pub use transaction::{Signed, Transaction};
pub use wallet::Wallet;
