//! What an exit shows: where it stands, what would happen, each step, and where the money went.

use super::decide::{self, Next, Role};
use super::look::Sight;
use crate::dispute::material::Material;
use crate::dispute::tell::{self, Unit};
use crate::dispute::trade;
use chain::{ChainLog, FundingMode, LogBody};
use hub_core::lock::LockKind;
use hub_core::settlement::Closer;
use hub_core::{Address, Amount, Epoch, Hash32, Version};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How an exit ended, for now.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Only shown.
    Planned,
    /// Everything that was due is paid.
    Done {
        /// Paid to the payout address since the close, in minor units.
        paid: Amount,
        /// What it holds now.
        holds: Amount,
        /// How amounts are shown.
        unit: Unit,
        /// Version whose lock list nobody here knows, where locks are left.
        unknown_locks: Option<Version>,
    },
    /// To be run again later.
    Waiting {
        /// When, if that is known (Unix seconds).
        until: Option<u64>,
        /// What is waited for.
        what: &'static str,
    },
    /// It must not go on.
    Refused(String),
}

/// What was said, as text at once or as one document at the end.
#[derive(Debug)]
pub struct Said {
    json: bool,
    document: serde_json::Map<String, Value>,
    steps: Vec<Value>,
}

impl Said {
    /// Nothing yet.
    pub fn new(json: bool) -> Self {
        Self {
            json,
            document: serde_json::Map::new(),
            steps: Vec::new(),
        }
    }

    fn line(&self, text: &str) {
        if !self.json {
            println!("{text}");
        }
    }

    /// Shows what is held and what the chain says.
    pub fn situation(&mut self, held: &Material, role: Role, sight: &Sight, unit: &Unit) {
        let (state, params) = (held.state(), &held.params);
        let chain = format!(
            "chain {}, contract {}",
            held.domain.chain_id,
            held.domain.verifying_contract.checksummed()
        );
        let age = if held.newest { "" } else { ", not the newest" };
        let locks = match (held.locks.len(), state.locks_hash == Hash32::ZERO) {
            (_, true) => "no locks".to_owned(),
            (0, false) => "locks, whose list the file does not have".to_owned(),
            (count, _) => format!("{count} locks"),
        };
        self.line(&format!("channel     {}", held.channel_id()));
        self.line(&format!("enforceable {chain}"));
        self.line(&format!(
            "proof       epoch {}, version {}{age}: the user holds {}, {locks}",
            state.epoch,
            state.version,
            unit.show(state.user_balance)
        ));
        self.line(&format!("on chain    {}", standing(held, sight, unit)));
        if state.epoch == sight.view.epoch {
            let due = decide::due(held, sight);
            self.line(&format!(
                "due         {} to {}{}",
                unit.show(due),
                params.user.checksummed(),
                shortage(sight, due, unit)
            ));
            self.document.insert("due".into(), json!(due));
        }
        self.line(&format!("this key    {}", role.words()));
        for (name, value) in [
            ("channel", json!(held.channel_id())),
            ("epoch", json!(state.epoch)),
            ("version", json!(state.version)),
            ("payout_address", json!(params.user)),
        ] {
            self.document.insert(name.into(), value);
        }
    }

    /// Shows what would happen from here on.
    pub fn plan(&mut self, held: &Material, role: Role, sight: &Sight, next: &Next, unit: &Unit) {
        let lines = match next {
            Next::Refuse(_) => Vec::new(),
            _ => plan(held, role, sight, next, unit),
        };
        for (number, text) in lines.iter().enumerate() {
            self.line(&format!("  {}. {text}", number + 1));
        }
        self.document.insert("plan".into(), json!(lines));
    }

    /// Shows a step that was mined.
    pub fn step(
        &mut self,
        name: &str,
        block: u64,
        transaction: Option<Hash32>,
        happened: Vec<String>,
    ) {
        let hash = transaction.map_or_else(String::new, |hash| format!(", transaction {hash}"));
        self.line(&format!("{name}: in block {block}{hash}"));
        for text in &happened {
            self.line(&format!("  {text}"));
        }
        self.steps.push(json!({
            "step": name, "block": block, "transaction": transaction, "happened": happened,
        }));
    }

