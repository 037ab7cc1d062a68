//! One channel of two honest sides and the contract: a random walk through everything that may
//! happen before a close. What a seed does is the same in every run.

use crate::outcomes::{START, WINDOW, channel, hub, sender};
use crate::vectors::Source;
use hub_core::dispute::{Call, Channel, CoSigned, Hub, Key, Payment, ShownCredit, WithdrawOrder};
use hub_core::settlement::{ChainTotals, Closer, Entitled, FundingMode};
use hub_core::types::Withdraw;
use hub_core::{Address, Amount, State};

/// A rule of N2 that a walk breaks on purpose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Breach {
    /// N2.4: nothing is kept for pending withdrawals and unfolded credits.
    NoReserve,
    /// N2.5: a withdrawal is taken back while it can still be executed.
    EarlyReversal,
}

/// The two sides, what they have signed, and the contract.
pub struct Walk {
    pub hub: Hub,
    pub channel: Channel,
    pub now: u64,
    /// Every co-signed state, oldest first; the null state is the first.
    pub states: Vec<State>,
    /// Newest `Credit` signed, in minor units.
    pub credit: u128,
    /// Tokens that users and others brought in, or that were destroyed for them.
    pub brought: u128,
    /// Tokens that left the contract to anybody.
    pub left: u128,
    orders: Vec<Withdraw>,
    breach: Option<Breach>,
    source: Source,
}

pub fn units(amount: Amount) -> i128 {
    i128::try_from(amount.units()).unwrap()
}

impl Walk {
    /// Walks for a while; the channel is open at the end.
    pub fn new(seed: u64, mode: FundingMode, funds: u128, breach: Option<Breach>) -> Self {
        let mut source = Source::at(1 + (seed << 20));
        let capacity = 1_000 + source.bits(24);
        let channel = channel(capacity, source.bits(20), 500);
        let null = State::null(channel.id, 0, channel.params.capacity);
        let mut walk = Self {
            hub: hub(mode, funds),
            channel,
            now: START,
            states: vec![null],
            credit: 0,
            brought: 0,
            left: 0,
            orders: Vec::new(),
            breach,
            source,
        };
        for _ in 0..walk.below(25) {
            walk.step();
        }
        walk
    }

    pub fn below(&mut self, limit: u128) -> u128 {
        self.source.bits(64) % limit.max(1)
    }

    fn upto(&mut self, limit: Amount) -> u128 {
        self.below(limit.units().saturating_add(1))
    }

    /// The newest co-signed state.
    pub fn held(&self) -> State {
        *self.states.last().unwrap()
    }

    /// What the hub must keep in a state (N2.4).
    fn keeps_reserve(&self, state: &State, credit: u128) -> bool {
        let pending = state.withdrawn.less(self.channel.withdrawn).units();
        let unfolded = credit.saturating_sub(state.credited.units());
        self.breach == Some(Breach::NoReserve) || state.hub_balance.units() >= pending + unfolded
    }

    /// Both sides sign what follows from the held state, if N2 lets them.
    fn sign(&mut self, change: impl FnOnce(&mut State) -> Option<()>) -> bool {
        let mut next = self.held();
        next.ack_version = next.version;
        next.version += 1;
        let possible = change(&mut next).is_some();
        let signs = possible && self.keeps_reserve(&next, self.credit);
        if signs {
            assert_eq!(next.total(), Some(self.channel.params.capacity), "r01");
            self.states.push(next);
        }
        signs
    }

    fn step(&mut self) {
        self.now += 1 + u64::try_from(self.below(5)).unwrap();
        let held = self.held();
        match self.below(9) {
            0 | 1 => {
                let issued = Amount::new(self.upto(held.hub_balance));
                self.sign(|state| give(state, issued));
            }
            2 => {
                let redeemed = Amount::new(self.upto(held.user_balance));
                self.sign(|state| take(state, redeemed));
            }
            3 => self.deposit(),
            4 => {
                let unfolded = self.channel.deposited.less(held.deposited);
                self.sign(|state| {
                    state.deposited = state.deposited.checked_add(unfolded)?;
                    give(state, unfolded)
                });
            }
            5 => {
                let more = self.credit + self.below(1 + held.hub_balance.units() / 4);
                if self.keeps_reserve(&held, more) {
                    self.credit = more;
                }
            }
            6 => {
                let credit = Amount::new(self.credit);
                self.sign(|state| {
                    let unfolded = credit.less(state.credited);
                    state.credited = state.credited.checked_add(unfolded)?;
                    give(state, unfolded)
                });
            }
            7 => self.order(held),
            _ => self.execute_or_reverse(),
        }
    }

    fn deposit(&mut self) {
        let amount = 1 + self.below(1_000_000);
        self.channel
            .deposit(&mut self.hub, Amount::new(amount))
            .unwrap();
        self.brought += amount;
    }

