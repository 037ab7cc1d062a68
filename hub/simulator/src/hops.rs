//! A transfer across two hubs by three locks on one hash (P15, N8).
//!
//! Payer - L1 - hub 1 - L2 - hub 2 - L3 - payee. The payee reveals when it likes, each hub is
//! down once for as long as is tolerated, the counterparty may stay silent, and a registration
//! takes up to the worst inclusion. What a lock pays in the end is what the contract's rule says.

use crate::rng::Rng;
use crate::setting::{Found, Violation};
use hub_core::dispute::Registry;
use hub_core::lock::{Lock, LockKind};
use hub_core::settlement::resolve;
use hub_core::{Amount, Hash32, sha256};

/// Longest tolerated outage, worst inclusion, finality; seconds.
const OUTAGE: u64 = 300;
const INCLUSION: u64 = 60;
const FINALITY: u64 = 72;
/// Time to start again and ask, seconds.
const RESTART: u64 = 5;
const PREIMAGE: [u8; 32] = [6; 32];

/// How the hubs keep their distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Outage + inclusion + finality, and registration in time for an outage to come.
    Ours,
    /// Twice (inclusion + finality): no outage counted.
    NoOutage,
    /// Delta 0.
    NoDelta,
    /// An in-lock is failed by the local clock.
    ByClock,
    /// Nobody registers preimages.
    NeverRegisters,
    /// Registration only at expiry - (inclusion + finality): an outage then is too late.
    RegistersLate,
}

struct Hop {
    rule: Rule,
    rng: Rng,
    registry: Registry,
    registered: Option<u64>,
}

/// One hub's outage.
#[derive(Clone, Copy)]
struct Down {
    from: u64,
    until: u64,
}

impl Down {
    fn up_at(self, time: u64) -> u64 {
        if time >= self.from && time < self.until {
            self.until
        } else {
            time
        }
    }
}

/// One transfer.
pub fn run(rule: Rule, seed: u64) -> Found {
    let mut found = Found::default();
    let mut hop = Hop {
        rule,
        rng: Rng::new(seed),
        registry: Registry::default(),
        registered: None,
    };
    let delta = match rule {
        Rule::NoOutage => 2 * (INCLUSION + FINALITY),
        Rule::NoDelta => 0,
        _ => OUTAGE + INCLUSION + FINALITY + RESTART,
    };
    let third = 1_000 + hop.rng.below(500);
    let [first, second, third] = [third + 2 * delta, third + delta, third].map(lock);
    let revealed = hop.reveal(&second, &third, &mut found);
    let downs = [hop.outage(revealed, &second), hop.outage(revealed, &first)];
    // Hub 2: pays L3 by a state, then has L2 to collect, and so on towards the payer.
    let (paid_third, knows_second) = hop.pay_out(&third, revealed, downs[0]);
    let (paid_second, knows_first) = hop.collect(&second, knows_second, downs[0], &mut found);
    let (paid_first, _) = hop.collect_first(&first, &second, knows_first, downs[1], &mut found);
    let settled = |by_state: bool, lock: &Lock| by_state || hop.released(lock);
    let [one, two, three] = [
        settled(paid_first, &first),
        settled(paid_second, &second),
        settled(paid_third, &third),
    ];
    // What a state gave back, no registration brings again.
    let one = one && !hop.failed_by_clock(&first, &second, paid_first, downs[1]);
    found.require(!three || two, Violation::ForwarderShort);
    found.require(!two || one, Violation::ForwarderShort);
    if one && two && three {
        found.saw("completed");
    }
    if !three {
        found.saw("returned");
    }
    found
}

fn lock(expiry: u64) -> Lock {
    Lock {
        id: Hash32([1; 32]),
        kind: LockKind::Hash,
        user_pays: true,
        amount: Amount::new(100),
        expiry,
        condition: sha256(&PREIMAGE),
        total: 0,
    }
}

