//! Who is paid what when an epoch ends (N7), in every order of execute, fold, reverse and close.
//!
//! The identity: executed withdrawals and the user's payout make up exactly what the newest state
//! entitles it to, with all deposits and credits.

use crate::rng::Rng;
use crate::setting::{Found, Violation};
use hub_core::settlement::{ChainTotals, Entitled};
use hub_core::types::LegKind;
use hub_core::{Amount, ChannelId, Facts, State, fold};

const CAPACITY: u128 = 400;

/// A rule broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// None.
    None,
    /// The hub balance need not cover pending withdrawals and credits.
    NoReserve,
    /// Withdrawals are given back while they can be executed.
    EarlyReversal,
    /// The payout is clamped to the capacity, whatever was deposited.
    ClampToCapacity,
}

struct Epoch {
    rng: Rng,
    bug: Bug,
    state: State,
    executed: u128,
    /// Signed and executable: previous total and amount, strictly in order.
    live: Vec<u128>,
    deposits: u128,
    credit: u128,
}

/// One epoch from its null state to its settlement.
pub fn run(bug: Bug, seed: u64) -> Found {
    let mut found = Found::default();
    let mut epoch = Epoch {
        rng: Rng::new(seed),
        bug,
        state: State::null(ChannelId([7; 32]), 0, Amount::new(CAPACITY)),
        executed: 0,
        live: Vec::new(),
        deposits: 0,
        credit: 0,
    };
    for _ in 0..epoch.rng.between(5, 40) {
        epoch.step(&mut found);
    }
    epoch.settle(&mut found);
    found
}

impl Epoch {
    fn facts(&self) -> Facts {
        let live: u128 = self.live.iter().sum();
        let floor = match self.bug {
            Bug::EarlyReversal => self.executed,
            _ => self.executed + live,
        };
        let (executed, credit) = match self.bug {
            Bug::NoReserve => (self.state.withdrawn, self.state.credited),
            _ => (Amount::new(self.executed), Amount::new(self.credit)),
        };
        Facts {
            executed,
            withdraw_floor: Amount::new(floor),
            final_deposits: Amount::new(self.deposits),
            credit_signed: credit,
            closing: false,
        }
    }

    fn leg(&mut self, kind: LegKind, most: u128) -> bool {
        let amount = 1 + u128::from(self.rng.bits()) % most.max(1);
        self.exactly(kind, amount)
    }

    fn exactly(&mut self, kind: LegKind, amount: u128) -> bool {
        let amount = Amount::new(amount);
        match fold::step(&self.state, &self.facts(), kind, amount) {
            Ok(next) => {
                self.state = next;
                true
            }
            Err(_) => false,
        }
    }

    fn step(&mut self, found: &mut Found) {
        let withdrawn = self.state.withdrawn.units();
        match self.rng.below(10) {
            0..=1 => {
                self.leg(LegKind::Issue, 300);
            }
            2 => {
                self.leg(LegKind::Debit, 200);
            }
            3 => {
                self.leg(LegKind::Withdraw, 200);
            }
            4 => {
                // Everything ordered and not signed yet is signed as one payout.
                let signed = self.executed + self.live.iter().sum::<u128>();
                if withdrawn > signed {
                    self.live.push(withdrawn - signed);
                }
            }
            5 if !self.live.is_empty() => {
                self.executed += self.live.remove(0);
                found.saw("executed");
            }
            6 => {
                // All that is signed passes its time together, or is taken back before.
                if self.bug != Bug::EarlyReversal {
                    self.live.clear();
                }
                if self.leg(LegKind::Refund, withdrawn.max(1)) {
                    found.saw("reversed");
                }
            }
            7 => self.deposits += u128::from(self.rng.between(1, 900)),
            8 => {
                let unfolded = self.deposits - self.state.deposited.units();
                if unfolded > 0 && self.leg(LegKind::Deposit, unfolded) {
                    found.saw("deposit folded");
                }
            }
            _ => self.step_credit(found),
        }
    }

    fn step_credit(&mut self, found: &mut Found) {
        let more = u128::from(self.rng.between(1, 80));
        let mut facts = self.facts();
        facts.credit_signed = Amount::new(self.credit + more);
        let covered = self.state.hub_balance >= facts.reserve(&self.state);
        if covered || self.bug == Bug::NoReserve {
            self.credit += more;
            found.saw("credit");
        }
    }

    fn settle(&mut self, found: &mut Found) {
        if self.rng.percent(30) {
            // A user who would have the same money twice: takes back, spends, executes.
            self.exactly(LegKind::Refund, self.live.iter().sum());
            self.exactly(LegKind::Debit, self.state.user_balance.units());
        }
        // Whoever has payouts in hand executes some of them first.
        while !self.live.is_empty() && self.rng.percent(70) {
            self.executed += self.live.remove(0);
        }
        let totals = ChainTotals {
            withdrawn: Amount::new(self.executed),
            deposited: Amount::new(self.deposits),
            credit_max: Amount::new(self.credit),
        };
        let entitled = Entitled::new(&self.state, &totals);
        let paid = match self.bug {
            Bug::ClampToCapacity => entitled.clamped().min(Amount::new(CAPACITY)),
            _ => entitled.clamped(),
        };
        let whole = |units: u128| i128::try_from(units).unwrap_or(i128::MAX);
        let due = self.state.entitlement().unwrap_or(i128::MAX);
        let due = due + whole(self.deposits) + whole(self.credit);
        let got = whole(self.executed) + whole(paid.units());
        found.require(got == due, Violation::HonestShort);
    }
}
