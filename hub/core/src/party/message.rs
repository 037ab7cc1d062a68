//! What the two sides say to each other.

use super::change::Order;
use super::evidence::{Attestation, Content, Signed};
use super::refuse::Refuse;
use crate::types::Withdraw;
use crate::{Amount, Signature, Version};

/// A new state, from the last signer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The state proposed.
    pub content: Content,
    /// What it does.
    pub orders: Vec<Order>,
    /// What it was derived from, with both signatures (P2).
    pub base: Signed,
}

/// One message. Any may be lost, doubled or late; a repeated one gets the answer it got before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Sign this.
    Propose(Box<Proposal>),
    /// The first signature.
    Signed {
        /// Of which state.
        version: Version,
        /// The signature.
        attestation: Attestation,
    },
    /// Not signed, and what the proposer needs to know to mend it (P12).
    Refused {
        /// Of which state.
        version: Version,
        /// Why.
        why: Refuse,
        /// The highest version ever signed or taken here.
        max_signed: Version,
        /// What is held here.
        held: Box<Signed>,
    },
    /// The last signature.
    Complete {
        /// The state with both signatures.
        signed: Box<Signed>,
        /// In self-custody, the hub's `Revoke` and the version it gives up.
        revoke: Option<(Version, Signature)>,
    },
    /// The first signer's `Revoke`.
    Revoke {
        /// The version given up, with all before.
        version: Version,
        /// The signature.
        signature: Signature,
    },
    /// Whatever is newer than this, once more.
    Ask {
        /// The asker's held version.
        held: Version,
    },
    /// The hub's cumulative cheque.
    Credit {
        /// All that was ever credited in this epoch.
        cumulative: Amount,
        /// The signature.
        signature: Signature,
    },
    /// One side's signature on a payout.
    Withdraw {
        /// The payout.
        withdraw: Withdraw,
        /// The signature.
        signature: Signature,
    },
}