    /// Shows why a step is tried again.
    pub fn trouble(&self, step: &decide::Step, error: &anyhow::Error) {
        eprintln!("acctl: {}: {error:#}; looking again", step.name());
    }

    /// Shows the end.
    pub fn end(mut self, held: &Material, outcome: &Outcome) {
        let (status, text) = match outcome {
            Outcome::Planned => ("planned", "nothing was sent".to_owned()),
            Outcome::Done { .. } => ("done", done(held, outcome)),
            Outcome::Waiting { until, what } => {
                if let Some(until) = until {
                    self.document.insert("run_again_at".into(), json!(until));
                }
                let when = until.map_or_else(String::new, |until| format!(" after {}", at(until)));
                ("waiting", format!("waits for {what}; run this again{when}"))
            }
            Outcome::Refused(why) => ("refused", why.clone()),
        };
        if let Outcome::Done { paid, holds, .. } = outcome {
            self.document.insert("paid".into(), json!(paid));
            self.document.insert("holds".into(), json!(holds));
        }
        if self.json {
            self.document.insert("status".into(), json!(status));
            self.document.insert("message".into(), json!(text));
            self.document.insert("steps".into(), json!(self.steps));
            println!("{:#}", Value::Object(self.document));
        } else if status == "refused" {
            eprintln!("acctl: refused: {text}");
        } else {
            println!("{status}: {text}");
        }
    }
}

fn done(held: &Material, outcome: &Outcome) -> String {
    let Outcome::Done {
        paid,
        holds,
        unit,
        unknown_locks,
    } = outcome
    else {
        return String::new();
    };
    let user = held.params.user.checksummed();
    let mut text = format!(
        "{} were paid to {user} since the close; it holds {}",
        unit.show(*paid),
        unit.show(*holds)
    );
    if let Some(version) = unknown_locks {
        text += &format!(
            ". Locks of version {version} are left; give a file with their list to resolve them"
        );
    }
    text
}

/// What the logs of one epoch say was paid to a user, in minor units.
pub fn paid(logs: &[ChainLog], user: Address, epoch: Epoch) -> Amount {
    let closed_by_user = logs.iter().any(|log| {
        matches!(&log.body, LogBody::Closed { state, closer: Closer::User, .. }
            if state.epoch == epoch)
    });
    let amounts = logs.iter().filter_map(|log| match &log.body {
        LogBody::Settled {
            epoch: of, paid, ..
        } if *of == epoch => {
            // The closing user's own comes by `DelayedPaid`.
            let now = if paid.pay_at == 0 || !closed_by_user {
                paid.user_pay.less(paid.owed)
            } else {
                Amount::ZERO
            };
            now.checked_add(paid.user_bonus)
        }
        LogBody::DelayedPaid {
            epoch: of,
            to,
            amount,
            ..
        } if *of == epoch && *to == user => Some(*amount),
        LogBody::OwedPaid {
            epoch: of, amount, ..
        } if *of == epoch => Some(*amount),
        LogBody::ChequeCashed {
            epoch: of,
            beneficiary,
            amount,
            ..
        } if *of == epoch && *beneficiary == user => Some(*amount),
        LogBody::Unlocked {
            epoch: of,
            user_pay,
            owed,
            ..
        } if *of == epoch => Some(user_pay.less(*owed)),
        _ => None,
    });
    Amount::sum(amounts).unwrap_or(Amount::MAX)
}

