//! The logs of `HubChannels`, decoded.

use crate::bindings::{EVENT_NAMES, HubChannels::HubChannelsEvents as Events};
use crate::convert::{amount, channel_id, our_address, our_hash, state};
use crate::error::ChainError;
use alloy::sol_types::SolEventInterface as _;
use chain_messages::Place;
use hub_core::{Address, Amount, ChannelId, Epoch, Hash32, State};
use serde::{Deserialize, Serialize};

/// `Closer.Hub` in the contract.
const CLOSER_HUB: u8 = 1;

/// One log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainLog {
    /// Where.
    pub place: Place,
    /// What.
    pub body: LogBody,
}

/// What a log says, as far as anything off chain depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "log", rename_all = "snake_case")]
pub enum LogBody {
    /// Tokens were paid in for a channel.
    Deposited {
        /// The hub.
        hub: Address,
        /// The channel.
        channel_id: ChannelId,
        /// The epoch.
        epoch: Epoch,
        /// How much.
        amount: Amount,
        /// All of the epoch after this one.
        total: Amount,
    },
    /// A withdrawal was paid.
    Withdrawn {
        /// The hub.
        hub: Address,
        /// The channel.
        channel_id: ChannelId,
        /// The epoch.
        epoch: Epoch,
        /// The withdrawal order.
        request_id: Hash32,
        /// Who was paid.
        to: Address,
        /// How much.
        amount: Amount,
        /// All of the epoch after this one.
        total: Amount,
    },
    /// A withdrawal in a batch was not paid.
    WithdrawSkipped {
        /// The hub.
        hub: Address,
        /// The channel.
        channel_id: ChannelId,
        /// The withdrawal order.
        request_id: Hash32,
        /// Why.
        fault: WithdrawFault,
    },
    /// A channel is being closed.
    Closed {
        /// The hub.
        hub: Address,
        /// The posted state.
        state: State,
        /// Whether the hub posted it.
        by_hub: bool,
        /// Last second for a challenge.
        deadline: u64,
    },
    /// A channel was settled.
    Settled {
        /// The hub.
        hub: Address,
        /// The channel.
        channel_id: ChannelId,
        /// The epoch that ended.
        epoch: Epoch,
    },
    /// Anything else the contract logs.
    Other {
        /// Name of the event.
        name: String,
    },
}

impl LogBody {
    /// The hub it is about, when it says so.
    pub fn hub(&self) -> Option<Address> {
        match self {
            Self::Deposited { hub, .. }
            | Self::Withdrawn { hub, .. }
            | Self::WithdrawSkipped { hub, .. }
            | Self::Closed { hub, .. }
            | Self::Settled { hub, .. } => Some(*hub),
            Self::Other { .. } => None,
        }
    }

    /// The withdrawal order it is about.
    pub fn request_id(&self) -> Option<Hash32> {
        match self {
            Self::Withdrawn { request_id, .. } | Self::WithdrawSkipped { request_id, .. } => {
                Some(*request_id)
            }
            _ => None,
        }
    }
}

/// Why the contract did not pay a withdrawal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithdrawFault {
    /// The parameters are none the hub may have channels on.
    ChannelParams,
    /// The channel is closing.
    NotOpen,
    /// Signed for another epoch.
    WrongEpoch,
    /// Past its last second.
    Expired,
    /// Another withdrawal comes before it, or it was paid already.
    WrongTotal,
    /// Zero, or too much.
    Amount,
    /// The payee can't be paid.
    Payee,
    /// The hub's funds don't cover it now.
    FundsShort,
    /// The hub's signature is wrong.
    HubSignature,
    /// The user side's signature is wrong.
    UserSignature,
    /// A reason this version does not know.
    Unknown,
}

