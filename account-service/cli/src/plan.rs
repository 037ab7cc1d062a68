//! A file of operations, read and checked as a whole before anything is done.

use crate::csv::Rows;
use hub_core::{Address, Amount};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::BufRead;

/// The first row of every file.
pub const HEADER: [&str; 7] = [
    "line",
    "op",
    "account",
    "counterparty",
    "amount",
    "to",
    "expect",
];
/// Longest account name in bytes: with the run id before it, it fits an `external_id`.
const MAX_NAME: usize = 128;
/// Mistakes that are listed; a file of another format would else list every row.
const MAX_MISTAKES: usize = 50;
/// Operations of one file: they are held in memory at some 100 bytes each.
const MAX_OPERATIONS: usize = 10_000_000;

/// Place of an account in [`Plan::names`].
pub type NameIndex = u32;

/// What a file asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Names of the accounts, in the order of their first mention.
    pub names: Vec<String>,
    /// In file order.
    pub operations: Vec<Operation>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The first column: tells the operation apart for ever, within its run.
    pub line: u64,
    /// What to do.
    pub action: Action,
    /// What must come of it.
    pub expect: Expect,
}

/// What a row does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Opens an account.
    Open {
        /// The account.
        account: NameIndex,
        /// Where its withdrawals go unless they say otherwise.
        chain_address: Option<Address>,
    },
    /// Credits from the hub.
    Issue {
        /// The account credited.
        account: NameIndex,
        /// Minor units.
        amount: Amount,
    },
    /// Takes back to the hub.
    Redeem {
        /// The account debited.
        account: NameIndex,
        /// Minor units.
        amount: Amount,
    },
    /// Moves from one account to another.
    Transfer {
        /// The account debited.
        from: NameIndex,
        /// The account credited.
        to: NameIndex,
        /// Minor units.
        amount: Amount,
    },
    /// Pays out on chain.
    Withdraw {
        /// The account debited.
        account: NameIndex,
        /// Minor units.
        amount: Amount,
        /// Who is paid; nobody named means the account's own address.
        to: Option<Address>,
    },
    /// Reads a balance.
    Balance {
        /// The account.
        account: NameIndex,
    },
}

impl Action {
    /// The accounts it touches; the second is the same as the first where there is one.
    pub fn accounts(&self) -> (NameIndex, NameIndex) {
        match *self {
            Self::Open { account, .. }
            | Self::Issue { account, .. }
            | Self::Redeem { account, .. }
            | Self::Withdraw { account, .. }
            | Self::Balance { account } => (account, account),
            Self::Transfer { from, to, .. } => (from, to),
        }
    }

    /// Its word in the file.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Issue { .. } => "issue",
            Self::Redeem { .. } => "redeem",
            Self::Transfer { .. } => "transfer",
            Self::Withdraw { .. } => "withdraw",
            Self::Balance { .. } => "balance",
        }
    }
}

/// What must come of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// It is done.
    Done,
    /// It is refused with this code.
    Refused(Box<str>),
    /// The balance read, in minor units.
    Balance(Amount),
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("ok"),
            Self::Refused(code) => f.write_str(code),
            Self::Balance(amount) => write!(f, "{amount}"),
        }
    }
}

/// Something wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Row of the file, the header being 1.
    pub row: u64,
    /// What is wrong there, and what would be right.
    pub message: String,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes {
    /// The first of them, in file order.
    pub listed: Vec<Mistake>,
    /// How many more there are.
    pub more: usize,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.listed {
            writeln!(f, "row {}: {}", mistake.row, mistake.message)?;
        }
        if self.more > 0 {
            writeln!(f, "and {} more", self.more)?;
        }
        f.write_str("nothing was sent: correct the file and run it again")
    }
}

impl std::error::Error for Mistakes {}

/// Reads a file; everything wrong with it is named, and then nothing of it is used.
pub fn read(file: impl BufRead) -> Result<Plan, Mistakes> {
    let mut rows = Rows::new(file);
    let mut reader = Reader::default();
    match rows.next_row() {
        None => reader.wrong(1, format!("the file is empty; {}", header_advice())),
        Some((row, Err(error))) => reader.wrong(row, format!("{error}; {}", header_advice())),
        Some((row, Ok(fields))) if fields != HEADER => {
            reader.wrong(row, format!("not the header; {}", header_advice()));
        }
        Some(_) => reader.read_all(&mut rows),
    }
    if reader.mistakes.is_empty() && reader.plan.operations.is_empty() {
        reader.wrong(2, "the file has no operations".into());
    }
    reader.finish()
}

fn header_advice() -> String {
    format!("the first row must be {}", HEADER.join(","))
}

#[derive(Default)]
struct Reader {
    plan: Plan,
    indexes: HashMap<String, NameIndex>,
    lines: HashSet<u64>,
    mistakes: Vec<Mistake>,
    more: usize,
}

impl Reader {
    fn read_all<R: BufRead>(&mut self, rows: &mut Rows<R>) {
        while let Some((row, fields)) = rows.next_row() {
            let read = fields
                .map_err(|error| error.to_string())
                .and_then(|fields| self.operation(&fields));
            match read {
                Ok(_) if self.plan.operations.len() == MAX_OPERATIONS => {
                    self.wrong(
                        row,
                        format!("more than {MAX_OPERATIONS} operations; split it"),
                    );
                    return;
                }
                Ok(operation) => self.plan.operations.push(operation),
                Err(message) => {
                    self.wrong(row, message);
                    // What can't be read at all does not get better further on.
                    if self.more > MAX_MISTAKES * 20 {
                        return;
                    }
                }
            }
        }
    }

