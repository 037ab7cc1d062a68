//! The watchtower: it sees every close at the head of the chain and answers a stale one with the
//! newest co-signed state, punishes where there is evidence, ends the epoch after the window, and
//! collects what was due later. It needs nobody for that: what it answers with is its own copy.
//!
//! * `pull` keeps the copies fresh, `copy` checks them;
//! * `dispute` (no I/O) reads a close from the logs and says what is to be done;
//! * `answer` does it, many in one transaction.
//!
//! What is to be done always follows from the logs that are on the chain now. So an answer that a
//! reorganisation took away is due again, and one that somebody else gave is not repeated.

pub mod answer;
pub mod copy;
pub mod dispute;
pub mod pull;

use hub_core::Address;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use time::OffsetDateTime;
use tokio::sync::Notify;

/// What the tower's parts tell each other.
#[derive(Debug, Default)]
pub struct Tower {
    /// A close was seen: copies must be fresh now.
    ask: Notify,
    /// When the last round of questions began, by hub.
    asked_at: Mutex<HashMap<Address, OffsetDateTime>>,
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
        let mut asked_at = self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        asked_at.insert(hub, begun);
    }

    /// Whether all sources of a hub were asked after a moment.
    pub fn pulled_since(&self, hub: Address, moment: OffsetDateTime) -> bool {
        let asked_at = self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        asked_at.get(&hub).is_some_and(|begun| *begun >= moment)
    }
}
