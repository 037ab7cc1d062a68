//! The messages of the protocol (PROTOCOL N1), each with its EIP-712 type.

use crate::eip712::{Domain, typed};
use crate::{Address, Amount, ChannelId, Hash32, Typed};
use serde::{Deserialize, Serialize};

/// Order of the allocations of a channel within an epoch. Fits `uint48`.
pub type Version = u64;
/// Life of a channel between two settlements.
pub type Epoch = u32;
/// The largest version the contract can hold.
pub const MAX_VERSION: Version = (1 << 48) - 1;

/// What a channel is made of; its digest is the channel's id, so nothing here ever changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelParams {
    /// The operator's account: owns the vault and the bond, sends the hub's transactions.
    pub hub: Address,
    /// The key that signs states for the hub.
    pub hub_signer: Address,
    /// Where payouts to the user go.
    pub user: Address,
    /// The key that signs states for the user: the custody key, or the customer's own.
    pub user_signer: Address,
    /// Whether the operator keeps the user's key.
    pub custodial: bool,
    /// Sum of all balances and locks, in minor units; constant within an epoch.
    pub capacity: Amount,
    /// Seconds there are to answer a close.
    pub challenge_period: u32,
    /// Seconds that the closer waits longer than the other side.
    pub self_delay: u32,
    /// The most that a cheating hub forfeits on this channel, in minor units.
    pub penalty_cap: Amount,
    /// Share of a forfeit that goes to whoever proved it, in basis points.
    pub bounty_bps: u16,
    /// Tells apart channels of the same parties.
    pub salt: Hash32,
}

typed!(
    ChannelParams,
    "ChannelParams(address hub,address hubSigner,address user,address userSigner,bool custodial,uint96 capacity,uint32 challengePeriod,uint32 selfDelay,uint96 penaltyCap,uint16 bountyBps,bytes32 salt)",
    |p, words| words
        .address(p.hub)
        .address(p.hub_signer)
        .address(p.user)
        .address(p.user_signer)
        .uint(u128::from(p.custodial))
        .amount(p.capacity)
        .uint(u128::from(p.challenge_period))
        .uint(u128::from(p.self_delay))
        .amount(p.penalty_cap)
        .uint(u128::from(p.bounty_bps))
        .hash(p.salt)
);

impl ChannelParams {
    /// The channel's id in a domain.
    pub fn channel_id(&self, domain: &Domain) -> ChannelId {
        ChannelId(domain.digest(self).0)
    }
}

/// One allocation of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    /// The channel.
    pub channel_id: ChannelId,
    /// The epoch.
    pub epoch: Epoch,
    /// Strictly increasing within the epoch; 0 is the null state, which is never signed.
    pub version: Version,
    /// Version of the base: the co-signed state this one was derived from.
    pub ack_version: Version,
    /// What the hub holds free.
    pub hub_balance: Amount,
    /// What the user holds free.
    pub user_balance: Amount,
    /// Sum of the locks that the hub pays.
    pub hub_locked: Amount,
    /// Sum of the locks that the user pays.
    pub user_locked: Amount,
    /// What left the user's balance for withdrawals in this epoch.
    pub withdrawn: Amount,
    /// How much of the epoch's deposits is folded into the balances.
    pub deposited: Amount,
    /// How much of the hub's cumulative credit is folded into the balances.
    pub credited: Amount,
    /// Hash of the lock list; zero when it is empty.
    pub locks_hash: Hash32,
    /// Root over the operations that made this state; zero when there were none.
    pub transfers_root: Hash32,
}

typed!(
    State,
    "State(bytes32 channelId,uint32 epoch,uint48 version,uint48 ackVersion,uint96 hubBalance,uint96 userBalance,uint96 hubLocked,uint96 userLocked,uint128 withdrawn,uint128 deposited,uint128 credited,bytes32 locksHash,bytes32 transfersRoot)",
    |s, words| words
        .hash(s.channel_id)
        .uint(u128::from(s.epoch))
        .uint(u128::from(s.version))
        .uint(u128::from(s.ack_version))
        .amount(s.hub_balance)
        .amount(s.user_balance)
        .amount(s.hub_locked)
        .amount(s.user_locked)
        .amount(s.withdrawn)
        .amount(s.deposited)
        .amount(s.credited)
        .hash(s.locks_hash)
        .hash(s.transfers_root)
);

