//! `/v1/transfer-batches`: many transfers in one request.

use super::call::Call;
use super::fields::Fields;
use super::money::{Intake, Rendered, check_asset, json, note, refusal};
use super::transfers::TransferBody;
use super::views::TransferView;
use super::{Answer, body};
use crate::engine::{InFlight, Outcome, Request, RetryReason, Route};
use crate::ids::IdKind;
use crate::problem::{Code, Problem, ProblemBody};
use crate::store::journal::KeyId;
use crate::store::operations_read;
use actix_web::http::StatusCode;
use hub_core::sha256;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Most items of one request.
pub const MAX_ITEMS: usize = 1_000;
/// Keys of items that are compared before a list runs; see [`take_key`].
const COMPARED: usize = 16;

/// Transfers to be made.
#[derive(Debug, ToSchema)]
#[schema(as = NewTransferBatch)]
pub struct TransferBatchBody {
    /// `atomic`: all or none. `independent`: each for itself.
    #[schema(value_type = String)]
    pub mode: Mode,
    /// 1 to 1,000 transfers.
    pub items: Vec<TransferBody>,
}

/// How the items of a batch hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All or none.
    Atomic,
    /// Each for itself.
    Independent,
}

impl TransferBatchBody {
    /// Takes it out of a body.
    pub fn take(fields: &mut Fields) -> Result<Self, Problem> {
        let words = [("atomic", Mode::Atomic), ("independent", Mode::Independent)];
        let mode = fields.optional_word("mode", &words);
        let items = fields.list("items", MAX_ITEMS);
        let mut transfers = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let mut fields = Fields::item(item, "items", index)?;
            transfers.push(TransferBody::take(&mut fields));
            fields.finish()?;
        }
        if mode.is_none() {
            fields.wrong("mode", "is required: atomic or independent");
        }
        Ok(Self {
            mode: mode.unwrap_or(Mode::Atomic),
            items: transfers,
        })
    }
}

/// What came of the transfers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TransferBatch)]
pub struct TransferBatchView {
    /// Its id.
    pub id: Option<String>,
    /// `atomic` or `independent`.
    pub mode: &'static str,
    /// `completed` when all were done, else `partial`.
    pub status: &'static str,
    /// One per item, in their order.
    pub results: Vec<ItemView>,
}

/// What came of one transfer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TransferBatchItem)]
pub struct ItemView {
    /// Its place in the request.
    pub index: usize,
    /// The status it would have had alone.
    pub status: u16,
    /// The transfer, if it was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer: Option<TransferView>,
    /// Why not, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<ProblemBody>,
}

