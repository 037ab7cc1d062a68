//! What is simulated: settings, what a run may find, and how many runs found it.

use std::collections::BTreeMap;
use std::fmt;

/// Something that must never happen, or must happen when it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// An honest closer was penalized.
    HonestPunished,
    /// An honest side got less than its newest co-signed balance.
    HonestShort,
    /// A revoked state was posted, the other side was awake, and nobody was penalized.
    CheaterEscaped,
    /// One side signed two contents for one version.
    TwoContents,
    /// Tokens came into being or went missing.
    NotConserved,
    /// A bounty was not the share of the forfeit that it should be.
    WrongBounty,
    /// An acknowledged operation is gone.
    AcknowledgedLost,
    /// The two sides hold different states at one version, or one that the database lacks.
    Diverged,
    /// No further batch is possible, though everybody is up again.
    Stuck,
    /// More can be created out of abandoned batches than the hub counts.
    BurnLimitPassed,
    /// A forwarding hub paid out what it did not get in.
    ForwarderShort,
    /// A payer was debited and nobody credited, enforceably.
    HalfTransfer,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HonestPunished => "honest side punished",
            Self::HonestShort => "honest side short",
            Self::CheaterEscaped => "cheater not punished",
            Self::TwoContents => "two contents signed for one version",
            Self::NotConserved => "not conserved",
            Self::WrongBounty => "wrong bounty",
            Self::AcknowledgedLost => "acknowledged operation lost",
            Self::Diverged => "co-signed state unknown to the database",
            Self::Stuck => "stuck",
            Self::BurnLimitPassed => "burn limit passed",
            Self::ForwarderShort => "a hub loses",
            Self::HalfTransfer => "payer debited, payee unpaid",
        })
    }
}

/// What one run found and what it exercised.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Violations, each at most once.
    pub violations: Vec<Violation>,
    /// Named events that happened, for the coverage column.
    pub events: Vec<&'static str>,
}

impl Found {
    /// Notes a violation unless `holds`.
    pub fn require(&mut self, holds: bool, otherwise: Violation) {
        if !holds && !self.violations.contains(&otherwise) {
            self.violations.push(otherwise);
        }
    }

    /// Notes that something happened.
    pub fn saw(&mut self, event: &'static str) {
        if !self.events.contains(&event) {
            self.events.push(event);
        }
    }
}

/// What a setting must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// No violation in any run.
    Clean,
    /// The planted bug shows as this, in some run.
    Caught(Violation),
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Name on the command line.
    pub name: &'static str,
    /// What it is, in words.
    pub about: &'static str,
    /// What it must show.
    pub expect: Expect,
    /// Events that the runs must have exercised, so that "no violation" says something.
    pub exercises: &'static [&'static str],
    /// One run.
    pub run: fn(u64) -> Found,
}

/// What many runs of a setting found.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Runs made.
    pub runs: u64,
    /// Runs by violation, with the first seed.
    pub violations: BTreeMap<Violation, (u64, u64)>,
    /// Runs by event.
    pub events: BTreeMap<&'static str, u64>,
}

impl Setting {
    /// Runs the seeds from `first` on.
    pub fn tally(&self, first: u64, runs: u64) -> Tally {
        let mut tally = Tally {
            runs,
            ..Tally::default()
        };
        for seed in first..first + runs {
            let found = (self.run)(seed);
            for violation in found.violations {
                tally.violations.entry(violation).or_insert((0, seed)).0 += 1;
            }
            for event in found.events {
                *tally.events.entry(event).or_default() += 1;
            }
        }
        tally
    }

    /// Runs at least `runs` seeds, and for a planted bug more of them, up to `most`, until it shows.
    pub fn hunt(&self, runs: u64, most: u64) -> Tally {
        let mut tally = self.tally(1, runs);
        while tally.runs < most
            && let Expect::Caught(violation) = self.expect
            && !tally.violations.contains_key(&violation)
        {
            let more = self.tally(tally.runs + 1, runs);
            tally.runs += more.runs;
            for (violation, (runs, seed)) in more.violations {
                tally.violations.entry(violation).or_insert((0, seed)).0 += runs;
            }
        }
        tally
    }

    /// Why the tally is not what the setting must show; nothing when it is.
    pub fn verdict(&self, tally: &Tally) -> Option<String> {
        for event in self.exercises {
            if !tally.events.contains_key(event) {
                return Some(format!("{}: no run had \"{event}\"", self.name));
            }
        }
        match self.expect {
            Expect::Clean => tally.violations.iter().next().map(|(violation, (runs, seed))| {
                format!(
                    "{}: {violation} in {runs} of {} runs; see it with: simulate --setting {} --seed {seed}",
                    self.name, tally.runs, self.name
                )
            }),
            Expect::Caught(violation) => (!tally.violations.contains_key(&violation))
                .then(|| format!("{}: the planted bug shows no \"{violation}\"", self.name)),
        }
    }
}
