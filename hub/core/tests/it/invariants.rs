//! Invariants of a channel on chain, by the ids that `ARCHITECTURE.md` lists. Each holds for every
//! seed of a random walk; a failing one names its seed.

use crate::outcomes::{HUB_CAP, TOWER, received, sender};
use crate::unlocks::{any_locks, any_registry};
use crate::vectors::Source;
use crate::walk::{Breach, Walk, units};
use hub_core::dispute::{CoSigned, Evidence, Key, Refusal, Side};
use hub_core::settlement::{Closer, FundingMode, Purse, resolve_list, unlock_list};
use hub_core::{Address, Amount, State};

const SEEDS: std::ops::Range<u64> = 0..400;
const AMPLE: u128 = 1 << 100;
const CLOSERS: [Closer; 3] = [Closer::Hub, Closer::User, Closer::Exit];
const USER: Address = Address([0xC1; 20]);

fn mode(seed: u64) -> FundingMode {
    if seed.is_multiple_of(2) {
        FundingMode::Vault
    } else {
        FundingMode::Mint
    }
}

fn closer(seed: u64) -> Closer {
    CLOSERS[usize::try_from(seed / 2 % 3).unwrap()]
}

/// A walk of rules kept, with money for everything.
fn walk(seed: u64) -> Walk {
    Walk::new(seed, mode(seed), AMPLE, None)
}

/// What the user got: executed withdrawals, settlement at once, and settlement late.
fn finish(walk: &mut Walk) -> i128 {
    let executed = units(walk.channel.withdrawn);
    let paid = walk.settle(TOWER);
    let late = walk.claim();
    executed + i128::try_from(received(&paid, USER) + late).unwrap()
}

#[test]
fn c01_the_contract_holds_what_its_books_say() {
    for seed in SEEDS.filter(|seed| mode(*seed) == FundingMode::Vault) {
        // Sometimes there is less than everybody is due.
        let funds = [AMPLE, 500_000, 0][usize::try_from(seed / 2 % 3).unwrap()];
        let mut walk = Walk::new(seed, FundingMode::Vault, funds, None);
        let collateral = walk.below(1_000);
        let hub = walk.hub.clone();
        walk.channel
            .add_collateral(&hub, Amount::new(collateral))
            .unwrap();
        walk.brought += collateral;
        let held = walk.held();
        walk.close(closer(seed), held);
        let check = |walk: &Walk| {
            let ended = walk.channel.ended.values();
            let waiting: u128 = ended
                .map(|ended| {
                    let late = ended.delayed.map_or(0, |late| late.amount.units());
                    late + ended.locks.map_or(0, |list| list.reserve.units())
                })
                .sum();
            let books = walk.hub.funds.units() + walk.channel.collateral.units() + waiting;
            let bond = 100 * HUB_CAP - walk.hub.bond.units();
            let tokens = funds + walk.brought - walk.left;
            assert_eq!(books, tokens + bond, "seed {seed}");
        };
        check(&walk);
        walk.settle(TOWER);
        check(&walk);
        walk.claim();
        check(&walk);
    }
}

#[test]
fn c02_a_user_whose_tower_answers_gets_its_newest_balance_whatever_was_posted() {
    for seed in SEEDS {
        let mut walk = walk(seed);
        let promised = walk.promised();
        let count = u128::try_from(walk.states.len()).unwrap();
        let place = usize::try_from(walk.below(count)).unwrap();
        let posted = walk.states[place];
        walk.close(Closer::Hub, posted);
        walk.answer(TOWER);
        let limit = units(walk.entitled().pool) + units(walk.channel.withdrawn);
        let penalized = walk.channel.dispute.unwrap().penalized.is_some();
        let got = finish(&mut walk);
        let cap = units(walk.channel.params.penalty_cap);
        assert!(got >= promised, "seed {seed}: {got} of {promised}");
        assert!(
            got <= limit + cap,
            "seed {seed}: {got} of {limit} and {cap}"
        );
        if !penalized {
            assert_eq!(got, promised, "seed {seed}");
        }
    }
}

