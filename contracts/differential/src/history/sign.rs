//! What the parties sign: off chain, so that nothing happens yet.

use super::{Drawer, History, Known};
use crate::twin::Step;
use hub_core::lock::{Lock, LockKind, locks_hash};
use hub_core::trade::{Book, Order};
use hub_core::{Address, Amount, Hash32, State, keccak256, sha256};
use rand::Rng as _;

impl History {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.twin.rng.random_range(0..limit.max(1))
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.twin.rng.random_bool(probability)
    }

    /// Nothing, one, a little, or up to a limit.
    pub(super) fn amount(&mut self, limit: u128) -> u128 {
        match self.below(6) {
            0 => 0,
            1 => 1.min(limit),
            2 => limit,
            _ => self.twin.rng.random_range(0..=limit),
        }
    }

    pub(super) fn preimage(place: usize) -> Hash32 {
        keccak256(format!("preimage {place}").as_bytes())
    }

    pub(super) fn order(&self, place: usize) -> Order {
        Order {
            signer: self.twin.keys.trader.address(),
            terms: keccak256(format!("order {place}").as_bytes()),
        }
    }

    pub(super) fn book(&self, place: usize) -> Book {
        Book {
            signer: self.twin.keys.trader.address(),
            terms: keccak256(format!("book {place}").as_bytes()),
        }
    }

    pub(super) fn beneficiary(place: usize) -> Address {
        Address([u8::try_from(0xB0 + place).unwrap(); 20])
    }

    /// The newest state of this epoch that both have signed, else the null state.
    pub(super) fn base(&self, at: usize) -> State {
        let channel = &self.twin.channels[at];
        let co_signed =
            |known: &&Known| known.hub && known.user && known.state.epoch == channel.epoch;
        let newest = self.drawers[at].states.iter().rev().find(co_signed);
        newest.map_or(
            State::null(channel.id, channel.epoch, channel.params.capacity),
            |known| known.state,
        )
    }

    /// One more state: mostly what honest parties would sign next, sometimes anything that sums.
    pub(super) fn sign_state(&mut self, at: usize) -> Step {
        let base = self.base(at);
        let mut state = if self.chance(0.8) {
            self.next_state(at, base)
        } else {
            self.any_state(base)
        };
        let step = 1 + self.below(2) as u64;
        let drawer: &mut Drawer = &mut self.drawers[at];
        drawer.version += step;
        state.version = drawer.version;
        state.ack_version = base.version;
        if self.chance(0.05) {
            state.ack_version = self.below(usize::try_from(state.version).unwrap()) as u64;
        }
        let (hub, user) = match self.below(8) {
            0 => (true, false),
            1 => (false, true),
            _ => (true, true),
        };
        self.drawers[at].states.push(Known { state, hub, user });
        Ok(true)
    }

    fn next_state(&mut self, at: usize, base: State) -> State {
        let mut state = base;
        let deposited = self.twin.channels[at].deposited;
        let (hub, user) = (base.hub_balance.units(), base.user_balance.units());
        let more = |amount: Amount, by: u128| Amount::new(amount.units() + by);
        match self.below(10) {
            0..3 => {
                let issued = self.amount(hub / 2);
                state.hub_balance = Amount::new(hub - issued);
                state.user_balance = more(base.user_balance, issued);
            }
            3 => {
                let redeemed = self.amount(user);
                state.user_balance = Amount::new(user - redeemed);
                state.hub_balance = more(base.hub_balance, redeemed);
            }
            4 => {
                let ordered = self.amount(user);
                state.user_balance = Amount::new(user - ordered);
                state.hub_balance = more(base.hub_balance, ordered);
                state.withdrawn = more(base.withdrawn, ordered);
            }
            5 => {
                let folded = deposited.less(base.deposited).units().min(hub);
                state.hub_balance = Amount::new(hub - folded);
                state.user_balance = more(base.user_balance, folded);
                state.deposited = more(base.deposited, folded);
            }
            6 => {
                let folded = self.amount(hub / 4);
                state.hub_balance = Amount::new(hub - folded);
                state.user_balance = more(base.user_balance, folded);
                state.credited = more(base.credited, folded);
            }
            _ => self.lock(&mut state),
        }
        state.transfers_root = Hash32(self.twin.rng.random());
        state
    }

    /// Gives back all locks of a state and makes new ones.
    fn lock(&mut self, state: &mut State) {
        let free = |balance: Amount, locked: Amount| balance.units() + locked.units();
        let mut hub = free(state.hub_balance, state.hub_locked);
        let mut user = free(state.user_balance, state.user_locked);
        let mut locked = (0, 0);
        let mut locks = Vec::new();
        for place in 0..self.below(5) {
            let user_pays = self.chance(0.5);
            let payer = if user_pays { &mut user } else { &mut hub };
            let limit = *payer / 3;
            let amount = self.amount(limit);
            let payer = if user_pays { &mut user } else { &mut hub };
            *payer -= amount;
            *if user_pays {
                &mut locked.1
            } else {
                &mut locked.0
            } += amount;
            locks.push(self.any_lock(place, user_pays, amount));
        }
        state.hub_balance = Amount::new(hub);
        state.user_balance = Amount::new(user);
        state.hub_locked = Amount::new(locked.0);
        state.user_locked = Amount::new(locked.1);
        state.locks_hash = locks_hash(&locks);
        self.lists.insert(state.locks_hash, locks);
    }

    fn any_lock(&mut self, place: usize, user_pays: bool, amount: u128) -> Lock {
        let which = self.below(3);
        let kind = [LockKind::Hash, LockKind::Metered, LockKind::Cover][self.below(3)];
        Lock {
            id: keccak256(&[u8::try_from(place).unwrap()]),
            kind,
            user_pays,
            amount: Amount::new(amount),
            expiry: self.twin.chain.now + self.twin.rng.random_range(1..500),
            condition: match kind {
                LockKind::Hash => sha256(&Self::preimage(which).0),
                LockKind::Metered => self.order(which).id(),
                LockKind::Cover => self.book(which).id(),
            },
            total: match kind {
                LockKind::Metered => [0, 1, 7, 1_000][self.below(4)],
                _ => 0,
            },
        }
    }

    /// Anything that sums to capacity; now and then the lock sums don't match the list.
    fn any_state(&mut self, base: State) -> State {
        let mut state = base;
        let mut left = base.total().unwrap().units();
        state.user_balance = Amount::new(self.amount(left));
        left -= state.user_balance.units();
        if self.chance(0.2) {
            state.user_locked = Amount::new(self.amount(left));
            left -= state.user_locked.units();
        } else {
            state.user_locked = Amount::new(state.user_locked.units().min(left));
            left -= state.user_locked.units();
        }
        state.hub_locked = Amount::new(state.hub_locked.units().min(left));
        state.hub_balance = Amount::new(left - state.hub_locked.units());
        state.withdrawn = Amount::new(self.amount(self.scale));
        state.deposited = Amount::new(self.amount(self.scale));
        state.credited = Amount::new(self.amount(self.scale));
        state
    }
}
