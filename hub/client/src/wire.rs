//! The bodies of the hub's internal API.

use chain_messages::tower::AttestedBatch;
use hub_core::types::Withdraw;
use hub_core::{
    Address, Amount, ChannelId, ChannelParams, Domain, Hash32, Operation, OperationId, Signature,
    State, Version,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How a hub's credit is covered on chain (DESIGN 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FundingMode {
    /// The channel contract mints what it pays out; nothing is on chain before.
    Mint,
    /// ERC20 lies in the hub's vault before it is credited.
    Vault,
}

/// What every channel of this hub is opened with, and what is needed to talk to the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The hub's id in the REST API.
    pub hub_id: Uuid,
    /// The operator's account on chain.
    pub hub: Address,
    /// The hub key.
    pub hub_signer: Address,
    /// The user signer the hub accepts for custodial channels.
    pub custody_signer: Address,
    /// The domain everything is signed in.
    pub domain: Domain,
    /// How credit is covered.
    pub mode: FundingMode,
    /// Capacity of a channel, in minor units.
    pub capacity: Amount,
    /// Seconds to answer a close.
    pub challenge_period: u32,
    /// Seconds the closer waits longer.
    pub self_delay: u32,
    /// The most the hub forfeits on one channel, in minor units.
    pub penalty_cap: Amount,
    /// Share of whoever proves a forfeit, in basis points.
    pub bounty_bps: u16,
}

impl Terms {
    /// Whether both are terms of one hub. Capacity and windows may change for channels to come;
    /// who signs what, where, may not.
    pub fn same_identity(&self, other: &Self) -> bool {
        self.hub_id == other.hub_id
            && self.hub == other.hub
            && self.hub_signer == other.hub_signer
            && self.custody_signer == other.custody_signer
            && self.domain == other.domain
            && self.mode == other.mode
    }
}

/// A batch and its root: the mark by which two databases compare how far they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BatchMark {
    /// The batch; 0 when there is none yet.
    pub batch_id: u64,
    /// Its root; zero when there is none yet.
    pub root: Hash32,
}

/// A replica introduces itself (N5). Until one did in this session, the hub signs nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The newest batch in the account database, burned or committed.
    pub newest: BatchMark,
}

/// The hub's side of a hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Changes whenever the hub restarts; every request names it.
    pub session: Uuid,
    /// The newest batch in the hub's journal.
    pub newest: BatchMark,
    /// All batches up to this one have a fate here.
    pub low_water: u64,
    /// What the hub issues at most. The operator may change it with a restart.
    pub caps: IssueCaps,
    /// Set while the hub is fenced because its database was set back: it lacks all committed
    /// batches above this one, and takes them by an [`ImportRequest`].
    pub import_above: Option<u64>,
}

/// Gives a hub whose database was set back what it lost (N5). Nothing of it is believed but what
/// both signatures prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// Committed batches, oldest first.
    pub batches: Vec<ImportBatch>,
    /// `Withdraw`s the hub has signed, as far as it may not remember.
    pub withdraws: Vec<ImportWithdraw>,
    /// With the last request: every committed batch up to this number has been sent.
    pub complete: Option<u64>,
}

/// A committed batch, and what its states alone don't say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportBatch {
    /// The states with both signatures.
    pub attested: AttestedBatch,
    /// The request that made it.
    pub request_id: Uuid,
    /// Parameters of the channels it opened.
    pub opened: Vec<ChannelParams>,
    /// Withdrawal orders and refunds in it.
    pub orders: Vec<ImportOrder>,
}

/// A withdrawal order or its refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportOrder {
    /// The order.
    pub order: OperationId,
    /// The channel.
    pub channel: ChannelId,
    /// How much.
    pub amount: Amount,
    /// Who is to be paid; none for a refund.
    pub to: Option<Address>,
}

/// A `Withdraw` with the hub's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportWithdraw {
    /// The withdrawal order.
    pub order: OperationId,
    /// What was signed.
    pub withdraw: Withdraw,
    /// The hub's signature.
    pub hub_signature: Signature,
    /// Whether the account side knows it executed at a final block. The hub believes it when its
    /// own facts of the channel agree.
    pub executed: bool,
}

