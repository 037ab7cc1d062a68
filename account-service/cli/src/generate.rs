//! Makes up a business day: a small chain of shops with its customers, suppliers and staff.
//! The same seed always gives the same file.

use crate::model::{Ledger, Outcome};
use crate::plan::{Action, HEADER, NameIndex};
use hub_core::{Address, Amount, keccak256};

/// Minor units of a hundredth of a token.
const CENT: u128 = 10u128.pow(16);
/// What a till has in the morning and keeps in the evening, in cents.
const FLOAT: u64 = 15_000;
/// Fewer operations leave no room for trading between morning and evening.
pub const MIN_OPERATIONS: usize = 250;

const TILLS: usize = 8;
const CUSTOMERS: usize = 16;
const STAFF: usize = 8;
const NOON_PAYOUTS: usize = 2;
const SUPPLIERS: [&str; 6] = ["dairy", "bakery", "greens", "drinks", "paper", "energy"];

/// A generator with the same sequence on every machine and in every release (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.roll() % (high - low + 1)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        // At most a few dozen, so the remainder fits.
        &from[(self.roll() % from.len() as u64) as usize]
    }
}

struct Day {
    dice: Dice,
    seed: u64,
    ledger: Ledger,
    names: Vec<String>,
    text: String,
    rows: usize,
    tills: Vec<NameIndex>,
    customers: Vec<NameIndex>,
    staff: Vec<NameIndex>,
    suppliers: Vec<NameIndex>,
    /// Suppliers that were paid out on chain at noon.
    paid_out: Vec<NameIndex>,
    office: NameIndex,
    payroll: NameIndex,
    landlord: NameIndex,
    taxes: NameIndex,
}

/// The file with so many operations, at least [`MIN_OPERATIONS`].
pub fn business_day(seed: u64, operations: usize) -> String {
    let mut day = Day::new(seed);
    day.morning();
    // The evening has the same number of rows whatever happened before.
    let evening = day.evening_rows();
    let mut events = [operations / 4, operations / 2].into_iter().peekable();
    while day.rows + evening < operations {
        match events.next_if(|row| day.rows >= *row) {
            Some(row) if row < operations / 2 => day.bank_run(),
            Some(_) => day.noon(),
            None => day.trade(),
        }
    }
    day.evening();
    day.text
}

fn cents(cents: u64) -> Amount {
    Amount::new(u128::from(cents) * CENT)
}

