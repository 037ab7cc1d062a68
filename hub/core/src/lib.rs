//! The pure channel protocol: no I/O, no clock, no randomness.
//!
//! Account-service, hub, chain-worker, reconciliation and the command line all derive channel
//! states with the code in this crate, so that no two of them can disagree about a rule. The
//! normative text is the protocol description; rule names such as `N2.4` point into it.
//!
//! * [`types`]: the messages both sides sign, with their EIP-712 types;
//! * [`trade`]: orders with their meters, chequebooks with their cheques;
//! * [`merkle`]: the tree that lets one signature cover a batch of states;
//! * [`fold`]: the machine: operations in, new states or a [`Refusal`] out;
//! * [`party`]: either side of one channel: messages in, effects out;
//! * [`rules`]: what must hold before either side signs, checked independently of the machine;
//! * [`settlement`]: who gets what when an epoch ends, as the contract computes it;
//! * [`dispute`]: what the contract does with a channel, as pure transitions;
//! * [`proof`]: the file with which anybody checks a co-signed state offline.

pub mod amount;
pub mod bytes;
pub mod dispute;
pub mod eip712;
pub mod encoding;
pub mod fold;
pub mod lock;
pub mod merkle;
pub mod operation;
pub mod party;
pub mod proof;
pub mod rules;
pub mod settlement;
pub mod signature;
pub mod trade;
pub mod types;

pub use amount::{Amount, AmountError};
pub use bytes::{Address, BytesError, ChannelId, Hash32, Signature};
pub use eip712::{Domain, Typed};
pub use fold::{Facts, Fold, Refusal};
pub use operation::{Action, Operation, OperationId};
pub use types::{ChannelParams, Epoch, State, StateBatch, Version};

use sha3::Digest as _;

/// keccak-256, the hash of the chain.
pub fn keccak256(bytes: &[u8]) -> Hash32 {
    Hash32(sha3::Keccak256::digest(bytes).into())
}

/// sha-256, the hash of preimages.
pub fn sha256(bytes: &[u8]) -> Hash32 {
    Hash32(sha2::Sha256::digest(bytes).into())
}