/// Committed batches, for an account database that was set back. Nothing of it needs to be
/// believed but what both signatures prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedPage {
    /// The batches, oldest first.
    pub batches: Vec<ImportBatch>,
    /// Whether there may be more behind the last of them.
    pub more: bool,
}

/// Orders whose signed `Withdraw`s are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedOrders {
    /// The withdrawal orders, at most 1,000.
    pub orders: Vec<OperationId>,
}

/// The `Withdraw`s that the hub has signed for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedPage {
    /// One per order that has one.
    pub withdraws: Vec<ImportWithdraw>,
}

/// How far the hub is after an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The newest batch in the hub's journal.
    pub newest: BatchMark,
}

/// What a hub's operator lets it issue, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueCaps {
    /// In one order; never above what an hour allows.
    pub per_order: Amount,
    /// In any 60 minutes.
    pub per_hour: Amount,
}

/// Name of the rule that one issuance is above [`IssueCaps::per_order`].
pub const ISSUE_PER_ORDER: &str = "ISSUE_PER_ORDER";
/// Name of the rule that issuances are above what is left of [`IssueCaps::per_hour`].
pub const ISSUE_LIMIT: &str = "ISSUE_LIMIT";

/// Asks the hub to sign the states that operations lead to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// The same for every try of one batch: the identical request gets the identical answer.
    pub request_id: Uuid,
    /// The hub's session as this replica knows it.
    pub session: Uuid,
    /// In the order they were applied.
    pub operations: Vec<Operation>,
    /// One per touched channel, in channel id order.
    pub proposals: Vec<Proposal>,
    /// What became of earlier batches, as far as the hub may not know.
    pub fates: Vec<Fate>,
}

/// A state the account side derived; the hub derives it again from the operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The channel.
    pub channel: ChannelId,
    /// Version of the base: the newest state with both signatures. 0 for the null state.
    pub base_version: Version,
    /// `hashStruct` of the base.
    pub base_hash: Hash32,
    /// The batch that carries the base's signatures; 0 for the null state.
    pub base_batch: u64,
    /// Version of the new state.
    pub version: Version,
    /// `hashStruct` of the new state.
    pub state_hash: Hash32,
}

/// What became of a batch in the account database. Final once given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fate", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fate {
    /// It was committed; here is the custody signature over it.
    Committed {
        /// The batch.
        batch_id: u64,
        /// The custody signature over its `StateBatch`.
        user_signature: Signature,
    },
    /// It was not and never will be.
    Burned {
        /// The batch.
        batch_id: u64,
    },
}

impl Fate {
    /// The batch it is about.
    pub fn batch_id(&self) -> u64 {
        match self {
            Self::Committed { batch_id, .. } | Self::Burned { batch_id } => *batch_id,
        }
    }
}

/// A signed batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedBatch {
    /// The hub's counter.
    pub batch_id: u64,
    /// Root of the batch before.
    pub prev_root: Hash32,
    /// Root over the states.
    pub root: Hash32,
    /// Levels of the tree.
    pub depth: u8,
    /// The hub's signature over the `StateBatch`.
    pub signature: Signature,
    /// All batches up to this one have a fate at the hub.
    pub low_water: u64,
    /// What can still be issued before funding is needed, in minor units; none in mint mode.
    pub headroom: Option<Amount>,
}

/// Fates handed over apart from a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FatesRequest {
    /// The fates.
    pub fates: Vec<Fate>,
}

/// Answer to fates and chain events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// The hub's session: whoever knows another one says hello.
    pub session: Uuid,
    /// All batches up to this one have a fate at the hub.
    pub low_water: u64,
    /// What can still be issued before funding is needed, in minor units; none in mint mode.
    pub headroom: Option<Amount>,
}

/// Asks for the hub's signature on a `Withdraw` (P9): the order must be part of a state that
/// the hub holds co-signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithdrawRequest {
    /// The withdrawal order.
    pub order: OperationId,
    /// What is to be signed.
    pub withdraw: Withdraw,
    /// Fates of batches, so that the hub can know the order's state to be co-signed.
    pub fates: Vec<Fate>,
}

