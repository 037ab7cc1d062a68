//! `/v1/accounts/{id}/balances` and `/v1/balances/query`.

use super::accounts::find;
use super::call::Call;
use super::fields::Fields;
use super::money::json;
use super::views::BalancesView;
use super::{Answer, body};
use crate::auth::Caller;
use crate::cache::CachedBalance;
use crate::ids::IdKind;
use crate::problem::{Code, Problem, ProblemBody};
use crate::store::accounts::{self, Lookup};
use crate::store::{batches_read, deposits_read};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use hub_core::{ChannelId, Typed as _};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Most accounts of one query.
const MAX_IDS: usize = 1_000;

/// What an account holds, now or at a time.
#[utoipa::path(get, path = "/v1/accounts/{id}/balances", tag = "Accounts",
    params(("id" = String, Path), ("at" = Option<String>, Query, description = "RFC 3339")),
    responses((status = 200, body = BalancesView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn get(call: Call) -> Answer {
    let caller = call.caller("accounts:read").await?;
    let id = call.id(IdKind::Account)?;
    let mut query = call.query()?;
    let at = query.optional_time("at");
    query.finish()?;
    let wanted = Lookup {
        id,
        owner: caller.only_owner(),
    };
    if let Some(at) = at {
        return Ok(HttpResponse::Ok().json(as_it_was(&call, wanted, at).await?));
    }
    let app = &call.app;
    let channel = known_channel(&call, &caller, id);
    if let Some(channel) = channel {
        let found = app.balances.get(channel).await;
        app.metrics.looked_up("balances", found.is_some());
        if let Some(found) = found {
            return Ok(json(StatusCode::OK, found.body, false));
        }
        app.balances.expect(channel).await;
    }
    let now = runtime::clock::now();
    let account = find(&call, wanted).await?;
    app.directory
        .put(id, account.owner, account.balance.channel);
    let view = BalancesView::of(&account, now);
    let body = serde_json::to_string(&view).map_err(Problem::internal)?;
    let fresh = CachedBalance {
        version: account.balance.version,
        body: body.clone(),
    };
    if let Some(channel) = channel {
        app.balances.put(channel, &fresh).await;
    }
    Ok(json(StatusCode::OK, body, false))
}

/// The account's channel, when it is remembered and the caller may see it.
fn known_channel(call: &Call, caller: &Caller, id: Uuid) -> Option<ChannelId> {
    let (owner, channel) = call.app.directory.get(id)?;
    let allowed = caller.only_owner().is_none_or(|only| only == owner);
    allowed.then_some(channel)
}

async fn as_it_was(
    call: &Call,
    wanted: Lookup,
    at: OffsetDateTime,
) -> Result<BalancesView, Problem> {
    let account = find(call, wanted).await?;
    let pool = &call.app.pool;
    let found = batches_read::state_at(pool, wanted.id, at).await?;
    let Some(found) = found else {
        return Err(Problem::with(
            Code::StateNotFound,
            "The account was not open at that time; ask for a later one.",
        ));
    };
    let state = found.state;
    Ok(BalancesView {
        available: state.user_balance,
        locked: state.user_locked,
        pending_in: deposits_read::pending_at(pool, wanted.id, at).await?,
        receivable: state.hub_balance,
        state_version: state.version,
        state_hash: state.hash_struct(),
        ..BalancesView::of(&account, at)
    })
}

/// Accounts to be asked about.
#[derive(Debug, ToSchema)]
#[schema(as = BalancesQuery)]
pub struct QueryBody {
    /// 1 to 1,000 accounts.
    #[schema(value_type = Vec<String>)]
    pub account_ids: Vec<Uuid>,
}

impl QueryBody {
    /// Takes it out of a body.
    pub fn take(fields: &mut Fields) -> Self {
        let values = fields.list("account_ids", MAX_IDS);
        let parse = |value: &Value| IdKind::Account.parse(value.as_str()?);
        let ids: Option<Vec<_>> = values.iter().map(parse).collect();
        if ids.is_none() {
            fields.wrong("account_ids", "must be ids of accounts");
        }
        Self {
            account_ids: ids.unwrap_or_default(),
        }
    }
}

/// What many accounts hold.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BalancesList)]
pub struct BalancesListView {
    /// One per account that was found, in the order asked for.
    pub data: Vec<BalancesView>,
    /// Accounts that were not found.
    pub not_found: Vec<String>,
}

/// What many accounts hold, read at one moment.
#[utoipa::path(post, path = "/v1/balances/query", tag = "Accounts", request_body = QueryBody,
    responses((status = 200, body = BalancesListView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn query(mut call: Call) -> Answer {
    let caller = call.caller("accounts:read").await?;
    let mut fields = Fields::new(call.body(body::SINGLE).await?);
    let wanted = QueryBody::take(&mut fields);
    fields.finish()?;
    let now = runtime::clock::now();
    let ids = wanted.account_ids;
    let found = accounts::get_many(&call.app.pool, &ids, caller.only_owner()).await?;
    let mut data = Vec::with_capacity(ids.len());
    let mut not_found = Vec::new();
    for id in ids {
        // Sorted by id in the statement.
        match found.binary_search_by_key(&id, |account| account.id) {
            Ok(at) => data.push(BalancesView::of(&found[at], now)),
            Err(_) => not_found.push(IdKind::Account.text(id)),
        }
    }
    Ok(HttpResponse::Ok().json(BalancesListView { data, not_found }))
}
