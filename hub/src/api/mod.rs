//! The internal HTTP API, as `hub-client` describes it.

mod auth;
mod body;
mod routes;

pub use auth::{Scope, TokenError, Tokens};
pub use routes::{no_such_route, routes};

use crate::engine::Hub;

/// What the routes work with.
#[derive(Debug)]
pub struct Api {
    /// The hub.
    pub hub: Hub,
    /// Who may call.
    pub tokens: Tokens,
}
