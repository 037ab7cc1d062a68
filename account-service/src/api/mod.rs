//! The REST API: one file per group of routes.

pub mod account_batches;
pub mod accounts;
pub mod balances;
pub mod body;
pub mod call;
pub mod channels;
pub mod deposits;
pub mod entries;
pub mod envelope;
pub mod fields;
pub mod hubs;
pub mod issuances;
pub mod metrics;
pub mod money;
pub mod openapi;
pub mod page;
pub mod proofs;
pub mod reconciliation;
mod routes;
mod tower;
pub mod transfer_batches;
pub mod transfers;
pub mod views;
pub mod withdrawals;

pub use metrics::ApiMetrics;
pub use routes::{ROUTES, configure};

use crate::auth::Keys;
use crate::cache::Balances;
use crate::cursor::CursorKey;
use crate::engine::Engine;
use crate::limits::Limits;
use crate::problem::Problem;
use actix_web::HttpResponse;
use hub_core::{Address, ChannelId};
use sqlx::PgPool;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// What a handler returns.
pub type Answer = Result<HttpResponse, Problem>;

/// What the handlers work with.
pub struct App {
    /// Database, as role `chub_account`.
    pub pool: PgPool,
    /// The posting engine.
    pub engine: Engine,
    /// API keys.
    pub keys: Keys,
    /// Rate limits.
    pub limits: Limits,
    /// Cache of balances.
    pub balances: Arc<Balances>,
    /// Authenticates cursors.
    pub cursors: CursorKey,
    /// What the API counts.
    pub metrics: ApiMetrics,
    /// Whose an account is, and its channel.
    pub directory: Directory,
    /// What never changes while the process runs.
    pub settings: Settings,
    /// Makes reconciliation runs.
    pub reconciler: Arc<reconciliation::Reconciler>,
}

/// What never changes while the process runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Code of the one asset.
    pub asset: String,
    /// The ERC20.
    pub token: Address,
    /// The channel contract.
    pub channels: Address,
}

/// Accounts whose owner and channel are remembered; 100 bytes each. Neither ever changes.
const MAX_REMEMBERED: usize = 200_000;

/// Whose an account is, and its channel, from memory.
#[derive(Debug, Default)]
pub struct Directory {
    known: Mutex<HashMap<Uuid, (Uuid, ChannelId)>>,
}

impl Directory {
    /// Owner and channel of an account, when remembered.
    pub fn get(&self, account: Uuid) -> Option<(Uuid, ChannelId)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&account).copied()
    }

    /// Remembers an account.
    pub fn put(&self, account: Uuid, owner: Uuid, channel: ChannelId) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(account, (owner, channel));
    }
}
