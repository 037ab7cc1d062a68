//! Resources as callers see them. The same operation always gives the same bytes.

use crate::engine::{Entry, Kind, OperationOutcome, Posted, Refused};
use crate::ids::IdKind;
use crate::store::accounts::{Account, Balance};
use crate::store::journal::WAITED;
use hub_core::{Address, Amount, ChannelId, Epoch, Hash32, Version};
use serde::{Deserialize as _, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// A time as RFC 3339 in UTC with microseconds.
pub fn time_text(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.microsecond()
    )
}

/// An account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub struct AccountView {
    /// Its id.
    pub id: String,
    /// The owner's own name for it.
    pub external_id: Option<String>,
    /// `active`, `frozen`, `closing` or `closed`.
    pub status: &'static str,
    /// Asset code.
    pub asset: String,
    /// Its hub.
    pub hub_id: String,
    /// Who keeps the user's key: always `custodial`.
    pub custody: &'static str,
    /// Where payouts go unless an order names another address.
    #[schema(value_type = Option<String>)]
    pub chain_address: Option<Address>,
    /// The caller's own data.
    #[schema(value_type = Object)]
    pub metadata: Value,
    /// Counts the changes of the account; its `ETag`.
    pub version: u64,
    /// When it was opened.
    pub created_at: String,
    /// Its channel.
    pub channel: AccountChannelView,
    /// What it holds.
    pub balances: AccountBalancesView,
}

/// The channel of an account, in short.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccountChannel)]
pub struct AccountChannelView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ChannelId,
    /// Its life.
    pub epoch: Epoch,
    /// Version of its newest co-signed state.
    pub version: Version,
    /// Sum of all balances, in minor units.
    #[schema(value_type = String)]
    pub capacity: Amount,
    /// Hash of its newest co-signed state.
    #[schema(value_type = String)]
    pub state_hash: Hash32,
}

/// What an account holds, in minor units.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccountBalances)]
pub struct AccountBalancesView {
    /// What can be spent.
    #[schema(value_type = String)]
    pub available: Amount,
    /// Holds and locks.
    #[schema(value_type = String)]
    pub locked: Amount,
    /// Seen on chain, not credited yet.
    #[schema(value_type = String)]
    pub pending_in: Amount,
    /// What the channel can still take in.
    #[schema(value_type = String)]
    pub receivable: Amount,
}

impl From<&Balance> for AccountBalancesView {
    fn from(balance: &Balance) -> Self {
        Self {
            available: balance.available,
            locked: balance.user_locked,
            pending_in: balance.pending_in,
            receivable: balance.receivable,
        }
    }
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        Self {
            id: IdKind::Account.text(account.id),
            external_id: account.external_id,
            status: account.status.word(),
            asset: account.asset,
            hub_id: IdKind::Hub.text(account.hub_id),
            custody: "custodial",
            chain_address: account.chain_address,
            metadata: account.metadata,
            version: account.version,
            created_at: time_text(account.created_at),
            channel: AccountChannelView {
                id: account.balance.channel,
                epoch: account.balance.epoch,
                version: account.balance.version,
                capacity: account.params.capacity,
                state_hash: account.balance.state_hash,
            },
            balances: (&account.balance).into(),
        }
    }
}

/// What an account holds, with the state that says so.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Balances)]
pub struct BalancesView {
    /// The account.
    pub account_id: String,
    /// What can be spent, in minor units.
    #[schema(value_type = String)]
    pub available: Amount,
    /// Holds and locks.
    #[schema(value_type = String)]
    pub locked: Amount,
    /// Seen on chain, not credited yet.
    #[schema(value_type = String)]
    pub pending_in: Amount,
    /// What the channel can still take in.
    #[schema(value_type = String)]
    pub receivable: Amount,
    /// Version of the co-signed state.
    pub state_version: Version,
    /// Its hash.
    #[schema(value_type = String)]
    pub state_hash: Hash32,
    /// When this was read, or the time asked for.
    pub as_of: String,
}

impl BalancesView {
    /// Of an account as it is.
    pub fn of(account: &Account, as_of: OffsetDateTime) -> Self {
        let balance = &account.balance;
        Self {
            account_id: IdKind::Account.text(account.id),
            available: balance.available,
            locked: balance.user_locked,
            pending_in: balance.pending_in,
            receivable: balance.receivable,
            state_version: balance.version,
            state_hash: balance.state_hash,
            as_of: time_text(as_of),
        }
    }
}

/// One side of an operation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperationEntry)]
pub struct OperationEntryView {
    /// The account.
    pub account_id: String,
    /// `debit` or `credit`.
    pub direction: &'static str,
    /// How much, in minor units.
    #[schema(value_type = String)]
    pub amount: Amount,
    /// What can be spent after it.
    #[schema(value_type = String)]
    pub balance_after: Amount,
    /// The account's channel.
    #[schema(value_type = String)]
    pub channel_id: ChannelId,
    /// Version of the state that it is part of.
    pub version: Version,
    /// That state's hash.
    #[schema(value_type = String)]
    pub state_hash: Hash32,
}

impl OperationEntryView {
    fn of(entry: &Entry, direction: &'static str, amount: Amount) -> Self {
        Self {
            account_id: IdKind::Account.text(entry.account),
            direction,
            amount,
            balance_after: entry.balance_after,
            channel_id: entry.channel,
            version: entry.version,
            state_hash: entry.state_hash,
        }
    }
}

fn entries_of(posted: &Posted) -> Vec<OperationEntryView> {
    let debit = posted.debit.iter().map(|entry| (entry, "debit"));
    let credit = posted.credit.iter().map(|entry| (entry, "credit"));
    debit
        .chain(credit)
        .map(|(entry, direction)| OperationEntryView::of(entry, direction, posted.amount))
        .collect()
}

