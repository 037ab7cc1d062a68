//! What a co-signed state did to an account, as far as states, orders and the chain tell it. Who
//! paid whom within the hub they do not tell: that part is one line of what is left over.

use crate::store::settlement::DepositLog;
use hub_client::ImportOrder;
use hub_core::fold::transfers_root;
use hub_core::types::{Leg, LegKind};
use hub_core::{Address, Amount, Hash32, OperationId, State, Typed as _};

/// A final deposit of a channel, with all of the epoch up to it, in minor units.
#[derive(Debug, Clone, Copy)]
pub struct PaidIn {
    /// The log.
    pub log: DepositLog,
    /// Deposits of the epoch after this one.
    pub total: Amount,
}

/// What happened to an account.
#[derive(Debug, Clone, Copy)]
pub enum Line {
    /// Its channel was opened.
    Opened,
    /// A withdrawal was given back.
    Refund(OperationId),
    /// A deposit was credited.
    Deposit(DepositLog),
    /// A withdrawal was ordered, to be paid to this address.
    Withdraw(OperationId, Address),
    /// What came in from others beyond all that is known, in sum.
    Gained,
    /// What went to others beyond all that is known, in sum.
    Lost,
}

/// A line with its amount and the balance after it, in minor units.
#[derive(Debug, Clone, Copy)]
pub struct Placed {
    /// What happened.
    pub line: Line,
    /// How much.
    pub amount: Amount,
    /// What could be spent after it.
    pub balance: Amount,
}

/// Why a state can't be told line by line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// It does not build on what is here.
    #[error("it builds on version {ack} of epoch {epoch}, here is version {here}")]
    Gap {
        /// The version it builds on.
        ack: u64,
        /// Its epoch.
        epoch: u32,
        /// The version here.
        here: u64,
    },
    /// Its epoch began after the backup.
    #[error("its channel was settled after the backup: restore a newer one")]
    Epoch,
    /// Orders don't explain what left for withdrawals.
    #[error("its withdrawal orders don't add up")]
    Orders,
    /// The chain has no deposits that add up to what was credited.
    #[error("the chain shows other deposits than it credits: name an earlier --from-block")]
    Deposits,
    /// It has locks or credits, which nothing here can make.
    #[error("it has locks or credits")]
    Locks,
}

/// The lines that lead from one state to the next. `orders` and `paid_in` are those of the
/// channel; deposits are credited in the order of the chain.
pub fn lines(
    base: &State,
    state: &State,
    orders: &[ImportOrder],
    paid_in: &[PaidIn],
) -> Result<Vec<Placed>, Unclear> {
    check(base, state)?;
    let deposits = credited(base, state, paid_in)?;
    let sum = |wanted: fn(&ImportOrder) -> bool| {
        Amount::sum(orders.iter().filter(|o| wanted(o)).map(|o| o.amount))
    };
    let (taken, back) = (sum(|o| o.to.is_some()), sum(|o| o.to.is_none()));
    let (taken, back) = taken.zip(back).ok_or(Unclear::Orders)?;
    let after = base.withdrawn.checked_add(taken);
    if after.is_none() || after != state.withdrawn.checked_add(back) {
        return Err(Unclear::Orders);
    }
    let mut placed = Tally::at(base.user_balance);
    if base.version == 0 {
        placed.add(Line::Opened, Amount::ZERO)?;
    }
    for order in orders.iter().filter(|order| order.to.is_none()) {
        placed.add(Line::Refund(order.order), order.amount)?;
    }
    for log in deposits {
        placed.add(Line::Deposit(log), log.amount)?;
    }
    // What came in stands before what went out: no balance on the way is below zero.
    let known = placed.balance.checked_sub(taken);
    let gained = match known {
        Some(known) => state.user_balance.checked_sub(known),
        None => taken
            .checked_sub(placed.balance)
            .and_then(|short| state.user_balance.checked_add(short)),
    };
    if let Some(gained) = gained.filter(|gained| !gained.is_zero() || !explains(state, orders)) {
        placed.add(Line::Gained, gained)?;
    }
    for order in orders {
        if let Some(to) = order.to {
            placed.take(Line::Withdraw(order.order, to), order.amount)?;
        }
    }
    if gained.is_none() {
        let lost = placed.balance.checked_sub(state.user_balance);
        placed.take(Line::Lost, lost.ok_or(Unclear::Orders)?)?;
    }
    Ok(placed.lines)
}

