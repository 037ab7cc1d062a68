//! `/v1/accounts/{id}/entries`.

use super::Answer;
use super::accounts::find;
use super::call::Call;
use super::page::{List, Page};
use super::views::time_text;
use crate::engine::Kind;
use crate::ids::IdKind;
use crate::problem::ProblemBody;
use crate::store::accounts::Lookup;
use crate::store::operations_read::{self, Line, LineFilter};
use hub_core::{Amount, Hash32, Version};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Kinds of entries by their words in the API.
const KINDS: &[(&str, Kind)] = &[
    ("issuance", Kind::Issue),
    ("redemption", Kind::Redeem),
    ("transfer", Kind::Transfer),
    ("withdrawal", Kind::Withdraw),
    ("deposit", Kind::Deposit),
    ("refund", Kind::Refund),
    ("settlement", Kind::Settle),
    ("recovered_credit", Kind::Gained),
    ("recovered_debit", Kind::Lost),
];

/// A line of an account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Entry)]
pub struct EntryView {
    /// Its id: the operation's, and which side of it.
    pub id: String,
    /// The account.
    pub account_id: String,
    /// `issuance`, `redemption`, `transfer`, `withdrawal`, `deposit`, `refund`, `settlement`,
    /// `recovered_credit` or `recovered_debit`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `debit` or `credit`.
    pub direction: &'static str,
    /// How much, in minor units.
    #[schema(value_type = String)]
    pub amount: Amount,
    /// What can be spent after it.
    #[schema(value_type = String)]
    pub balance_after: Amount,
    /// Version of the state that it is part of.
    pub version: Version,
    /// That state's hash.
    #[schema(value_type = String)]
    pub state_hash: Hash32,
    /// The operation.
    pub operation_id: String,
    /// The other account of a transfer.
    pub counterparty: Option<String>,
    /// When it was posted.
    pub created_at: String,
}

impl EntryView {
    fn of(account: Uuid, line: Line) -> Self {
        let word = KINDS.iter().find(|(_, kind)| *kind == line.kind);
        let (id_kind, id) = match line.kind {
            Kind::Issue => (IdKind::Issuance, line.operation),
            Kind::Redeem => (IdKind::Redemption, line.operation),
            Kind::Transfer => (IdKind::Transfer, line.operation),
            Kind::Withdraw => (IdKind::Withdrawal, line.operation),
            Kind::Deposit => (IdKind::Deposit, line.deposit.unwrap_or(line.operation)),
            Kind::Refund => (IdKind::Refund, line.operation),
            Kind::Open => (IdKind::Account, account),
            Kind::Settle => (IdKind::Settlement, line.operation),
            Kind::Gained | Kind::Lost => (IdKind::Recovered, line.operation),
        };
        let direction = if line.debit { "debit" } else { "credit" };
        let operation_id = id_kind.text(id);
        Self {
            id: format!("{operation_id}_{direction}"),
            account_id: IdKind::Account.text(account),
            kind: word.map_or("open", |(word, _)| word),
            direction,
            amount: line.amount,
            balance_after: line.balance_after,
            version: line.version,
            state_hash: line.state_hash,
            operation_id,
            counterparty: line
                .counterparty
                .filter(|_| line.kind == Kind::Transfer)
                .map(|id| IdKind::Account.text(id)),
            created_at: time_text(line.created_at),
        }
    }
}

/// Lines of an account, newest first.
#[utoipa::path(get, path = "/v1/accounts/{id}/entries", tag = "Accounts",
    params(("id" = String, Path), ("type" = Option<String>, Query),
        ("from" = Option<String>, Query, description = "RFC 3339, included"),
        ("to" = Option<String>, Query, description = "RFC 3339, not included"),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = List<EntryView>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list(call: Call) -> Answer {
    let caller = call.caller("accounts:read").await?;
    let account = call.id(IdKind::Account)?;
    let mut query = call.query()?;
    let page = Page::take(&call, &caller, "entries", &mut query)?;
    let filter = LineFilter {
        account,
        kind: query.optional_word("type", KINDS),
        from: query.optional_time("from"),
        to: query.optional_time("to"),
        // Cursors from before there were threads have the version in front.
        before: page
            .after
            .as_deref()
            .and_then(|text| text.rsplit(':').next()?.parse().ok()),
        limit: page.rows(),
    };
    query.finish()?;
    let owner = caller.only_owner();
    find(&call, Lookup { id: account, owner }).await?;
    let lines = operations_read::lines(&call.app.pool, &filter).await?;
    let after = |line: &Line| line.operation.to_string();
    Ok(page.answer(lines, after, |line| EntryView::of(account, line)))
}
