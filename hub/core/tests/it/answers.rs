//! What `answer::next` names is accepted, ends, costs nobody it guards, and is enough.

use crate::outcomes::{TOWER, received};
use crate::walk::{Walk, units};
use hub_core::dispute::answer::{self, Closing, Guard, Held, Late, Move, Proof};
use hub_core::dispute::{CoSigned, Dispute, Evidence, Key, ShownCredit, Side};
use hub_core::settlement::{ChainTotals, Closer, FundingMode};
use hub_core::{Address, Amount, State, Version};

const SEEDS: std::ops::Range<u64> = 0..600;
const AMPLE: u128 = 1 << 100;
const USER: Address = Address([0xC1; 20]);
const GUARDS: [Guard; 3] = [Guard::Hub, Guard::User, Guard::Both];
const CLOSERS: [Closer; 3] = [Closer::Hub, Closer::User, Closer::Exit];

fn pick<T: Copy>(walk: &mut Walk, from: &[T]) -> T {
    let count = u128::try_from(from.len()).unwrap();
    from[usize::try_from(walk.below(count)).unwrap()]
}

/// A random history with a close in it, and what an onlooker holds of it.
struct Case {
    walk: Walk,
    held: Held,
    closer: Closer,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mode = [FundingMode::Vault, FundingMode::Mint][usize::try_from(seed % 2).unwrap()];
        let mut walk = Walk::new(seed, mode, AMPLE, None);
        let states = walk.states.clone();
        let (closer, posted) = (pick(&mut walk, &CLOSERS), pick(&mut walk, &states));
        let mut held = Held::new(walk.held());
        held.credit = Amount::new(walk.credit);
        if walk.below(2) == 0 {
            held.hub.revoked = Some(pick(&mut walk, &states).version);
            held.user.revoked = Some(pick(&mut walk, &states).version);
        }
        // Nobody who closes has to show the credit.
        let credit = std::mem::take(&mut walk.credit);
        walk.close(closer, posted);
        walk.credit = credit;
        // Somebody else may have answered by half.
        if walk.below(2) == 0 {
            let half = pick(&mut walk, &states);
            let call = walk.by(Address([0x77; 20]));
            let _not_newer = walk.channel.challenge(&CoSigned::both(half), call);
        }
        Self { walk, held, closer }
    }

    fn dispute(&self) -> Dispute {
        self.walk.channel.dispute.unwrap()
    }

    fn totals(&self) -> ChainTotals {
        ChainTotals {
            withdrawn: self.walk.channel.withdrawn,
            deposited: self.walk.channel.deposited,
            credit_max: Amount::ZERO,
        }
    }

    fn closing(&self) -> Closing {
        Closing {
            dispute: self.dispute(),
            late: None,
            totals: self.totals(),
            now: self.walk.now,
        }
    }

    fn closers_key(&self) -> Key {
        match self.closer {
            Closer::Hub => Key::Hub,
            Closer::User => Key::User,
            Closer::Exit => Key::Stranger,
        }
    }

    fn evidence(&self, proof: Proof) -> Evidence {
        let signed_by = self.closers_key();
        let said = if self.closer == Closer::Hub {
            self.held.hub
        } else {
            self.held.user
        };
        match proof {
            Proof::State => Evidence::State {
                state: self.held.state,
                signed_by,
            },
            Proof::Revoke => Evidence::Revoke {
                version: said.revoked.unwrap(),
                signed_by,
            },
        }
    }

    /// Does what is named, until nothing is; the contract takes every move.
    fn answer(&mut self, guard: Guard, seed: u64) {
        for count in 0.. {
            assert!(count < 4, "seed {seed}: it never ends");
            let Some(due) = answer::next(&self.closing(), Some(&self.held), guard) else {
                return;
            };
            let call = self.walk.by(TOWER);
            let (held, channel) = (self.held, &mut self.walk.channel);
            match due {
                Move::Challenge => {
                    let newer = CoSigned::both(held.state);
                    channel.challenge(&newer, call).unwrap();
                }
                Move::AddCredit => {
                    let credit = ShownCredit {
                        cumulative: held.credit,
                        signed_by: Key::Hub,
                    };
                    channel.add_credit(credit, call).unwrap();
                }
                Move::Penalize(proof) => {
                    let evidence = self.evidence(proof);
                    let (channel, hub) = (&mut self.walk.channel, &mut self.walk.hub);
                    channel.penalize(hub, 0, &evidence, call).unwrap();
                }
                Move::Settle | Move::Claim => panic!("seed {seed}: {due:?} in the window"),
            }
        }
    }

    /// All that the user gets out of the epoch.
    fn finish(mut self) -> i128 {
        let executed = units(self.walk.channel.withdrawn);
        let paid = self.walk.settle(TOWER);
        let late = self.walk.claim();
        executed + i128::try_from(received(&paid, USER) + late).unwrap()
    }

    fn is_revoked(&self, closed: Version) -> bool {
        let said = match self.closer {
            Closer::Exit => return false,
            Closer::Hub => self.held.hub,
            Closer::User => self.held.user,
        };
        said.base > closed || said.revoked >= Some(closed)
    }
}