fn check(base: &State, state: &State) -> Result<(), Unclear> {
    if state.epoch > base.epoch {
        return Err(Unclear::Epoch);
    }
    if state.epoch != base.epoch || state.ack_version != base.version {
        return Err(Unclear::Gap {
            ack: state.ack_version,
            epoch: state.epoch,
            here: base.version,
        });
    }
    let plain = |state: &State| {
        let zero = [state.hub_locked, state.user_locked, state.credited];
        zero.iter().all(|amount| amount.is_zero())
    };
    if plain(base) && plain(state) && base.total() == state.total() {
        Ok(())
    } else {
        Err(Unclear::Locks)
    }
}

/// The deposits between the total that was credited before and the one that is.
fn credited(base: &State, state: &State, paid_in: &[PaidIn]) -> Result<Vec<DepositLog>, Unclear> {
    let newly = |paid: &&PaidIn| {
        paid.log.epoch == state.epoch
            && paid.total > base.deposited
            && paid.total <= state.deposited
    };
    let found: Vec<_> = paid_in.iter().filter(newly).map(|paid| paid.log).collect();
    let sum = Amount::sum(found.iter().map(|log| log.amount));
    if sum.and_then(|sum| base.deposited.checked_add(sum)) == Some(state.deposited) {
        Ok(found)
    } else {
        Err(Unclear::Deposits)
    }
}

/// Whether the orders alone are what the state's root covers.
fn explains(state: &State, orders: &[ImportOrder]) -> bool {
    let leg = |order: &ImportOrder| {
        Leg {
            operation: order.order.word(),
            kind: LegKind::Withdraw,
            amount: order.amount,
            counterparty: Hash32::ZERO,
        }
        .hash_struct()
    };
    // A refund is an operation of an id that nobody knows any more.
    orders.iter().all(|order| order.to.is_some())
        && transfers_root(orders.iter().map(leg).collect()) == state.transfers_root
}

struct Tally {
    balance: Amount,
    lines: Vec<Placed>,
}

impl Tally {
    fn at(balance: Amount) -> Self {
        Self {
            balance,
            lines: Vec::new(),
        }
    }

    fn add(&mut self, line: Line, amount: Amount) -> Result<(), Unclear> {
        self.balance = self.balance.checked_add(amount).ok_or(Unclear::Orders)?;
        self.push(line, amount);
        Ok(())
    }

    fn take(&mut self, line: Line, amount: Amount) -> Result<(), Unclear> {
        self.balance = self.balance.checked_sub(amount).ok_or(Unclear::Orders)?;
        self.push(line, amount);
        Ok(())
    }

