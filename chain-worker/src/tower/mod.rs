//! The watchtower: it sees every close at the head of the chain and answers a stale one with the
//! newest co-signed state, punishes where there is evidence, ends the epoch after the window, and
//! collects what was due later. It needs nobody for that: what it answers with is its own copy.
//!
//! * `pull` keeps the copies fresh, `copy` checks them, `fold` makes one row a channel of them;
//! * `answer` does what `hub_core::dispute::answer` names, many in one transaction.
//!
//! What is to be done always follows from the logs that are on the chain now. So an answer that a
//! reorganisation took away is due again, and one that somebody else gave is not repeated.
//!
//! It belongs to the operator and guards the hub, unless it is told otherwise: a user side's stale
//! close is answered and punished, even where that was a thief with the custody key; one by the
//! hub's own key is only corrected where that costs the hub nothing.

pub mod answer;
pub mod copy;
pub mod dispute;
pub mod fold;
pub mod pull;
pub mod signers;

use fold::Searched;
use hub_core::Address;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;
use tokio::sync::Notify;

/// What the tower's parts tell each other.
#[derive(Debug, Default)]
pub struct Tower {
    /// A close was seen: copies must be fresh now.
    ask: Notify,
    /// By hub.
    hubs: Mutex<HashMap<Address, Progress>>,
}

/// How far the copies of a hub's channels are.
#[derive(Debug, Default, Clone)]
struct Progress {
    /// When the last round of questions began.
    pulled: Option<OffsetDateTime>,
    /// When the round began that had ended before the copies were last searched for closes.
    found: Option<OffsetDateTime>,
    searched: Searched,
}

impl Tower {
    /// Asks for fresh copies.
    pub fn ask(&self) {
        self.ask.notify_waiters();
    }

    /// Ends when somebody asks.
    pub fn asked(&self) -> tokio::sync::futures::Notified<'_> {
        self.ask.notified()
    }

    /// All sources of a hub were asked in a round that began then, whatever they answered.
    pub fn pulled(&self, hub: Address, begun: OffsetDateTime) {
        self.hubs().entry(hub).or_default().pulled = Some(begun);
    }

    /// When the last such round began.
    pub fn last_pull(&self, hub: Address) -> Option<OffsetDateTime> {
        self.hubs().get(&hub).and_then(|progress| progress.pulled)
    }

    /// What of a hub's copies was searched for which closes.
    pub fn searched(&self, hub: Address) -> Searched {
        let hubs = self.hubs();
        hubs.get(&hub)
            .map(|progress| progress.searched.clone())
            .unwrap_or_default()
    }

    /// The copies were searched after the round that began then.
    pub fn found(&self, hub: Address, searched: Searched, pulled: Option<OffsetDateTime>) {
        let mut hubs = self.hubs();
        let progress = hubs.entry(hub).or_default();
        (progress.searched, progress.found) = (searched, pulled);
    }

    /// Whether all sources of a hub were asked after a moment, and what they gave was searched.
    pub fn pulled_since(&self, hub: Address, moment: OffsetDateTime) -> bool {
        let hubs = self.hubs();
        let found = hubs.get(&hub).and_then(|progress| progress.found);
        found.is_some_and(|begun| begun >= moment)
    }

    fn hubs(&self) -> MutexGuard<'_, HashMap<Address, Progress>> {
        self.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
