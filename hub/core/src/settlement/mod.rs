//! Who gets what when an epoch ends (N7), and what a settled lock list pays.
//!
//! Pure functions of the posted state and of what the chain knows. The contract's `Settlement`
//! and `LockRules` libraries compute the same; shared vectors and a differential fuzz hold the
//! two together. One refinement of N7 that both sides share: a hub that cheated forfeits at most
//! the *lowest* of the channel's penalty cap, its own registered cap, and its bond.

mod locks;
mod wide;

pub use locks::{
    Purse, Resolution, Unlocked, cash, metered, resolve, resolve_list, unlock, unlock_list,
};

use crate::{Amount, State};
use serde::{Deserialize, Serialize};
use wide::Wide;

/// Shares are counted in 1/10,000.
const BASIS_POINTS: u64 = 10_000;

/// How a hub pays. Fixed at registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FundingMode {
    /// The contract creates what it pays out, up to the hub's allowance; a deposit burns tokens.
    Mint,
    /// The hub moves tokens in first.
    Vault,
}

/// Who posted the closing state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closer {
    /// The hub signer.
    Hub,
    /// The user signer, or the payout address of a self-custodied channel.
    User,
    /// The payout address of a custodial channel: never forfeits.
    Exit,
}

/// What the chain knows beside the posted state; amounts of the epoch, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainTotals {
    /// Executed withdrawals (W).
    pub withdrawn: Amount,
    /// Deposits (D); the contract keeps them below 2^112.
    pub deposited: Amount,
    /// Highest credit shown.
    pub credit_max: Amount,
}

/// What each side is due before anybody is punished, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dues {
    /// The user's entitlement on chain, without locks.
    pub user_due: Amount,
    /// The rest of the pool: a claim on paper in mint mode and for pooled channels.
    pub hub_due: Amount,
    /// The most that the lock list may pay.
    pub lock_max: Amount,
}

/// The signed entitlement x of N7, and what it is clamped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entitled {
    x: Wide,
    /// What the channel holds apart from locks.
    pub pool: Amount,
}

impl Entitled {
    /// x and pool of a state.
    pub fn new(state: &State, totals: &ChainTotals) -> Self {
        let credit = totals.credit_max.max(state.credited);
        let x = Wide::from(state.user_balance)
            .plus(totals.deposited)
            .minus(state.deposited)
            .plus(credit)
            .minus(state.credited)
            .plus(state.withdrawn)
            .minus(totals.withdrawn);
        // Balances are below 2^96 and deposits below 2^112: the sum can't end at the type's end.
        let pool = state
            .hub_balance
            .units()
            .saturating_add(state.user_balance.units())
            .saturating_add(totals.deposited.less(state.deposited).units());
        Self {
            x,
            pool: Amount::new(pool),
        }
    }

    /// Whether x lies in [0, pool], so that the clamp changes nothing. True for the newest state
    /// held by an honest side, whatever was executed.
    pub fn is_exact(&self) -> bool {
        self.x.within(self.pool) == Some(true)
    }

    /// x brought into [0, pool].
    pub fn clamped(&self) -> Amount {
        match self.x.within(self.pool) {
            None => Amount::ZERO,
            Some(true) => self.x.low(),
            Some(false) => self.pool,
        }
    }
}

/// userDue, hubDue and lockMax of N7.
pub fn dues(state: &State, totals: &ChainTotals) -> Dues {
    let entitled = Entitled::new(state, totals);
    let user_due = entitled.clamped();
    let locked = state
        .hub_locked
        .units()
        .saturating_add(state.user_locked.units());
    Dues {
        user_due,
        hub_due: entitled.pool.less(user_due),
        lock_max: Amount::new(locked),
    }
}

/// What the dispute found about the closer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody cheated, or an exit was corrected.
    Honest,
    /// The user posted a revoked state.
    UserCheated,
    /// The hub did; it forfeits at most `limit`: the lowest of both caps and the bond.
    HubCheated {
        /// In minor units.
        limit: Amount,
    },
}

