//! What a run found, for people and for programs.

use crate::import::Difference;
use crate::model::Totals;
use crate::money::{count, tokens};
use crate::proof::Shown;
use crate::wire::{Break, Check};
use hub_core::{Address, Amount};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// Decimals of the ERC20 where it could not be asked.
pub const DEFAULT_DECIMALS: u8 = 18;

/// A run over one file at one hub.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The run.
    pub run_id: String,
    /// The file.
    pub file: String,
    /// The hub.
    pub hub_id: String,
    /// `vault` or `mint`.
    pub hub_mode: &'static str,
    /// Asset code.
    pub asset: String,
    /// Of the ERC20.
    pub decimals: u8,
    /// What the file leads to.
    pub totals: Totals,
    /// Refused as expected, by code.
    pub refused: BTreeMap<String, usize>,
    /// Operations that an earlier start of this run had done.
    pub replayed: usize,
    /// Requests that were sent again.
    pub retries: u64,
    /// Of the import, in milliseconds.
    pub import_ms: u64,
    /// Transfers in each second between the first and the last.
    pub transfers_per_second: u64,
    /// What was compared afterwards.
    pub verified: Option<Verified>,
    /// Everything that is not as the file says.
    pub differences: Vec<Difference>,
    /// All of it, in milliseconds.
    pub elapsed_ms: u64,
    /// Whether nothing differs.
    pub agrees: bool,
}

/// What was compared after an import.
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    /// Accounts whose balance was compared.
    pub balances: usize,
    /// Entries that were compared.
    pub entries: usize,
    /// The withdrawals, in file order.
    pub payouts: Vec<Payout>,
    /// Channels with withdrawals whose two sides add up to the capacity again.
    pub channels_restored: usize,
    /// ERC20 supply in minor units.
    pub supply: Change,
    /// ERC20 balance of the channel contract in minor units.
    pub contract: Change,
    /// Transactions that the hub's operator sent meanwhile.
    pub chain_transactions: u64,
    /// The same for each 1,000 operations, in hundredths.
    pub chain_transactions_per_100k: u64,
    /// The proof that was checked.
    pub proof: Option<Shown>,
    /// The reconciliation.
    pub reconciliation: Reconciliation,
}

/// An amount before and after, in minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Before the import.
    pub before: Amount,
    /// After all payouts.
    pub after: Amount,
}

/// A withdrawal.
#[derive(Debug, Clone, Serialize)]
pub struct Payout {
    /// The operation's line number.
    pub line: u64,
    /// Minor units.
    pub amount: Amount,
    /// Who is paid.
    pub to: Address,
    /// How far it is.
    pub status: String,
    /// The transaction.
    pub tx_hash: Option<String>,
    /// What the address has on chain.
    pub on_chain: Change,
}

/// A reconciliation run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Reconciliation {
    /// Its id.
    pub id: String,
    /// `clean`, `breaks` or `failed`.
    pub status: String,
    /// What was compared.
    pub checks: Vec<Check>,
    /// What differs; the first hundred.
    pub breaks: Vec<Break>,
}

impl Report {
    fn amount(&self, amount: Amount) -> String {
        format!("{} {}", tokens(amount, self.decimals), self.asset)
    }

    fn change(&self, change: Change) -> String {
        let shown = |amount| tokens(amount, self.decimals);
        format!(
            "{} -> {} {}",
            shown(change.before),
            shown(change.after),
            self.asset
        )
    }