    fn finish(self) -> Result<Plan, Mistakes> {
        if self.mistakes.is_empty() {
            Ok(self.plan)
        } else {
            Err(Mistakes {
                listed: self.mistakes,
                more: self.more,
            })
        }
    }

    fn wrong(&mut self, row: u64, message: String) {
        if self.mistakes.len() < MAX_MISTAKES {
            self.mistakes.push(Mistake { row, message });
        } else {
            self.more += 1;
        }
    }

    fn operation(&mut self, fields: &[String]) -> Result<Operation, String> {
        let [line, op, account, counterparty, amount, to, expect] = fields else {
            return Err(format!(
                "{} fields where there must be {}",
                fields.len(),
                HEADER.len()
            ));
        };
        let line = self.line(line)?;
        let columns = [
            ("counterparty", counterparty),
            ("amount", amount),
            ("to", to),
        ];
        let only = |used: &[&str]| match columns
            .iter()
            .find(|(name, value)| !value.is_empty() && !used.contains(name))
        {
            Some((name, _)) => Err(format!("{op} has no {name}; leave the column empty")),
            None => Ok(()),
        };
        let action = match op.as_str() {
            "open" => {
                only(&["to"])?;
                let chain_address = address(to)?;
                let account = self.opened(account)?;
                Action::Open {
                    account,
                    chain_address,
                }
            }
            "issue" | "redeem" => {
                only(&["amount"])?;
                let (account, amount) = (self.known("account", account)?, units(amount)?);
                if op == "issue" {
                    Action::Issue { account, amount }
                } else {
                    Action::Redeem { account, amount }
                }
            }
            "transfer" => {
                only(&["counterparty", "amount"])?;
                Action::Transfer {
                    from: self.known("account", account)?,
                    to: self.known("counterparty", counterparty)?,
                    amount: units(amount)?,
                }
            }
            "withdraw" => {
                only(&["amount", "to"])?;
                Action::Withdraw {
                    account: self.known("account", account)?,
                    amount: units(amount)?,
                    to: address(to)?,
                }
            }
            "balance" => {
                only(&[])?;
                Action::Balance {
                    account: self.known("account", account)?,
                }
            }
            _ => {
                return Err(format!(
                    "{op:?} is no operation; use open, issue, redeem, transfer, withdraw or balance"
                ));
            }
        };
        let expect = expectation(&action, expect)?;
        Ok(Operation {
            line,
            action,
            expect,
        })
    }

    fn line(&mut self, text: &str) -> Result<u64, String> {
        let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
        let line = text.parse().ok().filter(|_| plain);
        let line = line.ok_or_else(|| format!("{text:?} is no line number; use 1, 2, 3 ..."))?;
        if self.lines.insert(line) {
            Ok(line)
        } else {
            Err(format!(
                "line number {line} is used twice; each operation needs its own"
            ))
        }
    }

    fn opened(&mut self, name: &str) -> Result<NameIndex, String> {
        let trimmed = name.trim() == name && !name.is_empty();
        if !trimmed || name.len() > MAX_NAME {
            return Err(format!(
                "{name:?} is no account name; use 1 to {MAX_NAME} bytes without blanks around"
            ));
        }
        if let Some(index) = self.indexes.get(name) {
            return Ok(*index);
        }
        let index = NameIndex::try_from(self.plan.names.len()).map_err(|_| "too many accounts")?;
        self.plan.names.push(name.to_owned());
        self.indexes.insert(name.to_owned(), index);
        Ok(index)
    }

    fn known(&self, column: &str, name: &str) -> Result<NameIndex, String> {
        if name.is_empty() {
            return Err(format!("{column} is missing"));
        }
        let index = self.indexes.get(name).copied();
        index.ok_or_else(|| format!("{column} {name:?} is unknown; an earlier row must open it"))
    }
}

fn units(text: &str) -> Result<Amount, String> {
    let wrong = |why: &str| format!("{text:?} is no amount: {why}");
    let amount: Amount = text
        .parse()
        .map_err(|_| wrong("use digits only, in minor units, for example 1250"))?;
    // A larger number would silently become the largest one.
    if text.parse::<u128>().is_err() {
        return Err(wrong("it is larger than any balance"));
    }
    Ok(amount)
}

fn address(text: &str) -> Result<Option<Address>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    Address::parse_checked(text).map(Some).map_err(|_| {
        format!(
            "{text:?} is no address: use 0x and 40 hexadecimal digits, in one case or with a right \
             checksum"
        )
    })
}

fn expectation(action: &Action, text: &str) -> Result<Expect, String> {
    if let Action::Balance { .. } = action {
        return units(text)
            .map(Expect::Balance)
            .map_err(|error| format!("expect of a balance: {error}"));
    }
    let is_code = text.starts_with(|c: char| c.is_ascii_uppercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    match text {
        "ok" => Ok(Expect::Done),
        code if is_code => Ok(Expect::Refused(code.into())),
        _ => Err(format!(
            "expect {text:?} is neither ok nor a code such as INSUFFICIENT_FUNDS"
        )),
    }
}
