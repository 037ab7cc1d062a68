//! The close, the answers to it, and who got what.

use super::Bug;
use super::chain::Rule;
use super::world::{TOWER, World};
use crate::setting::Violation;
use hub_core::dispute::answer::Closing;
use hub_core::dispute::{Dispute, Side};
use hub_core::lock::{Lock, LockKind};
use hub_core::party::{Answer, Attestation, Book, Content, Keys as _, Posted, Signed, answer};
use hub_core::settlement::{self, ChainTotals, Closer, Entitled, Verdict};
use hub_core::{Address, Amount, State};

/// Who plays fair in a dispute.
struct Cast {
    closer: Side,
    cheater: Option<Side>,
    exit: bool,
}

impl World {
    /// Closes, answers, settles, and compares.
    pub fn end(&mut self) {
        let cast = self.cast();
        for _ in 0..self.rng.below(6) {
            self.deliver();
        }
        if self.rng.percent(70) {
            self.execute_all();
        }
        let Some(posted) = self.close(&cast) else {
            return;
        };
        self.window(&cast);
        let Some(dispute) = self.chain.channel.dispute else {
            return;
        };
        let forfeit = self.expected_bounty(&dispute);
        let totals = self.chain.totals(&dispute);
        let locks = self.locks_of(&dispute.state);
        self.chain.block(11);
        if !self.chain.settle() {
            return;
        }
        // A close that pays its cheater nothing has nothing to forfeit late.
        let worthless = self.config.sleeps && self.chain.late(dispute).is_none();
        let forfeited = self.config.sleeps && self.answer_late(&cast, dispute);
        self.chain.claim(dispute.state.epoch);
        self.unlock(locks);
        if !worthless {
            let penalized = dispute.penalized.is_some() || forfeited;
            self.judge(&cast, posted, &totals, penalized);
        }
        if dispute.penalized == Some(TOWER) || forfeited {
            let paid = self.chain.paid_to(TOWER);
            self.found.require(paid == forfeit, Violation::WrongBounty);
            self.found.saw("bounty");
        }
        self.found.require(
            self.chain.total() == self.chain.put_in,
            Violation::NotConserved,
        );
    }

    fn cast(&mut self) -> Cast {
        let closer = match self.config.cheater {
            Some(side) if self.rng.percent(80) => side,
            _ if self.rng.percent(50) => Side::Hub,
            _ => Side::User,
        };
        let cheater = match (self.config.cheater, self.rng.below(4)) {
            (Some(side), _) => Some(side),
            (None, 0) => None,
            (None, 1) => Some(closer.other()),
            (None, _) => Some(closer),
        };
        let exit = closer == Side::User && self.config.custodial && self.rng.percent(30);
        Cast {
            closer,
            cheater,
            exit,
        }
    }

    fn address(&self, cast: &Cast, side: Side) -> Address {
        let params = &self.channel.params;
        match side {
            Side::Hub => params.hub_signer,
            Side::User if cast.exit => params.user,
            Side::User => params.user_signer,
        }
    }

    /// Posts: the held state, or, from a cheater, any that it can get both signatures for.
    fn close(&mut self, cast: &Cast) -> Option<u64> {
        let posted = if cast.cheater == Some(cast.closer) {
            let all = self.completable(cast.closer);
            let signed = self.rng.pick(&all)?.clone();
            let credit = self.node(cast.closer).party.book().credit;
            Posted {
                signed,
                credit: credit.filter(|_| cast.closer == Side::User),
            }
        } else {
            let effects = self.node(cast.closer).party.close().ok()?;
            let posted = effects.iter().find_map(|effect| match effect {
                hub_core::party::Effect::Post(posted) => Some((**posted).clone()),
                _ => None,
            })?;
            self.node(cast.closer).carry_out(effects, None);
            if self.config.bug == Bug::CloseWithoutFreeze {
                let open = |book: &mut Book| book.standing = hub_core::party::Standing::Open;
                self.node(cast.closer).tamper(open);
            }
            posted
        };
        let sender = self.address(cast, cast.closer);
        self.chain.close(&posted, sender).ok()?;
        self.found
            .saw(match (cast.cheater == Some(cast.closer), cast.closer) {
                (false, _) => "honest close",
                (true, Side::Hub) => "hub's cheat",
                (true, Side::User) => "user's cheat",
            });
        Some(posted.signed.version())
    }

    /// Every state that a side can post: the other's signature has left, its own it makes.
    fn completable(&self, side: Side) -> Vec<Signed> {
        let null = State::null(self.channel.id, 0, self.channel.params.capacity);
        let mut all = vec![Signed::unsigned(Content::new(null, Vec::new()))];
        for state in self.states.values() {
            let mut signed = state.clone();
            let digest = self.channel.leaf_digest(signed.content.leaf);
            let (own, keys) = match side {
                Side::Hub => (&mut signed.by_hub, self.hub.keys),
                Side::User => (&mut signed.by_user, self.user.keys),
            };
            own.get_or_insert_with(|| Attestation::alone(keys.sign(digest)));
            if signed.by_hub.is_some() && signed.by_user.is_some() {
                all.push(signed);
            }
        }
        all.sort_by_key(Signed::version);
        all
    }

