//! Closes, answers, penalties and settlements against the deployed contract.

use crate::key;
use crate::scene::{OPERATOR, Scene, refused, send};
use chain::calls::dispute::{self, SignedCredit, SignedIntent};
use chain::calls::{self, claims};
use chain::{At, Attestation, CoSigned, Evidence, LogBody, Wallet};
use hub_core::proof::{ChannelProof, FORMAT, MerklePath, Over, Signatures, SignedBy, TypedData};
use hub_core::settlement::Closer;
use hub_core::types::{AcceptClose, CloseIntent, CoopSettle, Credit, Revoke, Withdraw};
use hub_core::{Amount, Hash32, State, Typed as _};

/// The custody key, which is the user's party.
async fn custody(scene: &Scene) -> Wallet {
    scene.wallet(key(9)).await
}

async fn tokens(scene: &Scene, of: u8) -> u128 {
    let held = scene.chain.balance_of(key(of).address(), At::Latest).await;
    held.unwrap().units()
}

#[tokio::test]
async fn a_stale_close_is_answered_penalized_and_settled_and_the_logs_rebuild_it() {
    let scene = Scene::new().await;
    let (at, params) = (scene.chain.channels(), scene.params);
    let (custody, tower) = (custody(&scene).await, scene.wallet(key(40)).await);
    let [first, second, third] =
        [(1, 900), (2, 500), (3, 400)].map(|(version, user)| scene.one(scene.state(version, user)));
    send(&custody, &dispute::close(at, &params, &first, None, None)).await;
    let posted = scene.dispute().await;
    assert_eq!((posted.closer, posted.closed_version), (Closer::User, 1));

    // Newer, but its base is the posted state: that alone is no cheating.
    send(&tower, &dispute::challenge(at, &params, &posted, &second)).await;
    let answered = scene.dispute().await;
    assert_eq!(answered.penalized, None);
    let stale = dispute::challenge(at, &params, &posted, &third);
    assert!(
        refused(&tower, &stale)
            .await
            .contains("HubChannels_WrongDispute")
    );
    send(&tower, &dispute::challenge(at, &params, &answered, &third)).await;
    let proven = scene.dispute().await;
    assert_eq!(proven.penalized, Some(key(40).address()));
    assert_eq!(proven.state, third.state);

    let settle = dispute::settle(at, &params, &proven);
    assert!(
        refused(&tower, &settle)
            .await
            .contains("HubChannels_DeadlineAhead")
    );
    scene.pass(61);
    send(&tower, &settle).await;
    assert_eq!(scene.dispute_of(scene.id).await, None);
    let LogBody::Settled { paid, epoch, .. } = scene.last().await else {
        panic!("{:?}", scene.last().await);
    };
    assert_eq!((epoch, paid.version, paid.penalized), (0, 3, true));
    assert_eq!(
        (paid.user_pay, paid.bounty),
        (Amount::ZERO, Amount::new(20))
    );
    assert_eq!(
        (tokens(&scene, 40).await, tokens(&scene, 30).await),
        (20, 0)
    );
}

