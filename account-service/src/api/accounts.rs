//! `/v1/accounts`.

use super::call::Call;
use super::fields::{Fields, MAX_NOTE, MAX_TEXT};
use super::money::{Attached, Intake, Rendered, check_asset, post};
use super::page::{List, Page};
use super::views::{
    AccountBalancesView, AccountChannelView, AccountView, empty_object, extra, time_text,
};
use super::{Answer, App, body};
use crate::engine::{NewAccount, Order, Posted, Route};
use crate::ids::IdKind;
use crate::problem::{Code, Problem, ProblemBody};
use crate::store::accounts::{self, Account, AccountStatus, Filter, Locked, Lookup, Patch};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use hub_core::{Address, Amount};
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

/// An account to be opened.
#[derive(Debug, ToSchema)]
#[schema(as = NewAccount)]
pub struct AccountBody {
    /// The owner's own name for it, unique per owner.
    pub external_id: Option<String>,
    /// Asset code; may be left out while there is one asset.
    pub asset: Option<String>,
    /// Its hub; may be left out.
    #[schema(value_type = Option<String>)]
    pub hub_id: Option<Uuid>,
    /// Who keeps the user's key: `custodial`, the default.
    #[schema(value_type = Option<String>)]
    pub custody: (),
    /// Where payouts go unless an order names another address. Part of the channel's id.
    #[schema(value_type = Option<String>)]
    pub chain_address: Option<Address>,
    /// The caller's own data.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Value>,
}

impl AccountBody {
    /// Takes it out of a body.
    pub fn take(fields: &mut Fields, app: &App) -> Self {
        let contracts = [app.settings.token, app.settings.channels];
        Self {
            external_id: fields.optional_text("external_id", MAX_TEXT),
            asset: fields.optional_text("asset", MAX_TEXT),
            hub_id: fields.optional_id("hub_id", IdKind::Hub),
            custody: fields.word("custody", &[("custodial", ())]),
            chain_address: fields.optional_address("chain_address", &contracts),
            metadata: fields.metadata("metadata"),
        }
    }

    /// What the engine gets. Everything the answer shows that may change later is kept with the
    /// operation, so that a replay shows it as it was.
    pub fn split(self, call: &Call) -> Result<(Order, Attached), Problem> {
        check_asset(call, self.asset.as_deref())?;
        let hubs = call.app.engine.hubs();
        let hub = match self.hub_id {
            Some(id) => hubs.iter().find(|hub| hub.terms.hub_id == id),
            None => hubs.first(),
        };
        let hub = hub.ok_or_else(|| match self.hub_id {
            Some(_) => Problem::new(Code::HubNotFound),
            None => Problem::new(Code::HubUnavailable),
        })?;
        let extra = json!({
            "external_id": self.external_id,
            "chain_address": self.chain_address,
            "metadata": self.metadata,
            "capacity": hub.terms.capacity,
        });
        let order = Order::Open(NewAccount {
            id: Uuid::now_v7(),
            external_id: self.external_id,
            asset: call.app.settings.asset.clone(),
            hub_id: hub.terms.hub_id,
            chain_address: self.chain_address,
            metadata: self.metadata.unwrap_or_else(empty_object),
        });
        let attached = Attached {
            client_ref: None,
            extra: Some(extra),
        };
        Ok((order, attached))
    }
}

/// An account as it was opened.
pub fn opened(posted: &Posted, asset: &str) -> Result<AccountView, Problem> {
    let missing = |what: &str| Problem::internal(format!("opening {} lacks {what}", posted.id));
    let entry = posted
        .credit
        .as_ref()
        .ok_or_else(|| missing("its channel"))?;
    let kept = |name| {
        extra(posted, name)
            .cloned()
            .filter(|value| !value.is_null())
    };
    let capacity: Amount = kept("capacity")
        .and_then(|value| serde_json::from_value(value).ok())
        .ok_or_else(|| missing("the capacity"))?;
    Ok(AccountView {
        id: IdKind::Account.text(entry.account),
        external_id: kept("external_id").and_then(|value| value.as_str().map(str::to_owned)),
        status: AccountStatus::Active.word(),
        asset: asset.to_owned(),
        hub_id: IdKind::Hub.text(posted.hub_id),
        custody: "custodial",
        chain_address: kept("chain_address").and_then(|value| serde_json::from_value(value).ok()),
        metadata: kept("metadata").unwrap_or_else(empty_object),
        version: 1,
        created_at: time_text(posted.created_at),
        channel: AccountChannelView {
            id: entry.channel,
            epoch: 0,
            version: entry.version,
            capacity,
            state_hash: entry.state_hash,
        },
        balances: AccountBalancesView {
            available: Amount::ZERO,
            locked: Amount::ZERO,
            pending_in: Amount::ZERO,
            receivable: capacity,
        },
    })
}

