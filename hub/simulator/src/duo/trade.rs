//! What the two sides do while nobody closes.

use super::Bug;
use super::world::{Secret, World};
use hub_core::dispute::Side;
use hub_core::lock::{Lock, LockKind};
use hub_core::party::{ChainView, Change, Order};
use hub_core::types::LegKind;
use hub_core::{Amount, Hash32, sha256};

impl World {
    /// Trades for a while.
    pub fn trade(&mut self) {
        for _ in 0..self.rng.between(15, 60) {
            self.step();
        }
    }

    /// One thing happens.
    pub fn step(&mut self) {
        let side = self.any_side();
        match self.rng.below(100) {
            0..=24 => self.propose(),
            25..=69 => {
                for _ in 0..self.rng.between(1, 3) {
                    self.deliver();
                }
            }
            70..=75 => {
                let effects = self.node(side).party.retry();
                self.act(side, effects);
            }
            76..=77 => self.node(side).restart(),
            78..=80 => {
                let last = self.last();
                let effects = self.node(last).party.withdraw_proposal();
                self.act(last, effects);
                self.found.saw("burned");
            }
            81..=84 => self.chain.block(1),
            85..=86 if self.config.restores => self.node(side).back_up(),
            87 if self.config.restores => self.restore(side),
            88 => self.lift_fence(side),
            89..=99 if self.config.rich => self.step_rich(side),
            _ => self.deliver(),
        }
    }

    fn step_rich(&mut self, side: Side) {
        match self.rng.below(12) {
            0 => {
                let amount = u128::from(self.rng.between(1, 60));
                self.chain.deposit(amount);
            }
            1..=3 => self.credit(),
            4..=6 => self.sign_withdraw(side),
            7..=8 => self.execute(),
            9..=10 => self.deliver_goods(),
            _ => self.chain.block(5),
        }
    }

    fn any_side(&mut self) -> Side {
        if self.rng.percent(50) {
            Side::Hub
        } else {
            Side::User
        }
    }

    fn propose(&mut self) {
        let last = self.last();
        let view = self.view(last);
        let mut orders = Vec::new();
        let unfolded = self.node(last).unfolded();
        if !unfolded.is_zero() {
            // The credit itself may have been lost, and nobody folds what it has not seen.
            self.credit_again();
            orders.push(self.order(Change::FoldCredit { amount: unfolded }));
            self.found.saw("credit folded");
        }
        let fresh = self.node(last).party.book().held.version() == 0;
        if !(fresh && self.config.custodial) {
            for _ in 0..self.rng.between(1, 2) {
                let change = self.change(&view);
                let order = self.order(change);
                orders.push(order);
            }
        }
        if !self.config.custodial && self.rng.percent(95) {
            for order in &orders {
                let effects = self.user.party.approve(*order);
                self.user.carry_out(effects, None);
            }
        }
        if let Ok(effects) = self.node(last).propose(orders, &view) {
            self.act(last, effects);
        }
    }

    fn order(&mut self, change: Change) -> Order {
        self.operations += 1;
        let mut operation = Hash32::ZERO;
        operation.0[..8].copy_from_slice(&self.operations.to_be_bytes());
        Order { operation, change }
    }

    fn change(&mut self, view: &ChainView) -> Change {
        let last = self.last();
        let kinds = [
            LegKind::Issue,
            LegKind::Debit,
            LegKind::Credit,
            LegKind::Redeem,
        ];
        if self.config.rich {
            let held = self.node(last).party.book().held.content.clone();
            if self.config.bug == Bug::EarlyReversal
                && let Some(change) = self.provoke(view)
            {
                return change;
            }
            match self.rng.below(10) {
                0..=1 => return self.leg(LegKind::Withdraw, 120),
                2 => {
                    if let Some(refund) = self.node(last).reversible(view) {
                        self.found.saw("reversal");
                        return refund;
                    }
                }
                3 if view.deposits > held.state.deposited => {
                    self.found.saw("deposit folded");
                    return Change::Leg {
                        kind: LegKind::Deposit,
                        amount: view.deposits.less(held.state.deposited),
                        counterparty: Hash32::ZERO,
                    };
                }
                4..=5 => return self.add_lock(view),
                6 => {
                    let lock = self.rng.pick(&held.locks).copied();
                    if let Some(change) = lock.and_then(|lock| self.end_lock(&lock)) {
                        return change;
                    }
                }
                _ => {}
            }
        }
        let poor = self.node(last).party.book().held.content.state.user_balance < Amount::new(40);
        let kind = match self.rng.pick(&kinds) {
            Some(kind) if !poor => *kind,
            _ => LegKind::Issue,
        };
        self.leg(kind, 150)
    }

    /// Takes a payout back as soon as it is signed, and spends the money.
    fn provoke(&mut self, view: &ChainView) -> Option<Change> {
        let last = self.last();
        let signed = !self.payouts.is_empty();
        match self.rng.below(3) {
            0 if signed => self.node(last).reversible(view),
            1 if signed => Some(Change::Leg {
                kind: LegKind::Debit,
                amount: self.node(last).party.book().held.content.state.user_balance,
                counterparty: Hash32::ZERO,
            }),
            _ => None,
        }
    }

