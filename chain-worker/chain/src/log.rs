//! What the logs of `HubChannels` say.

use chain_messages::Place;
use hub_core::settlement::Closer;
use hub_core::{Address, Amount, ChannelId, ChannelParams, Epoch, Hash32, State, Version};
use serde::{Deserialize, Serialize};

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
    /// A channel got its first deposit: its parameters are public now.
    Opened {
        /// Its parameters.
        params: Box<ChannelParams>,
        /// The channel.
        channel_id: ChannelId,
    },
    /// A channel is being closed.
    Closed {
        /// The hub.
        hub: Address,
        /// The posted state.
        state: State,
        /// Who posted it.
        closer: Closer,
        /// Highest credit shown with it, in minor units.
        credit_max: Amount,
        /// Last second for a challenge.
        deadline: u64,
    },
    /// The posted state was replaced by a newer one.
    Challenged {
        /// The hub.
        hub: Address,
        /// The newer state.
        state: State,
        /// Whether this showed that the closer had moved past what it posted.
        penalized: bool,
        /// Who sent it.
        challenger: Address,
    },
    /// A newer credit of the hub was shown.
    CreditAdded {
        /// The hub.
        hub: Address,
        /// The channel.
        channel_id: ChannelId,
        /// The highest now, in minor units.
        credit_max: Amount,
    },
    /// The closer was shown to have given up what it posted.
    Penalized {
        /// The hub.
        hub: Address,
        /// The channel.
        channel_id: ChannelId,
        /// Who gets the bounty.
        bounty_to: Address,
    },
    /// A channel was settled and is open again in the next epoch.
    Settled {
        /// The hub.
        hub: Address,
        /// The channel.
        channel_id: ChannelId,
        /// The epoch that ended.
        epoch: Epoch,
        /// What it paid.
        paid: Ending,
    },
    /// A closed user was shown to have cheated before its late payout.
    DelayedForfeited {
        /// The hub.
        hub: Address,
        /// The channel.
        channel_id: ChannelId,
        /// The epoch.
        epoch: Epoch,
        /// What it lost.
        amount: Amount,
        /// What of it went to `bounty_to`.
        bounty: Amount,
        /// Who showed it.
        bounty_to: Address,
    },
    /// The hub was shown to have signed two states of one version.
    EquivocationProved {
        /// The hub.
        hub: Address,
        /// The channel.
        channel_id: ChannelId,
        /// The epoch.
        epoch: Epoch,
    },
    /// A closer's own payout was made: to the user, or back to the hub's vault.
    DelayedPaid {
        /// The hub.
        hub: Address,
        /// The channel.
        channel_id: ChannelId,
        /// The epoch.
        epoch: Epoch,
        /// Who got it.
        to: Address,
        /// How much.
        amount: Amount,
    },
    /// The hub's funds did not reach: it owes the user this.
    Bounced {
        /// The hub.
        hub: Address,
        /// The channel.
        channel_id: ChannelId,
        /// The epoch.
        epoch: Epoch,
        /// How much is owed.
        amount: Amount,
    },
    /// Something of what a hub owed was paid.
    OwedPaid {
        /// The hub.
        hub: Address,
        /// The channel.
        channel_id: ChannelId,
        /// The epoch.
        epoch: Epoch,
        /// How much was paid.
        amount: Amount,
        /// What is still owed.
        left: Amount,
    },
    /// Locks of a settled list were resolved.
    Unlocked {
        /// The hub.
        hub: Address,
        /// The channel.
        channel_id: ChannelId,
        /// The epoch.
        epoch: Epoch,
        /// Places of the locks that are gone; the others stay, in order.
        resolved: Vec<usize>,
        /// What the user's side got, `owed` included.
        user_pay: Amount,
        /// What of it waits for funds.
        owed: Amount,
        /// What is left for the others.
        reserve: Amount,
        /// What the funds did not cover of that.
        short: Amount,
    },
    /// A cheque of a cover lock was cashed.
    ChequeCashed {
        /// The channel.
        channel_id: ChannelId,
        /// The epoch.
        epoch: Epoch,
        /// Who was paid.
        beneficiary: Address,
        /// Place of the lock.
        index: usize,
        /// How much.
        amount: Amount,
        /// What is left for the list.
        reserve: Amount,
        /// What the funds did not cover of that.
        short: Amount,
    },
    /// A preimage is known from now on.
    PreimageRegistered {
        /// Its sha-256.
        hash: Hash32,
        /// The 32 bytes.
        preimage: Hash32,
    },
    /// Granules of an order were shown.
    MeterShown {
        /// The order.
        order: Hash32,
        /// All that were delivered.
        delivered: u64,
    },
    /// A payout could not be delivered and waits.
    Reclaimable {
        /// For whom.
        account: Address,
        /// How much.
        amount: Amount,
    },
    /// A call of a batch failed and changed nothing.
    CallSkipped {
        /// Its place in the batch.
        index: u64,
        /// Name of the contract's error, or the bytes it gave.
        reason: String,
    },
    /// Anything else the contract logs.
    Other {
        /// Name of the event.
        name: String,
    },
}