/// The hub's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawSigned {
    /// Over the `Withdraw`.
    pub signature: Signature,
}

/// The sender's count of the events for a hub. A hub whose database was set back asks for what it
/// lost by [`HubRefusal::EventsMissing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventCount {
    /// Events told before these.
    pub before: u64,
    /// Events told with these.
    pub up_to: u64,
}

/// Final chain events for the hub, in the order of the chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainEventsRequest {
    /// Where they stand among all events of the sender; none for events outside any count.
    #[serde(default)]
    pub count: Option<EventCount>,
    /// The events; one that was handled before is dropped by its id.
    pub events: Vec<chain_messages::Envelope<chain_messages::Event>>,
}

/// One journal entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// The batch.
    pub batch_id: u64,
    /// The request that made it.
    pub request_id: Uuid,
    /// Root of the batch before.
    pub prev_root: Hash32,
    /// Its root.
    pub root: Hash32,
    /// Levels of its tree.
    pub depth: u8,
    /// The hub's signature.
    pub signature: Signature,
    /// The fate as the hub knows it: `None` while it doesn't.
    pub fate: Option<Fate>,
}

/// A channel as the hub has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelHead {
    /// The highest version ever signed.
    pub max_signed: Version,
    /// The newest state the hub signed.
    pub signed: State,
    /// The batch it is in.
    pub signed_batch: u64,
    /// The newest state the hub holds with both signatures.
    pub held: State,
    /// The batch it is in; 0 for the null state.
    pub held_batch: u64,
}

/// Body of every answer that is not 2xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What to do is in the kind of it.
    pub error: HubRefusal,
    /// For people.
    pub detail: String,
}

/// Why the hub does not do what it was asked. A refused batch leaves nothing behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HubRefusal {
    /// Versions are used up to these: roll back and propose higher ones.
    VersionUsed {
        /// The channels concerned.
        channels: Vec<UsedVersion>,
    },
    /// The hub holds a newer co-signed state than the base: the account database is behind.
    BaseBehind {
        /// The channel.
        channel: ChannelId,
        /// Version the hub holds.
        held_version: Version,
    },
    /// The hub doesn't know the base to be co-signed: send the fates of these batches.
    BaseUnknown {
        /// The batches.
        batches: Vec<u64>,
    },
    /// The base is not what the hub holds at that version: one of the databases was edited.
    BaseDiffers {
        /// The channel.
        channel: ChannelId,
    },
    /// The hub's own row of the channel doesn't match its state hash.
    HeadDamaged {
        /// The channels.
        channels: Vec<ChannelId>,
    },
    /// Earlier events are not here: begin again behind this one.
    EventsMissing {
        /// The newest event the hub has.
        after: u64,
    },
    /// These channels are closing.
    Closing {
        /// The channels.
        channels: Vec<ChannelId>,
    },
    /// A rule of the protocol, by name.
    Rule {
        /// For example `NOT_CONSERVED`, `HEADROOM`, [`ISSUE_PER_ORDER`], [`ISSUE_LIMIT`], `BURN_LIMIT`, `STATE_HASH`.
        name: String,
        /// The operations that break it, when it is about some of them.
        operations: Vec<OperationId>,
        /// Headroom left, when it is about headroom.
        headroom: Option<Amount>,
    },
    /// The hub signs nothing: one of the databases was restored, or an operator stopped it.
    Fenced {
        /// Why, and what to do.
        why: String,
    },
    /// Say hello to this session first.
    Session {
        /// The hub's session.
        session: Uuid,
    },
    /// The request can't be read, or breaks a limit.
    Malformed,
    /// No such thing.
    NotFound,
    /// The bearer token is missing, wrong, or of another scope.
    Unauthorized,
    /// The hub is too busy or stopping; the same request may be sent again.
    Unavailable,
    /// A fault of the hub; the same request may be sent again.
    Internal,
}

/// A channel and the highest version used in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedVersion {
    /// The channel.
    pub channel: ChannelId,
    /// Never to be signed again, nor anything below.
    pub max_signed: Version,
}
