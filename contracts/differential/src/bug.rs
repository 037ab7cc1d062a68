//! Wrong formulas, planted into the model to show that the comparison can fail.

use hub_core::Amount;
use hub_core::dispute::{Channel, Hub};

/// A formula that is wrong in the model of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Settlement forgets what was withdrawn on chain.
    WithdrawalsForgotten,
    /// A cheating hub's bonus is bounded by the bond alone.
    CapsIgnored,
    /// Evidence is compared with the current version instead of the posted one.
    PenaltyAgainstCurrent,
    /// A lock waits for one second too long.
    LockOneSecondLate,
    /// Credits that were shown are not looked at.
    CreditsForgotten,
}

/// What a bug overwrote, to be put back.
pub struct Before {
    withdrawn: Amount,
    caps: (Amount, Amount),
}

impl Bug {
    /// Every bug.
    pub const ALL: [Self; 5] = [
        Self::WithdrawalsForgotten,
        Self::CapsIgnored,
        Self::PenaltyAgainstCurrent,
        Self::LockOneSecondLate,
        Self::CreditsForgotten,
    ];

    /// Makes a settlement of the model wrong.
    pub(crate) fn spoil(bug: Option<Self>, hub: &mut Hub, channel: &mut Channel) -> Before {
        let before = Before {
            withdrawn: channel.withdrawn,
            caps: (hub.penalty_cap, channel.params.penalty_cap),
        };
        match bug {
            Some(Self::WithdrawalsForgotten) => channel.withdrawn = Amount::ZERO,
            Some(Self::CapsIgnored) => {
                hub.penalty_cap = Amount::MAX;
                channel.params.penalty_cap = Amount::MAX;
            }
            Some(Self::CreditsForgotten) => {
                if let Some(dispute) = &mut channel.dispute {
                    dispute.credit_max = Amount::ZERO;
                }
            }
            _ => {}
        }
        before
    }

    /// Puts back what only the wrong formula was to see.
    pub(crate) fn restore(before: &Before, hub: &mut Hub, channel: &mut Channel, settled: bool) {
        (hub.penalty_cap, channel.params.penalty_cap) = before.caps;
        if !settled {
            channel.withdrawn = before.withdrawn;
        }
    }
}
