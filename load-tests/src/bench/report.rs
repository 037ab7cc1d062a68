//! Results as people read them, and as programs do.

use super::{Args, Round, machine};
use crate::Bed;
use crate::store::{self, Counts};
use anyhow::ensure;
use serde_json::{Value, json};
use stack::tools;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// What is measured in one line of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    goal: String,
    what: String,
}

impl Line {
    /// A line for a goal of the speed bar.
    pub fn of(goal: &str, what: String) -> Self {
        Self {
            goal: goal.to_owned(),
            what,
        }
    }
}

/// Everything that was measured.
#[derive(Debug)]
pub struct Report {
    /// Transfers a second of the peer by number of clients, for each round.
    pub peer: Vec<Vec<(u32, f64)>>,
    lines: Vec<(Line, Vec<Round>)>,
    about: Vec<(String, String)>,
    before: Counts,
    /// A table of the parts of a batch.
    parts: String,
}

impl Report {
    /// Writes down where and how it is measured. Refuses a server that answers before a commit is
    /// on disk.
    pub async fn begin(args: &Args, bed: &Bed) -> anyhow::Result<Self> {
        let settings = store::durability(&bed.pool).await?;
        for name in ["fsync", "synchronous_commit", "full_page_writes"] {
            let found = settings.get(name).map(String::as_str);
            ensure!(found == Some("on"), "{name} is {found:?}");
        }
        let overrides = store::overrides(&bed.pool).await?;
        for setting in &overrides {
            let name = setting.split('=').next().unwrap_or_default();
            ensure!(
                !settings.contains_key(name),
                "a role or database has {setting}"
            );
        }
        let durability: Vec<_> = settings.iter().map(|(n, v)| format!("{n} {v}")).collect();
        let about = [
            ("machine", machine::describe(bed.system.dir())),
            ("commit", machine::commit(&tools::workspace_root())),
            ("Postgres", durability.join(", ")),
            (
                "settings",
                format!(
                    "{} accounts chosen evenly, amount 1, every state co-signed, hub in mint mode; \
                     generator, services and servers on the same cores; {} s each after {} s of warm-up, {} rounds",
                    args.accounts, args.seconds, args.warm, args.rounds
                ),
            ),
        ];
        let about = about.map(|(name, value)| (name.to_owned(), value));
        Ok(Self {
            peer: Vec::new(),
            lines: Vec::new(),
            about: about.into(),
            before: store::counts(&bed.pool).await?,
            parts: String::new(),
        })
    }

    /// The parts of a batch alone.
    pub fn of_micro(parts: String, args: &Args) -> anyhow::Result<Self> {
        let machine = machine::describe(&std::env::temp_dir());
        let report = Self {
            peer: Vec::new(),
            lines: Vec::new(),
            about: vec![("machine".to_owned(), machine)],
            before: Counts::default(),
            parts,
        };
        report.write(args)?;
        Ok(report)
    }

    /// Adds the parts of a batch.
    pub fn micro(&mut self, parts: String) {
        self.parts = parts;
    }

    /// Adds a fact about the run.
    pub fn note(&mut self, name: &str, value: String) {
        eprintln!("{name}: {value}");
        self.about.push((name.to_owned(), value));
    }