/// Opens an account and its channel.
#[utoipa::path(post, path = "/v1/accounts", tag = "Accounts", request_body = AccountBody,
    params(("Idempotency-Key" = String, Header, description = "New for each operation, the same for its retries")),
    responses((status = 201, body = AccountView), (status = 200, body = AccountView, description = "Dry run"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn create(mut call: Call) -> Answer {
    let (intake, mut fields) =
        Intake::take(&mut call, "accounts:write", Route::Accounts, body::SINGLE).await?;
    let account = AccountBody::take(&mut fields, &call.app);
    fields.finish()?;
    let (order, attached) = account.split(&call)?;
    let request = intake.request(&call, None, order, attached);
    let mut answer = post(&call, request, async |posted: &Posted| {
        let view = opened(posted, &call.app.settings.asset)?;
        Rendered::new(StatusCode::CREATED, &view)
    })
    .await?;
    answer
        .headers_mut()
        .insert(actix_web::http::header::ETAG, etag(1)?);
    Ok(answer)
}

/// One account.
#[utoipa::path(get, path = "/v1/accounts/{id}", tag = "Accounts", params(("id" = String, Path)),
    responses((status = 200, body = AccountView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn get(call: Call) -> Answer {
    let caller = call.caller("accounts:read").await?;
    call.no_query()?;
    let id = call.id(IdKind::Account)?;
    let wanted = Lookup {
        id,
        owner: caller.only_owner(),
    };
    show(&find(&call, wanted).await?)
}

/// Accounts, newest first.
#[utoipa::path(get, path = "/v1/accounts", tag = "Accounts",
    params(("external_id" = Option<String>, Query), ("status" = Option<String>, Query),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = List<AccountView>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list(call: Call) -> Answer {
    let caller = call.caller("accounts:read").await?;
    let mut query = call.query()?;
    let page = Page::take(&call, &caller, "accounts", &mut query)?;
    let filter = Filter {
        owner: caller.only_owner(),
        external_id: query.optional_text("external_id", MAX_TEXT),
        status: query.optional_word("status", AccountStatus::WORDS),
        before: page.after_id(),
        limit: page.rows(),
    };
    query.finish()?;
    let rows = accounts::list(&call.app.pool, &filter).await?;
    Ok(page.answer(rows, |row| row.id.to_string(), AccountView::from))
}

/// What may be changed of an account.
#[derive(Debug, ToSchema)]
#[schema(as = AccountPatch)]
pub struct PatchBody {
    /// The owner's own name for it, unique per owner.
    pub external_id: Option<String>,
    /// The caller's own data, replaced as a whole.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Value>,
}

impl PatchBody {
    /// Takes it out of a body.
    pub fn take(fields: &mut Fields) -> Self {
        Self {
            external_id: fields.optional_text("external_id", MAX_TEXT),
            metadata: fields.metadata("metadata"),
        }
    }
}

/// Changes an account's name or data.
#[utoipa::path(patch, path = "/v1/accounts/{id}", tag = "Accounts", request_body = PatchBody,
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The account's ETag")),
    responses((status = 200, body = AccountView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn patch(mut call: Call) -> Answer {
    let caller = call.caller("accounts:write").await?;
    let id = call.id(IdKind::Account)?;
    let mut fields = Fields::new(call.body(body::SINGLE).await?);
    let change = PatchBody::take(&mut fields);
    if change.external_id.is_none() && change.metadata.is_none() {
        fields.wrong("", "name at least one field to change");
    }
    fields.finish()?;
    let wanted = Lookup {
        id,
        owner: caller.only_owner(),
    };
    change_locked(&call, wanted, async |connection, _| {
        let patch = Patch {
            external_id: change.external_id,
            metadata: change.metadata,
        };
        match accounts::patch(connection, id, &patch).await {
            Ok(1) => Ok(()),
            Ok(rows) => Err(Problem::internal(format!("patched {rows} accounts"))),
            Err(error) if is_unique_violation(&error) => {
                Err(Problem::new(Code::DuplicateExternalId))
            }
            Err(error) => Err(error.into()),
        }
    })
    .await
}

/// Stops all money of an account. Its owner can still read it.
#[utoipa::path(post, path = "/v1/accounts/{id}/freeze", tag = "Accounts", request_body = Option<ReasonBody>,
    params(("id" = String, Path)), responses((status = 200, body = AccountView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn freeze(call: Call) -> Answer {
    set_status(call, AccountStatus::Frozen).await
}

/// Lets a frozen account's money move again.
#[utoipa::path(post, path = "/v1/accounts/{id}/unfreeze", tag = "Accounts", request_body = Option<ReasonBody>,
    params(("id" = String, Path)), responses((status = 200, body = AccountView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn unfreeze(call: Call) -> Answer {
    set_status(call, AccountStatus::Active).await
}

/// Closes an account that has no money left, for good.
#[utoipa::path(post, path = "/v1/accounts/{id}/close", tag = "Accounts", request_body = Option<ReasonBody>,
    params(("id" = String, Path)), responses((status = 200, body = AccountView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn close(call: Call) -> Answer {
    set_status(call, AccountStatus::Closed).await
}

/// Why something is done.
#[derive(Debug, ToSchema)]
#[schema(as = Reason)]
pub struct ReasonBody {
    /// For the log.
    pub reason: Option<String>,
}

impl ReasonBody {
    /// Takes it out of a body.
    pub fn take(fields: &mut Fields) -> Self {
        Self {
            reason: fields.optional_text("reason", MAX_NOTE),
        }
    }
}

async fn set_status(mut call: Call, status: AccountStatus) -> Answer {
    let scope = match status {
        AccountStatus::Frozen | AccountStatus::Active => "accounts:freeze",
        AccountStatus::Closing | AccountStatus::Closed => "accounts:write",
    };
    let caller = call.caller(scope).await?;
    let id = call.id(IdKind::Account)?;
    let mut fields = Fields::new(call.optional_body().await?);
    let ReasonBody { reason } = ReasonBody::take(&mut fields);
    fields.finish()?;
    let wanted = Lookup {
        id,
        owner: caller.only_owner(),
    };
    let request_id = call.names.request_id.clone();
    change_locked(&call, wanted, async |connection, locked| {
        if locked.status == status {
            return Ok(());
        }
        if matches!(locked.status, AccountStatus::Closing | AccountStatus::Closed) {
            return Err(Problem::new(Code::AccountClosed));
        }
        if status == AccountStatus::Closed && locked.status == AccountStatus::Frozen {
            return Err(Problem::new(Code::AccountFrozen));
        }
        if status == AccountStatus::Closed && !locked.empty {
            return Err(Problem::new(Code::BalanceNotZero));
        }
        accounts::set_status(connection, id, locked.channel, status)
            .await
            .map_err(Problem::internal)?;
        tracing::info!(account = %id, status = status.word(), ?reason, request_id, key = %caller.key_id,
            "account status changed");
        Ok(())
    })
    .await
}

/// Changes an account while its rows are locked, and answers with it.
async fn change_locked(
    call: &Call,
    wanted: Lookup,
    change: impl AsyncFnOnce(&mut PgConnection, Locked) -> Result<(), Problem>,
) -> Answer {
    let mut transaction = call.app.pool.begin().await?;
    let locked = accounts::lock(&mut transaction, wanted)
        .await?
        .ok_or_else(|| Problem::new(Code::AccountNotFound))?;
    call.check_etag(locked.version)?;
    change(&mut transaction, locked).await?;
    transaction.commit().await?;
    show(&find(call, wanted).await?)
}

/// An account that the caller may see.
pub async fn find(call: &Call, wanted: Lookup) -> Result<Account, Problem> {
    accounts::get(&call.app.pool, wanted)
        .await?
        .ok_or_else(|| Problem::new(Code::AccountNotFound))
}

fn show(account: &Account) -> Answer {
    let tag = etag(account.version)?;
    let view = AccountView::from(account.clone());
    Ok(HttpResponse::Ok().insert_header(("ETag", tag)).json(view))
}

/// The `ETag` of a version.
pub fn etag(version: u64) -> Result<actix_web::http::header::HeaderValue, Problem> {
    format!("\"{version}\"").parse().map_err(Problem::internal)
}

fn is_unique_violation(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
