//! What a tower holds against a cheater is not lost: not by other files, not by other channels that
//! can't be fetched, not by the end of the window.

use crate::scene::{
    CUSTODY, Ran, Scene, TOWER, USER, WINDOW, document, key, operator, posted, proof_in,
};
use acctl::dispute::material::{CreditEntry, Extras, RevokeEntry};
use acctl::tower::shelf::{self, Shelf};
use chain::calls::dispute;
use chain::{At, FundingMode};
use hub_core::proof::ChannelProof;
use hub_core::types::{Credit, Revoke};
use hub_core::{Address, Amount, ChannelParams, Domain, Hash32, State};
use stack::TempDir;

const MODE: FundingMode = FundingMode::Mint;

async fn run(scene: &Scene, more: &[&str]) -> Ran {
    let (key_file, dir) = (scene.key_file(TOWER), scene.path("tower"));
    let dir = dir.display().to_string();
    let args = ["tower", "run", "--dir", &dir, "--key-file", &key_file];
    scene.acctl(&[&args[..], &["--once"], more].concat()).await
}

fn add(scene: &Scene, proof: &ChannelProof) {
    let text = document(proof, &Extras::default());
    let (_, news) = shelf::add(&scene.path("tower"), &text).unwrap();
    assert!(news);
}

/// The custody key posts, and after the window somebody settles.
async fn close_and_settle(scene: &Scene, params: &ChannelParams, proof: &ChannelProof) {
    let (at, id) = (scene.chain.channels(), scene.id(params));
    let custody = scene.wallet(CUSTODY).await;
    let close = dispute::close(at, params, &posted(proof), None, None);
    custody.call(&close).await.unwrap();
    scene.pass(WINDOW + 1);
    let logs = scene.chain.channel_logs(id, 0, scene.block().await).await;
    let logs = logs.unwrap();
    let told = logs
        .iter()
        .fold(None, |now, log| chain::record::advance(now, id, &log.body));
    let settle = dispute::settle(at, params, &told.unwrap());
    custody.call(&settle).await.unwrap();
}

