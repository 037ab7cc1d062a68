//! The contract's errors.

use super::{Side, shown::Key};
use crate::{Address, Amount, ChannelId, Epoch, Hash32, Version};

/// Why the contract refuses a call: its `HubChannels_*` errors, by name and with their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in each message")]
pub enum Refusal {
    #[error("a zero address")]
    ZeroAddress,
    #[error("the guardian has stopped new obligations")]
    Paused,
    #[error("{hub} is no hub of the mode that this needs")]
    WrongMode { hub: Address },
    #[error("the channel's parameters are not within its hub's rules")]
    BadParams,
    #[error("the channel is {}", if *.closing { "closing" } else { "open" })]
    WrongStatus { closing: bool },
    #[error("the amount is zero")]
    AmountZero,
    #[error("an amount is too large: {amount}")]
    AmountTooLarge { amount: Amount },
    #[error("withdrawal {request_id} is refused: {fault:?}")]
    WithdrawRefused {
        request_id: Hash32,
        fault: WithdrawFault,
    },
    #[error("a state of channel {found}")]
    WrongChannel { found: ChannelId },
    #[error("a state of epoch {found}, the channel is in epoch {expected}")]
    WrongEpoch { expected: Epoch, found: Epoch },
    #[error("balances and locks sum to {sum}, the capacity is {capacity}")]
    SumMismatch { sum: Amount, capacity: Amount },
    #[error("a state of version 0 that is not the null state")]
    NotNullState,
    #[error("not attested by the {side:?} side")]
    BadAttestation { side: Side },
    #[error("not signed by who should have")]
    BadSignature,
    #[error("the close intent was valid until {valid_until}")]
    IntentExpired { valid_until: u64 },
    #[error("{sender} is no party of the channel")]
    NotAParty { sender: Address },
    #[error("{offered} is not above {current}")]
    NotNewer { current: Amount, offered: Amount },
    #[error("the window ended at {deadline}")]
    DeadlinePassed { deadline: u64 },
    #[error("the window ends at {deadline}")]
    DeadlineAhead { deadline: u64 },
    #[error("the evidence does not show that the closer had given up version {closed_version}")]
    NotRevoked { closed_version: Version },
    #[error("the closer has forfeited already")]
    AlreadyPenalized,
    #[error("the contract's totals are withdrawn {withdrawn}, deposited {deposited}")]
    TotalsMoved {
        withdrawn: Amount,
        deposited: Amount,
    },
    #[error("the agreement was valid until {valid_until}")]
    Expired { valid_until: u64 },
    #[error("no two states of one version, or proved before")]
    NoEquivocation,
    #[error("not the lock list that was settled")]
    WrongLockList,
    #[error("no lock can be resolved now")]
    NothingResolvable,
    #[error("the lock's condition is {expected}, the cheque's book is {found}")]
    WrongCondition { expected: Hash32, found: Hash32 },
    #[error("the list has no such lock")]
    NoSuchLock,
    #[error("nothing to pay")]
    NothingToPay,
    #[error("due at {due_at}")]
    NotDue { due_at: u64 },
}

/// Why a withdrawal was not paid; the contract's `WithdrawFault`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum WithdrawFault {
    /// Parameters outside the hub's rules.
    ChannelParams = 1,
    /// The channel is closing.
    NotOpen,
    /// Signed for another epoch.
    WrongEpoch,
    /// Its time is past.
    Expired,
    /// Another total was withdrawn before than the order names.
    WrongTotal,
    /// Zero, or more than the total can hold.
    Amount,
    /// Nobody, or the contract itself.
    Payee,
    /// Vault and collateral can't cover it.
    FundsShort,
    /// Not the hub signer's.
    HubSignature,
    /// Not the user signer's.
    UserSignature,
}

impl Refusal {
    /// The contract's error without its prefix: `HubChannels_` and this. A place outside a list
    /// is the compiler's panic there, not an error of the contract's own.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ZeroAddress => "ZeroAddress",
            Self::Paused => "Paused",
            Self::WrongMode { .. } => "WrongMode",
            Self::BadParams => "BadParams",
            Self::WrongStatus { .. } => "WrongStatus",
            Self::AmountZero => "AmountZero",
            Self::AmountTooLarge { .. } => "AmountTooLarge",
            Self::WithdrawRefused { .. } => "WithdrawRefused",
            Self::WrongChannel { .. } => "WrongChannel",
            Self::WrongEpoch { .. } => "WrongEpoch",
            Self::SumMismatch { .. } => "SumMismatch",
            Self::NotNullState => "NotNullState",
            Self::BadAttestation { .. } => "BadAttestation",
            Self::BadSignature => "BadSignature",
            Self::IntentExpired { .. } => "IntentExpired",
            Self::NotAParty { .. } => "NotAParty",
            Self::NotNewer { .. } => "NotNewer",
            Self::DeadlinePassed { .. } => "DeadlinePassed",
            Self::DeadlineAhead { .. } => "DeadlineAhead",
            Self::NotRevoked { .. } => "NotRevoked",
            Self::AlreadyPenalized => "AlreadyPenalized",
            Self::TotalsMoved { .. } => "TotalsMoved",
            Self::Expired { .. } => "Expired",
            Self::NoEquivocation => "NoEquivocation",
            Self::WrongLockList => "WrongLockList",
            Self::NothingResolvable => "NothingResolvable",
            Self::WrongCondition { .. } => "WrongCondition",
            Self::NoSuchLock => "NoSuchLock",
            Self::NothingToPay => "NothingToPay",
            Self::NotDue { .. } => "NotDue",
        }
    }
}

/// Passes when the shown signature is by `expected`.
pub(super) fn require_signed(shown: Key, expected: Side) -> Result<(), Refusal> {
    if shown == Key::from(expected) {
        Ok(())
    } else {
        Err(Refusal::BadSignature)
    }
}
