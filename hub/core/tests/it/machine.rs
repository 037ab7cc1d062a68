//! Properties of the channel machine under random operations.

use hub_core::rules::{Breach, check_conservation, check_successor};
use hub_core::types::LegKind;
use hub_core::{
    Action, Address, Amount, ChannelId, ChannelParams, Domain, Facts, Fold, Hash32, Operation,
    OperationId, Refusal, State, Typed,
};
use proptest::prelude::*;

const CAPACITY: u128 = 1_000;

fn domain() -> Domain {
    Domain {
        chain_id: 1,
        verifying_contract: Address([9; 20]),
    }
}

fn channel(n: u8) -> ChannelId {
    ChannelId([n; 32])
}

fn amount(units: u128) -> Amount {
    Amount::new(units)
}

fn params() -> ChannelParams {
    ChannelParams {
        hub: Address([1; 20]),
        hub_signer: Address([2; 20]),
        user: Address([3; 20]),
        user_signer: Address([4; 20]),
        custodial: true,
        capacity: amount(CAPACITY),
        challenge_period: 60,
        self_delay: 60,
        penalty_cap: amount(10),
        bounty_bps: 500,
        salt: Hash32([5; 32]),
    }
}

fn operation(n: u32, action: Action) -> Operation {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    Operation {
        id: OperationId(id),
        action,
    }
}

fn action() -> impl Strategy<Value = Action> {
    let id = || (1u8..6).prop_map(channel);
    let units = || prop_oneof![0u128..40, 900u128..1_100].prop_map(amount);
    prop_oneof![
        (id(), units()).prop_map(|(channel, amount)| Action::Issue { channel, amount }),
        (id(), units()).prop_map(|(channel, amount)| Action::Redeem { channel, amount }),
        (id(), id(), units()).prop_map(|(payer, payee, amount)| Action::Transfer {
            payer,
            payee,
            amount
        }),
        (id(), units()).prop_map(|(channel, amount)| Action::Withdraw {
            channel,
            amount,
            to: Address([1; 20])
        }),
        (id(), units()).prop_map(|(channel, amount)| Action::Refund {
            channel,
            order: OperationId([0; 16]),
            amount
        }),
        (id(), units()).prop_map(|(channel, amount)| Action::Deposit { channel, amount }),
    ]
}

