//! A state with what both sides signed, in the form the contract wants to see.

use crate::bindings::HubChannels;
use crate::convert::{address, evm_state, hash, uint48};
use alloy::primitives::{Bytes, U256};
use hub_core::proof::{ChannelProof, Over};
use hub_core::{Hash32, Signature, State, StateBatch, Version};

/// One side's consent to a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attestation {
    /// None: the null state needs none.
    Absent,
    /// Over the state alone.
    State(Signature),
    /// Over a batch that the state is in.
    Batch {
        /// The batch.
        batch: StateBatch,
        /// The state's place among the leaves.
        leaf_index: u32,
        /// From leaf to root, one per level.
        siblings: Vec<Hash32>,
        /// The signature; nothing stands for the hub's when the batch is anchored.
        signature: Option<Signature>,
    },
}

/// A state and both consents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoSigned {
    /// The state.
    pub state: State,
    /// The hub's consent.
    pub hub: Attestation,
    /// The user's consent.
    pub user: Attestation,
}

/// Shows that a closer had given up the version it posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// A state that the closer signed, derived from a later version than the posted one.
    State {
        /// The state.
        state: Box<State>,
        /// The closer's consent to it.
        attestation: Attestation,
    },
    /// The closer's own word.
    Revoke {
        /// The newest version given up.
        version: Version,
        /// The closer's signature over the `Revoke`.
        signature: Signature,
    },
}

impl CoSigned {
    /// The null state: always postable, signed by nobody.
    pub fn null(state: State) -> Self {
        Self {
            state,
            hub: Attestation::Absent,
            user: Attestation::Absent,
        }
    }

    /// Both consents over one batch.
    pub fn in_batch(
        state: State,
        batch: StateBatch,
        leaf_index: u32,
        siblings: Vec<Hash32>,
        signatures: (Signature, Signature),
    ) -> Self {
        let side = |signature| Attestation::Batch {
            batch,
            leaf_index,
            siblings: siblings.clone(),
            signature: Some(signature),
        };
        Self {
            state,
            hub: side(signatures.0),
            user: side(signatures.1),
        }
    }

    /// What a `channel-proof/1` holds; it should have been verified.
    pub fn from_proof(proof: &ChannelProof) -> Self {
        let side = |over: Over, signature: Signature| match over {
            Over::State => Attestation::State(signature),
            Over::Batch => Attestation::Batch {
                batch: proof.batch_typed_data.message,
                leaf_index: proof.merkle.leaf_index,
                siblings: proof.merkle.siblings.clone(),
                signature: Some(signature),
            },
        };
        let signed = &proof.signatures;
        Self {
            state: proof.state_typed_data.message,
            hub: side(signed.hub.over, signed.hub.signature),
            user: side(signed.user.over, signed.user.signature),
        }
    }

    pub(crate) fn evm(&self) -> HubChannels::CoSigned {
        let hub = self.hub.evm();
        let mut user = self.user.evm();
        // The contract follows the path once when both sides signed the same batch.
        if self.hub.batch().is_some() && self.hub.batch() == self.user.batch() {
            user.leafIndex = U256::ZERO;
            user.siblings = Vec::new();
        }
        HubChannels::CoSigned {
            state: evm_state(&self.state),
            hub,
            user,
        }
    }
}

impl Attestation {
    fn batch(&self) -> Option<&StateBatch> {
        match self {
            Self::Batch { batch, .. } => Some(batch),
            Self::Absent | Self::State(_) => None,
        }
    }

    pub(crate) fn evm(&self) -> HubChannels::Attestation {
        let alone = |signature: &[u8]| HubChannels::Attestation {
            batch: empty_batch(),
            leafIndex: U256::ZERO,
            siblings: Vec::new(),
            signature: Bytes::copy_from_slice(signature),
        };
        match self {
            Self::Absent => alone(&[]),
            Self::State(signature) => alone(&signature.0),
            Self::Batch {
                batch,
                leaf_index,
                siblings,
                signature,
            } => HubChannels::Attestation {
                batch: HubChannels::StateBatch {
                    root: hash(batch.root),
                    depth: batch.depth,
                    batchId: batch.batch_id,
                    prevRoot: hash(batch.prev_root),
                    hub: address(batch.hub),
                },
                leafIndex: U256::from(*leaf_index),
                siblings: siblings.iter().map(|sibling| hash(*sibling)).collect(),
                signature: signature
                    .map(|signature| Bytes::copy_from_slice(&signature.0))
                    .unwrap_or_default(),
            },
        }
    }
}

fn empty_batch() -> HubChannels::StateBatch {
    HubChannels::StateBatch {
        root: Default::default(),
        depth: 0,
        batchId: 0,
        prevRoot: Default::default(),
        hub: Default::default(),
    }
}

impl Evidence {
    pub(crate) fn evm(&self) -> HubChannels::Evidence {
        match self {
            Self::State { state, attestation } => HubChannels::Evidence {
                state: evm_state(state),
                attestation: attestation.evm(),
                revokedVersion: uint48(0),
                revoke: Bytes::new(),
            },
            Self::Revoke { version, signature } => HubChannels::Evidence {
                state: evm_state(&State::null(Default::default(), 0, Default::default())),
                attestation: Attestation::Absent.evm(),
                revokedVersion: uint48(*version),
                revoke: Bytes::copy_from_slice(&signature.0),
            },
        }
    }
}