#[test]
fn no_move_makes_the_guarded_side_forfeit_and_the_contract_takes_every_one() {
    let (mut own, mut punished) = (0, 0);
    for seed in SEEDS {
        for guard in GUARDS {
            let mut case = Case::new(seed);
            let before = case.dispute().penalized;
            case.answer(guard, seed);
            let after = case.dispute().penalized;
            if guard.covers(case.closer) {
                assert_eq!(before, after, "seed {seed}, {guard:?}");
                own += 1;
            }
            punished += u32::from(before != after);
        }
    }
    assert!(
        own > 200 && punished > 200,
        "{own} own, {punished} punished"
    );
}

#[test]
fn answering_without_looking_whose_close_it_is_would_make_the_own_side_forfeit() {
    let mut forfeited = 0;
    for seed in SEEDS {
        let mut case = Case::new(seed);
        let before = case.dispute().penalized;
        case.answer(Guard::Both, seed);
        forfeited += u32::from(before != case.dispute().penalized);
    }
    assert!(
        forfeited > 100,
        "what the guard prevents occurs: {forfeited}"
    );
}

#[test]
fn a_close_of_the_other_side_ends_with_the_held_state_and_every_cheater_punished() {
    let (mut replaced, mut punished) = (0, 0);
    for seed in SEEDS {
        for guard in GUARDS {
            let mut case = Case::new(seed);
            if guard.covers(case.closer) {
                continue;
            }
            let first = case.dispute();
            case.answer(guard, seed);
            let last = case.dispute();
            assert_eq!(last.state, case.held.state, "seed {seed}, {guard:?}");
            let revoked = case.is_revoked(first.closed_version);
            assert_eq!(last.penalized.is_some(), revoked, "seed {seed}, {guard:?}");
            if guard != Guard::Hub {
                let shown = last.credit_max.max(last.state.credited);
                assert!(shown >= case.held.credit, "seed {seed}");
            }
            replaced += u32::from(first.state != last.state);
            punished += u32::from(revoked);
        }
    }
    assert!(replaced > 300 && punished > 300, "{replaced}, {punished}");
}

#[test]
fn answering_ones_own_side_never_costs_it_anything() {
    let mut gained = 0;
    for seed in SEEDS {
        for (guard, sign) in [(Guard::User, 1), (Guard::Hub, -1)] {
            let mut case = Case::new(seed);
            if !guard.covers(case.closer) {
                continue;
            }
            case.answer(guard, seed);
            let alone = Case::new(seed).finish();
            let answered = case.finish();
            assert!(sign * answered >= sign * alone, "seed {seed}, {guard:?}");
            gained += u32::from(answered != alone);
        }
    }
    assert!(gained > 20, "{gained}");
}

#[test]
fn a_cheating_user_whom_nobody_answered_loses_what_it_waits_for_to_the_other_side_alone() {
    let mut forfeited = 0;
    for seed in SEEDS {
        for guard in GUARDS {
            let mut case = Case::new(seed);
            let dispute = case.dispute();
            let totals = case.totals();
            case.walk.settle(TOWER);
            let late = case.walk.channel.ended.get(&0);
            let Some(late) = late.and_then(|ended| ended.delayed) else {
                continue;
            };
            let at = |now| Closing {
                dispute,
                late: Some(Late {
                    due_at: late.due_at,
                    gone: false,
                }),
                totals,
                now,
            };
            let due = |now| answer::next(&at(now), Some(&case.held), guard);
            let cheated = case.closer == Closer::User && case.is_revoked(dispute.closed_version);
            if cheated && dispute.penalized.is_none() && guard != Guard::User {
                let Some(Move::Penalize(proof)) = due(case.walk.now) else {
                    panic!("seed {seed}, {guard:?}: not punished");
                };
                let evidence = case.evidence(proof);
                let call = case.walk.by(TOWER);
                let (channel, hub) = (&mut case.walk.channel, &mut case.walk.hub);
                channel.penalize(hub, 0, &evidence, call).unwrap();
                forfeited += 1;
            } else {
                assert_eq!(due(late.due_at - 1), None, "seed {seed}, {guard:?}");
                assert_eq!(due(late.due_at), Some(Move::Claim), "seed {seed}");
            }
        }
    }
    assert!(forfeited > 50, "{forfeited}");
}

#[test]
fn what_is_wanted_of_a_side_is_wanted_of_its_other_side() {
    assert_eq!(Guard::from(Side::Hub), Guard::Hub);
    assert_eq!(Guard::from(Side::User), Guard::User);
    for side in [Side::Hub, Side::User] {
        let guards = |closer| Guard::from(side).covers(closer);
        assert_eq!(guards(Closer::Hub), !guards(Closer::User));
        assert_eq!(guards(Closer::User), guards(Closer::Exit));
    }
    let null = State::null(Default::default(), 0, Amount::new(1));
    assert_eq!(
        (Held::new(null).hub.base, Held::new(null).user.revoked),
        (0, None)
    );
}
