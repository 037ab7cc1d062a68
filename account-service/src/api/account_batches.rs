//! `/v1/account-batches`: many accounts in one request.

use super::accounts::{AccountBody, opened};
use super::call::Call;
use super::fields::Fields;
use super::money::{Intake, Rendered, json, refusal};
use super::transfer_batches::{MAX_ITEMS, take_key};
use super::views::AccountView;
use super::{Answer, App, body};
use crate::engine::{Outcome, Route};
use crate::problem::{Problem, ProblemBody};
use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// Accounts to be opened.
#[derive(Debug, ToSchema)]
#[schema(as = NewAccountBatch)]
pub struct AccountBatchBody {
    /// 1 to 1,000 accounts.
    pub items: Vec<AccountBody>,
}

impl AccountBatchBody {
    /// Takes it out of a body.
    pub fn take(fields: &mut Fields, app: &App) -> Result<Self, Problem> {
        let list = fields.list("items", MAX_ITEMS);
        let mut items = Vec::with_capacity(list.len());
        for (index, item) in list.into_iter().enumerate() {
            let mut fields = Fields::item(item, "items", index)?;
            items.push(AccountBody::take(&mut fields, app));
            fields.finish()?;
        }
        Ok(Self { items })
    }
}

/// What came of the openings.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccountBatch)]
pub struct AccountBatchView {
    /// `completed` when all were done, else `partial`.
    pub status: &'static str,
    /// One per item, in their order.
    pub results: Vec<OpenedView>,
}

/// What came of one opening.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccountBatchItem)]
pub struct OpenedView {
    /// Its place in the request.
    pub index: usize,
    /// The status it would have had alone.
    pub status: u16,
    /// The account, if it was opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountView>,
    /// Why not, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<ProblemBody>,
}

/// Opens many accounts, each for itself. Item `i` has the idempotency key `<key>#i`.
#[utoipa::path(post, path = "/v1/account-batches", tag = "Accounts", request_body = AccountBatchBody,
    params(("Idempotency-Key" = String, Header, description = "New for each operation, the same for its retries")),
    responses((status = 201, body = AccountBatchView, description = "All done"),
        (status = 207, body = AccountBatchView, description = "Not all done"),
        (status = 200, body = AccountBatchView, description = "Dry run"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn create(mut call: Call) -> Answer {
    let route = Route::AccountBatches;
    let (intake, mut fields) =
        Intake::take(&mut call, "accounts:write", route, body::BATCH).await?;
    let batch = AccountBatchBody::take(&mut fields, &call.app)?;
    fields.finish()?;
    let mut requests = Vec::with_capacity(batch.items.len());
    for (index, item) in batch.items.into_iter().enumerate() {
        let (order, attached) = item.split(&call)?;
        requests.push(intake.request(&call, Some(index), order, attached));
    }
    let _running = take_key(&call, &intake).await?;
    match call.app.engine.submit_all(requests, false).await {
        Ok(outcomes) => answer(&call, &intake, outcomes),
        Err(refused) => Err(refusal(*refused.outcome)),
    }
}

fn answer(call: &Call, intake: &Intake, outcomes: Vec<Outcome>) -> Answer {
    let asset = &call.app.settings.asset;
    let mut all_replayed = true;
    let mut results = Vec::with_capacity(outcomes.len());
    for (index, outcome) in outcomes.into_iter().enumerate() {
        all_replayed &= matches!(
            outcome,
            Outcome::Done { replayed: true, .. } | Outcome::Refused { replayed: true, .. }
        );
        let (status, account, problem) = match outcome {
            Outcome::Done { operation, .. } => (201, Some(opened(&operation, asset)?), None),
            Outcome::WouldDo(operation) => (200, Some(opened(&operation, asset)?), None),
            other => {
                let problem = refusal(other).body(None);
                (problem.status, None, Some(problem))
            }
        };
        results.push(OpenedView {
            index,
            status,
            account,
            problem,
        });
    }
    let all_done = results.iter().all(|item| item.problem.is_none());
    let status = match (intake.dry_run, all_done) {
        (true, _) => StatusCode::OK,
        (false, true) => StatusCode::CREATED,
        (false, false) => StatusCode::MULTI_STATUS,
    };
    let view = AccountBatchView {
        status: if all_done { "completed" } else { "partial" },
        results,
    };
    let Rendered { body, .. } = Rendered::new(status, &view)?;
    if all_replayed {
        call.app.metrics.replayed();
    }
    Ok(json(status, body, all_replayed))
}
