//! The routes.

use super::body::{self, answer, malformed, read};
use super::{Api, Scope};
use actix_web::{HttpRequest, HttpResponse, web};
use hub_client::{ErrorBody, HubRefusal};
use hub_core::Address;
use serde::Deserialize;

type Shared = web::Data<Api>;

/// Adds the routes.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/internal/v1")
            .route("/terms", web::get().to(terms))
            .route("/hello", web::post().to(hello))
            .route("/batches", web::post().to(batches))
            .route("/fates", web::post().to(fates))
            .route("/import", web::post().to(import))
            .route("/withdrawals", web::post().to(withdrawals))
            .route("/chain-events", web::post().to(chain_events))
            .route("/journal", web::get().to(journal))
            .route("/committed", web::get().to(committed))
            .route("/signed-orders", web::post().to(signed_orders))
            .route("/attestations", web::get().to(attestations))
            .route("/params", web::post().to(params))
            .route("/channels/{id}", web::get().to(channel)),
    );
}

/// What no route takes.
pub async fn no_such_route() -> HttpResponse {
    answer::<()>(Err(ErrorBody {
        error: HubRefusal::NotFound,
        detail: "no such route".to_owned(),
    }))
}

async fn terms(api: Shared, request: HttpRequest) -> HttpResponse {
    let allowed = api.tokens.check(&request, Scope::Read);
    answer(allowed.map(|()| api.hub.terms()))
}

/// A route that takes a body and does one thing with it.
macro_rules! post {
    ($name:ident, $scope:expr, $limit:expr, $method:ident) => {
        async fn $name(api: Shared, request: HttpRequest, payload: web::Payload) -> HttpResponse {
            let outcome = async {
                api.tokens.check(&request, $scope)?;
                api.hub.$method(read(payload, $limit).await?).await
            };
            answer(outcome.await)
        }
    };
}

post!(hello, Scope::Propose, body::SMALL_LIMIT, hello);
post!(fates, Scope::Propose, body::LIMIT, fates);
post!(import, Scope::Propose, body::IMPORT_LIMIT, import);
post!(withdrawals, Scope::Propose, body::LIMIT, sign_withdraw);
post!(params, Scope::Read, body::LIMIT, params);
post!(signed_orders, Scope::Read, body::LIMIT, signed_orders);
post!(chain_events, Scope::Chain, body::BATCH_LIMIT, chain_events);

async fn batches(api: Shared, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let outcome = async {
        api.tokens.check(&request, Scope::Propose)?;
        api.hub.sign_batch(body::read_batch(payload).await?).await
    };
    answer(outcome.await)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    after: u64,
    limit: Option<u32>,
}

async fn journal(api: Shared, request: HttpRequest) -> HttpResponse {
    let outcome = async {
        api.tokens.check(&request, Scope::Read)?;
        let page = web::Query::<Page>::from_query(request.query_string())
            .map_err(|error| malformed(error.to_string()))?;
        let limit = page.limit.unwrap_or(crate::engine::limits::JOURNAL_PAGE);
        api.hub.journal(page.after, limit).await
    };
    answer(outcome.await)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Committed {
    #[serde(default)]
    after: u64,
}

async fn committed(api: Shared, request: HttpRequest) -> HttpResponse {
    let outcome = async {
        api.tokens.check(&request, Scope::Read)?;
        let asked = web::Query::<Committed>::from_query(request.query_string())
            .map_err(|error| malformed(error.to_string()))?;
        api.hub.committed(asked.after).await
    };
    answer(outcome.await)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attestations {
    hub: Address,
    #[serde(default)]
    after: u64,
}

async fn attestations(api: Shared, request: HttpRequest) -> HttpResponse {
    let outcome = async {
        api.tokens.check(&request, Scope::Read)?;
        let asked = web::Query::<Attestations>::from_query(request.query_string())
            .map_err(|error| malformed(error.to_string()))?;
        if asked.hub != api.hub.terms().hub {
            return Err(malformed(format!("{} is another hub", asked.hub)));
        }
        api.hub.attestations(asked.after).await
    };
    answer(outcome.await)
}

async fn channel(api: Shared, request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    let outcome = async {
        api.tokens.check(&request, Scope::Read)?;
        let id = id
            .parse()
            .map_err(|_| malformed("a channel id is 0x and 64 digits".to_owned()))?;
        api.hub.channel(id).await
    };
    answer(outcome.await)
}
