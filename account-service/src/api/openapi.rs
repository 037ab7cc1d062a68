//! The OpenAPI document, made from the code, and a page to read it with.

use super::Answer;
use super::{
    account_batches, accounts, balances, channels, deposits, entries, hubs, issuances, proofs,
    reconciliation, transfer_batches, transfers, withdrawals,
};
use crate::problem::Problem;
use actix_web::http::header;
use actix_web::{HttpResponse, web};
use utoipa::OpenApi as _;
use utoipa::openapi::path::{OperationBuilder, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, HttpMethod, InfoBuilder, OpenApi, ResponseBuilder};
use utoipa_swagger_ui::SwaggerUi;

/// Routes that have no version and need no key, with what they answer.
const UNVERSIONED: &[(&str, &str)] = &[
    ("/livez", "Whether the process runs"),
    ("/readyz", "Whether it can work; 503 and why when it can't"),
    ("/version", "What runs"),
    ("/metrics", "Figures in Prometheus' text format"),
    ("/openapi.json", "This document"),
];

#[derive(utoipa::OpenApi)]
#[openapi(paths(
    accounts::create,
    accounts::list,
    accounts::get,
    accounts::patch,
    accounts::freeze,
    accounts::unfreeze,
    accounts::close,
    account_batches::create,
    balances::get,
    balances::query,
    entries::list,
    deposits::address,
    deposits::list,
    deposits::get,
    issuances::issue,
    issuances::list_issuances,
    issuances::get_issuance,
    issuances::redeem,
    issuances::list_redemptions,
    issuances::get_redemption,
    transfers::create,
    transfers::list,
    transfers::get,
    transfer_batches::create,
    withdrawals::create,
    withdrawals::list,
    withdrawals::get,
    withdrawals::cancel,
    channels::get,
    channels::states,
    channels::state,
    channels::close,
    proofs::get,
    hubs::list,
    reconciliation::create,
    reconciliation::list,
    reconciliation::get,
    reconciliation::breaks,
    reconciliation::report,
    reconciliation::resolve,
))]
struct Paths;

/// The document.
pub fn build() -> OpenApi {
    let mut document = Paths::openapi();
    document.info = InfoBuilder::new()
        .title("Custodial accounts")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Accounts whose balances are co-signed allocations of payment channels. Amounts are strings of \
             minor units. Every POST that moves money or opens something needs an Idempotency-Key; every \
             refusal is an application/problem+json document whose code has one status.",
        ))
        .contact(None::<utoipa::openapi::Contact>)
        .build();
    let components = document.components.get_or_insert_with(Components::new);
    components.add_security_scheme(
        "bearer",
        SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
    );
    document.security = Some(vec![SecurityRequirement::new(
        "bearer",
        Vec::<String>::new(),
    )]);
    for (path, summary) in UNVERSIONED {
        let operation = OperationBuilder::new()
            .tag("Operations")
            .summary(Some(*summary))
            .securities(Some(Vec::<SecurityRequirement>::new()))
            .response("200", ResponseBuilder::new().description(*summary).build())
            .build();
        let item = PathItem::new(HttpMethod::Get, operation);
        document.paths.paths.insert((*path).to_owned(), item);
    }
    document
}

/// `GET /openapi.json`.
pub async fn document() -> Answer {
    Ok(HttpResponse::Ok().json(build()))
}

/// The page at `/docs/`.
pub fn configure_docs(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/docs")
                .route(web::get().to(async || {
                    HttpResponse::PermanentRedirect()
                        .insert_header((header::LOCATION, "/docs/"))
                        .finish()
                }))
                .default_service(web::to(|| async {
                    Err::<HttpResponse, _>(Problem::method("GET"))
                })),
        )
        .service(
            SwaggerUi::new("/docs/{_:.*}").config(utoipa_swagger_ui::Config::from("/openapi.json")),
        );
}