impl State {
    /// The null state of an epoch: everything is the hub's (P8). Never signed, always postable.
    pub fn null(channel_id: ChannelId, epoch: Epoch, capacity: Amount) -> Self {
        Self {
            channel_id,
            epoch,
            version: 0,
            ack_version: 0,
            hub_balance: capacity,
            user_balance: Amount::ZERO,
            hub_locked: Amount::ZERO,
            user_locked: Amount::ZERO,
            withdrawn: Amount::ZERO,
            deposited: Amount::ZERO,
            credited: Amount::ZERO,
            locks_hash: Hash32::ZERO,
            transfers_root: Hash32::ZERO,
        }
    }

    /// Sum of balances and locks, which must be the capacity.
    pub fn total(&self) -> Option<Amount> {
        Amount::sum([
            self.hub_balance,
            self.user_balance,
            self.hub_locked,
            self.user_locked,
        ])
    }

    /// Entitlement E (N2.3) as a signed number: what the user has got out of this epoch apart
    /// from deposits and credits. Folds and withdrawals leave it as it is.
    pub fn entitlement(&self) -> Option<i128> {
        let signed = |amount: Amount| i128::try_from(amount.units()).ok();
        signed(self.user_balance)?
            .checked_add(signed(self.withdrawn)?)?
            .checked_sub(signed(self.deposited)?)?
            .checked_sub(signed(self.credited)?)
    }
}

/// Up to 4,096 states signed by one signature over their Merkle root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StateBatch {
    /// Merkle root over the states' `hashStruct`s.
    pub root: Hash32,
    /// Levels of the tree, 1 to 12.
    pub depth: u8,
    /// The hub's own counter, from 1. Text in JSON, because it may exceed 2^53.
    #[serde(with = "decimal")]
    pub batch_id: u64,
    /// Root of the batch before, zero for the first.
    pub prev_root: Hash32,
    /// The hub.
    pub hub: Address,
}

typed!(
    StateBatch,
    "StateBatch(bytes32 root,uint8 depth,uint64 batchId,bytes32 prevRoot,address hub)",
    |b, words| words
        .hash(b.root)
        .uint(u128::from(b.depth))
        .uint(u128::from(b.batch_id))
        .hash(b.prev_root)
        .address(b.hub)
);

/// The signer will never close with this version or an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revoke {
    /// The channel.
    pub channel_id: ChannelId,
    /// The epoch.
    pub epoch: Epoch,
    /// The newest version given up.
    pub version: Version,
}

typed!(
    Revoke,
    "Revoke(bytes32 channelId,uint32 epoch,uint48 version)",
    |r, words| words
        .hash(r.channel_id)
        .uint(u128::from(r.epoch))
        .uint(u128::from(r.version))
);

/// The hub's cumulative cheque to a user who can't sign just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credit {
    /// The channel.
    pub channel_id: ChannelId,
    /// The epoch.
    pub epoch: Epoch,
    /// All that was ever credited in this epoch.
    pub cumulative: Amount,
}

typed!(
    Credit,
    "Credit(bytes32 channelId,uint32 epoch,uint128 cumulative)",
    |c, words| words
        .hash(c.channel_id)
        .uint(u128::from(c.epoch))
        .amount(c.cumulative)
);

/// Leave to pay out part of a user's balance on chain without closing the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Withdraw {
    /// The channel.
    pub channel_id: ChannelId,
    /// The epoch.
    pub epoch: Epoch,
    /// What the contract had paid out in this epoch before.
    pub prev_total: Amount,
    /// What it pays now.
    pub amount: Amount,
    /// The payee.
    pub to: Address,
    /// Last second at which it may be executed (Unix time of a block).
    pub valid_until: u64,
    /// The withdrawal order.
    pub request_id: Hash32,
}

