//! Bodies in and out.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use hub_client::{BatchRequest, ErrorBody, HubRefusal};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// A batch of 4,096 states with as many operations is about 1 MiB; openings are five times as long.
pub const BATCH_LIMIT: usize = 4 << 20;
/// Fates and events in bulk, and a withdrawal with the fates that go with it: 256 of them are 70 KiB.
pub const LIMIT: usize = 1 << 20;
/// Co-signed batches for a restored hub: one of 4,096 states, with openings, is 4 MB.
pub const IMPORT_LIMIT: usize = 8 << 20;
/// Everything else.
pub const SMALL_LIMIT: usize = 64 << 10;
/// Longest a caller may take to send a body.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads and parses a body of at most `limit` bytes.
pub async fn read<T: DeserializeOwned>(
    payload: web::Payload,
    limit: usize,
) -> Result<T, ErrorBody> {
    let bytes = receive(payload, limit).await?;
    // A JSON array would be taken for a struct, field by field.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(malformed("the body is not a JSON object".to_owned()));
    }
    serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))
}

/// Reads a batch request.
pub async fn read_batch(payload: web::Payload) -> Result<BatchRequest, ErrorBody> {
    let bytes = receive(payload, BATCH_LIMIT).await?;
    BatchRequest::from_frame(&bytes).map_err(|error| malformed(error.to_string()))
}

async fn receive(payload: web::Payload, limit: usize) -> Result<web::Bytes, ErrorBody> {
    tokio::time::timeout(PATIENCE, payload.to_bytes_limited(limit))
        .await
        .map_err(|_| malformed("the body did not come within 10 seconds".to_owned()))?
        .map_err(|_| malformed(format!("the body has more than {limit} bytes")))?
        .map_err(|_| malformed("the body can't be read".to_owned()))
}

/// A refusal of the request itself.
pub fn malformed(detail: String) -> ErrorBody {
    ErrorBody {
        error: HubRefusal::Malformed,
        detail,
    }
}

/// The answer to what was asked.
pub fn answer<T: Serialize>(outcome: Result<T, ErrorBody>) -> HttpResponse {
    match outcome {
        Ok(body) => HttpResponse::Ok().json(body),
        Err(body) => HttpResponse::build(status(&body.error)).json(body),
    }
}

fn status(error: &HubRefusal) -> StatusCode {
    match error {
        HubRefusal::Malformed => StatusCode::BAD_REQUEST,
        HubRefusal::NotFound => StatusCode::NOT_FOUND,
        HubRefusal::Unauthorized => StatusCode::UNAUTHORIZED,
        HubRefusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        HubRefusal::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::CONFLICT,
    }
}