/// What a settlement paid, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Whether both sides agreed to it, instead of a close that was not answered.
    pub agreed: bool,
    /// Version of the settled state; 0 of an agreed settlement.
    pub version: Version,
    /// Whether the closer forfeited.
    pub penalized: bool,
    /// From the hub's funds to the user, now or at `pay_at`, `owed` included.
    pub user_pay: Amount,
    /// From the hub's bond to the user.
    pub user_bonus: Amount,
    /// To `bounty_to`.
    pub bounty: Amount,
    /// Who showed that the closer cheated; zero when nobody did.
    pub bounty_to: Address,
    /// Set aside for the locks of the state.
    pub lock_reserve: Amount,
    /// What the hub's funds could not pay of `user_pay`.
    pub owed: Amount,
    /// When the closer's own payout is due, Unix time; 0 when nothing waits.
    pub pay_at: u64,
}

impl LogBody {
    /// The hub it is about, when it says so.
    pub fn hub(&self) -> Option<Address> {
        match self {
            Self::Opened { params, .. } => Some(params.hub),
            Self::Deposited { hub, .. }
            | Self::Withdrawn { hub, .. }
            | Self::WithdrawSkipped { hub, .. }
            | Self::Closed { hub, .. }
            | Self::Challenged { hub, .. }
            | Self::CreditAdded { hub, .. }
            | Self::Penalized { hub, .. }
            | Self::Settled { hub, .. }
            | Self::DelayedForfeited { hub, .. }
            | Self::EquivocationProved { hub, .. }
            | Self::DelayedPaid { hub, .. }
            | Self::Bounced { hub, .. }
            | Self::OwedPaid { hub, .. }
            | Self::Unlocked { hub, .. } => Some(*hub),
            Self::ChequeCashed { .. }
            | Self::PreimageRegistered { .. }
            | Self::MeterShown { .. }
            | Self::Reclaimable { .. }
            | Self::CallSkipped { .. }
            | Self::Other { .. } => None,
        }
    }

    /// The channel it is about, when it says so.
    pub fn channel_id(&self) -> Option<ChannelId> {
        match self {
            Self::Closed { state, .. } | Self::Challenged { state, .. } => Some(state.channel_id),
            Self::Opened { channel_id, .. }
            | Self::Deposited { channel_id, .. }
            | Self::Withdrawn { channel_id, .. }
            | Self::WithdrawSkipped { channel_id, .. }
            | Self::CreditAdded { channel_id, .. }
            | Self::Penalized { channel_id, .. }
            | Self::Settled { channel_id, .. }
            | Self::DelayedForfeited { channel_id, .. }
            | Self::EquivocationProved { channel_id, .. }
            | Self::DelayedPaid { channel_id, .. }
            | Self::Bounced { channel_id, .. }
            | Self::OwedPaid { channel_id, .. }
            | Self::Unlocked { channel_id, .. }
            | Self::ChequeCashed { channel_id, .. } => Some(*channel_id),
            Self::PreimageRegistered { .. }
            | Self::MeterShown { .. }
            | Self::Reclaimable { .. }
            | Self::CallSkipped { .. }
            | Self::Other { .. } => None,
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
    pub(crate) fn from_code(code: u8) -> Self {
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
