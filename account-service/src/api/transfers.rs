//! `/v1/transfers`: account to account.

use super::call::Call;
use super::fields::{Fields, MAX_TEXT};
use super::money::{Attached, Intake, Rendered, check_asset, post};
use super::page::List;
use super::views::TransferView;
use super::{Answer, body};
use crate::engine::{Kind, Order, Posted, Route};
use crate::ids::IdKind;
use crate::problem::{Code, Problem, ProblemBody};
use crate::store::operations_read::{self, By};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use hub_core::Amount;
use hub_core::types::MAX_VERSION;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

/// A transfer to be made.
#[derive(Debug, ToSchema)]
#[schema(as = NewTransfer)]
pub struct TransferBody {
    /// The account that pays.
    #[schema(value_type = String)]
    pub from: Uuid,
    /// The account that is paid.
    #[schema(value_type = String)]
    pub to: Uuid,
    /// How much, in minor units.
    #[schema(value_type = String)]
    pub amount: Amount,
    /// Asset code; may be left out while there is one asset.
    pub asset: Option<String>,
    /// The caller's own reference, used at most once.
    pub client_ref: Option<String>,
    /// The caller's own data.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Value>,
    /// The payer channel's state version that this builds on.
    pub expected_version: Option<u64>,
}

impl TransferBody {
    /// Takes it out of a body.
    pub fn take(fields: &mut Fields) -> Self {
        Self {
            from: fields.id("from", IdKind::Account),
            to: fields.id("to", IdKind::Account),
            amount: fields.amount("amount"),
            asset: fields.optional_text("asset", MAX_TEXT),
            client_ref: fields.optional_text("client_ref", MAX_TEXT),
            metadata: fields.metadata("metadata"),
            expected_version: fields.optional_number("expected_version", MAX_VERSION),
        }
    }

    /// What the engine gets.
    pub fn split(self) -> (Order, Attached) {
        let order = Order::Transfer {
            from: self.from,
            to: self.to,
            amount: self.amount,
            expected_version: self.expected_version,
        };
        let attached = Attached {
            client_ref: self.client_ref,
            extra: self
                .metadata
                .map(|metadata| json!({ "metadata": metadata })),
        };
        (order, attached)
    }
}

/// Moves money from one account to another, both sides or neither.
#[utoipa::path(post, path = "/v1/transfers", tag = "Money", request_body = TransferBody,
    params(("Idempotency-Key" = String, Header, description = "New for each operation, the same for its retries")),
    responses((status = 201, body = TransferView), (status = 200, body = TransferView, description = "Dry run"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn create(mut call: Call) -> Answer {
    let (intake, mut fields) =
        Intake::take(&mut call, "transfers:write", Route::Transfers, body::SINGLE).await?;
    let transfer = TransferBody::take(&mut fields);
    fields.finish()?;
    check_asset(&call, transfer.asset.as_deref())?;
    let (order, attached) = transfer.split();
    let request = intake.request(&call, None, order, attached);
    post(&call, request, async |posted: &Posted| {
        let view = TransferView::of(posted, &call.app.settings.asset);
        Rendered::new(StatusCode::CREATED, &view)
    })
    .await
}

/// One transfer.
#[utoipa::path(get, path = "/v1/transfers/{id}", tag = "Money", params(("id" = String, Path)),
    responses((status = 200, body = TransferView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn get(call: Call) -> Answer {
    let caller = call.caller("transfers:read").await?;
    call.no_query()?;
    let id = call.id(IdKind::Transfer)?;
    let owner = caller.only_owner();
    let found = operations_read::get(&call.app.pool, Kind::Transfer, owner, By::Id(id)).await?;
    let posted = found
        .first()
        .ok_or_else(|| Problem::new(Code::TransferNotFound))?;
    let view = TransferView::of(posted, &call.app.settings.asset);
    Ok(HttpResponse::Ok()
        .insert_header(("ETag", "\"1\""))
        .json(view))
}

/// The transfer with a reference, as a list of none or one.
#[utoipa::path(get, path = "/v1/transfers", tag = "Money", params(("client_ref" = String, Query)),
    responses((status = 200, body = List<TransferView>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list(call: Call) -> Answer {
    let found = by_client_ref(&call, "transfers:read", Kind::Transfer).await?;
    let asset = &call.app.settings.asset;
    let data = found
        .iter()
        .map(|posted| TransferView::of(posted, asset))
        .collect();
    Ok(HttpResponse::Ok().json(List::<TransferView> {
        data,
        next_cursor: None,
    }))
}

/// Operations of a kind with the reference that the query names.
pub async fn by_client_ref(call: &Call, scope: &str, kind: Kind) -> Result<Vec<Posted>, Problem> {
    let caller = call.caller(scope).await?;
    let mut query = call.query()?;
    let client_ref = query.optional_text("client_ref", MAX_TEXT);
    if client_ref.is_none() {
        query.wrong("client_ref", "is required");
    }
    query.finish()?;
    let wanted = By::ClientRef(client_ref.as_deref().unwrap_or_default());
    Ok(operations_read::get(&call.app.pool, kind, caller.only_owner(), wanted).await?)
}