fn heads() -> Vec<(State, Facts)> {
    // Channel 5 is left out: operations on it must be refused.
    (1..5)
        .map(|n| {
            let mut state = State::null(channel(n), 0, amount(CAPACITY));
            let user = u128::from(n) * 20;
            state.version = u64::from(n);
            state.user_balance = amount(user);
            state.hub_balance = amount(CAPACITY - user - 100);
            state.user_locked = amount(100);
            state.withdrawn = amount(30);
            let facts = Facts {
                executed: amount(10),
                withdraw_floor: amount(15),
                final_deposits: amount(25),
                credit_signed: amount(5),
                closing: n == 4,
            };
            (state, facts)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_is_applied_passes_every_rule_and_nothing_else_changes_a_state(
        actions in prop::collection::vec(action(), 1..60),
    ) {
        let heads = heads();
        let mut fold = Fold::new();
        for (state, facts) in &heads {
            fold.insert(*state, *facts);
        }
        let mut applied = Vec::new();
        for (n, action) in actions.into_iter().enumerate() {
            let operation = operation(n as u32, action);
            let before: Vec<_> = heads.iter().map(|(s, _)| *fold.current(&s.channel_id).unwrap()).collect();
            match fold.apply(&domain(), &operation) {
                Ok(outcomes) => {
                    prop_assert_eq!(outcomes.len(), operation.action.legs().count());
                    applied.push(operation);
                }
                Err(_) => for state in before {
                    prop_assert_eq!(fold.current(&state.channel_id).unwrap(), &state);
                },
            }
        }
        let successors = fold.finish(|_| 7).unwrap();
        for next in &successors {
            let (_, facts) = heads.iter().find(|(s, _)| s.channel_id == next.state.channel_id).unwrap();
            prop_assert_eq!(check_successor(&next.base, &next.state, 7, amount(CAPACITY), facts), Ok(()));
            prop_assert_eq!(next.state.version, 8);
            prop_assert_eq!(next.state.ack_version, next.base.version);
            prop_assert_ne!(next.state.transfers_root, Hash32::ZERO);
            prop_assert!(!facts.closing);
        }
        let pairs = successors.iter().map(|next| (&next.base, &next.state));
        prop_assert_eq!(check_conservation(pairs, &applied), Ok(()));
        let ids: Vec<_> = successors.iter().map(|next| next.state.channel_id).collect();
        prop_assert!(ids.is_sorted());
        prop_assert_eq!(ids, hub_core::rules::touched(&applied));
    }

    #[test]
    fn what_is_taken_back_leaves_nothing_behind(
        kept in prop::collection::vec(action(), 0..20),
        undone in prop::collection::vec(action(), 0..20),
        later in prop::collection::vec(action(), 0..20),
        opens in any::<bool>(),
    ) {
        let params = params();
        let open = operation(1_000, Action::Open { params });
        let (mut whole, mut without) = (Fold::new(), Fold::new());
        for (state, facts) in heads() {
            whole.insert(state, facts);
            without.insert(state, facts);
        }
        let mut numbers = 0_u32..;
        let mut next = |action| operation(numbers.next().unwrap(), action);
        for operation in kept.into_iter().map(&mut next) {
            whole.begin();
            let outcome = whole.apply(&domain(), &operation);
            whole.keep();
            prop_assert_eq!(outcome, without.apply(&domain(), &operation));
        }
        whole.begin();
        if opens {
            whole.apply(&domain(), &open).unwrap();
            whole.insert(State::null(channel(5), 1, amount(CAPACITY)), Facts::default());
        }
        for operation in undone.into_iter().map(&mut next) {
            let _ = whole.apply(&domain(), &operation);
        }
        whole.undo();
        for operation in later.into_iter().map(&mut next) {
            prop_assert_eq!(whole.apply(&domain(), &operation), without.apply(&domain(), &operation));
        }
        if opens {
            prop_assert_eq!(whole.apply(&domain(), &open), without.apply(&domain(), &open));
        }
        prop_assert_eq!(whole.finish(|_| 7), without.finish(|_| 7));
    }

    #[test]
    fn a_tampered_state_breaks_a_rule(field in 0usize..8, delta in 1u128..50) {
        let (base, facts) = heads()[0];
        let mut fold = Fold::new();
        fold.insert(base, facts);
        let issue = operation(1, Action::Issue { channel: channel(1), amount: amount(7) });
        fold.apply(&domain(), &issue).unwrap();
        let mut state = fold.finish(|_| 0).unwrap()[0].state;
        let plus = |a: Amount| a.checked_add(amount(delta)).unwrap();
        match field {
            0 => state.user_balance = plus(state.user_balance),
            1 => state.hub_balance = plus(state.hub_balance),
            2 => state.withdrawn = plus(state.withdrawn),
            3 => state.deposited = plus(state.deposited),
            4 => state.credited = plus(state.credited),
            5 => state.version -= 1,
            6 => state.ack_version += 1,
            _ => state.epoch += 1,
        }
        let rules = check_successor(&base, &state, base.version, amount(CAPACITY), &facts);
        let sum = check_conservation([(&base, &state)], &[issue]);
        prop_assert!(rules.is_err() || sum.is_err());
    }
}

fn fold_of_two(user: u128) -> Fold {
    let mut fold = Fold::new();
    for n in 1..3 {
        let mut state = State::null(channel(n), 0, amount(CAPACITY));
        state.user_balance = amount(user);
        state.hub_balance = amount(CAPACITY - user);
        fold.insert(state, Facts::default());
    }
    fold
}

#[test]
fn a_transfer_that_the_payee_cannot_receive_leaves_the_payer_alone() {
    let mut fold = fold_of_two(600);
    let transfer = Action::Transfer {
        payer: channel(1),
        payee: channel(2),
        amount: amount(500),
    };
    let refused = fold.apply(&domain(), &operation(1, transfer));
    assert_eq!(
        refused,
        Err(Refusal::CapacityExceeded {
            channel: channel(2),
            receivable: amount(400),
            required: amount(500)
        })
    );
    assert_eq!(fold.current(&channel(1)).unwrap().user_balance, amount(600));
    assert!(fold.finish(|_| 0).unwrap().is_empty());
}

#[test]
fn many_operations_on_one_channel_become_one_state_that_names_them_all() {
    let mut fold = fold_of_two(100);
    for n in 0..10 {
        let transfer = Action::Transfer {
            payer: channel(1),
            payee: channel(2),
            amount: amount(3),
        };
        let outcomes = fold.apply(&domain(), &operation(n, transfer)).unwrap();
        assert_eq!(outcomes[0].kind, LegKind::Debit);
        assert_eq!(
            outcomes[0].user_balance_after,
            amount(100 - 3 * (u128::from(n) + 1))
        );
    }
    let states = fold.finish(|_| 0).unwrap();
    assert_eq!(states.len(), 2);
    assert_eq!(states[0].state.user_balance, amount(70));
    assert_eq!(states[1].state.user_balance, amount(130));
    assert_ne!(
        states[0].state.transfers_root,
        states[1].state.transfers_root
    );
}

#[test]
fn a_channel_opens_at_version_one_with_everything_on_the_hub_side() {
    let params = params();
    let mut fold = Fold::new();
    fold.apply(&domain(), &operation(1, Action::Open { params }))
        .unwrap();
    let again = fold.apply(&domain(), &operation(2, Action::Open { params }));
    let id = params.channel_id(&domain());
    assert_eq!(again, Err(Refusal::AlreadyOpen(id)));
    let opened = fold.finish(|_| 0).unwrap();
    assert!(opened[0].opened);
    let mut first = State::null(id, 0, amount(CAPACITY));
    first.version = 1;
    assert_eq!(opened[0].state, first);
    assert_eq!(id.0, domain().digest(&params).0);
    assert_ne!(id.0, params.hash_struct().0);
}

#[test]
fn a_batch_that_credits_without_an_order_is_not_conserved() {
    let base = State::null(channel(1), 0, amount(CAPACITY));
    let mut credited = base;
    credited.user_balance = amount(5);
    assert_eq!(
        check_conservation([(&base, &credited)], &[]),
        Err(Breach::NotConserved {
            actual: 5,
            ordered: 0
        })
    );
}