fn standing(held: &Material, sight: &Sight, unit: &Unit) -> String {
    let epoch = held.state().epoch;
    if epoch < sight.view.epoch {
        let version = sight.settled.map_or(0, |paid| paid.version);
        return format!("epoch {epoch} is settled by version {version}");
    }
    match &sight.dispute {
        Some(dispute) => format!(
            "closing: {} posted version {}, version {} is posted now, the window ends {}",
            tell::closer(dispute.closer),
            dispute.closed_version,
            dispute.state.version,
            at(dispute.deadline)
        ),
        None => format!(
            "open, epoch {}, {} withdrawn and {} deposited in it",
            sight.view.epoch,
            unit.show(sight.view.withdrawn),
            unit.show(sight.view.deposited)
        ),
    }
}

fn shortage(sight: &Sight, due: Amount, unit: &Unit) -> String {
    let own = match sight.hub.mode {
        Some(FundingMode::Vault) => sight.view.collateral,
        _ => Amount::ZERO,
    };
    let there = sight.hub.funds.checked_add(own).unwrap_or(Amount::MAX);
    if there >= due {
        return String::new();
    }
    let missing = unit.show(due.less(there));
    format!("; the hub's funds are short by {missing} now, which it would owe")
}

/// The steps that lie ahead, in words.
fn plan(held: &Material, role: Role, sight: &Sight, next: &Next, unit: &Unit) -> Vec<String> {
    let params = &held.params;
    let mut lines = Vec::new();
    if let Next::Do(step) = next {
        lines.push(format!("now: {}", step.name()));
    }
    let open = held.state().epoch == sight.view.epoch && !sight.view.closing;
    let registers = matches!(next, Next::Do(decide::Step::Register(_)));
    if open && registers {
        lines.push(format!("close with version {}", held.state().version));
    }
    let deadline = match &sight.dispute {
        Some(dispute) => Some(dispute.deadline),
        None if open => Some(sight.now() + u64::from(params.challenge_period)),
        None => None,
    };
    if let Some(deadline) = deadline {
        lines.push(format!(
            "the window ends about {}; a newer state that somebody posts counts instead",
            at(deadline)
        ));
        let due = unit.show(decide::due(held, sight));
        let user = params.user.checksummed();
        let closes_late = match &sight.dispute {
            Some(dispute) => dispute.closer == Closer::User,
            None => role == Role::User,
        };
        if closes_late {
            let late = at(deadline + u64::from(params.self_delay));
            lines.push(format!("settle; {due} are due to {user} from {late} on"));
            lines.push("claim the late payout".into());
        } else {
            lines.push(format!("settle: {due} to {user}"));
        }
        lines.extend(locks(held, unit));
    }
    if let Next::Wait { until, what } = next {
        lines.push(waiting(*until, what, sight.now()));
    }
    if *next == Next::Done {
        lines.push("nothing is left to do".into());
    }
    lines
}

fn locks(held: &Material, unit: &Unit) -> Vec<String> {
    let released = held.releasable(true);
    let line = |lock: &hub_core::lock::Lock| {
        let amount = unit.show(lock.amount);
        let ours = released.iter().any(|(one, _)| one.id == lock.id);
        match (lock.kind, lock.user_pays) {
            (LockKind::Hash, false) if ours => format!("unlock: {amount} by its preimage"),
            (_, true) => format!(
                "unlock: {amount} back from {} on, unless its receiver shows its claim",
                at(lock.expiry)
            ),
            (LockKind::Metered, false) => {
                let mut meters = held.meters.iter();
                let meter = meters.find(|meter| trade::order(meter) == lock.condition);
                let delivered = meter.map_or(0, |meter| meter.delivered.min(lock.total));
                format!("unlock: {delivered} of {} parts of {amount}", lock.total)
            }
            (LockKind::Cover, false) => {
                format!("cash the file's cheques out of a cover of {amount}")
            }
            (_, false) => format!("no preimage for a lock of {amount}: it returns to the hub"),
        }
    };
    held.locks.iter().map(line).collect()
}

/// What is waited for and how long.
pub fn waiting(until: Option<u64>, what: &str, now: u64) -> String {
    match until {
        Some(until) => format!("waits {} s for {what}", until.saturating_sub(now)),
        None => format!("waits for {what}"),
    }
}

/// A time as people read it.
fn at(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("second {seconds}"))
}
