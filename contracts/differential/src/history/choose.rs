//! What the parties and others do on chain.

use super::{History, Known};
use crate::twin::{OPERATOR, Step};
use hub_core::dispute::{
    Agreement, CoSigned, Evidence, Intent, Key, MAX_DEPOSITED, ShownCredit, WithdrawOrder,
};
use hub_core::lock::{Lock, LockKind};
use hub_core::settlement::Closer;
use hub_core::trade::Cheque;
use hub_core::types::{CoopSettle, Withdraw};
use hub_core::{Address, Amount, ChannelId, Hash32, State};
use rand::Rng as _;

impl History {
    fn sender(&mut self, at: usize) -> Address {
        let params = self.twin.channels[at].params;
        let senders = self.twin.keys.senders(&params);
        senders[self.below(senders.len())]
    }

    fn tower(&self) -> Address {
        self.twin.keys.stranger.address()
    }

    /// The key that is wanted, or now and then another.
    fn mostly(&mut self, key: Key) -> Key {
        if self.chance(0.95) {
            return key;
        }
        [Key::Hub, Key::User, Key::Stranger][self.below(3)]
    }

    /// Time passes: a little, or to just before, at or after something that is due.
    pub(super) fn wait(&mut self, at: usize) -> Step {
        let channel = &self.twin.channels[at];
        let mut due: Vec<u64> = channel.dispute.iter().map(|d| d.deadline).collect();
        for ended in channel.ended.values() {
            due.extend(ended.delayed.map(|late| late.due_at));
            let list = ended.locks.and_then(|list| self.lists.get(&list.hash));
            due.extend(list.into_iter().flatten().map(|lock| lock.expiry));
        }
        let now = self.twin.chain.now;
        due.retain(|time| *time > now);
        self.twin.chain.now = if due.is_empty() || self.chance(0.5) {
            now + self.twin.rng.random_range(1..30)
        } else {
            let picked = due[self.below(due.len())];
            (picked - 1 + self.below(3) as u64).max(now)
        };
        Ok(true)
    }

    pub(super) fn deposit(&mut self, at: usize) -> Step {
        let amount = match self.below(30) {
            0 => 0,
            1 => MAX_DEPOSITED.units() + 1,
            _ => self.amount(self.scale / 2),
        };
        let from = self.sender(at);
        self.twin.deposit(at, from, amount)
    }

    pub(super) fn fund(&mut self, at: usize) -> Step {
        let amount = self.amount(self.scale);
        match self.below(3) {
            0 => {
                let by_meddler = self.chance(0.4);
                self.twin.collateral(at, by_meddler, amount / 4)
            }
            _ => self.twin.fund(at, amount),
        }
    }

    pub(super) fn pause(&mut self) -> Step {
        let paused = !self.twin.hub.paused;
        self.twin.set_paused(paused);
        Ok(true)
    }

    /// A new withdrawal, at once or later, or one from the drawer.
    pub(super) fn withdraw(&mut self, at: usize) -> Step {
        let sender = if self.chance(0.3) {
            OPERATOR
        } else {
            self.tower()
        };
        if self.chance(0.3) && !self.drawers[at].orders.is_empty() {
            let place = self.below(self.drawers[at].orders.len());
            let order = self.drawers[at].orders[place];
            return self.twin.withdraw(at, &order, sender);
        }
        let channel = &self.twin.channels[at];
        let (id, epoch, withdrawn) = (channel.id, channel.epoch, channel.withdrawn);
        let user = channel.params.user;
        let contract = self.twin.chain.channels;
        let mut order = Withdraw {
            channel_id: id,
            epoch,
            prev_total: withdrawn,
            amount: Amount::new(self.amount(self.scale / 3)),
            to: user,
            valid_until: self.twin.chain.now + self.twin.rng.random_range(0..60),
            request_id: Hash32(self.twin.rng.random()),
        };
        match self.below(25) {
            0 => order.epoch += 1,
            1 => order.prev_total = Amount::new(withdrawn.units() + 1),
            2 => order.prev_total = Amount::MAX,
            3 => order.to = Address::ZERO,
            4 => order.to = contract,
            5 => order.valid_until = self.twin.chain.now - 1,
            6 => order.to = self.tower(),
            _ => {}
        }
        let hub = (!self.chance(0.15)).then(|| self.mostly(Key::Hub));
        let user = if self.chance(0.06) {
            Key::Stranger
        } else {
            self.mostly(Key::User)
        };
        let shown = WithdrawOrder { order, hub, user };
        self.drawers[at].orders.push(shown);
        if self.chance(0.3) {
            return Ok(true);
        }
        self.twin.withdraw(at, &shown, sender)
    }