#[tokio::test]
async fn many_closes_are_answered_and_settled_in_one_transaction_each() {
    let scene = Scene::new().await;
    let at = scene.chain.channels();
    let (custody, tower) = (custody(&scene).await, scene.wallet(key(40)).await);
    let channels: Vec<_> = (50..60).map(|salt| scene.sibling(salt)).collect();
    let states = |version, user| {
        let states: Vec<_> = channels
            .iter()
            .map(|of| scene.state_of(of, version, user, &[]))
            .collect();
        let mut signed = scene.signed(&states);
        let place = |of: &CoSigned| states.iter().position(|state| *state == of.state);
        signed.sort_by_key(place);
        signed
    };
    let (old, new) = (states(1, 100), states(3, 40));
    let closes: Vec<_> = channels
        .iter()
        .zip(&old)
        .map(|(of, state)| dispute::close(at, of, state, None, None))
        .collect();
    send(&custody, &calls::batch(at, &closes)).await;
    let mut running = Vec::new();
    for state in &old {
        running.push(scene.dispute_of(state.state.channel_id).await.unwrap());
    }
    let mut answers: Vec<_> = channels
        .iter()
        .zip(&running)
        .zip(&new)
        .map(|((of, running), state)| dispute::challenge(at, of, running, state))
        .collect();
    // Once more: it changes nothing for the others and is reported.
    answers.push(answers[0].clone());
    send(&tower, &calls::batch(at, &answers)).await;
    let skipped = scene.last().await;
    let expected = LogBody::CallSkipped {
        index: 10,
        reason: "HubChannels_WrongDispute".into(),
    };
    assert_eq!(skipped, expected);

    scene.pass(61);
    let mut settles = Vec::new();
    for (of, state) in channels.iter().zip(&new) {
        let running = scene.dispute_of(state.state.channel_id).await.unwrap();
        assert_eq!(running.penalized, Some(key(40).address()));
        settles.push(dispute::settle(at, of, &running));
    }
    send(&tower, &calls::batch(at, &settles)).await;
    assert_eq!(tokens(&scene, 40).await, 10 * 2);
}

#[tokio::test]
async fn a_revoke_or_a_later_state_of_the_closer_alone_is_evidence_and_a_credit_adds_up() {
    let scene = Scene::new().await;
    let (at, params, domain) = (scene.chain.channels(), scene.params, scene.chain.domain());
    let tower = scene.wallet(key(40)).await;
    let hub = scene.wallet(key(OPERATOR + 1)).await;
    let posted = scene.one(scene.state(4, 100));
    let credit = |cumulative| {
        let credit = Credit {
            channel_id: scene.id,
            epoch: 0,
            cumulative: Amount::new(cumulative),
        };
        SignedCredit {
            cumulative: credit.cumulative,
            signature: key(OPERATOR + 1).sign(&domain, &credit),
        }
    };
    let close = dispute::close(at, &params, &posted, None, Some(&credit(7)));
    send(&hub, &close).await;
    let running = scene.dispute().await;
    assert_eq!(
        (running.closer, running.credit_max),
        (Closer::Hub, Amount::new(7))
    );
    send(
        &tower,
        &dispute::add_credit(at, &params, &running, &credit(9)),
    )
    .await;
    let running = scene.dispute().await;
    assert_eq!(running.credit_max, Amount::new(9));

    let revoke = |version| {
        let revoke = Revoke {
            channel_id: scene.id,
            epoch: 0,
            version,
        };
        Evidence::Revoke {
            version,
            signature: key(OPERATOR + 1).sign(&domain, &revoke),
        }
    };
    let early = dispute::penalize(at, &params, 0, Some(&running), &revoke(3));
    assert!(
        refused(&tower, &early)
            .await
            .contains("HubChannels_NotRevoked")
    );
    let proof = dispute::penalize(at, &params, 0, Some(&running), &revoke(4));
    send(&tower, &proof).await;
    let running = scene.dispute().await;
    assert_eq!(running.penalized, Some(key(40).address()));
    scene.pass(61);
    send(&tower, &dispute::settle(at, &params, &running)).await;
    // 100 and the credit of 9; of the cap of 10, 5 % rounded down is no bounty.
    assert_eq!(tokens(&scene, 30).await, 109 + 10);

    // The next epoch: the custody key closes below a state that it signed alone.
    let custody = custody(&scene).await;
    let old = CoSigned::null(State::null(scene.id, 1, params.capacity));
    send(&custody, &dispute::close(at, &params, &old, None, None)).await;
    let running = scene.dispute().await;
    let half = State {
        epoch: 1,
        ..scene.state(2, 60)
    };
    let evidence = Evidence::State {
        state: Box::new(half),
        attestation: Attestation::State(key(9).sign(&domain, &half)),
    };
    send(
        &tower,
        &dispute::penalize(at, &params, 1, Some(&running), &evidence),
    )
    .await;
    assert!(scene.dispute().await.penalized.is_some());
}