#[test]
fn c03_newest_state_and_base_are_never_punished_and_older_ones_always() {
    let mut punished = 0;
    for seed in SEEDS {
        let party = [Closer::Hub, Closer::User][usize::try_from(seed % 2).unwrap()];
        let side = if party == Closer::Hub {
            Key::Hub
        } else {
            Key::User
        };
        let states = walk(seed).states;
        for (place, posted) in states.iter().enumerate() {
            let mut walk = walk(seed);
            walk.close(party, *posted);
            let is_old = place + 2 < states.len();
            for shown in &states {
                let proof = Evidence::State {
                    state: *shown,
                    signed_by: side,
                };
                let call = walk.by(TOWER);
                let mut dispute = walk.channel.clone();
                let outcome = dispute.penalize(&mut walk.hub.clone(), 0, &proof, call);
                let revokes = shown.ack_version > posted.version;
                assert_eq!(outcome.is_ok(), revokes, "seed {seed}");
            }
            walk.answer(TOWER);
            let penalized = walk.channel.dispute.unwrap().penalized;
            assert_eq!(penalized.is_some(), is_old, "seed {seed}, {place}");
            punished += u32::from(is_old);
        }
    }
    assert!(punished > 1_000, "old posts occur: {punished}");
}

#[test]
fn c04_nothing_signed_for_an_epoch_counts_in_another() {
    for seed in SEEDS.take(100) {
        let mut walk = walk(seed);
        let held = walk.held();
        walk.close(Closer::Hub, held);
        walk.settle(TOWER);
        assert_eq!(walk.channel.epoch, 1);
        let mut all = walk.states.clone();
        all[0] = State::null(walk.channel.id, 0, walk.channel.params.capacity);
        for state in all {
            let before = walk.channel.clone();
            let call = walk.by(sender(Closer::Hub));
            let refused = walk
                .channel
                .close(&walk.hub, &CoSigned::both(state), None, None, call);
            let wrong = Refusal::WrongEpoch {
                expected: 1,
                found: 0,
            };
            assert_eq!(refused, Err(wrong), "seed {seed}");
            assert_eq!(walk.channel, before);
        }
    }
}

/// Whether the N7 identity holds for this seed, and x needs no clamp.
fn identity_holds(seed: u64, breach: Option<Breach>) -> bool {
    let mut walk = Walk::new(seed, mode(seed), AMPLE, breach);
    let (promised, exact) = (walk.promised(), walk.entitled().is_exact());
    // The newest state, or its base, or null by an exit, each with the newest as the answer.
    let closer = closer(seed);
    let last = walk.states.len() - 1;
    let posted = match closer {
        Closer::Exit => walk.states[0],
        _ => walk.states[last.saturating_sub(usize::from(seed.is_multiple_of(5)))],
    };
    walk.close(closer, posted);
    walk.answer(TOWER);
    let honest = walk.channel.dispute.unwrap().penalized.is_none();
    finish(&mut walk) == promised && exact && honest
}

#[test]
fn c05_withdrawals_and_settlement_add_up_to_the_entitlement_in_every_order() {
    for seed in 0..4_000 {
        assert!(identity_holds(seed, None), "seed {seed}");
    }
}

#[test]
fn c05_fails_without_the_reserve_and_with_an_early_reversal() {
    for breach in [Breach::NoReserve, Breach::EarlyReversal] {
        let broken = (0..4_000).filter(|seed| !identity_holds(*seed, Some(breach)));
        assert!(broken.count() > 0, "{breach:?} shows");
    }
}

#[test]
fn c05_what_the_funds_can_not_pay_is_owed_to_the_unit() {
    for seed in SEEDS {
        let mut walk = Walk::new(seed, mode(seed), 1_000, None);
        let promised = walk.promised();
        let held = walk.held();
        walk.close(closer(seed), held);
        let got = finish(&mut walk);
        let owed = walk
            .channel
            .ended
            .get(&0)
            .map_or(Amount::ZERO, |ended| ended.owed);
        assert_eq!(got + units(owed), promised, "seed {seed}");
        assert_eq!(owed, walk.hub.owed, "seed {seed}");
        walk.hub.funds = owed;
        let paid = walk.channel.pay_owed(&mut walk.hub, 0);
        assert_eq!(paid.is_ok(), !owed.is_zero(), "seed {seed}");
        assert_eq!(walk.hub.owed, Amount::ZERO, "seed {seed}");
    }
}

