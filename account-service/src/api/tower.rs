//! What the watchtower copies. Not for business systems: it shows every account's states, so only
//! a key with the scope `admin:tower` (or all of `admin:*`) may ask. The hub answers the same at
//! the same place.

use super::call::Call;
use super::{Answer, body};
use crate::problem::{Code, Problem};
use crate::store::tower;
use actix_web::{HttpResponse, web};
use chain_messages::tower::{
    AttestedBatch, AttestedPage, CHANNELS, PAGE, ParamsPage, ParamsRequest,
};
use hub_core::Address;
use serde_json::Value;

const SCOPE: &str = "admin:tower";

/// Registers both routes.
pub fn configure(config: &mut web::ServiceConfig) {
    let refused = |allow: &'static str| {
        web::to(move || async move { Err::<HttpResponse, _>(Problem::method(allow)) })
    };
    config.service(
        web::resource("/internal/v1/attestations")
            .route(web::get().to(attestations))
            .default_service(refused("GET")),
    );
    config.service(
        web::resource("/internal/v1/params")
            .route(web::post().to(params))
            .default_service(refused("POST")),
    );
}

/// Committed batches of a hub above a number, oldest first.
async fn attestations(call: Call) -> Answer {
    call.caller(SCOPE).await?;
    let mut query = call.query()?;
    let hub: Option<Address> = query.optional_address("hub", &[]);
    let after = query.query_number("after", 0, u64::MAX >> 1).unwrap_or(0);
    query.finish()?;
    let required = || Problem::field(Code::ValidationFailed, "hub", "is required");
    let hub = hub.ok_or_else(required)?;
    let pool = &call.app.pool;
    let hub_id = tower::hub_of(pool, hub).await?;
    let hub_id = hub_id.ok_or_else(|| Problem::new(Code::HubNotFound))?;
    let now = runtime::clock::now();
    let page = tower::page(pool, hub_id, after, PAGE, now).await?;
    let batch = |row: tower::Committed| AttestedBatch {
        batch_id: row.batch_id,
        prev_root: row.prev_root,
        hub_signature: row.hub_signature,
        user_signature: row.user_signature,
        states: row.states,
    };
    Ok(HttpResponse::Ok().json(AttestedPage {
        last: page.last,
        next: page.next,
        more: page.more,
        batches: page.committed.into_iter().map(batch).collect(),
    }))
}

/// The parameters of channels.
async fn params(mut call: Call) -> Answer {
    call.caller(SCOPE).await?;
    let body = call.body(body::BATCH).await?;
    let request: ParamsRequest = serde_json::from_value(Value::Object(body))
        .map_err(|error| Problem::with(Code::MalformedBody, error.to_string()))?;
    if request.channels.len() > CHANNELS {
        let message = format!("at most {CHANNELS}");
        return Err(Problem::field(Code::ValidationFailed, "channels", message));
    }
    let params = tower::params(&call.app.pool, &request.channels).await?;
    Ok(HttpResponse::Ok().json(ParamsPage { params }))
}