#[tokio::test]
async fn an_exit_never_forfeits_and_the_late_payout_of_a_party_can_be_forfeited_after_it() {
    let scene = Scene::new().await;
    let (at, params) = (scene.chain.channels(), scene.params);
    let user = scene.wallet(key(30)).await;
    let tower = scene.wallet(key(40)).await;
    let (old, newest) = (
        scene.one(scene.state(1, 900)),
        scene.one(scene.state(3, 400)),
    );
    send(&user, &dispute::close(at, &params, &old, None, None)).await;
    let running = scene.dispute().await;
    assert_eq!(running.closer, Closer::Exit);
    send(&tower, &dispute::challenge(at, &params, &running, &newest)).await;
    let running = scene.dispute().await;
    assert_eq!(running.penalized, None);
    scene.pass(61);
    send(&tower, &dispute::settle(at, &params, &running)).await;
    assert_eq!(tokens(&scene, 30).await, 400);

    let in_next = |version, user| {
        scene.one(State {
            epoch: 1,
            ..scene.state(version, user)
        })
    };
    let intent = |state: &CoSigned| {
        let valid_until = 4_000_000_000;
        let intent = CloseIntent {
            channel_id: scene.id,
            epoch: 1,
            state_hash: state.state.hash_struct(),
            valid_until,
        };
        SignedIntent {
            valid_until,
            signature: key(9).sign(&scene.chain.domain(), &intent),
        }
    };
    let posted = in_next(1, 500);
    let relayed = dispute::close(at, &params, &posted, Some(&intent(&posted)), None);
    send(&tower, &relayed).await;
    let running = scene.dispute().await;
    assert_eq!(running.closer, Closer::User);
    scene.pass(61);
    send(&user, &dispute::settle(at, &params, &running)).await;
    let pending = scene.chain.pending(scene.id, 1, At::Latest).await.unwrap();
    let due = running.deadline + 60;
    assert_eq!(pending.delayed, Some((Amount::new(500), due, Closer::User)));
    assert_eq!(tokens(&scene, 30).await, 400);
    let claim = claims::claim_delayed(at, &params, 1);
    assert!(refused(&user, &claim).await.contains("HubChannels_NotDue"));

    let later = in_next(3, 1);
    let evidence = Evidence::State {
        state: Box::new(later.state),
        attestation: later.user.clone(),
    };
    send(&tower, &dispute::penalize(at, &params, 1, None, &evidence)).await;
    let LogBody::DelayedForfeited { amount, bounty, .. } = scene.last().await else {
        panic!("{:?}", scene.last().await);
    };
    assert_eq!((amount, bounty), (Amount::new(500), Amount::new(25)));
    assert_eq!(tokens(&scene, 40).await, 25);
    let pending = scene.chain.pending(scene.id, 1, At::Latest).await.unwrap();
    assert!(pending.is_empty());
}

#[tokio::test]
async fn both_sides_end_an_epoch_at_once_by_consent() {
    let scene = Scene::new().await;
    let (at, params, domain) = (scene.chain.channels(), scene.params, scene.chain.domain());
    let custody = custody(&scene).await;
    let posted = scene.one(scene.state(1, 250));
    send(&custody, &dispute::close(at, &params, &posted, None, None)).await;
    let running = scene.dispute().await;
    let accept = AcceptClose {
        channel_id: scene.id,
        epoch: 0,
        state_hash: posted.state.hash_struct(),
    };
    let theirs = key(9).sign(&domain, &accept);
    let own = dispute::accept_close(at, &params, &running, &theirs);
    assert!(
        refused(&custody, &own)
            .await
            .contains("HubChannels_BadSignature")
    );
    let theirs = key(OPERATOR + 1).sign(&domain, &accept);
    send(
        &custody,
        &dispute::accept_close(at, &params, &running, &theirs),
    )
    .await;
    assert_eq!(tokens(&scene, 30).await, 250);

    let agreement = CoopSettle {
        channel_id: scene.id,
        epoch: 1,
        withdrawn: Amount::ZERO,
        deposited: Amount::ZERO,
        user_amount: Amount::new(80),
        valid_until: 4_000_000_000,
    };
    let signatures = [OPERATOR + 1, 9].map(|by| key(by).sign(&domain, &agreement));
    let [hub, user] = &signatures;
    send(
        &custody,
        &dispute::coop_settle(at, &params, &agreement, (hub, user)),
    )
    .await;
    let LogBody::Settled { paid, .. } = scene.last().await else {
        panic!("{:?}", scene.last().await);
    };
    assert!(paid.agreed);
    assert_eq!(paid.user_pay, Amount::new(80));
    assert_eq!(tokens(&scene, 30).await, 330);
}

