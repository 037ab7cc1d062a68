//! Sends a file's operations, each exactly once however often the import is started.

use crate::client::{Answer, Api, CallError, unexpected};
use crate::history::History;
use crate::plan::{Action, Expect, NameIndex, Operation, Plan};
use crate::progress::Progress;
use crate::schedule::{Event, Schedule};
use crate::wire::{self, Account, Balances, Posted, document, uuid_of};
use hub_core::{Amount, ChannelId};
use serde::Serialize;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Between two looks at something that completes by itself.
pub const POLL: Duration = Duration::from_millis(300);

/// What an import is made with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names the run: the same file under the same run id has one effect.
    pub run_id: String,
    /// Hub that the accounts are opened at.
    pub hub_id: String,
    /// Requests under way at once.
    pub concurrency: usize,
    /// How long something may take that completes by itself: funding, payouts, a run.
    pub wait: Duration,
}

impl Settings {
    /// Key and reference of an operation.
    pub fn key(&self, line: u64) -> String {
        format!("{}:{line}", self.run_id)
    }
}

/// An account of the file as the system has it.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Its id.
    pub id: String,
    /// Its channel.
    pub channel: ChannelId,
}

/// Something that is not as the file says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// The operation's line number, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What was compared.
    pub what: String,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

/// What an import found.
#[derive(Debug, Clone, Default)]
pub struct Imported {
    /// Accounts by their place in the plan.
    pub accounts: HashMap<NameIndex, Opened>,
    /// Ids of the operations that were done, by their place in the plan.
    pub ids: HashMap<usize, Uuid>,
    /// Operations that are not as the file says, in file order.
    pub differences: Vec<Difference>,
    /// Asset code.
    pub asset: String,
    /// Operations that an earlier start of the same run had done.
    pub replayed: usize,
    /// From the first transfer sent to the last one answered.
    pub transfer_time: Duration,
    /// All of it.
    pub elapsed: Duration,
}

/// What is known so far, while operations are under way.
#[derive(Default)]
struct Known {
    accounts: HashMap<NameIndex, Opened>,
    ids: HashMap<usize, Uuid>,
    asset: String,
    replayed: usize,
    transfers: Option<(Instant, Instant)>,
}

struct Import<'a> {
    api: &'a Api,
    plan: &'a Plan,
    settings: &'a Settings,
    history: History,
    known: RefCell<Known>,
}

/// Sends everything, in file order where operations touch a common account. Ends early only when
/// there is no answer or the answer can't be understood.
pub async fn run(
    api: &Api,
    plan: &Plan,
    settings: &Settings,
    progress: &mut Progress,
) -> Result<Imported, CallError> {
    let begun = Instant::now();
    let import = Import {
        api,
        plan,
        settings,
        history: History::of(plan),
        known: RefCell::default(),
    };
    let mut differences = Vec::new();
    let (mut done, total) = (0, plan.operations.len());
    let report = |event: Event<Option<Difference>>, under_way: usize| {
        if let Event::Done(found) = event {
            differences.extend(found);
            done += 1;
        }
        progress.update(|| {
            let trouble = api.trouble().map(|trouble| format!("; {trouble}"));
            let trouble = trouble.unwrap_or_default();
            let percent = done * 100 / total.max(1);
            format!("{done} of {total} operations ({percent} %), {under_way} under way{trouble}")
        });
    };
    let perform = |index| import.perform(index);
    Schedule::new(plan)
        .drive(settings.concurrency, perform, report)
        .await?;
    progress.clear();
    differences.sort();
    let known = import.known.into_inner();
    Ok(Imported {
        accounts: known.accounts,
        ids: known.ids,
        differences,
        asset: known.asset,
        replayed: known.replayed,
        transfer_time: known
            .transfers
            .map_or(Duration::ZERO, |(first, last)| last.duration_since(first)),
        elapsed: begun.elapsed(),
    })
}

