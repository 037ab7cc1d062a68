//! What is signed, what is refused, and what stays.

use crate::support::{Account, CAPACITY, amount, pair, wide_limits};
use hub::Hub;
use hub_client::{Fate, FatesRequest, FundingMode, HubRefusal, UsedVersion};
use hub_core::{Action, Facts, Typed as _};

async fn opened(hub: &Hub, account: &mut Account, count: u64) {
    let mut operations: Vec<_> = (0..count).map(|n| account.open(n)).collect();
    operations.extend((0..count).map(|n| account.issue(n, 1_000)));
    account.post(hub, operations).await;
}

async fn refusal(hub: &Hub, request: hub_client::BatchRequest) -> HubRefusal {
    hub.sign_batch(request).await.unwrap_err().error
}

fn rule(refusal: &HubRefusal) -> &str {
    match refusal {
        HubRefusal::Rule { name, .. } => name,
        other => panic!("not a rule: {other:?}"),
    }
}

#[tokio::test]
async fn money_moves_by_batches_that_both_sides_signed() {
    let (_bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    opened(&hub, &mut account, 3).await;
    let operations = vec![account.transfer(0, 1, 400), account.redeem(2, 100)];
    let signed = account.post(&hub, operations).await;
    assert_eq!(signed.batch_id, 2);
    assert_eq!(account.user_balance(1), 1_400);
    let head = hub.channel(account.id(1)).await.unwrap();
    assert_eq!(head.held, head.signed);
    assert_eq!(head.held.user_balance, amount(1_400));
    assert_eq!(head.held_batch, 2);
    let journal = hub.journal(0, 100).await.unwrap();
    assert_eq!(journal.len(), 2);
    assert_eq!(journal[1].prev_root, journal[0].root);
    assert_eq!(journal[1].signature, signed.signature);
    assert!(
        journal
            .iter()
            .all(|entry| matches!(entry.fate, Some(Fate::Committed { .. })))
    );
}

#[tokio::test]
async fn the_identical_request_gets_the_identical_answer_and_no_other_content_does() {
    let (bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    opened(&hub, &mut account, 2).await;
    let operation = account.transfer(0, 1, 5);
    let proposed = account.propose(vec![operation]);
    let first = hub.sign_batch(proposed.request.clone()).await.unwrap();
    let again = hub.sign_batch(proposed.request.clone()).await.unwrap();
    assert_eq!(first, again);
    let operation = account.transfer(0, 1, 6);
    let mut other = account.propose(vec![operation]).request;
    other.request_id = proposed.request.request_id;
    assert_eq!(refusal(&hub, other).await, HubRefusal::Malformed);
    // After a restart as well, and before anybody said hello to the new session.
    let restarted = crate::support::start(&bed, &account.terms, wide_limits()).await;
    let after = restarted.sign_batch(proposed.request).await.unwrap();
    assert_eq!(first.signature, after.signature);
    assert_eq!(first.batch_id, after.batch_id);
}

#[tokio::test]
async fn a_used_version_is_never_signed_again_and_its_number_is_named() {
    let (_bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    opened(&hub, &mut account, 2).await;
    let operation = account.transfer(0, 1, 5);
    let abandoned = account.propose(vec![operation]);
    hub.sign_batch(abandoned.request).await.unwrap();
    let operation = account.transfer(0, 1, 6);
    let second = account.propose(vec![operation]);
    let HubRefusal::VersionUsed { channels } = refusal(&hub, second.request).await else {
        panic!("a version was signed twice");
    };
    assert_eq!(channels.len(), 2);
    for UsedVersion {
        channel,
        max_signed,
    } in channels
    {
        account.floors.insert(channel, max_signed);
    }
    let operations = vec![operation];
    account.post(&hub, operations).await;
    assert_eq!(account.user_balance(1), 1_006);
    assert_eq!(account.heads[&account.id(1)].state.version, 3);
}

#[tokio::test]
async fn a_base_is_used_only_when_the_hub_holds_its_custody_signature() {
    let (_bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    opened(&hub, &mut account, 2).await;
    let before = account.clone();
    let operation = account.transfer(0, 1, 5);
    let proposed = account.propose(vec![operation]);
    let signed = hub.sign_batch(proposed.request.clone()).await.unwrap();
    let fate = account.commit(&proposed, &signed);
    let operation = account.transfer(1, 0, 1);
    let mut next = account.propose(vec![operation]);
    let unknown = HubRefusal::BaseUnknown {
        batches: vec![signed.batch_id],
    };
    assert_eq!(refusal(&hub, next.request.clone()).await, unknown);
    // A signature of somebody else doesn't make it known.
    let mut forged = fate.clone();
    if let Fate::Committed { user_signature, .. } = &mut forged {
        *user_signature =
            crate::support::hub_key().sign(&account.terms.domain, &account.message(&signed));
    }
    next.request.fates = vec![forged];
    assert_eq!(
        rule(&refusal(&hub, next.request.clone()).await),
        "FATE_SIGNATURE"
    );
    next.request.fates = vec![fate];
    let signed = hub.sign_batch(next.request.clone()).await.unwrap();
    account.commit(&next, &signed);
    // What was based on the state before is behind now.
    let mut before = before;
    let operation = before.transfer(0, 1, 5);
    assert!(matches!(
        refusal(&hub, before.propose(vec![operation]).request).await,
        HubRefusal::BaseBehind { .. }
    ));
    // And a base that differs from what the hub holds is nobody's.
    let mut other = account.clone();
    for base in other.heads.values_mut() {
        base.state.user_balance = amount(2_000);
        base.state.hub_balance = amount(CAPACITY - 2_000);
    }
    let operation = other.transfer(0, 1, 5);
    let mut differs = other.propose(vec![operation]);
    differs.request.fates = vec![Fate::Committed {
        batch_id: signed.batch_id,
        user_signature: account
            .custody
            .sign(&account.terms.domain, &account.message(&signed)),
    }];
    assert!(matches!(
        refusal(&hub, differs.request).await,
        HubRefusal::BaseDiffers { .. }
    ));
}

#[tokio::test]
async fn an_opening_that_was_burned_is_made_again_with_a_higher_version() {
    let (_bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    let open = account.open(0);
    let first = account.propose(vec![open]);
    let signed = hub.sign_batch(first.request).await.unwrap();
    let burned = vec![Fate::Burned {
        batch_id: signed.batch_id,
    }];
    let marks = hub.fates(FatesRequest { fates: burned }).await.unwrap();
    assert_eq!(marks.low_water, signed.batch_id);
    account.floors.insert(account.id(0), 1);
    let operations = vec![open, account.issue(0, 10)];
    account.post(&hub, operations).await;
    let head = hub.channel(account.id(0)).await.unwrap();
    assert_eq!((head.held.version, head.held.ack_version), (2, 0));
    assert_eq!(head.held.user_balance, amount(10));
    // Once it is completed it is not opened again.
    account.heads.clear();
    let again = account.propose(vec![open]);
    assert!(matches!(
        refusal(&hub, again.request).await,
        HubRefusal::BaseBehind { .. }
    ));
}

#[tokio::test]
async fn channels_are_opened_on_the_hubs_terms_only() {
    let (_bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    let good = account.terms.clone();
    for change in [
        |terms: &mut hub_client::Terms| terms.capacity = amount(CAPACITY + 1),
        |terms: &mut hub_client::Terms| terms.hub_signer = hub_core::Address([1; 20]),
        |terms: &mut hub_client::Terms| terms.custody_signer = hub_core::Address([1; 20]),
        |terms: &mut hub_client::Terms| terms.penalty_cap = amount(1),
        |terms: &mut hub_client::Terms| terms.challenge_period = 1,
        |terms: &mut hub_client::Terms| terms.hub = hub_core::Address([1; 20]),
    ] {
        change(&mut account.terms);
        let open = account.open(0);
        let request = account.propose(vec![open]).request;
        assert_eq!(rule(&refusal(&hub, request).await), "TERMS");
        account.terms = good.clone();
    }
}

#[tokio::test]
async fn a_late_commit_moves_the_held_state_although_something_newer_was_signed() {
    let (bed, hub, mut account) = pair(FundingMode::Vault, wide_limits()).await;
    fund(&hub, 1_000_000).await;
    opened(&hub, &mut account, 3).await;
    // Two replicas race: the second signs past the first, and then the first one commits.
    let mut second = account.clone();
    let operation = account.transfer(0, 1, 100);
    let early = account.propose(vec![operation]);
    let early_signed = hub.sign_batch(early.request.clone()).await.unwrap();
    second.floors.insert(second.id(0), 2);
    let operation = second.transfer(0, 2, 50);
    let late = second.propose(vec![operation]);
    let late_signed = hub.sign_batch(late.request.clone()).await.unwrap();
    let fate = account.commit(&early, &early_signed);
    hub.fates(FatesRequest { fates: vec![fate] }).await.unwrap();
    let head = hub.channel(account.id(0)).await.unwrap();
    assert_eq!((head.held.version, head.signed.version), (2, 3));
    assert_eq!(head.held_batch, early_signed.batch_id);
    // The loser is burned; work goes on from the winner, and the sums are those of the rows.
    let fates = vec![Fate::Burned {
        batch_id: late_signed.batch_id,
    }];
    hub.fates(FatesRequest { fates }).await.unwrap();
    account.floors.insert(account.id(0), 3);
    account.floors.insert(account.id(2), 2);
    let operations = vec![account.transfer(0, 2, 10)];
    account.post(&hub, operations).await;
    assert_eq!(account.user_balance(0), 890);
    let marks = hub.fates(FatesRequest { fates: vec![] }).await.unwrap();
    assert_eq!(marks.headroom, Some(amount(1_000_000 - 3_000)));
    let restarted = crate::support::start(&bed, &account.terms, wide_limits()).await;
    let read = restarted.fates(FatesRequest { fates: vec![] }).await;
    assert_eq!(read.unwrap().headroom, marks.headroom);
}

#[tokio::test]
async fn two_committed_batches_on_one_base_raise_the_fence() {
    let (_bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    opened(&hub, &mut account, 3).await;
    let mut second = account.clone();
    let operation = account.transfer(0, 1, 100);
    let early = account.propose(vec![operation]);
    let early_signed = hub.sign_batch(early.request.clone()).await.unwrap();
    second.floors.insert(second.id(0), 2);
    let operation = second.transfer(0, 2, 50);
    let late = second.propose(vec![operation]);
    let late_signed = hub.sign_batch(late.request.clone()).await.unwrap();
    let fates = vec![second.commit(&late, &late_signed)];
    hub.fates(FatesRequest { fates }).await.unwrap();
    let fates = vec![account.commit(&early, &early_signed)];
    let answer = hub.fates(FatesRequest { fates }).await.unwrap_err();
    assert!(matches!(answer.error, HubRefusal::Fenced { .. }));
    let operation = second.transfer(2, 1, 1);
    let next = second.propose(vec![operation]);
    assert!(matches!(
        refusal(&hub, next.request).await,
        HubRefusal::Fenced { .. }
    ));
}

#[tokio::test]
async fn a_deposit_is_folded_only_when_it_is_final_on_chain() {
    let (_bed, hub, mut account) = pair(FundingMode::Vault, wide_limits()).await;
    fund(&hub, 10_000).await;
    opened(&hub, &mut account, 1).await;
    let channel = account.id(0);
    account.facts.insert(
        channel,
        Facts {
            final_deposits: amount(70),
            ..Facts::default()
        },
    );
    let deposit = account.operation(Action::Deposit {
        channel,
        amount: amount(70),
    });
    let proposed = account.propose(vec![deposit]);
    assert_eq!(
        rule(&refusal(&hub, proposed.request.clone()).await),
        "DEPOSIT_NOT_FINAL"
    );
    let seen = crate::chain::deposited(channel, 70, chain_messages::Certainty::Seen);
    hub.chain_events(seen).await.unwrap();
    assert_eq!(
        rule(&refusal(&hub, proposed.request.clone()).await),
        "DEPOSIT_NOT_FINAL"
    );
    let fin = crate::chain::deposited(channel, 70, chain_messages::Certainty::Final);
    let marks = hub.chain_events(fin.clone()).await.unwrap();
    assert_eq!(marks.headroom, Some(amount(10_000 - 1_000 - 70)));
    assert_eq!(hub.chain_events(fin).await.unwrap(), marks);
    account.post(&hub, vec![deposit]).await;
    let marks = hub.fates(FatesRequest { fates: vec![] }).await.unwrap();
    assert_eq!(marks.headroom, Some(amount(10_000 - 1_000 - 70)));
    let twice = account.operation(Action::Deposit {
        channel,
        amount: amount(1),
    });
    account.facts.insert(
        channel,
        Facts {
            final_deposits: amount(71),
            ..Facts::default()
        },
    );
    let proposed = account.propose(vec![twice]);
    assert_eq!(
        rule(&refusal(&hub, proposed.request).await),
        "DEPOSIT_NOT_FINAL"
    );
}

#[tokio::test]
async fn nothing_is_signed_in_a_closing_channel_until_its_next_epoch() {
    let (bed, hub, mut account) = pair(FundingMode::Vault, wide_limits()).await;
    fund(&hub, 10_000).await;
    opened(&hub, &mut account, 2).await;
    let state = account.heads[&account.id(0)].state;
    hub.chain_events(crate::chain::closed(state)).await.unwrap();
    let operation = account.transfer(0, 1, 5);
    let proposed = account.propose(vec![operation]);
    let closing = HubRefusal::Closing {
        channels: vec![account.id(0)],
    };
    assert_eq!(refusal(&hub, proposed.request.clone()).await, closing);
    hub.chain_events(crate::chain::settled(&state))
        .await
        .unwrap();
    let marks = hub.fates(FatesRequest { fates: vec![] }).await.unwrap();
    assert_eq!(marks.headroom, Some(amount(9_000)));
    assert!(hub.sign_batch(proposed.request).await.is_err());
    // Both sides begin again from the null state.
    let null = hub_core::State::null(state.channel_id, 1, account.terms.capacity);
    let head = hub.channel(state.channel_id).await.unwrap();
    // Versions go on growing: none is used twice, whatever the epoch.
    assert_eq!((head.held, head.max_signed), (null, 1));
    account.floors.insert(state.channel_id, 1);
    let base = account.heads.get_mut(&state.channel_id).unwrap();
    (base.state, base.batch_id) = (null, 0);
    let operations = vec![account.issue(0, 10)];
    account.post(&hub, operations).await;
    let restarted = crate::support::start(&bed, &account.terms, wide_limits()).await;
    let head = restarted.channel(state.channel_id).await.unwrap();
    assert_eq!((head.held.epoch, head.held.version), (1, 2));
    assert_eq!(head.held.hash_struct(), head.signed.hash_struct());
}

async fn fund(hub: &Hub, vault: u128) {
    let event = crate::chain::vault(hub.terms().hub, vault);
    hub.chain_events(event).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_batches_are_signed_and_fit_the_body_limit() {
    const WIDE: u64 = 4_096;
    let (_bed, hub, _) = pair(FundingMode::Mint, wide_limits()).await;
    let mut account = Account::with_ids(hub.terms().clone(), WIDE);
    account.greet(&hub).await;
    for half in [0..WIDE / 2, WIDE / 2..WIDE] {
        let operations: Vec<_> = half.map(|n| account.open(n)).collect();
        let request = account.propose(operations.clone()).request;
        let bytes = serde_json::to_vec(&request).unwrap().len();
        assert!(bytes < 4 << 20, "{bytes}");
        account.post(&hub, operations).await;
    }
    let operations = (0..WIDE).map(|n| account.issue(n, 1_000)).collect();
    account.post(&hub, operations).await;
    let mut fates = Vec::new();
    for round in 0..5 {
        let operations: Vec<_> = (0..WIDE / 2)
            .map(|n| account.transfer(n, n + WIDE / 2, 1))
            .collect();
        let mut proposed = account.propose(operations);
        proposed.request.fates = std::mem::take(&mut fates);
        let bytes = serde_json::to_vec(&proposed.request).unwrap().len();
        assert!(bytes < 4 << 20, "{bytes}");
        let start = std::time::Instant::now();
        let signed = hub.sign_batch(proposed.request.clone()).await.unwrap();
        println!("round {round}: {bytes} bytes, {:?}", start.elapsed());
        assert_eq!(signed.depth, 12);
        fates.push(account.commit(&proposed, &signed));
    }
    assert_eq!(account.user_balance(0), 995);
    assert_eq!(account.user_balance(WIDE - 1), 1_005);
}
