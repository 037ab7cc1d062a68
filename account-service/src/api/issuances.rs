//! `/v1/issuances` and `/v1/redemptions`: hub to account and back.

use super::call::Call;
use super::fields::{Fields, MAX_NOTE, MAX_TEXT};
use super::money::{Attached, Intake, Rendered, check_asset, post};
use super::page::List;
use super::transfers::by_client_ref;
use super::views::IssuanceView;
use super::{Answer, body};
use crate::engine::{Kind, Order, Posted, Route};
use crate::ids::IdKind;
use crate::problem::{Code, Problem, ProblemBody};
use crate::store::operations_read::{self, By};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use hub_core::Amount;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

/// An issuance or a redemption to be made.
#[derive(Debug, ToSchema)]
#[schema(as = NewIssuance)]
pub struct IssuanceBody {
    /// The account.
    #[schema(value_type = String)]
    pub account_id: Uuid,
    /// How much, in minor units.
    #[schema(value_type = String)]
    pub amount: Amount,
    /// Asset code; may be left out while there is one asset.
    pub asset: Option<String>,
    /// The caller's own reference, used at most once.
    pub client_ref: Option<String>,
    /// Why, in the caller's words.
    pub reason: Option<String>,
}

impl IssuanceBody {
    /// Takes it out of a body.
    pub fn take(fields: &mut Fields) -> Self {
        Self {
            account_id: fields.id("account_id", IdKind::Account),
            amount: fields.amount("amount"),
            asset: fields.optional_text("asset", MAX_TEXT),
            client_ref: fields.optional_text("client_ref", MAX_TEXT),
            reason: fields.optional_text("reason", MAX_NOTE),
        }
    }
}

/// Credits an account from its hub, on the issuer's order.
#[utoipa::path(post, path = "/v1/issuances", tag = "Money", request_body = IssuanceBody,
    params(("Idempotency-Key" = String, Header, description = "New for each operation, the same for its retries")),
    responses((status = 201, body = IssuanceView), (status = 200, body = IssuanceView, description = "Dry run"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn issue(call: Call) -> Answer {
    create(call, "issuances:write", Route::Issuances).await
}

/// Takes money of an account back to its hub, on the issuer's order.
#[utoipa::path(post, path = "/v1/redemptions", tag = "Money", request_body = IssuanceBody,
    params(("Idempotency-Key" = String, Header, description = "New for each operation, the same for its retries")),
    responses((status = 201, body = IssuanceView), (status = 200, body = IssuanceView, description = "Dry run"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn redeem(call: Call) -> Answer {
    create(call, "redemptions:write", Route::Redemptions).await
}

async fn create(mut call: Call, scope: &str, route: Route) -> Answer {
    let (intake, mut fields) = Intake::take(&mut call, scope, route, body::SINGLE).await?;
    let wanted = IssuanceBody::take(&mut fields);
    fields.finish()?;
    check_asset(&call, wanted.asset.as_deref())?;
    let (account, amount) = (wanted.account_id, wanted.amount);
    let order = if route == Route::Issuances {
        Order::Issue { account, amount }
    } else {
        Order::Redeem { account, amount }
    };
    let attached = Attached {
        client_ref: wanted.client_ref,
        extra: wanted.reason.map(|reason| json!({ "reason": reason })),
    };
    let request = intake.request(&call, None, order, attached);
    post(&call, request, async |posted: &Posted| {
        let view = IssuanceView::accepted(posted, &call.app.settings.asset);
        Rendered::new(StatusCode::CREATED, &view)
    })
    .await
}

/// One issuance.
#[utoipa::path(get, path = "/v1/issuances/{id}", tag = "Money", params(("id" = String, Path)),
    responses((status = 200, body = IssuanceView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn get_issuance(call: Call) -> Answer {
    let caller = call.caller("issuances:read").await?;
    call.no_query()?;
    let id = call.id(IdKind::Issuance)?;
    get(
        &call,
        Kind::Issue,
        caller.only_owner(),
        id,
        Code::IssuanceNotFound,
    )
    .await
}

/// One redemption.
#[utoipa::path(get, path = "/v1/redemptions/{id}", tag = "Money", params(("id" = String, Path)),
    responses((status = 200, body = IssuanceView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn get_redemption(call: Call) -> Answer {
    let caller = call.caller("redemptions:read").await?;
    call.no_query()?;
    let id = call.id(IdKind::Redemption)?;
    get(
        &call,
        Kind::Redeem,
        caller.only_owner(),
        id,
        Code::RedemptionNotFound,
    )
    .await
}

async fn get(call: &Call, kind: Kind, owner: Option<Uuid>, id: Uuid, missing: Code) -> Answer {
    let found = operations_read::get(&call.app.pool, kind, owner, By::Id(id)).await?;
    let posted = found.first().ok_or_else(|| Problem::new(missing))?;
    Ok(HttpResponse::Ok().json(IssuanceView::of(posted, &call.app.settings.asset)))
}

/// The issuance with a reference, as a list of none or one.
#[utoipa::path(get, path = "/v1/issuances", tag = "Money", params(("client_ref" = String, Query)),
    responses((status = 200, body = List<IssuanceView>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list_issuances(call: Call) -> Answer {
    list(&call, "issuances:read", Kind::Issue).await
}

/// The redemption with a reference, as a list of none or one.
#[utoipa::path(get, path = "/v1/redemptions", tag = "Money", params(("client_ref" = String, Query)),
    responses((status = 200, body = List<IssuanceView>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list_redemptions(call: Call) -> Answer {
    list(&call, "redemptions:read", Kind::Redeem).await
}

async fn list(call: &Call, scope: &str, kind: Kind) -> Answer {
    let found = by_client_ref(call, scope, kind).await?;
    let asset = &call.app.settings.asset;
    let data = found
        .iter()
        .map(|posted| IssuanceView::of(posted, asset))
        .collect();
    Ok(HttpResponse::Ok().json(List::<IssuanceView> {
        data,
        next_cursor: None,
    }))
}
