//! What all requests that move money have in common: one effect per idempotency key.

use super::call::Call;
use super::fields::Fields;
use super::{Answer, body};
use crate::auth::Caller;
use crate::engine::{Order, Outcome, Posted, Request, Route};
use crate::problem::{Code, Problem};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use hub_core::Hash32;
use serde_json::Value;
use std::fmt;
use uuid::Uuid;

/// Longest idempotency key.
const MAX_KEY: usize = 255;
const KEY_HEADER: &str = "idempotency-key";

/// Who orders what, once: everything about a request that is not the order itself.
pub struct Intake {
    /// Who orders.
    pub caller: Caller,
    /// The idempotency key; empty for a dry run.
    pub key: String,
    /// Hash of method, route and body.
    pub request_hash: Hash32,
    /// Only compute the answer.
    pub dry_run: bool,
    /// The route.
    pub route: Route,
}

/// What comes with an order.
#[derive(Debug, Default)]
pub struct Attached {
    /// The caller's own reference.
    pub client_ref: Option<String>,
    /// What is kept with the operation.
    pub extra: Option<Value>,
}

impl Intake {
    /// Reads who orders what, in this order: key, scope, rate limit, body, idempotency key.
    pub async fn take(
        call: &mut Call,
        scope: &str,
        route: Route,
        limit: usize,
    ) -> Result<(Self, Fields), Problem> {
        let caller = call.caller(scope).await?;
        let map = call.body(limit).await?;
        let request_hash = body::request_hash("POST", &call.pattern(), &map);
        let mut fields = Fields::new(map);
        let dry_run = fields.flag("dry_run");
        let key = if dry_run {
            String::new()
        } else {
            idempotency_key(call)?
        };
        let intake = Self {
            caller,
            key,
            request_hash,
            dry_run,
            route,
        };
        Ok((intake, fields))
    }

    /// The request to the engine. An item of a batch gets a key of its own.
    pub fn request(
        &self,
        call: &Call,
        item: Option<usize>,
        order: Order,
        attached: Attached,
    ) -> Request {
        Request {
            id: Uuid::now_v7(),
            owner: self.caller.owner,
            all_owners: self.caller.all_owners,
            route: self.route,
            key: item.map_or_else(|| self.key.clone(), |index| self.item_key(index)),
            request_hash: self.request_hash,
            client_ref: attached.client_ref,
            correlation_id: call.names.request_id.clone(),
            order,
            extra: attached.extra,
            dry_run: self.dry_run,
        }
    }

    /// The key of an item of a batch.
    pub fn item_key(&self, index: usize) -> String {
        format!("{}#{index}", self.key)
    }
}

fn idempotency_key(call: &Call) -> Result<String, Problem> {
    let invalid = || {
        Problem::field(
            Code::ValidationFailed,
            "Idempotency-Key",
            format!("must have 1 to {MAX_KEY} visible ASCII characters"),
        )
    };
    let key = call.header(KEY_HEADER)?.unwrap_or_default();
    if key.is_empty() {
        return Err(Problem::new(Code::IdempotencyKeyRequired));
    }
    if key.len() > MAX_KEY || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid());
    }
    Ok(key.to_owned())
}

/// An answer with a JSON text.
pub fn json(status: StatusCode, body: String, replayed: bool) -> HttpResponse {
    let mut builder = HttpResponse::build(status);
    builder.content_type("application/json");
    if replayed {
        builder.insert_header(("Idempotency-Replayed", "true"));
    }
    builder.body(body)
}

/// What is answered to a request that was done: status and JSON text.
pub struct Rendered {
    /// The status of the first answer and of replays.
    pub status: StatusCode,
    /// The text.
    pub body: String,
}

impl Rendered {
    /// A view with its status.
    pub fn new<T: serde::Serialize>(status: StatusCode, view: &T) -> Result<Self, Problem> {
        let body = serde_json::to_string(view).map_err(Problem::internal)?;
        Ok(Self { status, body })
    }
}

/// Posts one request and answers it.
pub async fn post(
    call: &Call,
    request: Request,
    render: impl AsyncFnOnce(&Posted) -> Result<Rendered, Problem>,
) -> Answer {
    // Apart, so that the layers around a handler don't move the engine's part with it.
    match Box::pin(call.app.engine.submit(request)).await {
        Outcome::Done {
            operation,
            replayed,
        } => {
            note(call, &operation);
            let Rendered { status, body } = render(&operation).await?;
            if replayed {
                call.app.metrics.replayed();
            }
            Ok(json(status, body, replayed))
        }
        Outcome::WouldDo(operation) => {
            let rendered = render(&operation).await?;
            Ok(json(StatusCode::OK, rendered.body, false))
        }
        other => Err(refusal(other)),
    }
}

/// The problem of a request that was not done.
pub fn refusal(outcome: Outcome) -> Problem {
    match outcome {
        Outcome::Refused { refusal, replayed } => Problem::from(refusal).replayed(replayed),
        Outcome::Retry(reason) => Problem::from(reason),
        Outcome::KeyMismatch => Problem::new(Code::IdempotencyMismatch),
        done @ (Outcome::Done { .. } | Outcome::WouldDo(_)) => Problem::internal(Unexpected(&done)),
    }
}

struct Unexpected<'a>(&'a Outcome);

impl fmt::Display for Unexpected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a refusal: {:?}", self.0)
    }
}

/// Notes the versions that an operation led to, so that no older balance is served here.
pub fn note(call: &Call, posted: &Posted) {
    for entry in [&posted.debit, &posted.credit].into_iter().flatten() {
        call.app.balances.reached(entry.channel, entry.version);
    }
}

/// Refuses an asset that there is not.
pub fn check_asset(call: &Call, asset: Option<&str>) -> Result<(), Problem> {
    match asset {
        Some(asset) if asset != call.app.settings.asset => Err(Problem::new(Code::AssetNotFound)),
        _ => Ok(()),
    }
}
