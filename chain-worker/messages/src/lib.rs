//! What goes between the chain-worker and the others: commands to it, events from it.
//!
//! On RabbitMQ each message is one JSON document; its AMQP `message_id` is the id of the
//! sender's outbox row, by which the receiver drops duplicates. Events reach the hub over its
//! internal API in the same shape. Events of one worker are sent in the order of the chain.

pub mod tower;

use hub_core::proof::ChannelProof;
use hub_core::types::{CloseIntent, Withdraw};
use hub_core::{Address, Amount, ChannelId, ChannelParams, Epoch, Hash32, Signature, State};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names on the broker. Each is prefixed with the deployment's `QUEUE_PREFIX`.
pub mod topology {
    /// Direct exchange and quorum queue of commands.
    pub const COMMANDS: &str = "chain.commands";
    /// Topic exchange of events; the routing key is [`super::Event::routing_key`].
    pub const EVENTS: &str = "chain.events";
    /// Quorum queue in which account-service gets all events.
    pub const ACCOUNT_QUEUE: &str = "account.chain-events";
    /// Where messages go that were delivered too often: one dead-letter queue per queue.
    pub const DEAD_LETTER_SUFFIX: &str = ".dead";
    /// Deliveries after which a message is dead: a handler fails for good, or never.
    pub const DELIVERY_LIMIT: i64 = 20;
}

/// A message with what the log needs to follow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// Id of the sender's outbox row; also the AMQP `message_id`.
    pub id: Uuid,
    /// From the request that caused it, for the logs of every process on its way.
    pub correlation_id: String,
    /// The message.
    pub body: T,
}

/// What the worker is asked to do. Each is idempotent by what it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Bring a vault's final headroom up: some issuance did not fit. The worker coalesces
    /// these and tops up to its configured buffer or to `needed`, whichever is more.
    FundVault {
        /// The hub.
        hub: Address,
        /// How much headroom is missing, in minor units.
        needed: Amount,
    },
    /// Execute a co-signed withdrawal; many go into one transaction.
    Withdraw(Box<WithdrawCommand>),
    /// Post a channel's newest state in the name of one of its sides.
    Close(Box<CloseCommand>),
}

/// A close that a side wants. Idempotent by what the side signed for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseCommand {
    /// The state to post, with both signatures.
    pub proof: ChannelProof,
    /// What the closing side signed: leave for the worker to post this state.
    pub intent: CloseIntent,
    /// The closing side's signature.
    pub signature: Signature,
}

/// A co-signed withdrawal. Idempotent by its digest: the contract's `prevTotal` lets it pay once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawCommand {
    /// The channel's parameters.
    pub params: ChannelParams,
    /// What both sides signed.
    pub withdraw: Withdraw,
    /// The hub's signature.
    pub hub_signature: Signature,
    /// The user side's signature.
    pub user_signature: Signature,
}

/// Where on the chain something was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Block number.
    pub block: u64,
    /// Block hash.
    pub block_hash: Hash32,
    /// Transaction.
    pub tx_hash: Hash32,
    /// Index of the log in its block.
    pub log_index: u64,
}

/// How sure something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// In a block that may still be orphaned.
    Seen,
    /// Was seen, and its block was orphaned.
    Orphaned,
    /// Deep enough to count.
    Final,
}

/// What the worker reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The newest final block. Sent after all events up to it.
    Finalized {
        /// Its number.
        block: u64,
        /// Its time, Unix seconds: the only clock by which anything expires.
        timestamp: u64,
    },
    /// A hub's vault changed, or what the hub owes (final only).
    VaultChanged {
        /// The hub.
        hub: Address,
        /// What the vault holds beyond what the hub owes to users whose settlements it could not
        /// pay, in minor units; zero when it owes more. Collateral is not in it: each secures one
        /// channel.
        vault: Amount,
        /// Where.
        place: Place,
    },
    /// ERC20 was paid in for a channel.
    Deposited {
        /// The channel.
        channel_id: ChannelId,
        /// The epoch.
        epoch: Epoch,
        /// How much came in.
        amount: Amount,
        /// All deposits of the epoch after this one.
        total: Amount,
        /// How sure it is.
        certainty: Certainty,
        /// Where.
        place: Place,
    },
    /// A withdrawal's transaction was broadcast.
    WithdrawSubmitted {
        /// The withdrawal order.
        request_id: Hash32,
        /// The transaction.
        tx_hash: Hash32,
    },
    /// A withdrawal was paid.
    Withdrawn {
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
        /// All that was paid out of the channel in this epoch after this one.
        total: Amount,
        /// How sure it is.
        certainty: Certainty,
        /// Blocks on top when the event was made, the block itself counted.
        confirmations: u64,
        /// Where.
        place: Place,
    },
    /// A channel is being closed on chain. Nothing is signed in it from the first sight on.
    Closed {
        /// The posted state.
        state: State,
        /// `true` when the hub posted it.
        by_hub: bool,
        /// End of the challenge window, Unix seconds.
        deadline: u64,
        /// How sure it is. An orphaned close is as if it had never been.
        certainty: Certainty,
        /// Where.
        place: Place,
    },
    /// A channel was settled and is open again in the next epoch (final only).
    Settled {
        /// The channel.
        channel_id: ChannelId,
        /// The epoch that ended.
        epoch: Epoch,
        /// What the user's side was paid or is owed for its balance, in minor units.
        paid: Amount,
        /// Where.
        place: Place,
    },
}

impl Event {
    /// The routing key on the events exchange.
    pub fn routing_key(&self) -> &'static str {
        match self {
            Self::Finalized { .. } => "block.finalized",
            Self::VaultChanged { .. } => "vault.changed",
            Self::Deposited { .. } => "deposit",
            Self::WithdrawSubmitted { .. } => "withdrawal.submitted",
            Self::Withdrawn { .. } => "withdrawal.paid",
            Self::Closed { .. } => "channel.closed",
            Self::Settled { .. } => "channel.settled",
        }
    }
}
