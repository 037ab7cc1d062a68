//! What a file must lead to, computed from the file alone: an own small ledger that shares no
//! code with the system it is compared with.

use crate::plan::{Action, Expect, NameIndex, Plan};
use hub_core::{Address, Amount};
use serde::Serialize;
use std::collections::BTreeMap;

/// Capacity of a channel when the hub does not say another: 10,000,000,000 tokens of 18 decimals.
pub const DEFAULT_CAPACITY: Amount = Amount::new(10_000_000_000 * 10u128.pow(18));

/// What the outcome of operations depends on beside the file.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The most an account can hold, in minor units.
    pub capacity: Amount,
    /// Addresses that withdrawals can't go to: the contracts of the system.
    pub barred: Vec<Address>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            capacity: DEFAULT_CAPACITY,
            barred: Vec::new(),
        }
    }
}

/// An account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holding {
    /// What it holds.
    pub balance: Amount,
    /// What left it for the chain.
    pub withdrawn: Amount,
    /// How often its balance changed.
    pub changes: usize,
    chain_address: Option<Address>,
}

/// Sums over all operations that are done. Amounts in minor units.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Operations of any outcome.
    pub operations: usize,
    /// Accounts opened.
    pub accounts: usize,
    /// Issuances done.
    pub issuances: usize,
    /// Their sum.
    pub issued: Amount,
    /// Redemptions done.
    pub redemptions: usize,
    /// Their sum.
    pub redeemed: Amount,
    /// Transfers done.
    pub transfers: usize,
    /// Their sum.
    pub transferred: Amount,
    /// Withdrawals done.
    pub withdrawals: usize,
    /// Their sum.
    pub withdrawn: Amount,
    /// Operations refused.
    pub refusals: usize,
    /// What all accounts hold at the end.
    pub held: Amount,
}

/// What must come of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It is refused with this code.
    Refused(&'static str),
    /// The balance read.
    Balance(Amount),
    /// It depends on something that is not in the file.
    Open(&'static str),
}

impl Outcome {
    fn agrees(&self, expect: &Expect) -> bool {
        match (self, expect) {
            (Self::Done, Expect::Done) => true,
            (Self::Refused(code), Expect::Refused(expected)) => *code == &**expected,
            (Self::Balance(amount), Expect::Balance(expected)) => amount == expected,
            _ => false,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Done => "ok".into(),
            Self::Refused(code) => (*code).into(),
            Self::Balance(amount) => amount.to_string(),
            Self::Open(why) => (*why).into(),
        }
    }
}

/// A row that expects what the rows before it do not lead to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contradiction {
    /// The operation's line number.
    pub line: u64,
    /// What it expects.
    pub expected: String,
    /// What the file leads to.
    pub computed: String,
}

/// The ledger that a file leads to.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    rules: Rules,
    accounts: BTreeMap<NameIndex, Holding>,
    totals: Totals,
    refused: BTreeMap<String, usize>,
    payouts: BTreeMap<Address, Amount>,
}

/// Computes what a file leads to, and the rows that expect something else.
pub fn compute(plan: &Plan, rules: Rules) -> (Ledger, Vec<Contradiction>) {
    let mut ledger = Ledger {
        rules,
        ..Ledger::default()
    };
    let mut contradictions = Vec::new();
    for operation in &plan.operations {
        let outcome = ledger.apply(&operation.action);
        if !outcome.agrees(&operation.expect) {
            contradictions.push(Contradiction {
                line: operation.line,
                expected: operation.expect.to_string(),
                computed: outcome.text(),
            });
        }
    }
    (ledger, contradictions)
}

type Step = Result<(), Outcome>;

impl Ledger {
    /// The account, if it was opened.
    pub fn holding(&self, account: NameIndex) -> Option<&Holding> {
        self.accounts.get(&account)
    }

    /// All accounts.
    pub fn accounts(&self) -> impl Iterator<Item = (NameIndex, &Holding)> {
        self.accounts
            .iter()
            .map(|(index, holding)| (*index, holding))
    }

    /// Sums.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// How many operations are refused, by code.
    pub fn refused(&self) -> &BTreeMap<String, usize> {
        &self.refused
    }

    /// What each address is paid on chain.
    pub fn payouts(&self) -> &BTreeMap<Address, Amount> {
        &self.payouts
    }

    /// Does one operation.
    pub fn apply(&mut self, action: &Action) -> Outcome {
        self.totals.operations += 1;
        if let Action::Balance { account } = action {
            let holding = self.accounts.get(account);
            return holding.map_or(Outcome::Open("the account was not opened"), |holding| {
                Outcome::Balance(holding.balance)
            });
        }
        match self.attempt(action) {
            Ok(()) => Outcome::Done,
            Err(outcome) => {
                if let Outcome::Refused(code) = outcome {
                    *self.refused.entry(code.to_owned()).or_default() += 1;
                    self.totals.refusals += 1;
                }
                outcome
            }
        }
    }

