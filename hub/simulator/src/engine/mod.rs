//! Batches over several channels: replicas on one account database, a hub with its own, custody
//! signatures that get lost, crashes, ambiguous commits, fail-overs and restores (N3, N5).
//!
//! States are derived by `hub_core::fold` on both sides and checked by `hub_core::rules`; the
//! databases are maps with transactions, row locks and primary keys, which is what the protocol
//! asks of them.

mod hub;
mod limit;
mod world;

pub use limit::run as run_limit;
pub use world::run;

/// A rule broken on purpose, or a fault beside the usual ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Crashes, ambiguous commits, zombies, `burned` rows under live batches, 4 replicas.
    Usual,
    /// A row that lost its race is dropped from the batch, the rest is committed.
    PartialCommit,
    /// The versions that burned batches used are learnt at a restart only.
    BurnedLate,
    /// The account database fails over and loses commits; callers were answered at commit.
    LossyAtCommit,
    /// The same; callers are answered once the hub has stored the custody signature.
    LossyAfterHub,
    /// The account database is restored and goes on.
    RestoredNoFence,
    /// Both databases are restored to before one commit, and the fences lifted.
    BothRestored,
    /// The same; the anchor is compared before a fence is lifted: the highest committed batch below
    /// which every batch has a fate.
    BothRestoredAnchor,
    /// The same; the anchor names the newest committed batch, although some below have no fate.
    BothRestoredNewest,
    /// The hub's database is restored and goes on.
    HubNoGuard,
    /// The hub's database is restored; versions jump, heads are imported, the operator confirms.
    HubJump,
    /// A user-signed leaf stands in a batch that the hub signs first.
    UserLeafFirst,
    /// The hub signs a user's leaf after the commit (N4).
    UserLeafAfter,
}