/// Makes many transfers. Item `i` has the idempotency key `<key>#i`.
#[utoipa::path(post, path = "/v1/transfer-batches", tag = "Money", request_body = TransferBatchBody,
    params(("Idempotency-Key" = String, Header, description = "New for each operation, the same for its retries")),
    responses((status = 201, body = TransferBatchView, description = "All done"),
        (status = 207, body = TransferBatchView, description = "Independent, and not all done"),
        (status = 200, body = TransferBatchView, description = "Dry run"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn create(mut call: Call) -> Answer {
    let route = Route::TransferBatches;
    let (intake, mut fields) =
        Intake::take(&mut call, "transfers:write", route, body::BATCH).await?;
    let batch = TransferBatchBody::take(&mut fields)?;
    fields.finish()?;
    let mode = batch.mode;
    let requests = requests_of(&call, &intake, batch)?;
    let _running = take_key(&call, &intake).await?;
    let outcomes = match call
        .app
        .engine
        .submit_all(requests, mode == Mode::Atomic)
        .await
    {
        Ok(outcomes) => outcomes,
        Err(refused) => return Err(refused_batch(refused.at, *refused.outcome)),
    };
    answer(&call, &intake, mode, outcomes)
}

fn requests_of(
    call: &Call,
    intake: &Intake,
    batch: TransferBatchBody,
) -> Result<Vec<Request>, Problem> {
    let mut requests = Vec::with_capacity(batch.items.len());
    for (index, item) in batch.items.into_iter().enumerate() {
        check_asset(call, item.asset.as_deref())?;
        let (order, attached) = item.split();
        requests.push(intake.request(call, Some(index), order, attached));
    }
    Ok(requests)
}

/// Takes a list's key until the guard is dropped. The same key with another body must do nothing,
/// also where the other body is longer or shorter. Each item alone would see that only for its own
/// place; the first items stand for the request, an atomic one's first for all.
pub async fn take_key<'a>(
    call: &'a Call,
    intake: &Intake,
) -> Result<Option<InFlight<'a>>, Problem> {
    if intake.dry_run {
        return Ok(None);
    }
    let (owner, route) = (intake.caller.owner, intake.route);
    let running = call.app.engine.hold(owner, route, &intake.key);
    let running = running.ok_or_else(|| Problem::from(RetryReason::InFlight))?;
    let keys: Vec<_> = (0..COMPARED)
        .map(|at| KeyId::new(owner, route, &intake.item_key(at)))
        .collect();
    let hashes = operations_read::request_hashes(&call.app.pool, &keys).await?;
    if hashes.iter().any(|hash| hash != &intake.request_hash.0) {
        return Err(Problem::new(Code::IdempotencyMismatch));
    }
    Ok(Some(running))
}

/// What a batch answers that was refused as a whole.
pub fn refused_batch(index: usize, outcome: Outcome) -> Problem {
    let business = matches!(outcome, Outcome::Refused { .. });
    let problem = refusal(outcome);
    if business {
        Problem::of_batch(index, problem)
    } else {
        problem
    }
}

fn answer(call: &Call, intake: &Intake, mode: Mode, outcomes: Vec<Outcome>) -> Answer {
    let mut results = Vec::with_capacity(outcomes.len());
    let mut all_replayed = true;
    for (index, outcome) in outcomes.into_iter().enumerate() {
        all_replayed &= matches!(
            outcome,
            Outcome::Done { replayed: true, .. } | Outcome::Refused { replayed: true, .. }
        );
        results.push(item_of(call, index, outcome));
    }
    let all_done = results.iter().all(|item| item.problem.is_none());
    let view = TransferBatchView {
        id: (!intake.dry_run).then(|| IdKind::TransferBatch.text(batch_id(intake))),
        mode: match mode {
            Mode::Atomic => "atomic",
            Mode::Independent => "independent",
        },
        status: if all_done { "completed" } else { "partial" },
        results,
    };
    let status = match (intake.dry_run, all_done) {
        (true, _) => StatusCode::OK,
        (false, true) => StatusCode::CREATED,
        (false, false) => StatusCode::MULTI_STATUS,
    };
    let Rendered { body, .. } = Rendered::new(status, &view)?;
    if all_replayed {
        call.app.metrics.replayed();
    }
    Ok(json(status, body, all_replayed))
}

fn item_of(call: &Call, index: usize, outcome: Outcome) -> ItemView {
    let (status, transfer, problem) = match outcome {
        Outcome::Done { operation, .. } => {
            note(call, &operation);
            (201, Some(operation), None)
        }
        Outcome::WouldDo(operation) => (200, Some(operation), None),
        other => {
            let problem = refusal(other).body(None);
            (problem.status, None, Some(problem))
        }
    };
    ItemView {
        index,
        status,
        transfer: transfer.map(|posted| TransferView::of(&posted, &call.app.settings.asset)),
        problem,
    }
}

/// The id of a request's batch: made of its idempotency scope, so that a replay has the same
/// without a row of its own. A UUID of version 8, whose content is the application's affair.
fn batch_id(intake: &Intake) -> Uuid {
    let text = format!(
        "{}\n{}\n{}",
        intake.caller.owner, intake.route as i16, intake.key
    );
    let hash = sha256(text.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.0[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