impl Hop {
    /// When and how the payee shows the preimage; at the worst time more often than not.
    fn reveal(&mut self, second: &Lock, third: &Lock, found: &mut Found) -> Option<u64> {
        if self.rng.percent(10) {
            return None;
        }
        let near = self.rng.percent(70);
        let from = if near { third.expiry - 90 } else { 0 };
        let at = self.rng.between(from, third.expiry + FINALITY + 20);
        if self.rng.percent(20) {
            // Also by whoever is in league with hub 2, as late as counts for L2.
            let late = self.rng.percent(50);
            let sent = if late { second.expiry - 100 } else { at };
            let included = sent + self.rng.below(INCLUSION + 40);
            self.register(included);
            found.saw("payee registers");
            return None;
        }
        Some(at)
    }

    fn outage(&mut self, revealed: Option<u64>, lock: &Lock) -> Down {
        let around = match (self.rng.below(3), revealed) {
            (0, Some(at)) => at + 1,
            (1, _) => lock.expiry - self.rng.below(300).min(lock.expiry),
            _ => self.rng.below(lock.expiry),
        };
        Down {
            from: around,
            until: around + self.rng.below(OUTAGE + 1),
        }
    }

    fn register(&mut self, at: u64) {
        self.registry.register_preimage(Hash32(PREIMAGE), at);
        self.registered = Some(self.registered.map_or(at, |before| before.min(at)));
    }

    /// Whether the contract pays the lock to its receiver in the end.
    fn released(&self, lock: &Lock) -> bool {
        let at = self.registered.unwrap_or(0);
        resolve(lock, at, u64::MAX, false) == Some(lock.amount)
    }

    /// The payee's fulfilment of L3: taken while the final block is before its expiry.
    fn pay_out(&mut self, third: &Lock, revealed: Option<u64>, down: Down) -> (bool, Option<u64>) {
        let Some(at) = revealed else {
            return (false, self.seen_on_chain(down));
        };
        let up = down.up_at(at) == at;
        if up && at.saturating_sub(FINALITY) < third.expiry {
            (true, Some(at))
        } else {
            (false, self.seen_on_chain(down))
        }
    }

    fn seen_on_chain(&self, down: Down) -> Option<u64> {
        self.registered.map(|at| down.up_at(at + FINALITY))
    }

    /// Gets an in-lock paid: by a state if the debtor answers, else through the registry.
    fn collect(
        &mut self,
        lock: &Lock,
        knows: Option<u64>,
        down: Down,
        found: &mut Found,
    ) -> (bool, Option<u64>) {
        let Some(knows) = knows else {
            return (false, None);
        };
        let asks = down.up_at(knows + 1);
        let answers = self.rng.percent(50);
        if answers && asks.saturating_sub(FINALITY) < lock.expiry {
            return (true, Some(asks));
        }
        if self.rule == Rule::NeverRegisters {
            return (false, None);
        }
        let margin = INCLUSION + FINALITY;
        let waits_until = match self.rule {
            Rule::RegistersLate => lock.expiry.saturating_sub(margin),
            _ => lock.expiry.saturating_sub(margin + OUTAGE),
        };
        let sends = down.up_at(asks.max(waits_until));
        let included = sends + self.rng.below(INCLUSION + 1);
        self.register(included);
        found.saw("registered");
        (false, Some(included + FINALITY))
    }

    /// Hub 1 and the payer's lock: it also learns from the registry.
    fn collect_first(
        &mut self,
        first: &Lock,
        second: &Lock,
        knows: Option<u64>,
        down: Down,
        found: &mut Found,
    ) -> (bool, Option<u64>) {
        let on_chain = self
            .released(second)
            .then(|| self.seen_on_chain(down))
            .flatten();
        let knows = match (knows, on_chain) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.collect(first, knows, down, found)
    }

    /// The planted bug: hub 1 gives L1 back when its own clock passes L2's expiry, although a
    /// registration before it is not final yet.
    fn failed_by_clock(&self, first: &Lock, second: &Lock, paid: bool, down: Down) -> bool {
        let seen = self.seen_on_chain(down).unwrap_or(u64::MAX);
        self.rule == Rule::ByClock
            && !paid
            && self.released(second)
            && second.expiry < first.expiry
            && seen > second.expiry
    }
}
