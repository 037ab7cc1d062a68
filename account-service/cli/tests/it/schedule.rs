//! Operations on a common account keep their order, the others run side by side, never too many.

use acctl::plan::{Action, Expect, Operation, Plan};
use acctl::schedule::{Event, Schedule};
use hub_core::Amount;
use proptest::prelude::*;
use std::cell::RefCell;

const ACCOUNTS: u32 = 6;

fn plan(pairs: &[(u32, u32)]) -> Plan {
    let operation = |(line, (from, to)): (u64, &(u32, u32))| Operation {
        line,
        action: Action::Transfer {
            from: *from,
            to: *to,
            amount: Amount::new(1),
        },
        expect: Expect::Done,
    };
    Plan {
        names: (0..ACCOUNTS).map(|n| n.to_string()).collect(),
        operations: (1..).zip(pairs).map(operation).collect(),
    }
}

fn touches(plan: &Plan, one: usize, other: usize) -> bool {
    let (a, b) = plan.operations[one].action.accounts();
    let (c, d) = plan.operations[other].action.accounts();
    a == c || a == d || b == c || b == d
}

#[derive(Default)]
struct Seen {
    begun: Vec<usize>,
    under_way: usize,
    most: usize,
    done: Vec<bool>,
    early: Vec<(usize, usize)>,
}

/// Drives a plan with operations that take as long as they are told, in yields.
fn drive(plan: &Plan, limit: usize, delays: &[u8]) -> Seen {
    let seen = RefCell::new(Seen {
        done: vec![false; plan.operations.len()],
        ..Seen::default()
    });
    let perform = |index: usize| {
        let seen = &seen;
        async move {
            {
                let mut seen = seen.borrow_mut();
                let early = (0..index).filter(|earlier| touches(plan, *earlier, index));
                let early: Vec<_> = early.filter(|earlier| !seen.done[*earlier]).collect();
                seen.early
                    .extend(early.into_iter().map(|earlier| (earlier, index)));
                seen.begun.push(index);
                seen.under_way += 1;
                seen.most = seen.most.max(seen.under_way);
            }
            for _ in 0..delays[index % delays.len()] {
                tokio::task::yield_now().await;
            }
            let mut seen = seen.borrow_mut();
            seen.under_way -= 1;
            seen.done[index] = true;
            Ok::<_, ()>(index)
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let mut finished = 0;
    let report = |event: Event<usize>, _| finished += usize::from(matches!(event, Event::Done(_)));
    runtime
        .block_on(Schedule::new(plan).drive(limit, perform, report))
        .unwrap();
    assert_eq!(finished, plan.operations.len());
    seen.into_inner()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn order_is_kept_on_every_account_and_the_bound_holds(
        pairs in prop::collection::vec((0..ACCOUNTS, 0..ACCOUNTS), 0..80),
        delays in prop::collection::vec(0u8..8, 1..20),
        limit in 1usize..12,
    ) {
        let plan = plan(&pairs);
        let mut seen = drive(&plan, limit, &delays);
        prop_assert!(seen.early.is_empty(), "begun before an earlier one was done: {:?}", seen.early);
        prop_assert!(seen.most <= limit);
        seen.begun.sort_unstable();
        prop_assert_eq!(seen.begun, (0..pairs.len()).collect::<Vec<_>>());
    }
}

#[test]
fn independent_operations_run_side_by_side_up_to_the_bound() {
    let plan = plan(&[(0, 1), (2, 3), (4, 5), (0, 2), (1, 3)]);
    assert_eq!(drive(&plan, 8, &[5]).most, 3);
    assert_eq!(drive(&plan, 2, &[5]).most, 2);
    assert_eq!(drive(&plan, 1, &[5]).begun, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn the_first_error_ends_it() {
    let plan = plan(&[(0, 1), (0, 1), (0, 1)]);
    let begun = RefCell::new(0);
    let perform = |index| {
        *begun.borrow_mut() += 1;
        async move { if index == 1 { Err("lost") } else { Ok(()) } }
    };
    let result = Schedule::new(&plan).drive(4, perform, |_, _| {}).await;
    assert_eq!(result, Err("lost"));
    assert_eq!(begun.into_inner(), 2);
}