    fn leg(&mut self, kind: LegKind, most: u64) -> Change {
        Change::Leg {
            kind,
            amount: Amount::new(u128::from(self.rng.between(1, most))),
            counterparty: Hash32::ZERO,
        }
    }

    fn add_lock(&mut self, view: &ChainView) -> Change {
        let kind = match self.rng.below(3) {
            0 => LockKind::Metered,
            1 => LockKind::Cover,
            _ => LockKind::Hash,
        };
        let mut preimage = [0; 32];
        preimage[..8].copy_from_slice(&self.rng.bits().to_be_bytes());
        let lock = Lock {
            id: Hash32(preimage),
            kind,
            user_pays: self.rng.percent(50),
            amount: Amount::new(u128::from(self.rng.between(1, 40))),
            expiry: view.time + self.rng.between(20, 400),
            condition: sha256(&preimage),
            total: if kind == LockKind::Metered { 10 } else { 0 },
        };
        self.secrets.push(Secret {
            lock,
            preimage,
            delivered: 0,
        });
        self.found.saw("lock");
        Change::AddLock(lock)
    }

    fn secret(&self, lock: &Lock) -> Option<Secret> {
        let found = self.secrets.iter().find(|secret| secret.lock.id == lock.id);
        found.copied()
    }

    fn end_lock(&mut self, lock: &Lock) -> Option<Change> {
        let secret = self.secret(lock)?;
        let id = lock.id;
        Some(match (lock.kind, self.rng.below(3)) {
            (LockKind::Hash, 0) => Change::Fulfil {
                lock: id,
                preimage: secret.preimage,
            },
            (_, 1) => Change::Expire { lock: id },
            (LockKind::Metered, _) => Change::Resolve {
                lock: id,
                delivered: secret.delivered,
            },
            (LockKind::Cover, _) => Change::Cash {
                lock: id,
                amount: Amount::new(u128::from(self.rng.between(1, 10))),
            },
            (LockKind::Hash, _) => Change::Fail { lock: id },
        })
    }

    /// Goods are delivered, or a cheque written: the payer signs, the receiver sees it.
    fn deliver_goods(&mut self) {
        if self.secrets.is_empty() {
            return;
        }
        let at = self.rng.index(self.secrets.len());
        let secret = &mut self.secrets[at];
        secret.delivered = (secret.delivered + 3).min(10);
        let (lock, delivered) = (secret.lock, secret.delivered);
        for node in [&mut self.hub, &mut self.user] {
            let effects = match lock.kind {
                LockKind::Metered => node.party.note_meter(lock.id, delivered),
                LockKind::Cover => node.party.note_cheque(lock.id, Amount::new(5)),
                LockKind::Hash => Vec::new(),
            };
            node.carry_out(effects, None);
        }
    }

    /// Money for a user who is not there.
    fn credit(&mut self) {
        if self.config.custodial {
            return;
        }
        let view = self.view(Side::Hub);
        let more = Amount::new(u128::from(self.rng.between(1, 60)));
        let Some(total) = self.hub.party.book().credited().checked_add(more) else {
            return;
        };
        let keys = self.hub.keys;
        if let Ok(effects) = self.hub.party.sign_credit(total, &view, &keys) {
            self.found.saw("credit");
            self.act(Side::Hub, effects);
        }
    }

    fn credit_again(&mut self) {
        let view = self.view(Side::Hub);
        let (total, keys) = (self.hub.party.book().credited(), self.hub.keys);
        if let Ok(effects) = self.hub.party.sign_credit(total, &view, &keys) {
            self.act(Side::Hub, effects);
        }
    }

    /// One side signs the payout of what is ordered, or countersigns the other's.
    fn sign_withdraw(&mut self, side: Side) {
        // The true chain: the bugs of the nodes concern what they sign in states.
        let view = self.chain.view();
        let shown = self.payouts.iter().rev().find(|(withdraw, by)| {
            let (own, theirs) = (side == Side::User, side.other() == Side::User);
            by[usize::from(theirs)] && !by[usize::from(own)] && withdraw.valid_until >= view.time
        });
        let valid_for = 20 + 10 * self.rng.below(30);
        let withdraw = match shown {
            Some((withdraw, _)) => Some(*withdraw),
            None => self.node(side).unsigned_withdraw(&view, valid_for),
        };
        let Some(withdraw) = withdraw else { return };
        let node = self.node(side);
        let keys = node.keys;
        if let Ok(effects) = node.party.sign_withdraw(withdraw, &view, &keys) {
            self.act(side, effects);
        }
    }

    /// Whoever holds payouts executes them before the channel closes.
    pub fn execute_all(&mut self) {
        for (order, by) in self.payouts.clone() {
            if by[0] && by[1] && self.chain.execute(order) {
                self.found.saw("payout");
            }
        }
    }

    fn execute(&mut self) {
        let signed = |(_, by): &&(_, [bool; 2])| by[0] && by[1];
        let orders: Vec<_> = self
            .payouts
            .iter()
            .filter(signed)
            .map(|(w, _)| *w)
            .collect();
        if let Some(order) = self.rng.pick(&orders).copied()
            && self.chain.execute(order)
        {
            self.found.saw("payout");
        }
    }
}