impl WithdrawFault {
    fn from_code(code: u8) -> Self {
        match code {
            1 => Self::ChannelParams,
            2 => Self::NotOpen,
            3 => Self::WrongEpoch,
            4 => Self::Expired,
            5 => Self::WrongTotal,
            6 => Self::Amount,
            7 => Self::Payee,
            8 => Self::FundsShort,
            9 => Self::HubSignature,
            10 => Self::UserSignature,
            _ => Self::Unknown,
        }
    }

    /// Whether the same order may be paid later.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::NotOpen | Self::WrongTotal | Self::FundsShort)
    }

    /// For metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChannelParams => "channel_params",
            Self::NotOpen => "not_open",
            Self::WrongEpoch => "wrong_epoch",
            Self::Expired => "expired",
            Self::WrongTotal => "wrong_total",
            Self::Amount => "amount",
            Self::Payee => "payee",
            Self::FundsShort => "funds_short",
            Self::HubSignature => "hub_signature",
            Self::UserSignature => "user_signature",
            Self::Unknown => "unknown",
        }
    }
}

pub(crate) fn decode(
    contract: Address,
    raw: &alloy::rpc::types::Log,
) -> Result<ChainLog, ChainError> {
    let undecodable = |reason: String| ChainError::Undecodable {
        contract,
        what: format!("log in transaction {:?}", raw.transaction_hash),
        reason,
    };
    let place = place(raw).ok_or_else(|| undecodable("it is in no block".into()))?;
    if our_address(raw.inner.address) != contract {
        return Err(undecodable("it is of another contract".into()));
    }
    let topic = raw.topic0().copied().unwrap_or_default();
    let name = EVENT_NAMES
        .get(&topic)
        .ok_or_else(|| undecodable(format!("no event has the topic {topic}")))?;
    let body = if Events::SELECTORS.contains(&topic.0) {
        let event = Events::decode_log(&raw.inner);
        body(
            contract,
            event.map_err(|error| undecodable(error.to_string()))?.data,
        )?
    } else {
        LogBody::Other { name: name.clone() }
    };
    Ok(ChainLog { place, body })
}

fn place(raw: &alloy::rpc::types::Log) -> Option<Place> {
    Some(Place {
        block: raw.block_number?,
        block_hash: our_hash(raw.block_hash?),
        tx_hash: our_hash(raw.transaction_hash?),
        log_index: raw.log_index?,
    })
}

fn body(contract: Address, event: Events) -> Result<LogBody, ChainError> {
    Ok(match event {
        Events::Deposited(e) => LogBody::Deposited {
            hub: our_address(e.hub),
            channel_id: channel_id(e.channelId),
            epoch: e.epoch,
            amount: amount(contract, "deposit", e.amount)?,
            total: amount(contract, "deposits", e.depositedAfter)?,
        },
        Events::Withdrawn(e) => LogBody::Withdrawn {
            hub: our_address(e.hub),
            channel_id: channel_id(e.channelId),
            epoch: e.epoch,
            request_id: our_hash(e.requestId),
            to: our_address(e.to),
            amount: amount(contract, "withdrawal", e.amount)?,
            total: amount(contract, "withdrawals", e.withdrawnAfter)?,
        },
        Events::WithdrawSkipped(e) => LogBody::WithdrawSkipped {
            hub: our_address(e.hub),
            channel_id: channel_id(e.channelId),
            request_id: our_hash(e.requestId),
            fault: WithdrawFault::from_code(e.fault),
        },
        Events::Closed(e) => LogBody::Closed {
            hub: our_address(e.hub),
            state: state(&e.state),
            by_hub: e.closer == CLOSER_HUB,
            deadline: e.deadline.as_limbs()[0],
        },
        Events::Settled(e) => LogBody::Settled {
            hub: our_address(e.hub),
            channel_id: channel_id(e.channelId),
            epoch: e.epoch,
        },
        Events::CoopSettled(e) => LogBody::Settled {
            hub: our_address(e.hub),
            channel_id: channel_id(e.channelId),
            epoch: e.epoch,
        },
    })
}