impl Day {
    fn new(seed: u64) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut group = |group: Vec<String>| -> Vec<NameIndex> {
            let first = names.len() as NameIndex;
            names.extend(group);
            (first..names.len() as NameIndex).collect()
        };
        let numbered =
            |word: &str, count: usize| (1..=count).map(|n| format!("{word}-{n:02}")).collect();
        let single = group(
            ["head-office", "payroll", "landlord", "tax-office"]
                .map(Into::into)
                .into(),
        );
        Self {
            dice: Dice(seed),
            seed,
            tills: group(numbered("till", TILLS)),
            customers: group(numbered("customer", CUSTOMERS)),
            staff: group(numbered("staff", STAFF)),
            suppliers: group(SUPPLIERS.map(|name| format!("supplier-{name}")).into()),
            paid_out: Vec::new(),
            office: single[0],
            payroll: single[1],
            landlord: single[2],
            taxes: single[3],
            names,
            ledger: Ledger::default(),
            text: format!("{}\n", HEADER.join(",")),
            rows: 0,
        }
    }

    /// Writes a row; what it must lead to is computed.
    fn push(&mut self, action: Action) {
        let expect = match self.ledger.apply(&action) {
            Outcome::Done => "ok".to_owned(),
            Outcome::Refused(code) => code.to_owned(),
            Outcome::Balance(amount) => amount.to_string(),
            // Every account is opened first and no total comes near its bounds.
            Outcome::Open(why) => why.to_owned(),
        };
        self.rows += 1;
        let name = |index: NameIndex| self.names[index as usize].as_str();
        let (account, counterparty) = match action {
            Action::Transfer { from, to, .. } => (name(from), name(to)),
            _ => (name(action.accounts().0), ""),
        };
        let amount = match action {
            Action::Issue { amount, .. }
            | Action::Redeem { amount, .. }
            | Action::Transfer { amount, .. }
            | Action::Withdraw { amount, .. } => amount.to_string(),
            Action::Open { .. } | Action::Balance { .. } => String::new(),
        };
        let to = match action {
            Action::Withdraw { to, .. }
            | Action::Open {
                chain_address: to, ..
            } => to.map(|to| to.checksummed()).unwrap_or_default(),
            _ => String::new(),
        };
        let fields = [
            &self.rows.to_string(),
            action.word(),
            account,
            counterparty,
            &amount,
            &to,
            &expect,
        ];
        self.text.push_str(&fields.join(","));
        self.text.push('\n');
    }

    fn pay(&mut self, from: NameIndex, to: NameIndex, amount: Amount) {
        self.push(Action::Transfer { from, to, amount });
    }

    fn issue(&mut self, account: NameIndex, amount: Amount) {
        self.push(Action::Issue { account, amount });
    }

    fn balance(&self, account: NameIndex) -> Amount {
        let holding = self.ledger.holding(account);
        holding.map_or(Amount::ZERO, |holding| holding.balance)
    }

    /// An address that nobody has a key for, one per account and seed.
    fn address(&self, account: NameIndex) -> Address {
        let text = format!("{} {}", self.seed, self.names[account as usize]);
        let hash = keccak256(text.as_bytes());
        let mut address = Address::ZERO;
        address.0.copy_from_slice(&hash.0[12..]);
        address
    }

    fn open(&mut self, account: NameIndex) {
        self.push(Action::Open {
            account,
            chain_address: None,
        });
    }

    fn morning(&mut self) {
        for account in 0..self.names.len() as NameIndex {
            self.open(account);
        }
        let twice = self.tills[2];
        self.open(twice);
        self.issue(self.office, cents(2_500_000));
        for customer in self.customers.clone() {
            let amount = cents(self.dice.between(20, 90) * 500);
            self.issue(customer, amount);
        }
        self.issue(self.customers[0], Amount::ZERO);
        let too_much = crate::model::DEFAULT_CAPACITY;
        self.issue(self.customers[1], too_much);
        for till in self.tills.clone() {
            self.pay(self.office, till, cents(FLOAT));
        }
    }

    /// One thing that happens while the shops are open.
    fn trade(&mut self) {
        let till = *self.dice.pick(&self.tills);
        let customer = *self.dice.pick(&self.customers);
        let supplier = *self.dice.pick(&self.suppliers);
        match self.dice.between(1, 100) {
            1..=84 => self.sale(customer, till),
            85..=89 => {
                let amount = cents(self.dice.between(50, 600));
                self.pay(till, customer, amount);
            }
            90..=93 => {
                let amount = cents(self.dice.between(2000, 18_000));
                self.pay(self.office, supplier, amount);
            }
            94..=95 => {
                let above = self.balance(till).less(cents(FLOAT));
                let amount = above.units() / CENT * 4 / 5 * CENT;
                self.pay(till, self.office, Amount::new(amount));
            }
            96..=97 => {
                let other = *self.dice.pick(&self.suppliers);
                let amount = cents(self.dice.between(100, 1200));
                self.pay(supplier, other, amount);
            }
            98 => {
                // The card has less than the customer thought.
                let amount =
                    self.balance(customer).units() + u128::from(self.dice.between(1, 3000)) * CENT;
                self.pay(customer, till, Amount::new(amount));
            }
            99 => self.pay(till, till, cents(500)),
            _ => self.pay(customer, till, Amount::ZERO),
        }
    }

    fn sale(&mut self, customer: NameIndex, till: NameIndex) {
        let price = cents(self.dice.between(90, 2400));
        if self.balance(customer) < price {
            let amount = cents(self.dice.between(10, 40) * 500);
            self.issue(customer, amount);
        } else {
            self.pay(customer, till, price);
        }
    }

    /// The office takes some of its cash out in the morning.
    fn bank_run(&mut self) {
        self.withdraw(self.office, cents(100_000));
    }

    /// Tills are counted, and the two suppliers that are owed most cash in.
    fn noon(&mut self) {
        for till in self.tills.clone().into_iter().take(4) {
            self.push(Action::Balance { account: till });
        }
        let mut suppliers = self.suppliers.clone();
        suppliers.sort_by_key(|supplier| std::cmp::Reverse(self.balance(*supplier)));
        for supplier in suppliers.into_iter().take(NOON_PAYOUTS) {
            self.withdraw(supplier, self.balance(supplier));
            self.paid_out.push(supplier);
        }
    }

    fn withdraw(&mut self, account: NameIndex, amount: Amount) {
        let to = Some(self.address(account));
        self.push(Action::Withdraw {
            account,
            amount,
            to,
        });
    }

    fn evening_rows(&self) -> usize {
        let sweeps = TILLS;
        let wages = 1 + STAFF + 1;
        let bills = 2;
        let redemptions = 2 + 1;
        let withdrawals = SUPPLIERS.len() - NOON_PAYOUTS + 1 + 2;
        sweeps + wages + bills + redemptions + withdrawals + self.names.len()
    }

    fn evening(&mut self) {
        for till in self.tills.clone() {
            let amount = self.balance(till).less(cents(FLOAT));
            self.pay(till, self.office, amount);
        }
        let wages: Vec<u64> = self
            .staff
            .iter()
            .map(|_| self.dice.between(9000, 16_000))
            .collect();
        self.pay(self.office, self.payroll, cents(wages.iter().sum()));
        for (staff, wage) in self.staff.clone().into_iter().zip(wages) {
            self.pay(self.payroll, staff, cents(wage));
        }
        self.pay(self.payroll, self.staff[0], cents(1));
        self.pay(self.office, self.landlord, cents(240_000));
        self.pay(self.office, self.taxes, cents(112_050));
        self.payouts();
        for account in 0..self.names.len() as NameIndex {
            self.push(Action::Balance { account });
        }
    }

    /// Money that leaves: back to the issuer, or to the chain.
    fn payouts(&mut self) {
        let redeem = |account, amount| Action::Redeem { account, amount };
        self.push(redeem(self.taxes, cents(112_050)));
        let rest = self.balance(self.customers[3]);
        self.push(redeem(self.customers[3], rest));
        self.push(redeem(self.payroll, cents(1)));
        let mut payees = self.suppliers.clone();
        payees.retain(|supplier| !self.paid_out.contains(supplier));
        payees.push(self.landlord);
        for (nth, account) in payees.into_iter().enumerate() {
            // Some take everything, some leave a part.
            let balance = self.balance(account).units();
            let share = if nth % 2 == 0 {
                balance
            } else {
                balance / CENT * 2 / 3 * CENT
            };
            self.withdraw(account, Amount::new(share));
        }
        let account = self.staff[2];
        self.push(Action::Withdraw {
            account,
            amount: cents(5000),
            to: None,
        });
        self.withdraw(account, cents(5_000_000));
    }
}