/// Who is to be paid, before it is known what funds there are; in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payout {
    /// From collateral and funds to the user.
    pub user_pay: Amount,
    /// From the bond to the user.
    pub user_bonus: Amount,
    /// To whoever proved the cheating: from the bond when the hub cheated, else from the funds.
    pub bounty: Amount,
    /// What the cheater loses in all: its bonus or its due, bounty included.
    pub forfeit: Amount,
}

/// userPay, forfeit, bonus and bounty of N7. `bounty_bps` is a share in 1/10,000.
pub fn payout(dues: &Dues, verdict: Verdict, bounty_bps: u16) -> Payout {
    let share = |forfeit: Amount| fraction(forfeit, u64::from(bounty_bps), BASIS_POINTS);
    match verdict {
        Verdict::Honest => Payout {
            user_pay: dues.user_due,
            ..Payout::default()
        },
        Verdict::UserCheated => Payout {
            bounty: share(dues.user_due),
            forfeit: dues.user_due,
            ..Payout::default()
        },
        Verdict::HubCheated { limit } => {
            let bonus = dues.hub_due.min(limit);
            let bounty = share(bonus);
            Payout {
                user_pay: dues.user_due,
                user_bonus: bonus.less(bounty),
                bounty,
                forfeit: bonus,
            }
        }
    }
}

/// floor(amount x part / whole), exactly; nothing when `whole` is zero, at most `amount` for
/// part <= whole.
pub(crate) fn fraction(amount: Amount, part: u64, whole: u64) -> Amount {
    let (part, whole) = (u128::from(part), u128::from(whole));
    if whole == 0 {
        return Amount::ZERO;
    }
    // The remainder is below 2^64, so that neither product can overflow for part <= whole.
    let (quotient, rest) = (amount.units() / whole, amount.units() % whole);
    Amount::new(quotient.saturating_mul(part) + rest * part / whole)
}

/// Where payouts come from, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sources {
    /// The hub's tokens set aside for this channel.
    pub collateral: Amount,
    /// The hub's vault, or its mint allowance.
    pub funds: Amount,
    /// The hub's bond.
    pub bond: Amount,
}

impl Sources {
    /// Takes what there is of `wanted`, collateral first.
    pub(crate) fn draw(&mut self, wanted: Amount) -> Amount {
        let own = wanted.min(self.collateral);
        let pooled = wanted.less(own).min(self.funds);
        self.collateral = self.collateral.less(own);
        self.funds = self.funds.less(pooled);
        Amount::new(own.units() + pooled.units())
    }
}

/// What a settlement pays and leaves, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settled {
    /// To the user, out of collateral and funds; later when the user closed.
    pub user_pay: Amount,
    /// To the user, out of the bond.
    pub user_bonus: Amount,
    /// To whoever proved the cheating.
    pub bounty: Amount,
    /// Set aside for the lock list.
    pub lock_reserve: Amount,
    /// What the funds could not set aside of `lock_max`.
    pub lock_short: Amount,
    /// What the funds could not pay of the user's due.
    pub owed: Amount,
    /// What is left: collateral returns to the vault, now or, for a closing hub, later.
    pub left: Sources,
}

/// The whole of N7: dues, punishment, and how far the sources reach. The bounty for a cheating
/// user leaves the funds first, then the user's due, then the locks.
pub fn settle(
    state: &State,
    totals: &ChainTotals,
    verdict: Verdict,
    bounty_bps: u16,
    sources: Sources,
) -> Settled {
    let dues = dues(state, totals);
    let pay = payout(&dues, verdict, bounty_bps);
    let mut left = sources;
    let bounty = if matches!(verdict, Verdict::HubCheated { .. }) {
        left.bond = left.bond.less(pay.forfeit);
        pay.bounty
    } else {
        left.draw(pay.bounty)
    };
    let user_pay = left.draw(pay.user_pay);
    let lock_reserve = left.draw(dues.lock_max);
    Settled {
        user_pay,
        user_bonus: pay.user_bonus,
        bounty,
        lock_reserve,
        lock_short: dues.lock_max.less(lock_reserve),
        owed: pay.user_pay.less(user_pay),
        left,
    }
}