#[tokio::test]
async fn a_cheating_user_loses_its_late_payout_to_a_tower_that_learns_of_it_after_the_settlement() {
    let scene = Scene::new().await;
    scene.wallet(TOWER).await;
    let [cheated, honest] = [1, 2].map(|salt| ChannelParams {
        self_delay: 3_600,
        ..scene.params(MODE, salt)
    });
    let proof =
        |params, version, user| scene.proof(params, scene.state(params, version, user, &[]));
    let newest = proof(&honest, 3, 300);
    add(&scene, &newest);
    close_and_settle(&scene, &cheated, &proof(&cheated, 1, 1_000)).await;
    close_and_settle(&scene, &honest, &newest).await;
    let ran = run(&scene, &["--guard", "hub"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{ran:?}");
    // So many blocks are read again by every look; the settlement is behind them now.
    scene.mine(70);
    let ran = run(&scene, &["--guard", "hub"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{ran:?}");

    // The proof comes late, and one of the next epoch after it.
    add(&scene, &proof(&cheated, 3, 4));
    let next = State {
        epoch: 1,
        ..scene.state(&cheated, 4, 0, &[])
    };
    add(&scene, &scene.proof(&cheated, next));
    let ran = run(&scene, &["--guard", "user"]).await;
    assert!(!ran.out.contains("penalize"), "its own side: {ran:?}");
    let id = scene.id(&cheated);
    let waits = async || {
        scene
            .chain
            .pending(id, 0, At::Latest)
            .await
            .unwrap()
            .delayed
    };
    assert!(waits().await.is_some(), "nothing is paid yet");
    let ran = run(&scene, &["--guard", "hub"]).await;
    assert!(ran.out.contains("penalize of 1 channels"), "{ran:?}");
    assert_eq!(waits().await, None);
    assert_eq!(scene.tokens(TOWER).await, 50, "5 % of what it waited for");

    // The honest one is paid, by a tower of its own side alone.
    scene.pass(3_600);
    let ran = run(&scene, &["--guard", "hub"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{ran:?}");
    let ran = run(&scene, &["--guard", "user"]).await;
    assert!(
        ran.out.contains("claim the late payout of 1 channels"),
        "{ran:?}"
    );
    assert_eq!(scene.tokens(USER).await, 300);
    let ran = run(&scene, &["--guard", "user"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{ran:?}");
}

fn domain() -> Domain {
    Domain {
        chain_id: 1,
        verifying_contract: Address([7; 20]),
    }
}

/// A proof of the epoch's third version, made without a chain.
fn proof(epoch: u32) -> ChannelProof {
    let params = ChannelParams {
        hub: key(operator(MODE)).address(),
        hub_signer: key(operator(MODE) + 1).address(),
        user: key(USER).address(),
        user_signer: key(CUSTODY).address(),
        custodial: true,
        capacity: Amount::new(1_000),
        challenge_period: 60,
        self_delay: 60,
        penalty_cap: Amount::new(1_000),
        bounty_bps: 500,
        salt: Hash32::ZERO,
    };
    let state = State {
        version: 3,
        ack_version: 2,
        ..State::null(params.channel_id(&domain()), epoch, params.capacity)
    };
    proof_in(domain(), &params, state)
}

fn credit(proof: &ChannelProof, cumulative: u128) -> Extras {
    let state = &proof.state_typed_data.message;
    let cumulative = Amount::new(cumulative);
    let credit = Credit {
        channel_id: state.channel_id,
        epoch: state.epoch,
        cumulative,
    };
    let signature = key(operator(MODE) + 1).sign(&domain(), &credit);
    Extras {
        credit: Some(CreditEntry {
            cumulative,
            signature,
        }),
        ..Extras::default()
    }
}

fn revoke(proof: &ChannelProof, by: u8) -> Extras {
    let state = &proof.state_typed_data.message;
    let revoke = Revoke {
        channel_id: state.channel_id,
        epoch: state.epoch,
        version: 2,
    };
    let signer = key(by);
    Extras {
        revoke: Some(RevokeEntry {
            signer: signer.address(),
            version: 2,
            signature: signer.sign(&domain(), &revoke),
        }),
        ..Extras::default()
    }
}

#[test]
fn no_file_of_one_version_overwrites_what_another_of_it_proves() {
    let dir = TempDir::new().unwrap();
    let proof = proof(0);
    let add = |extras: &Extras| {
        let added = shelf::add(dir.path(), &document(&proof, extras));
        added.unwrap().1
    };
    let hub = operator(MODE) + 1;
    let some = [
        credit(&proof, 5),
        revoke(&proof, hub),
        revoke(&proof, CUSTODY),
    ];
    for extras in &some {
        assert!(add(extras), "news");
    }
    for known in some.iter().chain([&Extras::default(), &credit(&proof, 4)]) {
        let files = || std::fs::read_dir(dir.path()).unwrap().count();
        let before = files();
        add(known);
        assert!(files() <= before + 1, "{known:?}");
    }
    assert!(add(&credit(&proof, 6)));
    let mut shelf = Shelf::default();
    assert!(shelf.refresh(dir.path()).unwrap().is_empty());
    let state = proof.state_typed_data.message;
    let held = shelf.get(state.channel_id, state.epoch).unwrap();
    assert_eq!(held.credit.unwrap().cumulative, Amount::new(6));
    assert_eq!(held.revokes.len(), 2, "{:?}", held.revokes);
    for known in &some {
        assert!(!add(known), "told again, it is no news: {known:?}");
    }
}

#[test]
fn what_is_held_of_an_epoch_stays_when_the_next_one_comes_and_when_it_came_before() {
    for order in [[0, 1], [1, 0]] {
        let dir = TempDir::new().unwrap();
        for epoch in order {
            let proof = proof(epoch);
            let text = document(&proof, &credit(&proof, 5));
            assert!(shelf::add(dir.path(), &text).unwrap().1);
        }
        let mut shelf = Shelf::default();
        assert!(shelf.refresh(dir.path()).unwrap().is_empty());
        let id = proof(0).state_typed_data.message.channel_id;
        for epoch in [0, 1] {
            assert_eq!(shelf.get(id, epoch).unwrap().state().epoch, epoch);
        }
        assert_eq!(shelf.get(id, 7).unwrap().state().epoch, 1, "the newest");
    }
}