    /// The window: everybody moves in some order, the honest side or its tower at least once.
    fn window(&mut self, cast: &Cast) {
        for _ in 0..self.rng.between(1, 6) {
            match self.rng.below(4) {
                0 => self.cheat_on(cast),
                1 => self.chain.block(1),
                _ => self.step_in_window(),
            }
        }
        self.reveal(cast);
        if self.config.sleeps {
            return;
        }
        // A tower looks at every block, so it also answers the last move of the cheater.
        for _ in 0..2 {
            self.answers(cast);
            if self.rng.percent(50) {
                self.cheat_on(cast);
            }
        }
        self.answers(cast);
    }

    fn step_in_window(&mut self) {
        if self.config.bug == Bug::CloseWithoutFreeze {
            self.step();
            self.deliver();
        } else {
            self.deliver();
        }
    }

    fn answers(&mut self, cast: &Cast) {
        for side in [Side::Hub, Side::User] {
            if cast.cheater == Some(side) {
                continue;
            }
            let book = self.node(side).party.book().clone();
            // A wrong contract may ask for the same again and again.
            for _ in 0..4 {
                let Some(closing) = self.chain.closing() else {
                    return;
                };
                let Some(reply) = answer(side, &book, &closing) else {
                    break;
                };
                self.chain.send(&reply, &closing, TOWER);
            }
        }
    }

    /// Whoever slept through the window comes back before the closer is paid; says whether the
    /// closer has lost what it waited for.
    fn answer_late(&mut self, cast: &Cast, dispute: Dispute) -> bool {
        let Some(closing) = self.chain.late(dispute) else {
            return false;
        };
        let side = cast.closer.other();
        if cast.cheater == Some(side) || self.config.bug == Bug::ForgetsSettled {
            return false;
        }
        let book = self.node(side).party.book().clone();
        if let Some(reply) = answer(side, &book, &closing) {
            self.chain.send(&reply, &closing, TOWER);
        }
        let forfeited = self.chain.late(dispute).is_none();
        if forfeited {
            self.found.saw("forfeited late");
        }
        forfeited
    }

    /// A cheater answers with any newer state, its own or the honest closer's evidence, to end
    /// up with more than it should.
    fn cheat_on(&mut self, cast: &Cast) {
        let Some(cheater) = cast.cheater else { return };
        let Some(closing) = self.chain.closing() else {
            return;
        };
        let Closing { dispute, .. } = closing;
        let sender = self.address(cast, cheater);
        let all = self.completable(cheater);
        let newer: Vec<_> = all
            .iter()
            .filter(|signed| signed.version() > dispute.state.version)
            .collect();
        // Proof against the closer, be it the cheater itself, who may want a small one early.
        let proof = all.iter().chain(self.states.values()).find(|signed| {
            let by_closer = match dispute.closer {
                Closer::Hub => signed.by_hub.is_some(),
                Closer::User => signed.by_user.is_some(),
                Closer::Exit => false,
            };
            by_closer && signed.content.state.ack_version > dispute.closed_version
        });
        let reply = match (self.rng.percent(50), proof) {
            (true, Some(proof)) if cheater != cast.closer || self.is_rule(Rule::PenaltyFinal) => {
                Answer::PenalizeBySigned(Box::new(proof.clone()))
            }
            _ => match self.rng.pick(&newer) {
                Some(newer) => Answer::Challenge(Box::new((*newer).clone())),
                None => return,
            },
        };
        self.chain.send(&reply, &closing, sender);
    }

    /// Whoever is to receive a hash lock shows its preimage while it counts.
    fn reveal(&mut self, cast: &Cast) {
        for at in 0..self.secrets.len() {
            let secret = self.secrets[at];
            let receiver = if secret.lock.user_pays {
                Side::Hub
            } else {
                Side::User
            };
            let shows = cast.cheater != Some(receiver) || self.rng.percent(50);
            if secret.lock.kind == LockKind::Hash && shows {
                self.chain.register(secret.preimage);
            }
        }
    }

    fn locks_of(&self, state: &State) -> Vec<Lock> {
        let found = self
            .states
            .values()
            .find(|signed| signed.content.state == *state);
        found.map_or_else(Vec::new, |signed| signed.content.locks.clone())
    }

