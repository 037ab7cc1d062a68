//! The model keeps money together and names every row that expects something else.

use acctl::model::{Ledger, Outcome, Rules, compute};
use acctl::plan::{Action, HEADER, Plan, read};
use hub_core::{Address, Amount};
use proptest::prelude::*;

fn plan(rows: &str) -> Plan {
    read(format!("{}\n{rows}", HEADER.join(",")).as_bytes()).unwrap()
}

const OPEN: &str = "1,open,a,,,,ok\n2,open,b,,,0x00000000000000000000000000000000000000b1,ok\n3,issue,a,,100,,ok\n";

#[test]
fn every_rule_of_the_ledger_has_its_code() {
    let rules = || Rules {
        capacity: Amount::new(1000),
        barred: vec![Address([0xcc; 20])],
    };
    let barred = "0xcccccccccccccccccccccccccccccccccccccccc";
    let someone = "0x00000000000000000000000000000000000000d2";
    let zero = "0x0000000000000000000000000000000000000000";
    let cases = [
        ("open,a,,,", "DUPLICATE_EXTERNAL_ID"),
        (&format!("open,c,,,{zero}"), "ADDRESS_INVALID"),
        ("issue,a,,900,", "ok"),
        ("issue,a,,901,", "CAPACITY_EXCEEDED"),
        ("issue,a,,0,", "AMOUNT_ZERO"),
        ("redeem,a,,100,", "ok"),
        ("redeem,a,,101,", "INSUFFICIENT_FUNDS"),
        ("redeem,a,,0,", "AMOUNT_ZERO"),
        ("transfer,a,b,100,", "ok"),
        ("transfer,a,b,101,", "INSUFFICIENT_FUNDS"),
        ("transfer,a,b,0,", "AMOUNT_ZERO"),
        ("transfer,a,a,0,", "SAME_ACCOUNT"),
        ("transfer,a,a,1000,", "SAME_ACCOUNT"),
        ("transfer,b,a,1,", "INSUFFICIENT_FUNDS"),
        (&format!("withdraw,a,,100,{someone}"), "ok"),
        (&format!("withdraw,a,,101,{someone}"), "INSUFFICIENT_FUNDS"),
        (&format!("withdraw,a,,0,{someone}"), "AMOUNT_ZERO"),
        (&format!("withdraw,a,,1,{zero}"), "ADDRESS_INVALID"),
        (&format!("withdraw,a,,1,{barred}"), "ADDRESS_INVALID"),
        ("withdraw,a,,1,", "PAYOUT_ADDRESS_MISSING"),
        ("withdraw,b,,1,", "INSUFFICIENT_FUNDS"),
    ];
    for (row, expect) in cases {
        let (_, contradictions) = compute(&plan(&format!("{OPEN}4,{row},{expect}\n")), rules());
        assert_eq!(contradictions, [], "{row}");
        let other = if expect == "ok" { "AMOUNT_ZERO" } else { "ok" };
        let (_, contradictions) = compute(&plan(&format!("{OPEN}4,{row},{other}\n")), rules());
        assert_eq!(contradictions.len(), 1, "{row}");
        assert_eq!(contradictions[0].line, 4);
        assert_eq!(
            (
                contradictions[0].expected.as_str(),
                contradictions[0].computed.as_str()
            ),
            (other, expect)
        );
    }
}

#[test]
fn a_wrong_balance_is_a_contradiction() {
    let (_, contradictions) = compute(
        &plan(&format!("{OPEN}4,balance,a,,,,99\n5,balance,b,,,,0\n")),
        Rules::default(),
    );
    assert_eq!(contradictions.len(), 1);
    assert_eq!(
        (contradictions[0].line, contradictions[0].computed.as_str()),
        (4, "100")
    );
}

#[test]
fn a_row_that_depends_on_the_time_of_a_payout_is_refused_as_such() {
    let rules = Rules {
        capacity: Amount::new(100),
        barred: Vec::new(),
    };
    let rows = format!(
        "{OPEN}4,transfer,a,b,60,,ok\n5,withdraw,b,,60,,ok\n6,transfer,a,b,40,,ok\n7,issue,b,,50,,ok\n"
    );
    let (ledger, contradictions) = compute(&plan(&rows), rules);
    assert_eq!(contradictions.len(), 1);
    assert!(
        contradictions[0]
            .computed
            .contains("when withdrawals are paid")
    );
    let paid: Vec<_> = ledger.payouts().values().copied().collect();
    assert_eq!(paid, [Amount::new(60)]);
}

fn action() -> impl Strategy<Value = Action> {
    let amount = || prop_oneof![Just(0u128), 1..50u128, 500..1500u128].prop_map(Amount::new);
    let account = || 0u32..4;
    prop_oneof![
        account().prop_map(|account| Action::Open {
            account,
            chain_address: None
        }),
        (account(), amount()).prop_map(|(account, amount)| Action::Issue { account, amount }),
        (account(), amount()).prop_map(|(account, amount)| Action::Redeem { account, amount }),
        (account(), account(), amount()).prop_map(|(from, to, amount)| Action::Transfer {
            from,
            to,
            amount
        }),
        (account(), amount()).prop_map(|(account, amount)| Action::Withdraw {
            account,
            amount,
            to: Some(Address([9; 20]))
        }),
    ]
}

proptest! {
    #[test]
    fn nothing_appears_or_vanishes(actions in prop::collection::vec(action(), 0..200)) {
        let mut ledger = Ledger::default();
        let mut refused = 0;
        for action in &actions {
            let before = ledger.clone();
            let outcome = ledger.apply(action);
            if outcome != Outcome::Done {
                refused += usize::from(matches!(outcome, Outcome::Refused(_)));
                let same = before.accounts().eq(ledger.accounts());
                prop_assert!(same, "a refused {action:?} changed an account");
            }
        }
        let totals = ledger.totals();
        let sum = |amounts: Vec<Amount>| Amount::sum(amounts).unwrap();
        let held = sum(ledger.accounts().map(|(_, holding)| holding.balance).collect());
        prop_assert_eq!(held, totals.held);
        prop_assert_eq!(sum(vec![held, totals.redeemed, totals.withdrawn]), totals.issued);
        prop_assert_eq!(sum(ledger.payouts().values().copied().collect()), totals.withdrawn);
        prop_assert_eq!(refused, totals.refusals);
        prop_assert_eq!(ledger.refused().values().sum::<usize>(), refused);
        prop_assert_eq!(totals.operations, actions.len());
    }
}