type Checked = Result<Option<Difference>, CallError>;

impl Import<'_> {
    async fn perform(&self, index: usize) -> Checked {
        let operation = &self.plan.operations[index];
        if let Action::Open { account, .. } = operation.action {
            return self.open(operation, account).await;
        }
        let (first, second) = operation.action.accounts();
        let (Some(account), Some(other)) = (self.account(first), self.account(second)) else {
            return Ok(self.differs(operation, "not sent: its account could not be opened"));
        };
        match operation.action {
            Action::Balance { .. } => self.balance(index, &account.id).await,
            action => self.money(index, action, &account.id, &other.id).await,
        }
    }

    fn account(&self, index: NameIndex) -> Option<Opened> {
        self.known.borrow().accounts.get(&index).cloned()
    }

    fn differs(&self, operation: &Operation, found: impl Into<String>) -> Option<Difference> {
        let name = |index: NameIndex| &self.plan.names[index as usize];
        let (first, second) = operation.action.accounts();
        let to = if first == second {
            String::new()
        } else {
            format!(" to {}", name(second))
        };
        Some(Difference {
            line: Some(operation.line),
            what: format!("{} {}{to}", operation.action.word(), name(first)),
            expected: operation.expect.to_string(),
            found: found.into(),
        })
    }

    async fn open(&self, operation: &Operation, account: NameIndex) -> Checked {
        let Action::Open { chain_address, .. } = operation.action else {
            return Ok(None);
        };
        let name = &self.plan.names[account as usize];
        let mut body = json!({
            "external_id": format!("{}/{name}", self.settings.run_id),
            "hub_id": self.settings.hub_id,
        });
        if let Some(address) = chain_address {
            body["chain_address"] = Value::String(address.checksummed());
        }
        let path = "/v1/accounts";
        let key = self.settings.key(operation.line);
        let answer = self.api.post(path, &key, &body).await?;
        self.count(&answer);
        if !answer.is_done() {
            return Ok(self.refused(operation, &answer));
        }
        let opened: Account = document(path, answer.body)?;
        let mut known = self.known.borrow_mut();
        known.asset = opened.asset;
        let account_of_file = Opened {
            id: opened.id,
            channel: opened.channel.id,
        };
        known.accounts.insert(account, account_of_file);
        drop(known);
        Ok(self.done(operation))
    }

    /// A replay of a request that was sent twice here says nothing about an earlier start.
    fn count(&self, answer: &Answer) {
        let earlier = answer.replayed && answer.tries == 1;
        self.known.borrow_mut().replayed += usize::from(earlier);
    }

    fn done(&self, operation: &Operation) -> Option<Difference> {
        match operation.expect {
            Expect::Done => None,
            _ => self.differs(operation, "ok"),
        }
    }

    fn refused(&self, operation: &Operation, answer: &Answer) -> Option<Difference> {
        let code = answer.code();
        match &operation.expect {
            Expect::Refused(expected) if **expected == code => None,
            _ if code == "IDEMPOTENCY_MISMATCH" => self.differs(
                operation,
                "IDEMPOTENCY_MISMATCH: this run id was used with another file or another hub",
            ),
            _ => {
                let detail = answer.text("detail").unwrap_or_default();
                self.differs(operation, format!("{code}: {detail}"))
            }
        }
    }

    async fn money(&self, index: usize, action: Action, account: &str, other: &str) -> Checked {
        let operation = &self.plan.operations[index];
        let key = self.settings.key(operation.line);
        let (path, body) = match action {
            Action::Transfer { amount, .. } => (
                "/v1/transfers",
                json!({"from": account, "to": other, "amount": amount, "client_ref": key}),
            ),
            Action::Withdraw { amount, to, .. } => {
                let mut body = json!({"account_id": account, "amount": amount, "client_ref": key});
                if let Some(to) = to {
                    body["to_address"] = Value::String(to.checksummed());
                }
                ("/v1/withdrawals", body)
            }
            Action::Issue { amount, .. } => (
                "/v1/issuances",
                json!({"account_id": account, "amount": amount, "client_ref": key}),
            ),
            Action::Redeem { amount, .. } => (
                "/v1/redemptions",
                json!({"account_id": account, "amount": amount, "client_ref": key}),
            ),
            Action::Open { .. } | Action::Balance { .. } => return Ok(None),
        };
        let sent = Instant::now();
        let answer = self.api.post(path, &key, &body).await?;
        self.count(&answer);
        if matches!(action, Action::Transfer { .. }) {
            let mut known = self.known.borrow_mut();
            let first = known.transfers.map_or(sent, |(first, _)| first.min(sent));
            known.transfers = Some((first, Instant::now()));
        }
        if !answer.is_done() {
            return Ok(self.refused(operation, &answer));
        }
        let mut posted: Posted = document(path, answer.body)?;
        if let Some(id) = uuid_of(&posted.id) {
            self.known.borrow_mut().ids.insert(index, id);
        }
        if posted.status == "pending_funding" {
            posted = self.funded(&format!("{path}/{}", posted.id)).await?;
        }
        match posted.status.as_str() {
            "pending_funding" => {
                let waited = self.settings.wait.as_secs();
                Ok(self.differs(operation, format!("still without funding after {waited} s")))
            }
            "failed" => Ok(self.differs(operation, "failed")),
            _ => Ok(self.done(operation)),
        }
    }

    /// Waits until an issuance has its funding, or for as long as it may take.
    async fn funded(&self, path: &str) -> Result<Posted, CallError> {
        let begun = Instant::now();
        loop {
            let posted: Posted = wire::fetch(self.api, path).await?;
            if posted.status != "pending_funding" || begun.elapsed() > self.settings.wait {
                return Ok(posted);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn balance(&self, index: usize, account: &str) -> Checked {
        let operation = &self.plan.operations[index];
        let path = format!("/v1/accounts/{account}/balances");
        let balances: Balances = wire::fetch(self.api, &path).await?;
        let found = balances.available;
        if operation.expect == Expect::Balance(found) {
            return Ok(None);
        }
        // Where an earlier start of this run got further, the balance is that of a later row.
        let found = match self.balance_then(index, account).await? {
            Some(then) if operation.expect == Expect::Balance(then) => return Ok(None),
            Some(then) => then,
            None => found,
        };
        Ok(self.differs(operation, found.to_string()))
    }

    /// The balance right after the operation before this one, from the account's entries, if an
    /// operation of a later row was done already.
    async fn balance_then(&self, index: usize, account: &str) -> Result<Option<Amount>, CallError> {
        let around = self.history.around(index);
        let Some(later) = around.after.map(|index| &self.plan.operations[index]) else {
            return Ok(None);
        };
        let kind = match later.action {
            Action::Transfer { .. } => "transfers",
            Action::Withdraw { .. } => "withdrawals",
            Action::Issue { .. } => "issuances",
            Action::Redeem { .. } => "redemptions",
            Action::Open { .. } | Action::Balance { .. } => return Ok(None),
        };
        let path = format!("/v1/{kind}?client_ref={}", self.settings.key(later.line));
        let answer = self.api.get(&path).await?;
        if !answer.is_done() {
            return Err(unexpected("GET", &path, &answer));
        }
        let found: wire::Page<Posted> = document(&path, answer.body)?;
        if found.data.is_empty() {
            return Ok(None);
        }
        let Some(before) = around.before else {
            return Ok(Some(Amount::ZERO));
        };
        let before = self.known.borrow().ids.get(&before).copied();
        let is_it =
            |entry: &wire::Entry| before.is_some() && uuid_of(&entry.operation_id) == before;
        let entries = wire::entries(self.api, account, is_it).await?;
        let last = entries.last().filter(|entry| is_it(entry));
        Ok(last.map(|entry| entry.balance_after))
    }
}