    /// The list is resolved as soon as may be, metered locks after the receiver has shown its
    /// meter in its own time.
    fn unlock(&mut self, locks: Vec<Lock>) {
        if locks.is_empty() {
            return;
        }
        self.found.saw("locks settled");
        let epoch = self.chain.channel.epoch - 1;
        let mut rest = self.chain.unlock(epoch, &locks, TOWER);
        for secret in self.secrets.clone() {
            let in_time = self.chain.now < secret.lock.expiry;
            if secret.lock.kind == LockKind::Metered && in_time && secret.delivered > 0 {
                let order = secret.lock.condition;
                let _known_is_no_effect =
                    self.chain
                        .registry
                        .show_meter(order, secret.delivered, true);
            }
        }
        let last = locks.iter().map(|lock| lock.expiry).max().unwrap_or(0);
        self.chain.now = self.chain.now.max(last);
        rest = self.chain.unlock(epoch, &rest, TOWER);
        self.found.require(rest.is_empty(), Violation::NotConserved);
    }

    fn expected_bounty(&self, dispute: &Dispute) -> u128 {
        let totals = self.chain.totals(dispute);
        let dues = settlement::dues(&dispute.state, &totals);
        let verdict = match dispute.closer {
            Closer::Hub => Verdict::HubCheated {
                limit: self.chain.hub.penalty_limit(&self.channel.params),
            },
            _ => Verdict::UserCheated,
        };
        let bps = self.channel.params.bounty_bps;
        let pay = settlement::payout(&dues, verdict, bps);
        pay.forfeit.units() * u128::from(bps) / 10_000
    }

    /// What a state is worth to the user by all that the chain knows in the end.
    fn worth(&self, signed: &Signed, totals: &ChainTotals, credit: Amount) -> u128 {
        let totals = ChainTotals {
            credit_max: credit,
            ..*totals
        };
        let due = Entitled::new(&signed.content.state, &totals).clamped();
        let locks = signed.content.locks.iter().map(|lock| {
            let evidence = self.chain.registry.evidence(lock);
            let paid = settlement::resolve(lock, evidence, u64::MAX, false).unwrap_or_default();
            if lock.user_pays {
                lock.amount.less(paid)
            } else {
                paid
            }
        });
        let locked: u128 = locks.map(Amount::units).sum();
        totals.withdrawn.units() + due.units() + locked
    }

    fn judge(&mut self, cast: &Cast, posted: u64, totals: &ChainTotals, penalized: bool) {
        let got = self.chain.paid_to(self.channel.params.user) + self.owed();
        let honest = |side| cast.cheater != Some(side);
        if honest(cast.closer) {
            self.found.require(!penalized, Violation::HonestPunished);
        } else {
            self.judge_cheater(cast, posted, penalized);
        }
        for side in [Side::Hub, Side::User] {
            // Nobody is paid in full who sleeps through the window.
            let slept = self.config.sleeps && side != cast.closer;
            if !honest(side) || slept || (side == cast.closer && penalized) {
                continue;
            }
            let book = self.node(side).party.book().clone();
            let credit = book.credited();
            let exact = ChainTotals {
                credit_max: credit,
                ..*totals
            };
            let held = Entitled::new(&book.held.content.state, &exact);
            self.found.require(held.is_exact(), Violation::HonestShort);
            // A restored side may have forgotten what it signed, and is still bound by it.
            let forgotten = self.states.values().filter(|signed| {
                let own = match side {
                    Side::Hub => &signed.by_hub,
                    Side::User => &signed.by_user,
                };
                own.is_some() && signed.version() > book.held_version()
            });
            let possible = book.possible().chain(forgotten);
            let worths = possible.map(|signed| self.worth(signed, totals, credit));
            let fair = match side {
                Side::User => worths.min().is_none_or(|least| got >= least),
                // A hub that is paid by a cheat's forfeit gets more than its due.
                Side::Hub => worths.max().is_none_or(|most| got <= most),
            };
            self.found.require(fair, Violation::HonestShort);
        }
    }

    fn judge_cheater(&mut self, cast: &Cast, posted: u64, penalized: bool) {
        let node = match cast.closer.other() {
            Side::Hub => &self.hub,
            Side::User => &self.user,
        };
        let book = node.party.book();
        let held = book.held_version();
        // Two newer states held are a state and its base, whatever the states say of themselves.
        let newer = node.history.iter().filter(|version| **version > posted);
        let revoked = posted < book.held.content.state.ack_version
            || (self.config.bug == Bug::AckAcknowledged && newer.count() > 1);
        if revoked && !cast.exit {
            self.found.saw("revoked state posted");
            self.found.require(penalized, Violation::CheaterEscaped);
        }
        if posted < held && !penalized {
            self.found.saw("one behind replaced");
        }
    }

    fn owed(&self) -> u128 {
        let ended = self.chain.channel.ended.values();
        ended.map(|ended| ended.owed.units()).sum()
    }
}
