//! Named limits: those an operator sets, and those that follow from the protocol.

use hub_client::IssueCaps;
use hub_core::{Amount, Version};
use std::time::Duration;

/// What the operator allows (P11, F20).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most one issuance may be.
    pub issue_per_order: Amount,
    /// The most that may be issued in any 60 minutes.
    pub issue_per_hour: Amount,
    /// The most that abandoned batches may be able to yield.
    pub burn: Amount,
}

impl Limits {
    /// The caps on issuance as callers are told them: what an hour doesn't allow, no order can be.
    pub fn caps(&self) -> IssueCaps {
        IssueCaps {
            per_order: self.issue_per_order.min(self.issue_per_hour),
            per_hour: self.issue_per_hour,
        }
    }
}

/// Operations of one batch: what 4,096 leaves hold if each touches a channel of its own.
pub const OPERATIONS: usize = hub_core::merkle::MAX_LEAVES;

/// Versions a proposal may skip. Honest proposals skip none; a hostile one must not be able to
/// use up the 2^48 there are: at a thousand batches a second this takes 50 days of refusals'
/// worth of alarms.
pub const VERSION_GAP: Version = 1 << 16;

/// Fates of one request: more than account-service has under way, and 100 us of curve
/// arithmetic each.
pub const FATES: usize = 4_096;

/// Fates remembered, beyond those of a second.
pub const TOLD_FATES: usize = 1_024;

/// Batches without a fate: account-service overlaps three; a replica that died leaves as many.
/// Beyond this the hub asks for fates before it signs more.
pub const OPEN_BATCHES: usize = 256;

/// A batch without a fate counts as abandoned when so many newer ones were signed.
pub const ABANDONED_AFTER: u64 = 64;

/// Channels kept in memory: about 450 bytes each, so 700 MB at most.
pub const CACHED_HEADS: usize = 1_500_000;

/// Journal entries of one answer.
pub const JOURNAL_PAGE: u32 = 1_000;

/// Batches of one answer to an account database that was set back: 16 of 4,096 states are 28 MB
/// of JSON, with parameters of openings five times as much.
pub const GIVEN_BATCHES: u32 = 16;

/// Orders of one request for their signed `Withdraw`s, each looked up by its key.
pub const ORDERS: usize = 1_000;

/// Events of one request.
pub const EVENTS: usize = 4_096;

/// How long a `Withdraw` may stay executable. Its amount can't be given back before.
pub const WITHDRAW_VALIDITY: Duration = Duration::from_secs(30 * 24 * 3600);

/// What floors jump by when the hub's database was restored: more than was ever signed between
/// a backup and its loss.
pub const RESTORE_JUMP: u64 = 1 << 32;

/// The window of [`Limits::issue_per_hour`].
pub const ISSUE_WINDOW: time::Duration = time::Duration::HOUR;