    /// A withdrawal leaves the balance by a state, and then its `Withdraw` is signed.
    fn order(&mut self, held: State) {
        let amount = Amount::new(self.upto(held.user_balance));
        if amount.is_zero() {
            return;
        }
        let ordered = self.sign(|state| {
            state.withdrawn = state.withdrawn.checked_add(amount)?;
            take(state, amount)
        });
        if !ordered {
            return;
        }
        let pending = Amount::sum(self.orders.iter().map(|order| order.amount)).unwrap();
        let order = Withdraw {
            channel_id: self.channel.id,
            epoch: 0,
            prev_total: self.channel.withdrawn.checked_add(pending).unwrap(),
            amount,
            to: Address([0x99; 20]),
            valid_until: self.now + u64::try_from(self.below(12)).unwrap(),
            request_id: self.source.hash(),
        };
        self.orders.push(order);
    }

    fn execute_or_reverse(&mut self) {
        let Some(order) = self.orders.first().copied() else {
            return;
        };
        let last = self.orders.iter().map(|order| order.valid_until).max();
        let expired = last < Some(self.now) || self.breach == Some(Breach::EarlyReversal);
        if expired && self.below(2) == 0 {
            let executed = self.channel.withdrawn;
            let reversed = self.sign(|state| {
                let back = state.withdrawn.less(executed);
                state.withdrawn = executed;
                give(state, back)
            });
            // Whoever breaks the rule leaves executable orders behind.
            if reversed && self.breach.is_none() {
                self.orders.clear();
            }
            return;
        }
        self.execute(order);
    }

    fn execute(&mut self, order: Withdraw) {
        let shown = WithdrawOrder {
            order,
            hub: Some(Key::Hub),
            user: Key::User,
        };
        let call = Call {
            sender: Address([0x98; 20]),
            now: self.now,
        };
        if let Ok(payment) = self.channel.withdraw(&mut self.hub, &shown, call) {
            self.left += payment.amount.units();
            self.orders.remove(0);
            let again = self.channel.withdraw(&mut self.hub, &shown, call);
            assert!(again.is_err(), "c04: a withdrawal pays once");
        }
    }

    /// A call at this moment.
    pub fn by(&self, sender: Address) -> Call {
        Call {
            sender,
            now: self.now,
        }
    }

    /// Closes with a state; everybody who holds the newest credit shows it.
    pub fn close(&mut self, closer: Closer, posted: State) {
        let credit = (self.credit != 0).then_some(ShownCredit {
            cumulative: Amount::new(self.credit),
            signed_by: Key::Hub,
        });
        let shown = CoSigned::both(posted);
        let call = self.by(sender(closer));
        self.channel
            .close(&self.hub, &shown, None, credit, call)
            .unwrap();
    }

    /// Answers with the newest state, if it is newer.
    pub fn answer(&mut self, tower: Address) {
        let held = self.held();
        let posted = self.channel.dispute.unwrap().state;
        if posted.version < held.version {
            let call = self.by(tower);
            self.channel.challenge(&CoSigned::both(held), call).unwrap();
        }
    }

    /// Settles after the window.
    pub fn settle(&mut self, tower: Address) -> Vec<Payment> {
        self.now += u64::from(WINDOW) + 1;
        let call = self.by(tower);
        let paid = self.channel.settle(&mut self.hub, call).unwrap();
        self.left += paid
            .iter()
            .map(|payment| payment.amount.units())
            .sum::<u128>();
        paid
    }

    /// Pays the closer when its time has come; returns what the user gets.
    pub fn claim(&mut self) -> u128 {
        let late = self.channel.ended.get(&0).and_then(|ended| ended.delayed);
        let Some(late) = late else { return 0 };
        self.now = self.now.max(late.due_at);
        let now = self.now;
        let paid = self.channel.claim_delayed(&mut self.hub, 0, now).unwrap();
        let paid = paid.map_or(0, |payment| payment.amount.units());
        self.left += paid;
        paid
    }

    /// What N7 says of the newest state with what is on chain now.
    pub fn entitled(&self) -> Entitled {
        let totals = ChainTotals {
            withdrawn: self.channel.withdrawn,
            deposited: self.channel.deposited,
            credit_max: Amount::new(self.credit),
        };
        Entitled::new(&self.held(), &totals)
    }

    /// E + D + K: all that the user is to get out of this epoch, in whatever way.
    pub fn promised(&self) -> i128 {
        let held = self.held();
        let credit = self.credit.max(held.credited.units());
        held.entitlement().unwrap()
            + units(self.channel.deposited)
            + i128::try_from(credit).unwrap()
    }
}

fn give(state: &mut State, amount: Amount) -> Option<()> {
    state.hub_balance = state.hub_balance.checked_sub(amount)?;
    state.user_balance = state.user_balance.checked_add(amount)?;
    Some(())
}

fn take(state: &mut State, amount: Amount) -> Option<()> {
    state.user_balance = state.user_balance.checked_sub(amount)?;
    state.hub_balance = state.hub_balance.checked_add(amount)?;
    Some(())
}
