//! Every route there is. A method that a route doesn't have is answered 405 with those it has.

use super::{
    account_batches, accounts, balances, channels, deposits, entries, hubs, issuances, openapi,
    proofs, reconciliation, tower, transfer_batches, transfers, withdrawals,
};
use crate::problem::{Code, Problem};
use actix_web::{HttpRequest, web};

macro_rules! routes {
    ($($path:literal: $($method:ident => $handler:path),+;)+) => {
        /// Paths with their methods.
        pub const ROUTES: &[(&str, &[&str])] = &[$(($path, &[$(stringify!($method)),+])),+];

        /// Registers every route.
        pub fn configure(config: &mut web::ServiceConfig) {
            $(
                config.service(
                    web::resource($path)
                        $(.route(routes!(@method $method).to($handler)))+
                        .default_service(web::to(|| async {
                            const ALLOW: &str = routes!(@allow $($method),+);
                            Err::<actix_web::HttpResponse, _>(Problem::method(ALLOW))
                        })),
                );
            )+
            runtime::ops::routes(config);
            openapi::configure_docs(config);
            tower::configure(config);
            config.default_service(web::to(not_found));
        }
    };
    (@method GET) => { web::get() };
    (@method POST) => { web::post() };
    (@method PATCH) => { web::patch() };
    (@allow $first:ident $(, $more:ident)*) => {
        concat!(stringify!($first) $(, ", ", stringify!($more))*)
    };
}

// Tried in this order, for each request several times: the busiest come first.
routes! {
    "/v1/transfers": GET => transfers::list, POST => transfers::create;
    "/v1/transfer-batches": POST => transfer_batches::create;
    "/v1/accounts": GET => accounts::list, POST => accounts::create;
    "/v1/accounts/{id}": GET => accounts::get, PATCH => accounts::patch;
    "/v1/accounts/{id}/freeze": POST => accounts::freeze;
    "/v1/accounts/{id}/unfreeze": POST => accounts::unfreeze;
    "/v1/accounts/{id}/close": POST => accounts::close;
    "/v1/accounts/{id}/balances": GET => balances::get;
    "/v1/accounts/{id}/entries": GET => entries::list;
    "/v1/accounts/{id}/deposit-addresses": POST => deposits::address;
    "/v1/account-batches": POST => account_batches::create;
    "/v1/balances/query": POST => balances::query;
    "/v1/issuances": GET => issuances::list_issuances, POST => issuances::issue;
    "/v1/issuances/{id}": GET => issuances::get_issuance;
    "/v1/redemptions": GET => issuances::list_redemptions, POST => issuances::redeem;
    "/v1/redemptions/{id}": GET => issuances::get_redemption;
    "/v1/transfers/{id}": GET => transfers::get;
    "/v1/withdrawals": GET => withdrawals::list, POST => withdrawals::create;
    "/v1/withdrawals/{id}": GET => withdrawals::get;
    "/v1/withdrawals/{id}/cancel": POST => withdrawals::cancel;
    "/v1/deposits": GET => deposits::list;
    "/v1/deposits/{id}": GET => deposits::get;
    "/v1/channels/{id}": GET => channels::get;
    "/v1/channels/{id}/states": GET => channels::states;
    "/v1/channels/{id}/states/{version}": GET => channels::state;
    "/v1/channels/{id}/states/{version}/proof": GET => proofs::get;
    "/v1/channels/{id}/close": POST => channels::close;
    "/v1/hubs": GET => hubs::list;
    "/v1/reconciliation/runs": GET => reconciliation::list, POST => reconciliation::create;
    "/v1/reconciliation/runs/{id}": GET => reconciliation::get;
    "/v1/reconciliation/runs/{id}/breaks": GET => reconciliation::breaks;
    "/v1/reconciliation/runs/{id}/report": GET => reconciliation::report;
    "/v1/breaks/{id}/resolve": POST => reconciliation::resolve;
    "/openapi.json": GET => openapi::document;
}

/// Paths of every service, and pages: registered by others, for GET alone.
const READ_ONLY: &[&str] = &[
    "/livez", "/readyz", "/version", "/metrics", "/docs", "/docs/",
];

async fn not_found(request: HttpRequest) -> super::Answer {
    if READ_ONLY.contains(&request.path()) {
        return Err(Problem::method("GET"));
    }
    Err(Problem::new(Code::RouteNotFound))
}
