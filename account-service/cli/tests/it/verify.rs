//! What is compared with the system names each thing that is wrong, and nothing else.

use acctl::model::{Ledger, Rules, compute};
use acctl::plan::{HEADER, Plan, read};
use acctl::verify::balances;
use acctl::verify::onchain::{Snapshot, compare_payouts, compare_supply};
use acctl::verify::payouts::{by_address, ordered};
use acctl::verify::system::{compare_channel, compare_entries};
use acctl::wire::{Balances, Channel, Mode};
use hub_core::{Address, Amount};
use std::collections::BTreeMap;
use uuid::Uuid;

const A: Address = Address([0xa1; 20]);
const B: Address = Address([0xb2; 20]);

fn amount(units: u128) -> Amount {
    Amount::new(units)
}

fn day() -> (Plan, Ledger) {
    let rows = format!(
        "{}\n1,open,a,,,,ok\n2,open,b,,,{B},ok\n3,issue,a,,100,,ok\n4,transfer,a,b,30,,ok\n\
         5,withdraw,a,,20,{A},ok\n6,withdraw,b,,10,,ok\n7,withdraw,a,,500,{A},INSUFFICIENT_FUNDS\n",
        HEADER.join(",")
    );
    let plan = read(rows.as_bytes()).unwrap();
    let (ledger, contradictions) = compute(&plan, Rules::default());
    assert_eq!(contradictions, []);
    (plan, ledger)
}

fn holds(available: u128, locked: u128) -> Balances {
    Balances {
        available: amount(available),
        locked: amount(locked),
    }
}

#[test]
fn each_account_with_another_balance_is_named() {
    let (plan, ledger) = day();
    let right = BTreeMap::from([(0, holds(50, 0)), (1, holds(20, 0))]);
    assert_eq!(balances::compare(&plan, &ledger, &right), []);
    let wrong = BTreeMap::from([(0, holds(51, 0)), (1, holds(20, 3))]);
    let found = balances::compare(&plan, &ledger, &wrong);
    let named: Vec<_> = found
        .iter()
        .map(|d| (d.what.as_str(), d.expected.as_str(), d.found.as_str()))
        .collect();
    assert_eq!(
        named,
        [
            ("balance of a", "50", "51"),
            ("locked balance of b", "0", "3")
        ]
    );
    let missing = BTreeMap::from([(1, holds(20, 0))]);
    let found = balances::compare(&plan, &ledger, &missing);
    assert_eq!((found.len(), found[0].what.as_str()), (1, "balance of a"));
}

#[test]
fn an_entry_that_is_missing_doubled_or_foreign_is_named() {
    let side = |id: u128, debit, units| (Uuid::from_u128(id), debit, amount(units));
    let expected = [side(1, false, 5), side(2, true, 3), side(3, true, 1)];
    assert_eq!(
        compare_entries("a", &expected, &[expected[2], expected[0], expected[1]]),
        []
    );
    let found = [
        side(1, false, 5),
        side(1, false, 5),
        side(3, true, 1),
        side(9, false, 7),
    ];
    let differences = compare_entries("a", &expected, &found);
    let counts: Vec<_> = differences
        .iter()
        .map(|d| (d.expected.as_str(), d.found.as_str()))
        .collect();
    assert_eq!(counts, [("1", "2"), ("1", "0"), ("0", "1")]);
    assert!(differences[0].what.contains("credits of 5") && differences[0].what.ends_with("on a"));
    // The same operation with another amount is two differences, never none.
    assert_eq!(
        compare_entries("a", &[side(1, false, 5)], &[side(1, false, 6)]).len(),
        2
    );
}

#[test]
fn a_channel_is_restored_when_its_sides_make_up_the_capacity() {
    let channel = Channel {
        capacity: amount(1000),
        hub_balance: amount(950),
        user_balance: amount(50),
        locked: Amount::ZERO,
        withdrawn: amount(20),
    };
    let wanted = [amount(50), amount(20)];
    assert_eq!(compare_channel("a", wanted, &channel), []);
    let frozen = Channel {
        hub_balance: amount(930),
        withdrawn: Amount::ZERO,
        ..channel
    };
    let found = compare_channel("a", wanted, &frozen);
    let what: Vec<_> = found.iter().map(|d| d.what.as_str()).collect();
    assert_eq!(
        what,
        [
            "hub and user balance in the channel of a",
            "withdrawn total in the channel of a"
        ]
    );
}

fn chain(supply: u128, contract: u128, a: u128, b: u128) -> Snapshot {
    Snapshot {
        supply: amount(supply),
        contract: amount(contract),
        balances: BTreeMap::from([(A, amount(a)), (B, amount(b))]),
        transactions: 0,
    }
}

#[test]
fn payout_addresses_must_get_exactly_what_was_withdrawn() {
    let (plan, _) = day();
    let all = ordered(&plan);
    assert_eq!(
        all.iter()
            .map(|payout| (payout.line, payout.to))
            .collect::<Vec<_>>(),
        [(5, A), (6, B)]
    );
    let paid = by_address(&all);
    let before = chain(1000, 500, 7, 0);
    assert_eq!(
        compare_payouts([&before, &chain(1000, 470, 27, 10)], &paid),
        []
    );
    for (a, b) in [(26, 10), (28, 10), (7, 10), (27, 0)] {
        let found = compare_payouts([&before, &chain(1000, 470, a, b)], &paid);
        assert_eq!(found.len(), 1, "{a} {b}");
    }
    // What an earlier start of the run had paid was there before.
    let rest = by_address(&all[1..]);
    assert_eq!(
        compare_payouts([&chain(0, 0, 20, 0), &chain(0, 0, 20, 10)], &rest),
        []
    );
}

#[test]
fn supply_and_contract_follow_the_funding_mode() {
    let (plan, ledger) = day();
    let paid = by_address(&ordered(&plan));
    let wrong = |mode, before: [u128; 2], after: [u128; 2]| {
        let [before, after] =
            [before, after].map(|[supply, contract]| chain(supply, contract, 0, 0));
        compare_supply(mode, [&before, &after], &paid, &ledger).len()
    };
    assert_eq!(wrong(Mode::Mint, [1000, 500], [1030, 500]), 0);
    // The vault of another hub was filled meanwhile.
    assert_eq!(wrong(Mode::Mint, [1000, 500], [1030, 600]), 0);
    assert_eq!(wrong(Mode::Mint, [1000, 500], [1130, 600]), 0);
    // Paid from the vault; nothing minted; twice as much minted.
    assert_eq!(wrong(Mode::Mint, [1000, 500], [1000, 470]), 1);
    assert_eq!(wrong(Mode::Mint, [1000, 500], [1000, 500]), 1);
    assert_eq!(wrong(Mode::Mint, [1000, 500], [1060, 500]), 1);
    assert_eq!(wrong(Mode::Vault, [1000, 500], [1000, 470]), 0);
    // The vault was filled meanwhile: from a stock, or with new tokens.
    assert_eq!(wrong(Mode::Vault, [1000, 500], [1000, 570]), 0);
    assert_eq!(wrong(Mode::Vault, [1000, 500], [1100, 570]), 0);
    // More was made than went into the vault; more left it than was paid; too little is left.
    assert_eq!(wrong(Mode::Vault, [1000, 500], [1101, 570]), 1);
    assert_eq!(wrong(Mode::Vault, [1000, 500], [1000, 469]), 1);
    assert_eq!(wrong(Mode::Vault, [1000, 60], [1000, 30]), 1);
}
