//! Random histories: what the parties of a few channels of one hub might do, honest or not.

mod choose;
mod sign;

use crate::bug::Bug;
use crate::twin::{OPERATOR, Setting, Step, Twin};
use hub_core::dispute::WithdrawOrder;
use hub_core::lock::Lock;
use hub_core::settlement::FundingMode;
use hub_core::{Amount, ChannelParams, Hash32, State, keccak256};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::BTreeMap;

/// A state and who has signed it.
#[derive(Debug, Clone, Copy)]
struct Known {
    state: State,
    hub: bool,
    user: bool,
}

/// What the parties of a channel hold.
#[derive(Debug, Default)]
struct Drawer {
    states: Vec<Known>,
    orders: Vec<WithdrawOrder>,
    version: u64,
}

/// One history while it runs.
pub struct History {
    twin: Twin,
    drawers: Vec<Drawer>,
    /// Contents of lock lists, by their hash.
    lists: BTreeMap<Hash32, Vec<Lock>>,
    /// Amounts of the history are up to about this.
    scale: u128,
}

/// What a history came to.
#[derive(Debug, Default)]
pub struct Report {
    /// Outcomes by name, and how often.
    pub seen: BTreeMap<String, u64>,
}

/// Where model and contract differ.
#[derive(Debug)]
pub struct Difference {
    /// Of the history.
    pub seed: u64,
    /// How they differ.
    pub what: String,
    /// All calls up to there.
    pub log: Vec<String>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.log.join("\n"))?;
        writeln!(f, "seed {}: {}", self.seed, self.what)?;
        write!(
            f,
            "repeat: DIFFERENTIAL_SEED={} cargo test -p differential -- --nocapture",
            self.seed
        )
    }
}

/// Runs the history of a seed, with a formula of the model made wrong if `bug` says so.
pub fn run(seed: u64, bug: Option<Bug>) -> Result<Report, Box<Difference>> {
    let mut history = History::new(seed);
    history.twin.bug = bug;
    let steps = history.twin.rng.random_range(30..70);
    let mut outcome = Ok(());
    for _ in 0..steps {
        outcome = history.step().map(|_| ());
        if outcome.is_err() {
            break;
        }
    }
    let outcome = outcome.and_then(|()| history.compare_all());
    match outcome {
        Ok(()) => Ok(Report {
            seen: history.twin.seen,
        }),
        Err(what) => Err(Box::new(Difference {
            seed,
            what,
            log: history.twin.log,
        })),
    }
}

impl History {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x5eed);
        let scale = [1_000, 1_000_000, 10_u128.pow(24)][rng.random_range(0..3)];
        let setting = Setting {
            mode: if rng.random_bool(0.35) {
                FundingMode::Mint
            } else {
                FundingMode::Vault
            },
            penalty_cap: rng.random_range(1..scale),
            operator_pays: rng.random_bool(0.5),
        };
        let mut history = Self {
            twin: Twin::new(seed, &setting),
            drawers: Vec::new(),
            lists: BTreeMap::from([(Hash32::ZERO, Vec::new())]),
            scale,
        };
        for place in 0..rng.random_range(1..4) {
            let params = history.params(&mut rng, place);
            history.twin.open(params);
            history.drawers.push(Drawer::default());
        }
        history
    }

    fn params(&self, rng: &mut StdRng, place: usize) -> ChannelParams {
        let keys = &self.twin.keys;
        let custodial = rng.random_bool(0.6);
        let user_key = if custodial { &keys.custody } else { &keys.own };
        let is_registered = rng.random_bool(0.98);
        ChannelParams {
            hub: OPERATOR,
            hub_signer: if is_registered {
                keys.hub.address()
            } else {
                keys.stranger.address()
            },
            user: keys.payouts[place].address(),
            user_signer: user_key.address(),
            custodial,
            capacity: Amount::new(self.scale * rng.random_range(1..5)),
            challenge_period: rng.random_range(58..200),
            self_delay: rng.random_range(0..120),
            penalty_cap: Amount::new(rng.random_range(0..2 * self.scale)),
            bounty_bps: rng.random_range(0..503),
            salt: keccak256(&[u8::try_from(place).unwrap()]),
        }
    }

    fn compare_all(&mut self) -> Result<(), String> {
        (0..self.drawers.len()).try_for_each(|at| self.twin.compare(at))?;
        self.twin.compare_balances()
    }

    /// One thing that somebody does.
    fn step(&mut self) -> Step {
        let at = self.below(self.drawers.len());
        let running = self.twin.channels[at].dispute.is_some();
        let ended = !self.twin.channels[at].ended.is_empty();
        let roll = self.below(100);
        match roll {
            // What only an open channel takes is rarely tried on a closing one.
            30..42 if running && self.chance(0.7) => self.settle(at),
            0..10 => self.wait(at),
            10..30 => self.sign_state(at),
            30..36 => self.deposit(at),
            36..42 => self.withdraw(at),
            42..46 => self.fund(at),
            46..56 if !running => self.close(at),
            46..54 => self.challenge(at),
            54..58 => self.penalize(at),
            58..61 => self.add_credit(at),
            61..67 if running || roll == 61 => self.settle(at),
            67..69 if running || roll == 67 => self.accept(at),
            69..71 => self.coop_settle(at),
            71..73 => self.equivocate(at),
            73..76 => self.show_evidence(),
            76..80 if ended || roll == 76 => self.claim(at),
            80..88 if ended || roll == 80 => self.unlock(at),
            88..93 if ended || roll == 88 => self.cash(at),
            93..95 => self.show_another(at),
            95 => self.pause(),
            _ if running => self.wait(at),
            _ if ended => self.unlock(at),
            _ => self.close(at),
        }
    }
}