    fn attempt(&mut self, action: &Action) -> Step {
        match *action {
            Action::Open {
                account,
                chain_address,
            } => self.open(account, chain_address),
            Action::Issue { account, amount } => {
                let after = self.credited(account, amount)?;
                grow(&mut self.totals.issued, amount)?;
                self.totals.issuances += 1;
                self.totals.held = add(self.totals.held, amount)?;
                self.accounts.insert(account, after);
                Ok(())
            }
            Action::Redeem { account, amount } => {
                let after = self.debited(account, amount)?;
                grow(&mut self.totals.redeemed, amount)?;
                self.totals.redemptions += 1;
                self.totals.held = self.totals.held.less(amount);
                self.accounts.insert(account, after);
                Ok(())
            }
            Action::Transfer { from, to, amount } => {
                if from == to {
                    return Err(Outcome::Refused("SAME_ACCOUNT"));
                }
                let (payer, payee) = (self.debited(from, amount)?, self.credited(to, amount)?);
                grow(&mut self.totals.transferred, amount)?;
                self.totals.transfers += 1;
                self.accounts.insert(from, payer);
                self.accounts.insert(to, payee);
                Ok(())
            }
            Action::Withdraw {
                account,
                amount,
                to,
            } => self.withdraw(account, amount, to),
            Action::Balance { .. } => Ok(()),
        }
    }

    fn open(&mut self, account: NameIndex, chain_address: Option<Address>) -> Step {
        if chain_address.is_some_and(|address| self.is_barred(&address)) {
            return Err(Outcome::Refused("ADDRESS_INVALID"));
        }
        if self.accounts.contains_key(&account) {
            return Err(Outcome::Refused("DUPLICATE_EXTERNAL_ID"));
        }
        let holding = Holding {
            chain_address,
            ..Holding::default()
        };
        self.accounts.insert(account, holding);
        self.totals.accounts += 1;
        Ok(())
    }

    fn withdraw(&mut self, account: NameIndex, amount: Amount, to: Option<Address>) -> Step {
        if to.is_some_and(|address| self.is_barred(&address)) {
            return Err(Outcome::Refused("ADDRESS_INVALID"));
        }
        let own = self.opened(account)?.chain_address;
        let to = to
            .or(own)
            .ok_or(Outcome::Refused("PAYOUT_ADDRESS_MISSING"))?;
        let mut after = self.debited(account, amount)?;
        after.withdrawn = add(after.withdrawn, amount)?;
        grow(&mut self.totals.withdrawn, amount)?;
        self.totals.withdrawals += 1;
        self.totals.held = self.totals.held.less(amount);
        grow(self.payouts.entry(to).or_default(), amount)?;
        self.accounts.insert(account, after);
        Ok(())
    }

    fn is_barred(&self, address: &Address) -> bool {
        *address == Address::ZERO || self.rules.barred.contains(address)
    }

    fn opened(&self, account: NameIndex) -> Result<Holding, Outcome> {
        let holding = self.accounts.get(&account).copied();
        holding.ok_or(Outcome::Open("the account was not opened"))
    }

    /// The account after a debit.
    fn debited(&self, account: NameIndex, amount: Amount) -> Result<Holding, Outcome> {
        let holding = self.opened(account)?;
        if amount.is_zero() {
            return Err(Outcome::Refused("AMOUNT_ZERO"));
        }
        let balance = holding.balance.checked_sub(amount);
        Ok(Holding {
            balance: balance.ok_or(Outcome::Refused("INSUFFICIENT_FUNDS"))?,
            changes: holding.changes + 1,
            ..holding
        })
    }

    /// The account after a credit.
    fn credited(&self, account: NameIndex, amount: Amount) -> Result<Holding, Outcome> {
        let holding = self.opened(account)?;
        if amount.is_zero() {
            return Err(Outcome::Refused("AMOUNT_ZERO"));
        }
        let within = |balance: &Amount| *balance <= self.rules.capacity;
        let balance = holding.balance.checked_add(amount).filter(within);
        let balance = balance.ok_or(Outcome::Refused("CAPACITY_EXCEEDED"))?;
        // A withdrawal keeps room in the channel until it is paid, and nobody knows when.
        if balance
            .checked_add(holding.withdrawn)
            .filter(within)
            .is_none()
        {
            return Err(Outcome::Open("it depends on when withdrawals are paid"));
        }
        Ok(Holding {
            balance,
            changes: holding.changes + 1,
            ..holding
        })
    }
}

fn add(total: Amount, amount: Amount) -> Result<Amount, Outcome> {
    let sum = total.checked_add(amount);
    sum.ok_or(Outcome::Open("a total is beyond 128 bits"))
}

fn grow(total: &mut Amount, amount: Amount) -> Step {
    *total = add(*total, amount)?;
    Ok(())
}

/// The ledger as the independent computation prints it.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Expectation {
    /// Balances by account name, in minor units.
    pub accounts: BTreeMap<String, Amount>,
    /// Sums.
    pub totals: Totals,
    /// Refused operations by code.
    pub refused: BTreeMap<String, usize>,
    /// Payouts by address, in minor units.
    pub payouts: BTreeMap<String, Amount>,
}

impl Expectation {
    /// Of a computed file.
    pub fn of(plan: &Plan, ledger: &Ledger) -> Self {
        let name = |index: NameIndex| plan.names.get(index as usize).cloned().unwrap_or_default();
        Self {
            accounts: ledger
                .accounts()
                .map(|(index, holding)| (name(index), holding.balance))
                .collect(),
            totals: ledger.totals.clone(),
            refused: ledger.refused.clone(),
            payouts: ledger
                .payouts
                .iter()
                .map(|(address, amount)| (address.to_string(), *amount))
                .collect(),
        }
    }
}