#[test]
fn c06_every_lock_ends_once_and_pays_no_more_than_its_amount() {
    for seed in SEEDS {
        let mut source = Source::at(1 + (seed << 20));
        let locks = any_locks(&mut source, 6);
        let registry = any_registry(&mut source, &locks);
        let evidence = |lock: &hub_core::lock::Lock| registry.evidence(lock);
        let sum = Amount::sum(locks.iter().map(|lock| lock.amount)).unwrap();
        let last = locks.iter().map(|lock| lock.expiry).max().unwrap();
        let all = resolve_list(&locks, evidence, last, (false, false));
        assert!(all.rest.is_empty(), "seed {seed}: all end at expiry");
        assert_eq!(
            all.to_user.checked_add(all.to_hub),
            Some(sum),
            "seed {seed}"
        );

        // In two calls at any time, by somebody who is no receiver: the same for everybody.
        let first = last - 1_000 + u64::try_from(source.bits(10)).unwrap();
        let early = resolve_list(&locks, evidence, first.min(last), (false, false));
        let late = resolve_list(&early.rest, evidence, last, (false, false));
        assert_eq!(early.to_user.checked_add(late.to_user), Some(all.to_user));
        assert_eq!(early.to_hub.checked_add(late.to_hub), Some(all.to_hub));

        let reserve = Amount::new(source.bits(64) % (sum.units() + 1));
        let purse = Purse {
            reserve,
            short: sum.less(reserve),
            funds: Amount::ZERO,
            hub_owed: sum.less(reserve),
        };
        let (_, paid) = unlock_list(&locks, purse, evidence, last, (false, false)).unwrap();
        assert_eq!(
            paid.paid.checked_add(paid.owed),
            Some(all.to_user),
            "seed {seed}"
        );
        assert_eq!(
            paid.paid.checked_add(paid.purse.funds),
            Some(reserve),
            "seed {seed}"
        );
        assert_eq!(paid.purse.hub_owed, paid.owed, "seed {seed}");
    }
}

#[test]
fn c07_two_states_of_one_version_cost_the_hub_once_per_epoch() {
    for seed in SEEDS.take(100) {
        let mut walk = walk(seed);
        let mut one = walk.held();
        one.version += 1;
        let other = State {
            withdrawn: Amount::new(one.withdrawn.units() + 1),
            ..one
        };
        let bond = walk.hub.bond;
        let call = walk.by(TOWER);
        let hub = &mut walk.hub;
        let mut prove = |first: &State, second: &State, key| {
            walk.channel
                .prove_equivocation(hub, (first, key), (second, Key::Hub), call)
        };
        assert_eq!(prove(&one, &one, Key::Hub), Err(Refusal::NoEquivocation));
        let unsigned = Refusal::BadAttestation { side: Side::Hub };
        assert_eq!(prove(&one, &other, Key::User), Err(unsigned));
        let paid = prove(&one, &other, Key::Hub).unwrap();
        assert_eq!(prove(&one, &other, Key::Hub), Err(Refusal::NoEquivocation));
        let sum: u128 = paid.iter().map(|payment| payment.amount.units()).sum();
        assert_eq!(walk.hub.bond.units(), bond.units() - sum);
        assert_eq!(sum, walk.channel.params.penalty_cap.units().min(HUB_CAP));
    }
}

#[test]
fn c09_a_closer_is_paid_after_the_other_side() {
    for seed in SEEDS {
        let mut walk = walk(seed);
        let held = walk.held();
        walk.close(Closer::User, held);
        let deadline = walk.channel.dispute.unwrap().deadline;
        let (early, hub) = (walk.by(TOWER), &mut walk.hub);
        let ahead = Refusal::DeadlineAhead { deadline };
        assert_eq!(walk.channel.clone().settle(hub, early), Err(ahead));
        let paid = walk.settle(TOWER);
        assert_eq!(received(&paid, USER), 0, "seed {seed}");
        let Some(late) = walk.channel.ended.get(&0).and_then(|e| e.delayed) else {
            continue;
        };
        let delay = u64::from(walk.channel.params.self_delay);
        assert_eq!(late.due_at, deadline + delay, "seed {seed}");
        let hub = &mut walk.hub;
        let refused = walk.channel.claim_delayed(hub, 0, late.due_at - 1);
        let not_due = Refusal::NotDue {
            due_at: late.due_at,
        };
        assert_eq!(refused, Err(not_due), "seed {seed}");
        assert!(walk.claim() > 0, "seed {seed}");
    }
}

#[test]
fn c12_a_cheater_loses_all_it_would_have_been_paid() {
    let mut cheated = 0;
    for seed in SEEDS {
        let mut walk = walk(seed);
        if walk.states.len() < 3 {
            continue;
        }
        let (promised, executed) = (walk.promised(), units(walk.channel.withdrawn));
        let oldest = walk.states[0];
        walk.close(Closer::User, oldest);
        walk.answer(TOWER);
        let paid = walk.settle(TOWER);
        assert_eq!(received(&paid, USER), 0, "seed {seed}");
        assert_eq!(walk.claim(), 0, "seed {seed}");
        let due = u128::try_from(promised - executed).unwrap();
        assert_eq!(received(&paid, TOWER), due * 500 / 10_000, "seed {seed}");
        cheated += 1;
    }
    assert!(cheated > 200, "{cheated}");
}