    fn shown(&mut self, known: &Known) -> CoSigned {
        let hub = if known.hub { Key::Hub } else { Key::Stranger };
        let user = if known.user { Key::User } else { Key::Stranger };
        CoSigned {
            state: known.state,
            hub: self.mostly(hub),
            user: self.mostly(user),
        }
    }

    /// One of the states of this epoch above a version, the newest rather often.
    fn pick(&mut self, at: usize, above: u64) -> Option<Known> {
        let epoch = self.twin.channels[at].epoch;
        let states = &self.drawers[at].states;
        let fit = |known: &&Known| known.state.epoch == epoch && known.state.version > above;
        let fitting: Vec<_> = states.iter().filter(fit).copied().collect();
        if fitting.is_empty() {
            return None;
        }
        let newest = self.chance(0.35);
        let place = if newest {
            fitting.len() - 1
        } else {
            self.below(fitting.len())
        };
        Some(fitting[place])
    }

    /// What is posted: a state from the drawer, the null state, or something that can't be posted.
    fn posted(&mut self, at: usize, above: u64) -> CoSigned {
        let channel = &self.twin.channels[at];
        let null = State::null(channel.id, channel.epoch, channel.params.capacity);
        let known = self
            .pick(at, above)
            .filter(|_| self.twin.rng.random_bool(0.85));
        let Some(known) = known else {
            let mut shown = CoSigned::unsigned(null);
            if self.chance(0.1) {
                shown.state.ack_version = 1;
            }
            return shown;
        };
        let mut shown = self.shown(&known);
        match self.below(40) {
            0 => shown.state.channel_id = ChannelId([9; 32]),
            1 => shown.state.epoch += 1,
            2 => shown.state.hub_locked = Amount::new(shown.state.hub_locked.units() + 1),
            3 => {
                // Of another time: its epoch is over, or it is too old.
                let place = self.below(self.drawers[at].states.len());
                let old = self.drawers[at].states[place];
                shown = self.shown(&old);
            }
            _ => {}
        }
        shown
    }

    fn credit(&mut self) -> ShownCredit {
        ShownCredit {
            cumulative: Amount::new(self.amount(self.scale / 2)),
            signed_by: self.mostly(Key::Hub),
        }
    }

    pub(super) fn close(&mut self, at: usize) -> Step {
        let posted = self.posted(at, 0);
        let intent = self.chance(0.3).then(|| Intent {
            signed_by: [Key::Hub, Key::User, Key::User, Key::Stranger][self.below(4)],
            valid_until: self.twin.chain.now + 5 - self.below(7) as u64,
        });
        let credit = self.chance(0.3).then(|| self.credit());
        let sender = self.sender(at);
        self.twin.close(at, &posted, intent, credit, sender)
    }

    pub(super) fn challenge(&mut self, at: usize) -> Step {
        let current = self.twin.channels[at]
            .dispute
            .map_or(0, |d| d.state.version);
        let above = if self.chance(0.9) { current } else { 0 };
        let newer = self.posted(at, above);
        let sender = self.sender(at);
        self.twin.challenge(at, &newer, sender)
    }

    pub(super) fn add_credit(&mut self, at: usize) -> Step {
        let credit = self.credit();
        let sender = self.tower();
        self.twin.add_credit(at, credit, sender)
    }