#[tokio::test]
async fn two_states_of_one_version_cost_the_hub_its_cap() {
    let scene = Scene::new().await;
    let (at, params) = (scene.chain.channels(), scene.params);
    let tower = scene.wallet(key(40)).await;
    let (one, other) = (scene.one(scene.state(5, 100)), scene.one(scene.state(5, 1)));
    let proof = dispute::prove_equivocation(
        at,
        &params,
        (&one.state, &one.hub),
        (&other.state, &other.hub),
    );
    send(&tower, &proof).await;
    let logs = scene.logs().await;
    let proved = |body: &LogBody| matches!(body, LogBody::EquivocationProved { epoch: 0, .. });
    assert!(logs.iter().any(|log| proved(&log.body)), "{logs:?}");
    assert_eq!(tokens(&scene, 30).await, 10);
}

#[tokio::test]
async fn a_proof_file_closes_a_channel_and_single_withdrawals_are_paid() {
    let scene = Scene::new().await;
    let (at, params, domain) = (scene.chain.channels(), scene.params, scene.chain.domain());
    let states = [
        scene.state(2, 600),
        scene.state_of(&scene.sibling(4), 2, 5, &[]),
    ];
    let signed = scene.signed(&states);
    let mine = signed.iter().find(|one| one.state == states[0]).unwrap();
    let Attestation::Batch {
        batch,
        leaf_index,
        siblings,
        ..
    } = &mine.hub
    else {
        panic!("{mine:?}");
    };
    let side = |by: u8, over| SignedBy {
        over,
        signer: key(by).address(),
        signature: match over {
            Over::Batch => key(by).sign(&domain, batch),
            Over::State => key(by).sign(&domain, &mine.state),
        },
    };
    for user_over in [Over::Batch, Over::State] {
        let proof = ChannelProof {
            format: FORMAT.into(),
            channel_params: params,
            state_typed_data: TypedData::new(domain, mine.state),
            batch_typed_data: TypedData::new(domain, *batch),
            newest: true,
            merkle: MerklePath {
                leaf_index: *leaf_index,
                siblings: siblings.clone(),
            },
            signatures: Signatures {
                hub: side(OPERATOR + 1, Over::Batch),
                user: side(9, user_over),
            },
        };
        proof.verify().unwrap();
        let posted = CoSigned::from_proof(&proof);
        let close = dispute::close(at, &params, &posted, None, None);
        let user = scene.wallet(key(30)).await;
        let gas = scene
            .chain
            .node()
            .estimate(user.address(), Some(at), &close.data, Amount::ZERO);
        assert!(gas.await.unwrap() < close.gas);
    }

    let withdraw = Withdraw {
        channel_id: scene.id,
        epoch: 0,
        prev_total: Amount::ZERO,
        amount: Amount::new(45),
        to: key(31).address(),
        valid_until: 4_000_000_000,
        request_id: Hash32([8; 32]),
    };
    let command = chain_messages::WithdrawCommand {
        params,
        withdraw,
        hub_signature: key(OPERATOR + 1).sign(&domain, &withdraw),
        user_signature: key(9).sign(&domain, &withdraw),
    };
    let anybody = scene.wallet(key(40)).await;
    send(&anybody, &calls::withdraw(at, &command)).await;
    assert_eq!(tokens(&scene, 31).await, 45);
    let again = refused(&anybody, &calls::withdraw(at, &command)).await;
    assert!(again.contains("HubChannels_WithdrawRefused"), "{again}");
}
