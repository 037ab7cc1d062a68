//! What callers show the contract, and what it pays.

use crate::{Address, Amount, Hash32, State, Version};

/// A side of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The operator's.
    Hub,
    /// The account's.
    User,
}

impl Side {
    /// The one across.
    pub fn other(self) -> Self {
        match self {
            Self::Hub => Self::User,
            Self::User => Self::Hub,
        }
    }
}

/// Whose key a shown signature is by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// The hub signer's.
    Hub,
    /// The user signer's.
    User,
    /// Anybody else's, or a signature over other content.
    Stranger,
}

impl From<Side> for Key {
    fn from(side: Side) -> Self {
        match side {
            Side::Hub => Self::Hub,
            Side::User => Self::User,
        }
    }
}

/// Who calls, and at which block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Sender of the call.
    pub sender: Address,
    /// Time of the block, in seconds.
    pub now: u64,
}

/// A state as it is shown: whose signature stands in each side's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoSigned {
    /// The state.
    pub state: State,
    /// In the hub's place.
    pub hub: Key,
    /// In the user's place.
    pub user: Key,
}

impl CoSigned {
    /// A state that both sides have signed.
    pub fn both(state: State) -> Self {
        Self {
            state,
            hub: Key::Hub,
            user: Key::User,
        }
    }

    /// A state that needs no signature: only the null state is accepted so.
    pub fn unsigned(state: State) -> Self {
        Self {
            state,
            hub: Key::Stranger,
            user: Key::Stranger,
        }
    }
}

/// A close intent for the posted state, sent by somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// Whose signature it bears. In a self-custodied channel the payout address may sign, too, and
    /// then it is the user's.
    pub signed_by: Key,
    /// Last second at which it may be used.
    pub valid_until: u64,
}

/// A credit of the hub as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownCredit {
    /// All that was ever credited in this epoch, in minor units.
    pub cumulative: Amount,
    /// Whose signature it bears.
    pub signed_by: Key,
}

/// Proof that a closer had given up what it posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "a plain value that is shown once"
)]
pub enum Evidence {
    /// A state derived from a later version; the closer's signature alone suffices.
    State {
        /// The state.
        state: State,
        /// Whose signature it bears.
        signed_by: Key,
    },
    /// The closer's `Revoke` of a version in the epoch asked about.
    Revoke {
        /// The newest version given up.
        version: Version,
        /// Whose signature it bears.
        signed_by: Key,
    },
}

/// A cheque as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownCheque {
    /// Place of the cover lock in the list.
    pub place: usize,
    /// `hashStruct` of the book.
    pub book: Hash32,
    /// Who is paid.
    pub beneficiary: Address,
    /// All that was ever promised to the beneficiary out of the book, in minor units.
    pub cumulative: Amount,
    /// Whether it bears the signature that the book names.
    pub is_signed: bool,
}

/// A payment of tokens that leaves the contract, never of zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    /// The payee.
    pub to: Address,
    /// In minor units.
    pub amount: Amount,
    /// Whether the tokens come into being by it; else the contract held them.
    pub minted: bool,
}
