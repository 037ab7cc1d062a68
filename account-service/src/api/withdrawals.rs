//! `/v1/withdrawals`: account to chain.

use super::accounts::etag;
use super::call::Call;
use super::fields::{Fields, MAX_TEXT};
use super::money::{Attached, Intake, Rendered, check_asset, note, post, refusal};
use super::page::{List, Page};
use super::views::time_text;
use super::{Answer, App, body};
use crate::engine::{Order, Outcome, Posted, Request, Route};
use crate::ids::IdKind;
use crate::problem::{Code, Problem, ProblemBody};
use crate::store::accounts::{self, Lookup};
use crate::store::settlement;
use crate::store::withdrawals_read::{self, Filter, Withdrawal, WithdrawalStatus};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use hub_core::{Address, Amount, Hash32};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

/// A withdrawal to be made.
#[derive(Debug, ToSchema)]
#[schema(as = NewWithdrawal)]
pub struct WithdrawalBody {
    /// The account.
    #[schema(value_type = String)]
    pub account_id: Uuid,
    /// How much, in minor units.
    #[schema(value_type = String)]
    pub amount: Amount,
    /// Asset code; may be left out while there is one asset.
    pub asset: Option<String>,
    /// Who is paid; the account's own address when left out.
    #[schema(value_type = Option<String>)]
    pub to_address: Option<Address>,
    /// The caller's own reference, used at most once.
    pub client_ref: Option<String>,
}

impl WithdrawalBody {
    /// Takes it out of a body.
    pub fn take(fields: &mut Fields, app: &App) -> Self {
        let contracts = [app.settings.token, app.settings.channels];
        Self {
            account_id: fields.id("account_id", IdKind::Account),
            amount: fields.amount("amount"),
            asset: fields.optional_text("asset", MAX_TEXT),
            to_address: fields.optional_address("to_address", &contracts),
            client_ref: fields.optional_text("client_ref", MAX_TEXT),
        }
    }
}

/// A withdrawal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Withdrawal)]
pub struct WithdrawalView {
    /// Its id.
    pub id: String,
    /// `requested`, `awaiting_approval`, `submitted`, `confirming`, `completed`, `failed` or `cancelled`.
    pub status: &'static str,
    /// The account.
    pub account_id: String,
    /// How much, in minor units.
    #[schema(value_type = String)]
    pub amount: Amount,
    /// Asset code.
    pub asset: String,
    /// Who is paid.
    #[schema(value_type = Option<String>)]
    pub to_address: Option<Address>,
    /// The caller's own reference.
    pub client_ref: Option<String>,
    /// The chain transaction, once known.
    #[schema(value_type = Option<String>)]
    pub tx_hash: Option<Hash32>,
    /// Blocks on top of it, its own counted.
    pub confirmations: u64,
    /// Why it failed.
    pub failure: Option<String>,
    /// Counts the changes of the withdrawal; its `ETag`.
    pub version: u64,
    /// When it was accepted.
    pub created_at: String,
    /// When it last changed.
    pub updated_at: String,
}

impl WithdrawalView {
    fn of(row: Withdrawal, asset: &str) -> Self {
        Self {
            id: IdKind::Withdrawal.text(row.id),
            status: row.status.word(),
            account_id: IdKind::Account.text(row.account),
            amount: row.amount,
            asset: asset.to_owned(),
            to_address: Some(row.to),
            client_ref: row.client_ref,
            tx_hash: row.tx_hash,
            confirmations: row.confirmations,
            failure: row.failure,
            version: row.version,
            created_at: time_text(row.created_at),
            updated_at: time_text(row.updated_at),
        }
    }

    /// As it was accepted: what a replay shows, however far it is by then.
    fn accepted(posted: &Posted, to: Option<Address>, asset: &str) -> Self {
        Self {
            id: IdKind::Withdrawal.text(posted.id),
            status: WithdrawalStatus::Requested.word(),
            account_id: IdKind::Account.text(posted.payer.unwrap_or_default()),
            amount: posted.amount,
            asset: asset.to_owned(),
            to_address: to,
            client_ref: posted.client_ref.clone(),
            tx_hash: None,
            confirmations: 0,
            failure: None,
            version: 1,
            created_at: time_text(posted.created_at),
            updated_at: time_text(posted.created_at),
        }
    }
}