/// A value kept with an operation.
pub fn extra<'a>(posted: &'a Posted, name: &str) -> Option<&'a Value> {
    posted.extra.as_ref()?.get(name)
}

fn account_text(id: Option<Uuid>) -> String {
    IdKind::Account.text(id.unwrap_or_default())
}

fn outcome_word(outcome: OperationOutcome) -> &'static str {
    match outcome {
        OperationOutcome::Done => "completed",
        OperationOutcome::PendingFunding => "pending_funding",
        OperationOutcome::Failed => "failed",
    }
}

/// A transfer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Transfer)]
pub struct TransferView {
    /// Its id.
    pub id: String,
    /// `completed`.
    pub status: &'static str,
    /// The account that paid.
    pub from: String,
    /// The account that was paid.
    pub to: String,
    /// How much, in minor units.
    #[schema(value_type = String)]
    pub amount: Amount,
    /// Asset code.
    pub asset: String,
    /// What the transfer itself cost, in minor units.
    #[schema(value_type = String)]
    pub fee: Amount,
    /// The caller's own reference.
    pub client_ref: Option<String>,
    /// The caller's own data.
    #[schema(value_type = Object)]
    pub metadata: Value,
    /// Counts the changes of the transfer: none after it is completed.
    pub version: u64,
    /// When it was posted.
    pub created_at: String,
    /// The state batch that carries it; null in a dry run.
    pub batch_id: Option<String>,
    /// Both sides.
    pub entries: Vec<OperationEntryView>,
}

impl TransferView {
    /// Of an operation.
    pub fn of(posted: &Posted, asset: &str) -> Self {
        Self {
            id: IdKind::Transfer.text(posted.id),
            status: outcome_word(posted.outcome),
            from: account_text(posted.payer),
            to: account_text(posted.payee),
            amount: posted.amount,
            asset: asset.to_owned(),
            fee: Amount::ZERO,
            client_ref: posted.client_ref.clone(),
            metadata: extra(posted, "metadata")
                .cloned()
                .unwrap_or_else(empty_object),
            version: 1,
            created_at: time_text(posted.created_at),
            batch_id: posted.batch.map(|id| IdKind::Batch.text(id)),
            entries: entries_of(posted),
        }
    }
}

/// An empty JSON object.
pub fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}

/// An issuance or a redemption.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Issuance)]
pub struct IssuanceView {
    /// Its id.
    pub id: String,
    /// `completed`, `pending_funding` or `failed`.
    pub status: &'static str,
    /// The account.
    pub account_id: String,
    /// How much, in minor units.
    #[schema(value_type = String)]
    pub amount: Amount,
    /// Asset code.
    pub asset: String,
    /// The caller's own reference.
    pub client_ref: Option<String>,
    /// Why, in the caller's words.
    #[schema(value_type = Option<String>)]
    pub reason: Value,
    /// Why it failed; null unless `status` is `failed`.
    pub failure: Option<FailureView>,
    /// When it was accepted.
    pub created_at: String,
    /// The state batch that carries it, once posted.
    pub batch_id: Option<String>,
    /// The account's side, once posted.
    pub entries: Vec<OperationEntryView>,
}

/// Why an operation that was accepted failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Failure)]
pub struct FailureView {
    /// Code of the problem it would have been at first.
    pub code: String,
    /// What to do.
    pub detail: String,
    /// Which limit, for `LIMIT_EXCEEDED`.
    pub limit: Option<String>,
}

impl FailureView {
    fn of(stored: &Value) -> Option<Self> {
        let Refused {
            code,
            detail,
            limit,
            ..
        } = Refused::deserialize(stored).ok()?;
        Some(Self {
            code: code.into(),
            detail: detail.into(),
            limit: limit.map(Into::into),
        })
    }
}

impl IssuanceView {
    /// Of an operation.
    pub fn of(posted: &Posted, asset: &str) -> Self {
        let issued = posted.kind == Kind::Issue;
        let (kind, account) = if issued {
            (IdKind::Issuance, posted.payee)
        } else {
            (IdKind::Redemption, posted.payer)
        };
        Self {
            id: kind.text(posted.id),
            status: outcome_word(posted.outcome),
            account_id: account_text(account),
            amount: posted.amount,
            asset: asset.to_owned(),
            client_ref: posted.client_ref.clone(),
            reason: extra(posted, "reason").cloned().unwrap_or_default(),
            failure: extra(posted, "failure").and_then(FailureView::of),
            created_at: time_text(posted.created_at),
            batch_id: posted.batch.map(|id| IdKind::Batch.text(id)),
            entries: entries_of(posted),
        }
    }

    /// As it was accepted: what a replay shows, whatever came of it since.
    pub fn accepted(posted: &Posted, asset: &str) -> Self {
        let now = Self::of(posted, asset);
        let failed = posted.outcome == OperationOutcome::Failed;
        if !failed && extra(posted, WAITED).is_none() {
            return now;
        }
        Self {
            status: outcome_word(OperationOutcome::PendingFunding),
            failure: None,
            batch_id: None,
            entries: Vec::new(),
            ..now
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_time_has_six_digits_of_a_second_and_is_utc() {
        assert_eq!(
            time_text(datetime!(2026-01-02 03:04:05.000_007 UTC)),
            "2026-01-02T03:04:05.000007Z"
        );
        assert_eq!(
            time_text(datetime!(2026-01-02 00:00:00 +01:00)),
            "2026-01-01T23:00:00.000000Z"
        );
    }
}
