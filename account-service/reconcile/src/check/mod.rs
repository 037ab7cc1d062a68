//! The comparisons.

mod batch;
pub mod batches;
pub mod heads;
pub mod hub;
pub mod journal;
pub mod ledger;
pub mod legs;
mod links;
pub mod settlement;
pub mod totals;

use crate::findings::Findings;
use crate::run::Options;
use crate::store::heads::Head;
use crate::store::snapshot::Mark;
use hub_client::Terms;
use hub_core::{Amount, ChannelId};
use sqlx::{Postgres, Transaction};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// The hubs' terms, by hub id.
pub type Hubs = Arc<HashMap<Uuid, Terms>>;

/// What all checks of a run share.
pub struct Context {
    pub tx: Transaction<'static, Postgres>,
    pub hubs: Hubs,
    pub mark: Mark,
    /// The final block that the chain is read at.
    pub block: u64,
    /// The newest final block that the snapshot knows.
    pub known: u64,
    pub options: Options,
    pub findings: Findings,
    pub named: Named,
}

impl Context {
    /// Takes in what a part of the run found.
    pub fn merge(&mut self, found: Findings) {
        self.findings.merge(found, self.options.max_breaks);
    }
}

/// Channels that a break names already, so that what follows from it is not named again. As
/// many as breaks are listed; beyond that, repetition is the lesser evil.
#[derive(Debug, Default)]
pub struct Named {
    /// Head rows that are not the state they say they are.
    pub heads: Arc<HashMap<ChannelId, Head>>,
    /// What the user has by the signed state, where a head row says something else.
    pub signed: HashMap<ChannelId, Amount>,
    /// Batches that are not what was signed: `hub/number`.
    pub batches: HashSet<String>,
    /// Channels with operations that are not those that were signed.
    pub operations: HashSet<ChannelId>,
}