/// Pays part of an account's balance out on chain. The money leaves `available` at once.
#[utoipa::path(post, path = "/v1/withdrawals", tag = "Money", request_body = WithdrawalBody,
    params(("Idempotency-Key" = String, Header, description = "New for each operation, the same for its retries")),
    responses((status = 202, body = WithdrawalView), (status = 200, body = WithdrawalView, description = "Dry run"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn create(mut call: Call) -> Answer {
    let route = Route::Withdrawals;
    let (intake, mut fields) =
        Intake::take(&mut call, "withdrawals:write", route, body::SINGLE).await?;
    let wanted = WithdrawalBody::take(&mut fields, &call.app);
    fields.finish()?;
    check_asset(&call, wanted.asset.as_deref())?;
    let order = Order::Withdraw {
        account: wanted.account_id,
        amount: wanted.amount,
        to: wanted.to_address,
    };
    let attached = Attached {
        client_ref: wanted.client_ref,
        extra: wanted.to_address.map(|to| json!({ "to_address": to })),
    };
    let request = intake.request(&call, None, order, attached);
    post(&call, request, async |posted: &Posted| {
        let to = payee_of(&call, posted).await?;
        let view = WithdrawalView::accepted(posted, to, &call.app.settings.asset);
        Rendered::new(StatusCode::ACCEPTED, &view)
    })
    .await
}

/// Who is paid: as ordered, or the account's own address, which never changes.
async fn payee_of(call: &Call, posted: &Posted) -> Result<Option<Address>, Problem> {
    let ordered = super::views::extra(posted, "to_address");
    if let Some(value) = ordered {
        return serde_json::from_value(value.clone()).map_err(Problem::internal);
    }
    let wanted = Lookup {
        id: posted.payer.unwrap_or_default(),
        owner: None,
    };
    let account = accounts::get(&call.app.pool, wanted).await?;
    Ok(account.and_then(|account| account.chain_address))
}

async fn one(call: &Call, owner: Option<Uuid>, id: Uuid) -> Result<Withdrawal, Problem> {
    let filter = Filter {
        owner,
        id: Some(id),
        limit: 1,
        ..Filter::default()
    };
    let mut found = withdrawals_read::list(&call.app.pool, &filter).await?;
    found
        .pop()
        .ok_or_else(|| Problem::new(Code::WithdrawalNotFound))
}

fn show(call: &Call, row: Withdrawal) -> Answer {
    let tag = etag(row.version)?;
    let view = WithdrawalView::of(row, &call.app.settings.asset);
    Ok(HttpResponse::Ok().insert_header(("ETag", tag)).json(view))
}

/// One withdrawal.
#[utoipa::path(get, path = "/v1/withdrawals/{id}", tag = "Money", params(("id" = String, Path)),
    responses((status = 200, body = WithdrawalView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn get(call: Call) -> Answer {
    let caller = call.caller("withdrawals:read").await?;
    call.no_query()?;
    let id = call.id(IdKind::Withdrawal)?;
    let row = one(&call, caller.only_owner(), id).await?;
    show(&call, row)
}

/// Withdrawals, newest first.
#[utoipa::path(get, path = "/v1/withdrawals", tag = "Money",
    params(("account_id" = Option<String>, Query), ("status" = Option<String>, Query),
        ("client_ref" = Option<String>, Query), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = List<WithdrawalView>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list(call: Call) -> Answer {
    let caller = call.caller("withdrawals:read").await?;
    let mut query = call.query()?;
    let page = Page::take(&call, &caller, "withdrawals", &mut query)?;
    let filter = Filter {
        owner: caller.only_owner(),
        account: query.optional_id("account_id", IdKind::Account),
        status: query.optional_word("status", WithdrawalStatus::WORDS),
        id: None,
        client_ref: query.optional_text("client_ref", MAX_TEXT),
        before: page.after_id(),
        limit: page.rows(),
    };
    query.finish()?;
    let rows = withdrawals_read::list(&call.app.pool, &filter).await?;
    let asset = &call.app.settings.asset;
    Ok(page.answer(
        rows,
        |row| row.id.to_string(),
        |row| WithdrawalView::of(row, asset),
    ))
}

/// Takes a withdrawal back as long as it is not signed; the money comes back.
#[utoipa::path(post, path = "/v1/withdrawals/{id}/cancel", tag = "Money", params(("id" = String, Path)),
    request_body = Option<super::accounts::ReasonBody>,
    responses((status = 200, body = WithdrawalView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn cancel(mut call: Call) -> Answer {
    let caller = call.caller("withdrawals:write").await?;
    let id = call.id(IdKind::Withdrawal)?;
    let mut fields = Fields::new(call.optional_body().await?);
    super::accounts::ReasonBody::take(&mut fields);
    fields.finish()?;
    let row = one(&call, caller.only_owner(), id).await?;
    call.check_etag(row.version)?;
    let mut transaction = call.app.pool.begin().await?;
    let cancelled = settlement::cancel(&mut transaction, id).await?;
    transaction.commit().await?;
    // Cancelled before, and not given back yet: go on where it was left.
    let resumed = row.cancelled && row.status < WithdrawalStatus::Completed;
    if cancelled == 0 && !resumed {
        let code = match row.status {
            WithdrawalStatus::Cancelled => Code::AlreadyCancelled,
            _ => Code::AlreadySubmitted,
        };
        return Err(Problem::new(code));
    }
    give_back(&call, id).await?;
    let row = one(&call, caller.only_owner(), id).await?;
    show(&call, row)
}

/// Gives the money back now. Should this fail, the engine does it later by itself, with the
/// same key: it happens once.
async fn give_back(call: &Call, id: Uuid) -> Result<(), Problem> {
    let order = Order::Refund { withdrawal: id };
    let request = Request::system(order, Some(call.names.request_id.clone()));
    match call.app.engine.submit(request).await {
        Outcome::Done { operation, .. } => {
            note(call, &operation);
            Ok(())
        }
        other => Err(refusal(other)),
    }
}