    /// An epoch that is over, or the running one.
    fn past_epoch(&mut self, at: usize) -> u32 {
        let ended: Vec<_> = self.twin.channels[at].ended.keys().copied().collect();
        if ended.is_empty() || self.chance(0.05) {
            return self.twin.channels[at].epoch;
        }
        ended[self.below(ended.len())]
    }

    pub(super) fn penalize(&mut self, at: usize) -> Step {
        let prefers_late = self.chance(0.3);
        let channel = &self.twin.channels[at];
        let dispute = channel.dispute;
        let late = channel
            .ended
            .iter()
            .find_map(|(epoch, ended)| ended.delayed.map(|late| (*epoch, late)));
        let (epoch, closer, posted) = match (dispute, late) {
            (_, Some((epoch, late))) if dispute.is_none() || prefers_late => {
                (epoch, late.closer, late.closed_version)
            }
            (Some(dispute), _) => (channel.epoch, dispute.closer, dispute.closed_version),
            _ => (self.past_epoch(at), Closer::User, 0),
        };
        let side = if closer == Closer::Hub {
            Key::Hub
        } else {
            Key::User
        };
        let proof = if self.chance(0.5) {
            Evidence::Revoke {
                version: (posted + 1).saturating_sub(self.below(3) as u64),
                signed_by: self.mostly(side),
            }
        } else {
            let states = &self.drawers[at].states;
            let fit = |known: &&Known| known.state.epoch == epoch;
            let fitting: Vec<_> = states.iter().filter(fit).copied().collect();
            if fitting.is_empty() {
                return Ok(true);
            }
            let known = fitting[self.below(fitting.len())];
            let signed = if side == Key::Hub {
                known.hub
            } else {
                known.user
            };
            Evidence::State {
                state: known.state,
                signed_by: if signed { side } else { Key::Stranger },
            }
        };
        let sender = self.sender(at);
        self.twin.penalize(at, epoch, &proof, sender)
    }

    pub(super) fn settle(&mut self, at: usize) -> Step {
        if let Some(dispute) = self.twin.channels[at].dispute {
            let due = dispute.deadline + 1;
            if self.chance(0.5) && self.twin.chain.now < due {
                self.twin.chain.now = due;
            }
        }
        let sender = self.sender(at);
        self.twin.settle(at, sender)
    }

    pub(super) fn accept(&mut self, at: usize) -> Step {
        let closer = self.twin.channels[at].dispute.map(|dispute| dispute.closer);
        let other = if closer == Some(Closer::Hub) {
            Key::User
        } else {
            Key::Hub
        };
        let signed_by = self.mostly(other);
        let sender = self.sender(at);
        self.twin.accept_close(at, signed_by, sender)
    }

    pub(super) fn coop_settle(&mut self, at: usize) -> Step {
        let channel = &self.twin.channels[at];
        let mut terms = CoopSettle {
            channel_id: channel.id,
            epoch: channel.epoch,
            withdrawn: channel.withdrawn,
            deposited: channel.deposited,
            user_amount: Amount::ZERO,
            valid_until: self.twin.chain.now + 3,
        };
        terms.user_amount = Amount::new(self.amount(self.scale));
        match self.below(8) {
            0 => terms.withdrawn = Amount::new(terms.withdrawn.units() + 1),
            1 => terms.valid_until -= 4,
            _ => {}
        }
        let agreement = Agreement {
            terms,
            hub: self.mostly(Key::Hub),
            user: self.mostly(Key::User),
        };
        let sender = self.sender(at);
        self.twin.coop_settle(at, &agreement, sender)
    }

    pub(super) fn equivocate(&mut self, at: usize) -> Step {
        let Some(known) = self.pick(at, 0) else {
            return Ok(true);
        };
        let mut other = known.state;
        if self.chance(0.9) {
            other.transfers_root = Hash32(self.twin.rng.random());
        }
        if self.chance(0.1) {
            other.version += 1;
        }
        let keys = (self.mostly(Key::Hub), self.mostly(Key::Hub));
        let sender = self.sender(at);
        let first = (&known.state, keys.0);
        self.twin.equivocation(at, first, (&other, keys.1), sender)
    }