    fn totals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = &self.totals;
        let sum = |sum: Amount, number: usize, word: &str| {
            format!("{} in {} {word}", self.amount(sum), count(number))
        };
        row(f, "operations", &self.operations())?;
        row(f, "accounts", &format!("{} opened", count(totals.accounts)))?;
        row(
            f,
            "issued",
            &sum(totals.issued, totals.issuances, "issuances"),
        )?;
        row(
            f,
            "redeemed",
            &sum(totals.redeemed, totals.redemptions, "redemptions"),
        )?;
        let rate = match self.transfers_per_second {
            0 => String::new(),
            rate => format!(", {} transfers/s", grouped_u64(rate)),
        };
        let transfers = sum(totals.transferred, totals.transfers, "transfers");
        row(f, "transferred", &format!("{transfers}{rate}"))?;
        row(
            f,
            "withdrawn",
            &sum(totals.withdrawn, totals.withdrawals, "withdrawals"),
        )?;
        let codes: Vec<_> = self
            .refused
            .iter()
            .map(|(code, number)| format!("{code} {number}"))
            .collect();
        let mut refused = format!("{} as expected", count(totals.refusals));
        if !codes.is_empty() {
            let _ = write!(refused, ": {}", codes.join(", "));
        }
        row(f, "refused", &refused)
    }

    fn operations(&self) -> String {
        let mut text = format!(
            "{} in {}",
            count(self.totals.operations),
            seconds(self.import_ms)
        );
        if self.replayed > 0 {
            let _ = write!(text, ", {} done by an earlier start", count(self.replayed));
        }
        if self.retries > 0 {
            let _ = write!(text, ", {} requests sent again", grouped_u64(self.retries));
        }
        text
    }

    fn verified(&self, f: &mut fmt::Formatter<'_>, verified: &Verified) -> fmt::Result {
        row(
            f,
            "balances",
            &format!("{} compared", count(verified.balances)),
        )?;
        let entries = format!(
            "{}, each operation once per account",
            count(verified.entries)
        );
        row(f, "entries", &entries)?;
        for payout in &verified.payouts {
            let tx = payout.tx_hash.as_deref().unwrap_or("no transaction");
            let amount = self.amount(payout.amount);
            row(
                f,
                "withdrawal",
                &format!("{amount}, {}, tx {tx}", payout.status),
            )?;
            let on_chain = self.change(payout.on_chain);
            row(
                f,
                "",
                &format!("{} has {on_chain}", payout.to.checksummed()),
            )?;
        }
        let restored = format!(
            "{} channels restored after withdrawals",
            verified.channels_restored
        );
        row(f, "channels", &restored)?;
        row(f, "ERC20 supply", &self.change(verified.supply))?;
        row(f, "ERC20 contract", &self.change(verified.contract))?;
        let hundredths = verified.chain_transactions_per_100k;
        let transactions = format!(
            "{} chain transactions, {}.{:02} per 1,000 operations",
            verified.chain_transactions,
            hundredths / 100,
            hundredths % 100
        );
        row(f, "chain", &transactions)?;
        if let Some(proof) = &verified.proof {
            self.proof(f, proof)?;
        }
        let run = &verified.reconciliation;
        let compared: u64 = run.checks.iter().map(|check| check.compared).sum();
        let checks = format!(
            "{} checks over {} rows",
            run.checks.len(),
            grouped_u64(compared)
        );
        row(
            f,
            "reconciliation",
            &format!("{}, {checks} ({})", run.status, run.id),
        )
    }

    fn proof(&self, f: &mut fmt::Formatter<'_>, proof: &Shown) -> fmt::Result {
        let account = proof.account.as_deref().unwrap_or("a channel");
        let state = format!(
            "{account}, version {}, epoch {}",
            proof.version, proof.epoch
        );
        row(f, "proof verified", &state)?;
        row(f, "", &format!("channel {}", proof.channel))?;
        let (user, hub) = (
            self.amount(proof.user_balance),
            self.amount(proof.hub_balance),
        );
        row(f, "", &format!("user {user}, hub {hub}"))?;
        row(f, "", &format!("state hash {}", proof.state_hash))?;
        let batch = format!(
            "leaf {} of a tree of depth {} in batch {}, signed by hub and user",
            proof.leaf_index, proof.depth, proof.batch_id
        );
        row(f, "", &batch)
    }

    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.differences {
            let line = difference
                .line
                .map(|line| format!("line {line}: "))
                .unwrap_or_default();
            let Difference {
                what,
                expected,
                found,
                ..
            } = difference;
            writeln!(
                f,
                "  DIFFERS {line}{what}: expected {expected}, found {found}"
            )?;
        }
        if let Some(verified) = &self.verified {
            for found in &verified.reconciliation.breaks {
                writeln!(
                    f,
                    "  BREAK {} {}.{} {}: expected {}, found {}",
                    found.check, found.schema, found.table, found.key, found.expected, found.found
                )?;
            }
        }
        row(f, "elapsed", &seconds(self.elapsed_ms))?;
        if self.agrees {
            row(f, "verdict", "everything agrees with the file")
        } else {
            let number = count(self.differences.len());
            row(f, "verdict", &format!("{number} DIFFERENCES from the file"))
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {} mode", self.file, self.hub_mode)?;
        row(f, "run", &format!("{} at {}", self.run_id, self.hub_id))?;
        self.totals(f)?;
        if let Some(verified) = &self.verified {
            self.verified(f, verified)?;
        }
        self.verdict(f)
    }
}

fn row(f: &mut fmt::Formatter<'_>, title: &str, text: &str) -> fmt::Result {
    writeln!(f, "  {title:<15} {text}")
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

fn grouped_u64(number: u64) -> String {
    crate::money::grouped(&number.to_string())
}