typed!(
    Withdraw,
    "Withdraw(bytes32 channelId,uint32 epoch,uint128 prevTotal,uint96 amount,address to,uint40 validUntil,bytes32 requestId)",
    |w, words| words
        .hash(w.channel_id)
        .uint(u128::from(w.epoch))
        .amount(w.prev_total)
        .amount(w.amount)
        .address(w.to)
        .uint(u128::from(w.valid_until))
        .hash(w.request_id)
);

/// Leave for a relayer to close a channel with one certain state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CloseIntent {
    /// The channel.
    pub channel_id: ChannelId,
    /// The epoch.
    pub epoch: Epoch,
    /// `hashStruct` of the state to post.
    pub state_hash: Hash32,
    /// Last second at which it may be used.
    pub valid_until: u64,
}

typed!(
    CloseIntent,
    "CloseIntent(bytes32 channelId,uint32 epoch,bytes32 stateHash,uint40 validUntil)",
    |c, words| words
        .hash(c.channel_id)
        .uint(u128::from(c.epoch))
        .hash(c.state_hash)
        .uint(u128::from(c.valid_until))
);

/// The other side agrees with the posted state: settle at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AcceptClose {
    /// The channel.
    pub channel_id: ChannelId,
    /// The epoch.
    pub epoch: Epoch,
    /// `hashStruct` of the posted state.
    pub state_hash: Hash32,
}

typed!(
    AcceptClose,
    "AcceptClose(bytes32 channelId,uint32 epoch,bytes32 stateHash)",
    |a, words| words
        .hash(a.channel_id)
        .uint(u128::from(a.epoch))
        .hash(a.state_hash)
);

/// Both sides agree on the end of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CoopSettle {
    /// The channel.
    pub channel_id: ChannelId,
    /// The epoch.
    pub epoch: Epoch,
    /// The contract's `withdrawn` at that moment.
    pub withdrawn: Amount,
    /// The contract's `deposited` at that moment.
    pub deposited: Amount,
    /// What the user is paid.
    pub user_amount: Amount,
    /// Last second at which it may be executed.
    pub valid_until: u64,
}

typed!(
    CoopSettle,
    "CoopSettle(bytes32 channelId,uint32 epoch,uint128 withdrawn,uint128 deposited,uint96 userAmount,uint40 validUntil)",
    |c, words| words
        .hash(c.channel_id)
        .uint(u128::from(c.epoch))
        .amount(c.withdrawn)
        .amount(c.deposited)
        .amount(c.user_amount)
        .uint(u128::from(c.valid_until))
);

/// What an operation did to one channel; the leaves of a state's `transfers_root`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Leg {
    /// The operation's id: 16 bytes of a UUID, then zeros.
    pub operation: Hash32,
    /// What it did.
    pub kind: LegKind,
    /// How much.
    pub amount: Amount,
    /// The other channel of a transfer, else zero.
    pub counterparty: Hash32,
}

typed!(
    Leg,
    "Leg(bytes32 operation,uint8 kind,uint96 amount,bytes32 counterparty)",
    |l, words| words
        .hash(l.operation)
        .uint(l.kind as u128)
        .amount(l.amount)
        .hash(l.counterparty)
);

/// What an operation did to one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum LegKind {
    /// Hub to user, on the issuer's order.
    Issue = 1,
    /// User to hub, on the issuer's order.
    Redeem = 2,
    /// The payer's side of a transfer.
    Debit = 3,
    /// The payee's side of a transfer.
    Credit = 4,
    /// User balance that leaves for a payout on chain.
    Withdraw = 5,
    /// A deposit folded into the user balance.
    Deposit = 6,
    /// An expired withdrawal given back.
    Refund = 7,
}

/// 64-bit integers as decimal text.
mod decimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// `hashStruct` of a state: the leaf of a batch.
pub fn state_hash(state: &State) -> Hash32 {
    state.hash_struct()
}
