//! One channel between a hub and a user, with everything that can go wrong around it.
//!
//! A run trades for a while (payments, withdrawals, deposits, credits, locks) over a network that
//! loses, doubles and reorders, with crashes and, where the setting says so, restored databases.
//! Then somebody closes: honestly, or with any state of the past that it can get both signatures
//! for. The other side, or its tower, is awake once before the deadline, or, where the setting says
//! so, only after it and before the closer is paid. In the end every side's money is compared with
//! what it held.

mod chain;
mod ending;
mod node;
mod trade;
mod world;

pub use chain::Rule;

use crate::setting::Found;
use hub_core::dispute::Side;

/// A rule broken on purpose, in the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// None.
    None,
    /// The first signer does not compare `ackVersion` with what it holds.
    AckUnchecked,
    /// `ackVersion` names what the hub acknowledged, and the hub acknowledges nothing.
    AckAcknowledged,
    /// Neither side keeps the hub balance that pending withdrawals need.
    NoReserve,
    /// Withdrawals are given back by a clock that is ahead of the final block.
    EarlyReversal,
    /// A closer goes on signing.
    CloseWithoutFreeze,
    /// A restored side goes on as if nothing had happened.
    NoGuard,
    /// A restored side knows its highest version and nothing else.
    HighWaterOnly,
    /// A tower forgets a close when it is settled.
    ForgetsSettled,
}

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Custodial: the custody key signs last. Else the user signs first and `Revoke`s go both ways.
    pub custodial: bool,
    /// The nodes' bug.
    pub bug: Bug,
    /// The contract's rule.
    pub rule: Rule,
    /// Who cheats in a dispute, if the run has a cheat.
    pub cheater: Option<Side>,
    /// Whether databases are restored from backups.
    pub restores: bool,
    /// Whether there are locks, deposits, withdrawals and credits beside plain payments.
    pub rich: bool,
    /// Whether the side that did not close sleeps through the window and comes back before the
    /// closer is paid.
    pub sleeps: bool,
}

impl Config {
    /// Everything as it should be.
    pub const fn honest(custodial: bool) -> Self {
        Self {
            custodial,
            bug: Bug::None,
            rule: Rule::Ours,
            cheater: None,
            restores: false,
            rich: true,
            sleeps: false,
        }
    }
}

/// One run.
pub fn run(config: Config, seed: u64) -> Found {
    let mut world = world::World::new(config, seed);
    world.trade();
    world.end();
    world.found
}
