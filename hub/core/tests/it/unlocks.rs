//! Outcomes of whole lock lists: settled with enough or too little, cashed, unlocked twice.

use crate::outcomes::{START, TOWER, WINDOW, channel, hub, mode_code, sender};
use crate::vectors::Source;
use hub_core::dispute::{Call, Channel, CoSigned, Hub, Refusal, Registry, ShownCheque};
use hub_core::lock::{Lock, LockKind, locks_hash};
use hub_core::settlement::{Closer, FundingMode};
use hub_core::{Address, Amount, Hash32, State, keccak256, sha256};

/// Locks of every case.
const LOCKS: usize = 4;
/// Second after the start at which every case is settled.
const SETTLED: u64 = WINDOW as u64 + 1;
/// Second after the start at which nothing waits any more.
const LAST: u64 = 5_000;

struct Case {
    mode: FundingMode,
    locks: Vec<Lock>,
    /// By lock: second of the preimage, granules, or what a cheque promises.
    shown: Vec<u64>,
    funds: u128,
    more: u128,
    asker: Closer,
    first: u64,
}

fn preimage(place: usize) -> Hash32 {
    keccak256(&[u8::try_from(place).unwrap()])
}

fn beneficiary(place: usize) -> Address {
    Address([u8::try_from(0xB0 + place).unwrap(); 20])
}

fn lock(s: &mut Source, place: usize) -> (Lock, u64) {
    let pick =
        |s: &mut Source, from: &[u64]| from[usize::try_from(s.u64(16)).unwrap() % from.len()];
    let kind = [LockKind::Hash, LockKind::Metered, LockKind::Cover][place % 3];
    let total = pick(s, &[0, 1, 3, 1_000]);
    let (condition, shown) = match kind {
        LockKind::Hash => (sha256(&preimage(place).0), pick(s, &[0, 1, 20, 50])),
        LockKind::Metered => (s.hash(), pick(s, &[0, 1, 2, 3, 333, 1_001])),
        LockKind::Cover => (s.hash(), pick(s, &[0, 7, 400, 5_000])),
    };
    let lock = Lock {
        id: Hash32([u8::try_from(place).unwrap(); 32]),
        kind,
        user_pays: s.u64(1) == 1,
        amount: Amount::new(u128::from(pick(s, &[1, 10, 333, 1_000, 4_321]))),
        expiry: START + pick(s, &[20, 50, SETTLED + 1, 100, 1_000]),
        condition,
        total: if kind == LockKind::Metered { total } else { 0 },
    };
    (lock, shown)
}

/// Locks of every kind.
pub fn any_locks(s: &mut Source, count: usize) -> Vec<Lock> {
    (0..count).map(|place| lock(s, place).0).collect()
}

/// Evidence for some of them, before and after their expiry.
pub fn any_registry(s: &mut Source, locks: &[Lock]) -> Registry {
    let mut registry = Registry::default();
    for (place, lock) in locks.iter().enumerate() {
        if s.u64(1) == 0 {
            registry.register_preimage(preimage(place), START + s.u64(7));
            let delivered = 1 + s.u64(9);
            registry
                .show_meter(lock.condition, delivered, true)
                .unwrap();
        }
    }
    registry
}

fn case(s: &mut Source, index: usize) -> Case {
    let (mut locks, mut shown): (Vec<_>, Vec<_>) =
        (0..LOCKS).map(|place| lock(s, index + place)).unzip();
    let mut asker = [Closer::Hub, Closer::User, Closer::Exit][index / 2 % 3];
    if index.is_multiple_of(9) {
        // The payer asks too early, and nobody has shown anything.
        asker = Closer::User;
        shown = vec![0; LOCKS];
        for lock in &mut locks {
            (lock.user_pays, lock.expiry) = (true, START + 1_000);
        }
    }
    let sum: u128 = locks.iter().map(|lock| lock.amount.units()).sum();
    Case {
        mode: [FundingMode::Mint, FundingMode::Vault][index % 2],
        locks,
        shown,
        funds: [2 * sum, sum, sum / 2, 0][index % 4],
        more: [0, sum / 3, sum][index % 3],
        asker,
        first: SETTLED + [2, 30, 200][index / 3 % 3],
    }
}

impl Case {
    fn settled(&self, registry: &mut Registry) -> (Hub, Channel) {
        for (place, lock) in self.locks.iter().enumerate() {
            match lock.kind {
                LockKind::Hash if self.shown[place] != 0 => {
                    let index = usize::from(lock.id.0[0]);
                    registry.register_preimage(preimage(index), START + self.shown[place]);
                }
                LockKind::Metered if self.shown[place] != 0 => registry
                    .show_meter(lock.condition, self.shown[place], true)
                    .unwrap(),
                _ => {}
            }
        }
        let mut hub = hub(self.mode, self.funds);
        let sum = |user_pays| {
            let paid = self.locks.iter().filter(|lock| lock.user_pays == user_pays);
            Amount::sum(paid.map(|lock| lock.amount)).unwrap()
        };
        let capacity = sum(true).units() + sum(false).units() + 1;
        let mut channel = channel(capacity, 0, 0);
        let mut state = State::null(channel.id, 0, Amount::new(1));
        state.version = 1;
        state.hub_locked = sum(false);
        state.user_locked = sum(true);
        state.locks_hash = locks_hash(&self.locks);
        let at = |now, sender| Call { sender, now };
        let close = at(START, sender(Closer::Hub));
        channel
            .close(&hub, &CoSigned::both(state), None, None, close)
            .unwrap();
        channel
            .settle(&mut hub, at(START + SETTLED, TOWER))
            .unwrap();
        (hub, channel)
    }

