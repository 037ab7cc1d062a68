//! What goes into the posting engine and what comes out.

use crate::store::closing::Ended;
use hub_core::{Address, Amount, ChannelId, Hash32, Version};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

/// A request that moves money or opens an account, ready to be posted.
#[derive(Debug, Clone)]
pub struct Request {
    /// The operation's id, a UUIDv7 made for this try; a replay answers with the first one.
    pub id: Uuid,
    /// Owner of the API key: scope of idempotency keys and client references.
    pub owner: Uuid,
    /// Whether the caller may act on every owner's accounts.
    pub all_owners: bool,
    /// The route it came by: part of the idempotency scope.
    pub route: Route,
    /// The idempotency key.
    pub key: String,
    /// SHA-256 of the parsed body, keys sorted.
    pub request_hash: Hash32,
    /// The caller's own reference, used at most once.
    pub client_ref: Option<String>,
    /// For the logs of every process the request reaches.
    pub correlation_id: String,
    /// What to do.
    pub order: Order,
    /// What is kept with the operation and given back: metadata, reason, index in a batch.
    pub extra: Option<serde_json::Value>,
    /// Only compute the answer; change nothing, use no key.
    pub dry_run: bool,
}

/// Begins the key of a refund; the withdrawal's id follows.
const REFUND_KEY: &str = "refund:";

impl Request {
    /// An order of the system's own. Its key is made from what caused it, so that it is done once
    /// whoever orders it. Nothing else is known of orders that only callers give.
    pub fn system(order: Order, correlation_id: Option<String>) -> Self {
        let key = match &order {
            Order::Refund { withdrawal } => Self::refund_key(*withdrawal),
            Order::Deposit { deposit } => format!("deposit:{deposit}"),
            Order::Reopen(ended) => format!("settle:{}", ended.closing),
            _ => format!("system:{}", Uuid::now_v7()),
        };
        Self {
            id: Uuid::now_v7(),
            owner: Uuid::nil(),
            all_owners: true,
            route: Route::System,
            request_hash: hub_core::sha256(key.as_bytes()),
            client_ref: None,
            correlation_id: correlation_id.unwrap_or_else(|| key.clone()),
            key,
            order,
            extra: None,
            dry_run: false,
        }
    }

    /// The key of a withdrawal's refund: it is given back once.
    pub fn refund_key(withdrawal: Uuid) -> String {
        format!("{REFUND_KEY}{withdrawal}")
    }

    /// The withdrawal that a refund with this key gave back.
    pub fn refunded(key: &str) -> Option<Uuid> {
        Uuid::parse_str(key.strip_prefix(REFUND_KEY)?).ok()
    }
}

/// Scope of an idempotency key, beside its owner. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum Route {
    /// `POST /v1/accounts`.
    Accounts = 1,
    /// `POST /v1/issuances`.
    Issuances = 2,
    /// `POST /v1/redemptions`.
    Redemptions = 3,
    /// `POST /v1/transfers`.
    Transfers = 4,
    /// `POST /v1/transfer-batches`: key `K#index` for each item.
    TransferBatches = 5,
    /// `POST /v1/withdrawals`.
    Withdrawals = 6,
    /// `POST /v1/account-batches`: key `K#index` for each item.
    AccountBatches = 7,
    /// The system's own operations: deposits, refunds. Keys are made from what caused them.
    System = 8,
}

/// What a request does.
#[derive(Debug, Clone)]
pub enum Order {
    /// Opens an account and its channel.
    Open(NewAccount),
    /// Hub to account.
    Issue {
        /// The account credited.
        account: Uuid,
        /// How much.
        amount: Amount,
    },
    /// Account to hub.
    Redeem {
        /// The account debited.
        account: Uuid,
        /// How much.
        amount: Amount,
    },
    /// Account to account.
    Transfer {
        /// The account debited.
        from: Uuid,
        /// The account credited.
        to: Uuid,
        /// How much.
        amount: Amount,
        /// The payer channel's state version that the caller builds on.
        expected_version: Option<Version>,
    },
    /// Account to chain.
    Withdraw {
        /// The account debited.
        account: Uuid,
        /// How much.
        amount: Amount,
        /// Who is paid; the account's own chain address when not given.
        to: Option<Address>,
    },
    /// Gives back a withdrawal that can't be executed any more.
    Refund {
        /// The withdrawal.
        withdrawal: Uuid,
    },
    /// Credits a final deposit.
    Deposit {
        /// The deposit.
        deposit: Uuid,
    },
    /// Begins the next epoch of a channel that was settled.
    Reopen(Ended),
}

