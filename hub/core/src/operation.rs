//! What account-service orders and the hub checks: one operation touches one or two channels.

use crate::types::LegKind;
use crate::{Address, Amount, ChannelId, ChannelParams, Hash32};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The 16 bytes of an operation's UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct OperationId(pub [u8; 16]);

impl OperationId {
    /// The id as the 32 bytes that go into legs and withdrawal orders: left-aligned.
    pub fn word(&self) -> Hash32 {
        let mut word = Hash32::ZERO;
        word.0[..16].copy_from_slice(&self.0);
        word
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<OperationId> for String {
    fn from(id: OperationId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for OperationId {
    type Error = crate::BytesError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| crate::BytesError { digits: 32 })?;
        Ok(Self(bytes))
    }
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Its id, made by account-service.
    pub id: OperationId,
    /// What it does.
    pub action: Action,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Opens a custodial channel: its first co-signed state gives everything to the hub.
    Open {
        /// The new channel's parameters.
        params: ChannelParams,
    },
    /// Credits from the hub, on the issuer's order.
    Issue {
        /// The channel credited.
        channel: ChannelId,
        /// How much.
        amount: Amount,
    },
    /// Takes back to the hub, on the issuer's order.
    Redeem {
        /// The channel debited.
        channel: ChannelId,
        /// How much.
        amount: Amount,
    },
    /// Moves from one channel to another of the same hub, both or neither.
    Transfer {
        /// The channel debited.
        payer: ChannelId,
        /// The channel credited.
        payee: ChannelId,
        /// How much.
        amount: Amount,
    },
    /// Takes out of the user's balance what will be paid out on chain; the operation is the
    /// withdrawal order that a `Withdraw` names.
    Withdraw {
        /// The channel debited.
        channel: ChannelId,
        /// How much.
        amount: Amount,
        /// Who is paid.
        to: Address,
    },
    /// Gives back a withdrawal that can no longer be executed.
    Refund {
        /// The channel credited.
        channel: ChannelId,
        /// The withdrawal order.
        order: OperationId,
        /// How much.
        amount: Amount,
    },
    /// Folds a final deposit into the balance.
    Deposit {
        /// The channel credited.
        channel: ChannelId,
        /// How much.
        amount: Amount,
    },
}

impl Action {
    /// The amount moved; zero for an opening.
    pub fn amount(&self) -> Amount {
        match *self {
            Self::Open { .. } => Amount::ZERO,
            Self::Issue { amount, .. }
            | Self::Redeem { amount, .. }
            | Self::Transfer { amount, .. }
            | Self::Withdraw { amount, .. }
            | Self::Refund { amount, .. }
            | Self::Deposit { amount, .. } => amount,
        }
    }

    /// The channels touched, with what happens to each; none for an opening.
    pub fn legs(&self) -> impl Iterator<Item = (ChannelId, LegKind, Hash32)> + use<> {
        let one = |channel, kind| [Some((channel, kind, Hash32::ZERO)), None];
        let legs = match *self {
            Self::Open { .. } => [None, None],
            Self::Issue { channel, .. } => one(channel, LegKind::Issue),
            Self::Redeem { channel, .. } => one(channel, LegKind::Redeem),
            Self::Withdraw { channel, .. } => one(channel, LegKind::Withdraw),
            Self::Refund { channel, .. } => one(channel, LegKind::Refund),
            Self::Deposit { channel, .. } => one(channel, LegKind::Deposit),
            Self::Transfer { payer, payee, .. } => [
                Some((payer, LegKind::Debit, payee.into())),
                Some((payee, LegKind::Credit, payer.into())),
            ],
        };
        legs.into_iter().flatten()
    }
}