    pub(super) fn show_evidence(&mut self) -> Step {
        let which = self.below(3);
        let sender = self.tower();
        if self.chance(0.5) {
            self.twin.register_preimage(Self::preimage(which), sender)?;
            return Ok(true);
        }
        let order = self.order(which);
        let delivered = [0, 1, 3, 6, 500, 2_000][self.below(6)];
        let signed = self.chance(0.9);
        self.twin.show_meter(&order, delivered, signed)
    }

    pub(super) fn show_another(&mut self, at: usize) -> Step {
        let sender = self.sender(at);
        self.twin.show_another_dispute(at, sender).map(|()| true)
    }

    pub(super) fn claim(&mut self, at: usize) -> Step {
        let epoch = self.past_epoch(at);
        let late = self.twin.channels[at]
            .ended
            .get(&epoch)
            .and_then(|e| e.delayed);
        if let Some(late) = late.filter(|_| self.twin.rng.random_bool(0.4)) {
            self.twin.chain.now = self.twin.chain.now.max(late.due_at);
        }
        let sender = self.sender(at);
        if self.chance(0.5) {
            self.twin.claim_delayed(at, epoch, sender)
        } else {
            self.twin.pay_owed(at, epoch, sender)
        }
    }

    /// The list of an ended epoch as it stands, or now and then another.
    fn list(&mut self, at: usize) -> Option<(u32, Vec<Lock>)> {
        let channel = &self.twin.channels[at];
        let with_locks = channel
            .ended
            .iter()
            .filter(|(_, ended)| ended.locks.is_some());
        let epochs: Vec<_> = with_locks.map(|(epoch, _)| *epoch).collect();
        let epoch = if epochs.is_empty() {
            if self.chance(0.9) {
                return None;
            }
            self.past_epoch(at)
        } else {
            epochs[self.below(epochs.len())]
        };
        let list = self.twin.channels[at]
            .ended
            .get(&epoch)
            .and_then(|e| e.locks);
        let hash = list.map_or(Hash32::ZERO, |list| list.hash);
        let mut locks = self.lists.get(&hash).cloned().unwrap_or_default();
        if self.chance(0.05) {
            locks.pop();
        }
        Some((epoch, locks))
    }

    fn keep(&mut self, rest: Option<Vec<Lock>>) -> bool {
        let Some(rest) = rest else { return false };
        self.lists.insert(hub_core::lock::locks_hash(&rest), rest);
        true
    }

    pub(super) fn unlock(&mut self, at: usize) -> Step {
        let Some((epoch, locks)) = self.list(at) else {
            return self.wait(at);
        };
        let sender = self.sender(at);
        let rest = self.twin.unlock(at, epoch, &locks, sender)?;
        Ok(self.keep(rest))
    }

    pub(super) fn cash(&mut self, at: usize) -> Step {
        let Some((epoch, locks)) = self.list(at) else {
            return self.wait(at);
        };
        let covers = locks.iter().position(|lock| lock.kind == LockKind::Cover);
        let place = covers.unwrap_or(0).min(locks.len().saturating_sub(1));
        let books = [0, 1, 2].map(|which| self.book(which));
        let condition = locks.get(place).map(|lock| lock.condition);
        let named = books.iter().position(|book| Some(book.id()) == condition);
        let book = books[named.unwrap_or(0)];
        let cheque = Cheque {
            book_id: book.id(),
            beneficiary: Self::beneficiary(self.below(2)),
            cumulative: Amount::new(self.amount(self.scale / 2)),
        };
        let signed = self.chance(0.95);
        if locks.is_empty() {
            return self.wait(at);
        }
        let shown = (&book, &cheque, signed);
        let rest = self.twin.cash(at, epoch, &locks, place, shown)?;
        Ok(self.keep(rest))
    }
}