    /// Adds a round to its line.
    pub fn add(&mut self, line: Line, round: Round) {
        eprintln!(
            "{:.0} a second, p50 {:.1} ms, p99 {:.1} ms {}",
            round.per_second, round.p50_ms, round.p99_ms, round.troubles
        );
        match self.lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, rounds)) => rounds.push(round),
            None => self.lines.push((line, vec![round])),
        }
    }

    /// Rounds of each line.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &[Round])> {
        let lines = self.lines.iter();
        lines.map(|(line, rounds)| (line.goal.as_str(), rounds.as_slice()))
    }

    /// Reconciles, and writes the results to the files asked for.
    pub async fn finish(&mut self, args: &Args, bed: &Bed) -> anyhow::Result<()> {
        let counts = store::counts(&bed.pool).await?;
        self.note(
            "data",
            format!(
                "{} channels, {} operations ({} before), {} batches, {} MiB",
                counts.channels,
                counts.operations,
                self.before.operations,
                counts.batches,
                counts.bytes >> 20
            ),
        );
        if !args.no_reconciliation {
            let took = bed.reconcile().await?;
            self.note(
                "reconciliation",
                format!("clean, {:.1} s", took.as_secs_f64()),
            );
        }
        self.write(args)
    }

    fn write(&self, args: &Args) -> anyhow::Result<()> {
        let Some(out) = &args.out else {
            return Ok(());
        };
        if let Some(parent) = out.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(out.with_extension("md"), self.to_string())?;
        let json = serde_json::to_string_pretty(&self.json())?;
        std::fs::write(out.with_extension("json"), json)?;
        Ok(())
    }

    fn best_of_peer(&self) -> Vec<f64> {
        let best =
            |round: &Vec<(u32, f64)>| round.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
        self.peer.iter().map(best).collect()
    }

    /// Median of the ratios that each round had to the peer in the same round.
    fn ratio(&self, rounds: &[Round]) -> Option<f64> {
        let peer = self.best_of_peer();
        let ratios: Vec<_> = rounds
            .iter()
            .zip(&peer)
            .map(|(round, peer)| round.per_second / peer)
            .collect();
        (!ratios.is_empty()).then(|| median(ratios.into_iter()))
    }

    /// The results for programs.
    pub fn json(&self) -> Value {
        let about: BTreeMap<_, _> = self.about.iter().cloned().collect();
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|(line, rounds)| {
                json!({
                    "goal": line.goal,
                    "what": line.what,
                    "per_second": median(rounds.iter().map(|round| round.per_second)),
                    "ratio_to_peer": self.ratio(rounds),
                    "rounds": rounds.iter().map(Round::json).collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({"about": about, "peer": self.peer, "lines": lines})
    }
}

impl Round {
    fn json(&self) -> Value {
        json!({
            "per_second": self.per_second,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            "max_ms": self.max_ms,
            "cpu_us": self.cpu_us,
            "busy": self.busy,
            "operations_per_batch": self.per_batch,
            "batches_per_second": self.batches_per_second,
            "states_per_batch": self.states_per_batch,
            "batch_ms": self.batch_ms,
            "hub_ms": self.hub_ms,
            "commit_ms": self.commit_ms,
            "log_bytes": self.log_bytes,
            "syncs_per_second": self.syncs_per_second,
            "troubles": self.troubles,
        })
    }
}

/// The middle of the values, or the mean of the middle two; zero when there are none.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn spread(values: &[f64]) -> String {
    let (low, high) = values.iter().fold((f64::MAX, 0_f64), |(low, high), value| {
        (low.min(*value), high.max(*value))
    });
    let middle = thousands(median(values.iter().copied()));
    match values.len() {
        1 => middle,
        _ => format!("{middle} ({}-{})", thousands(low), thousands(high)),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.about {
            writeln!(f, "- {name}: {value}")?;
        }
        writeln!(
            f,
            "\n| goal | what | a second: median (range) | x peer | p50 ms | p99 ms |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for at in 0..self.peer.first().map_or(0, Vec::len) {
            let rates: Vec<_> = self.peer.iter().map(|round| round[at].1).collect();
            let clients = self.peer[0][at].0;
            writeln!(
                f,
                "| peer | plain transfer, pgbench, {clients} clients | {} | | | |",
                spread(&rates)
            )?;
        }
        for (line, rounds) in &self.lines {
            let rates: Vec<_> = rounds.iter().map(|round| round.per_second).collect();
            let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value));
            let ratio = self
                .ratio(rounds)
                .map_or(String::new(), |r| format!("{r:.2}"));
            writeln!(
                f,
                "| {} | {} | {} | {ratio} | {:.1} | {:.1} |",
                line.goal,
                line.what,
                spread(&rates),
                of(|round| round.p50_ms),
                of(|round| round.p99_ms)
            )?;
        }
        self.write_costs(f)
    }
}

impl Report {
    fn write_costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nFor each operation, in microseconds of CPU (P7), medians:\n\n\
             | goal | what | account-service | hub | Postgres | generator | rest | cores busy |\n\
             |---|---|---|---|---|---|---|---|"
        )?;
        for (line, rounds) in &self.lines {
            let cpu = |name: &str| {
                median(
                    rounds
                        .iter()
                        .map(|round| round.cpu_us.get(name).copied().unwrap_or_default()),
                )
            };
            let rest = cpu("hub-vault") + cpu("chain-worker") + cpu("redis");
            writeln!(
                f,
                "| {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {rest:.1} | {:.0} % |",
                line.goal,
                line.what,
                cpu("account-service"),
                cpu("hub-mint"),
                cpu("postgres"),
                cpu("generator"),
                100.0 * median(rounds.iter().map(|round| round.busy)),
            )?;
        }
        writeln!(
            f,
            "\nBatches, medians; each carries one signature of each party:\n\n\
             | goal | what | batches a second | operations | states | ms to commit | hub ms | COMMIT ms | log bytes an operation | log syncs a second |\n\
             |---|---|---|---|---|---|---|---|---|---|"
        )?;
        for (line, rounds) in &self.lines {
            let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value));
            writeln!(
                f,
                "| {} | {} | {:.0} | {:.0} | {:.0} | {:.1} | {:.1} | {:.1} | {:.0} | {:.0} |",
                line.goal,
                line.what,
                of(|round| round.batches_per_second),
                of(|round| round.per_batch),
                of(|round| round.states_per_batch),
                of(|round| round.batch_ms),
                of(|round| round.hub_ms),
                of(|round| round.commit_ms),
                of(|round| round.log_bytes),
                of(|round| round.syncs_per_second),
            )?;
        }
        let mut troubles = String::new();
        for (line, rounds) in &self.lines {
            for round in rounds.iter().filter(|round| !round.troubles.is_empty()) {
                writeln!(troubles, "- {}: {}", line.what, round.troubles)?;
            }
        }
        if troubles.is_empty() {
            return writeln!(f, "\nNothing was refused and no exchange broke.");
        }
        write!(f, "\nRefused or broken while measured:\n{troubles}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_numbers_are_written_as_people_do() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(spread(&[2_000.0, 1_000.0, 4_000.0]), "2,000 (1,000-4,000)");
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        let mut report = Report {
            peer: vec![vec![(1, 10.0), (16, 100.0)], vec![(1, 10.0), (16, 200.0)]],
            lines: Vec::new(),
            about: Vec::new(),
            before: Counts::default(),
            parts: String::new(),
        };
        for per_second in [300.0, 400.0] {
            let round = Round {
                per_second,
                ..Round::default()
            };
            report.add(Line::of("P1", "x".into()), round);
        }
        assert_eq!(report.json()["lines"][0]["ratio_to_peer"], 2.5);
        assert!(
            report
                .to_string()
                .contains("| P1 | x | 350 (300-400) | 2.50 |")
        );
    }
}