/// An account to open.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewAccount {
    /// Its id.
    pub id: Uuid,
    /// The owner's own name for it.
    pub external_id: Option<String>,
    /// Asset code.
    pub asset: String,
    /// Its hub.
    pub hub_id: Uuid,
    /// Where payouts go.
    pub chain_address: Option<Address>,
    /// The caller's own data.
    pub metadata: serde_json::Value,
}

/// One side of a posted operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The account.
    pub account: Uuid,
    /// Its channel.
    pub channel: ChannelId,
    /// Version of the state the operation is part of.
    pub version: Version,
    /// Hash of that state.
    pub state_hash: Hash32,
    /// User balance after the operation.
    pub balance_after: Amount,
}

/// A posted operation as the journal has it.
#[derive(Debug, Clone)]
pub struct Posted {
    /// Its id.
    pub id: Uuid,
    /// What it was.
    pub kind: Kind,
    /// Whether it is done, waits for funding, or failed.
    pub outcome: OperationOutcome,
    /// The hub.
    pub hub_id: Uuid,
    /// How much; zero for an opening.
    pub amount: Amount,
    /// The account that paid.
    pub payer: Option<Uuid>,
    /// The account that was paid.
    pub payee: Option<Uuid>,
    /// The debit, once posted.
    pub debit: Option<Entry>,
    /// The credit, once posted.
    pub credit: Option<Entry>,
    /// The state batch (`bat_…` in the API), once posted.
    pub batch: Option<Uuid>,
    /// The caller's own reference.
    pub client_ref: Option<String>,
    /// As given.
    pub extra: Option<serde_json::Value>,
    /// When it was accepted.
    pub created_at: OffsetDateTime,
}

/// Kind of an operation. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum Kind {
    /// Hub to account.
    Issue = 1,
    /// Account to hub.
    Redeem = 2,
    /// Account to account.
    Transfer = 3,
    /// Account to chain.
    Withdraw = 4,
    /// Chain to account.
    Deposit = 5,
    /// A withdrawal given back.
    Refund = 6,
    /// An account opened.
    Open = 7,
    /// A balance that left with the settlement of its epoch.
    Settle = 8,
    /// What came in by a state of a batch that a restored database had lost, as far as nobody can
    /// tell any more where from.
    Gained = 9,
    /// What went out by such a state.
    Lost = 10,
}

/// Outcome of an operation. The numbers are stored; 2 is a refusal, which is no operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum OperationOutcome {
    /// Posted.
    Done = 1,
    /// Accepted; waits until the vault is funded.
    PendingFunding = 3,
    /// Accepted once, and failed for good.
    Failed = 4,
}

/// How a request ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Posted and durable, or accepted as pending.
    Done {
        /// The operation.
        operation: Box<Posted>,
        /// Whether it was an earlier request with the same key that did it.
        replayed: bool,
    },
    /// Refused by rule; the same key gets the same refusal for ever.
    Refused {
        /// Why.
        refusal: Refused,
        /// Whether it was an earlier request with the same key that was refused.
        replayed: bool,
    },
    /// Nothing happened and the key is unused, or it is not known: try again with the same key.
    Retry(RetryReason),
    /// The key was used with another body.
    KeyMismatch,
    /// What a dry run would have done.
    WouldDo(Box<Posted>),
}

/// Why requests that were to be posted together were not: the first that stood in the way.
#[derive(Debug, Clone)]
pub struct GroupRefused {
    /// Its index among the requests.
    pub at: usize,
    /// How it ended.
    pub outcome: Box<Outcome>,
}

impl GroupRefused {
    /// The request at this index ended so.
    pub fn new(at: usize, outcome: Outcome) -> Self {
        Self {
            at,
            outcome: Box::new(outcome),
        }
    }
}

/// A business refusal. Stored as JSON with the key, so that it can be replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Code of API.md's table, for example `INSUFFICIENT_FUNDS`.
    pub code: Box<str>,
    /// What to do.
    pub detail: Box<str>,
    /// For lack of funds or capacity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available: Option<Amount>,
    /// For lack of funds or capacity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<Amount>,
    /// Which of several limits, where the code alone does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Box<str>>,
}

/// Why a request should be sent again with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryReason {
    /// Another request with this key is under way.
    InFlight,
    /// The queue is full.
    Backpressure,
    /// The service is stopping.
    Draining,
    /// The hub does not answer.
    HubUnavailable,
    /// A fence is up after a restore; an operator has to lift it.
    RestoreFence,
    /// The database does not answer.
    Internal,
}

impl RetryReason {
    /// Why a request failed with the database. Whoever waited in vain for a connection met a crowd,
    /// not a fault.
    pub(crate) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Self::Backpressure,
            _ => Self::Internal,
        }
    }
}