    fn run(&self) -> Vec<u128> {
        let mut registry = Registry::default();
        let (mut hub, mut channel) = self.settled(&mut registry);
        hub.funds = Amount::new(hub.funds.units() + self.more);
        let mut row = vec![mode_code(self.mode), self.funds, self.more];
        row.extend([self.asker as u128 + 1, u128::from(self.first)]);

        let mut locks = self.locks.clone();
        for (place, lock) in self.locks.iter().enumerate() {
            let mut cashed = Amount::ZERO;
            if lock.kind == LockKind::Cover && self.shown[place] != 0 {
                let cheque = ShownCheque {
                    place,
                    book: lock.condition,
                    beneficiary: beneficiary(place),
                    cumulative: Amount::new(u128::from(self.shown[place])),
                    is_signed: true,
                };
                match channel.cash_cheque(&mut hub, 0, &locks, &cheque, &mut registry) {
                    Ok((rest, payment)) => (locks, cashed) = (rest, payment.amount),
                    Err(refusal) => assert_eq!(refusal, Refusal::NothingToPay),
                }
            }
            let expiry = lock.expiry - START;
            row.extend([lock.kind as u128, u128::from(lock.user_pays)]);
            row.extend([lock.amount.units(), u128::from(expiry)]);
            row.extend([lock.total, self.shown[place]].map(u128::from));
            row.push(cashed.units());
        }
        let steps = [(self.first, sender(self.asker)), (LAST, TOWER)];
        for (second, asker) in steps {
            let call = Call {
                sender: asker,
                now: START + second,
            };
            let before = channel.ended[&0].lock_owed;
            let paid = match channel.unlock(&mut hub, 0, &locks, &registry, call) {
                Ok((rest, payment)) => {
                    locks = rest;
                    payment.map_or(Amount::ZERO, |payment| payment.amount)
                }
                Err(Refusal::NothingResolvable | Refusal::WrongLockList) => Amount::ZERO,
                Err(refusal) => panic!("{refusal}"),
            };
            let owed = channel.ended[&0].lock_owed.less(before);
            let after = [paid, owed, hub.funds, hub.owed].map(Amount::units);
            row.extend(after);
            row.push(locks.len() as u128);
        }
        assert!(channel.ended[&0].locks.is_none(), "the list is gone");
        row
    }
}

fn cases(s: &mut Source) -> Vec<Case> {
    (0..72).map(|index| case(s, index)).collect()
}

/// Columns: mode, funds at settlement, funds added then, who asks first (1 hub, 2 user's signer,
/// 3 payout address) and when; by lock: kind, whether the user pays, amount, expiry, total, what is
/// shown, what its cheque paid; then after each of two unlocks: paid, newly owed, the hub's funds
/// and all it owes, locks that stay.
pub fn rows(s: &mut Source) -> Vec<Vec<u128>> {
    cases(s).iter().map(Case::run).collect()
}

#[test]
fn the_lock_lists_reach_every_branch() {
    let rows = rows(&mut Source::at(1_000));
    let after = 5 + 7 * LOCKS;
    let any = |test: &dyn Fn(&[u128]) -> bool| rows.iter().any(|row| test(row));
    assert!(any(&|row| row[after] != 0), "pays at first");
    assert!(any(&|row| row[after + 5] != 0), "pays at last");
    assert!(any(&|row| row[after + 1] != 0), "owes at first");
    assert!(
        any(&|row| row[after + 4] == LOCKS as u128),
        "nothing at first"
    );
    assert!(any(&|row| row[after + 4] == 0), "all at first");
    let sum = |row: &[u128]| (0..LOCKS).map(|i| row[7 + 7 * i]).sum::<u128>();
    assert!(
        any(&|row| row[after + 7] > row[1].saturating_sub(sum(row)) + row[2]),
        "the hub gets some back"
    );
    for kind in 1..=3 {
        assert!(any(&|row| (0..LOCKS).any(|i| row[5 + 7 * i] == kind)));
    }
    let cashed = |row: &[u128], i: usize| (row[5 + 7 * i + 5], row[5 + 7 * i + 6]);
    let bounces = |row: &[u128]| {
        (0..LOCKS).any(|i| row[5 + 7 * i] == 3 && cashed(row, i).0 > cashed(row, i).1)
    };
    assert!(any(&bounces), "a cheque bounces");
}