    fn push(&mut self, line: Line, amount: Amount) {
        self.lines.push(Placed {
            line,
            amount,
            balance: self.balance,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub_core::ChannelId;

    const CHANNEL: ChannelId = ChannelId([1; 32]);

    fn state(version: u64, user: u128, withdrawn: u128, deposited: u128) -> State {
        State {
            version,
            ack_version: version.saturating_sub(1),
            user_balance: Amount::new(user),
            hub_balance: Amount::new(1_000 - user),
            withdrawn: Amount::new(withdrawn),
            deposited: Amount::new(deposited),
            transfers_root: Hash32([7; 32]),
            ..State::null(CHANNEL, 0, Amount::new(1_000))
        }
    }

    fn order(id: u8, amount: u128, out: bool) -> ImportOrder {
        ImportOrder {
            order: OperationId([id; 16]),
            channel: CHANNEL,
            amount: Amount::new(amount),
            to: out.then_some(Address([7; 20])),
        }
    }

    fn paid_in(amount: u128, total: u128) -> PaidIn {
        PaidIn {
            log: DepositLog {
                channel: CHANNEL,
                epoch: 0,
                amount: Amount::new(amount),
                status: 2,
                block: 1,
                block_hash: Hash32::ZERO,
                tx_hash: Hash32::ZERO,
                log_index: 0,
            },
            total: Amount::new(total),
        }
    }

    fn told(base: State, next: State, orders: &[ImportOrder], paid: &[PaidIn]) -> String {
        let found = lines(&base, &next, orders, paid).unwrap();
        assert_eq!(found.last().unwrap().balance, next.user_balance);
        let word = |placed: &Placed| match placed.line {
            Line::Opened => "opened".to_owned(),
            Line::Refund(_) => format!("refund {}", placed.amount),
            Line::Deposit(_) => format!("deposit {}", placed.amount),
            Line::Withdraw(..) => format!("withdraw {}", placed.amount),
            Line::Gained => format!("gained {}", placed.amount),
            Line::Lost => format!("lost {}", placed.amount),
        };
        found.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn what_is_known_stands_by_its_name_and_the_rest_is_one_line() {
        let (withdraw, refund) = (order(1, 80, true), order(2, 30, false));
        assert_eq!(
            told(
                State::null(CHANNEL, 0, Amount::new(1_000)),
                state(1, 0, 0, 0),
                &[],
                &[]
            ),
            "opened, gained 0"
        );
        assert_eq!(
            told(state(3, 50, 0, 0), state(4, 90, 0, 0), &[], &[]),
            "gained 40"
        );
        assert_eq!(
            told(state(3, 50, 0, 0), state(4, 20, 0, 0), &[], &[]),
            "lost 30"
        );
        assert_eq!(
            told(state(3, 50, 0, 0), state(4, 50, 0, 0), &[], &[]),
            "gained 0"
        );
        // Nothing was there: what was paid out came in first.
        assert_eq!(
            told(state(3, 0, 0, 0), state(4, 20, 80, 0), &[withdraw], &[]),
            "gained 100, withdraw 80"
        );
        assert_eq!(
            told(state(3, 100, 0, 0), state(4, 5, 80, 0), &[withdraw], &[]),
            "withdraw 80, lost 15"
        );
        let paid = [paid_in(5, 5), paid_in(7, 12), paid_in(9, 21)];
        assert_eq!(
            told(state(3, 10, 40, 5), state(4, 47, 10, 12), &[refund], &paid),
            "refund 30, deposit 7, gained 0"
        );
    }

    #[test]
    fn a_withdrawal_that_the_root_covers_alone_leaves_no_rest() {
        let withdraw = order(1, 80, true);
        let mut next = state(4, 20, 80, 0);
        let leg = Leg {
            operation: withdraw.order.word(),
            kind: LegKind::Withdraw,
            amount: withdraw.amount,
            counterparty: Hash32::ZERO,
        };
        next.transfers_root = transfers_root(vec![leg.hash_struct()]);
        assert_eq!(
            told(state(3, 100, 0, 0), next, &[withdraw], &[]),
            "withdraw 80"
        );
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        let base = state(3, 100, 0, 0);
        let refused = |next: State, orders: &[ImportOrder], paid: &[PaidIn]| {
            lines(&base, &next, orders, paid).unwrap_err()
        };
        let gap = Unclear::Gap {
            ack: 4,
            epoch: 0,
            here: 3,
        };
        assert_eq!(refused(state(5, 100, 0, 0), &[], &[]), gap);
        assert_eq!(
            refused(
                State {
                    epoch: 1,
                    ..state(4, 0, 0, 0)
                },
                &[],
                &[]
            ),
            Unclear::Epoch
        );
        assert_eq!(refused(state(4, 20, 80, 0), &[], &[]), Unclear::Orders);
        assert_eq!(
            refused(state(4, 20, 80, 0), &[order(1, 79, true)], &[]),
            Unclear::Orders
        );
        assert_eq!(refused(state(4, 110, 0, 10), &[], &[]), Unclear::Deposits);
        assert_eq!(
            refused(state(4, 110, 0, 10), &[], &[paid_in(11, 11)]),
            Unclear::Deposits
        );
        let locked = State {
            hub_locked: Amount::new(1),
            ..state(4, 100, 0, 0)
        };
        assert_eq!(refused(locked, &[], &[]), Unclear::Locks);
    }
}
