//! A tower answers stale closes with nothing but proofs and its own key.

use crate::scene::{CUSTODY, Ran, Scene, TOWER, USER, WINDOW, document, key, operator, posted};
use acctl::dispute::material::Extras;
use chain::calls::{self, dispute};
use chain::{At, FundingMode, Wallet};
use hub_core::proof::ChannelProof;
use hub_core::{Amount, ChannelParams};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const MODE: FundingMode = FundingMode::Mint;
/// 5 % of the penalty cap of 1,000.
const BOUNTY: u128 = 50;

struct Watched {
    params: ChannelParams,
    old: ChannelProof,
    new: ChannelProof,
}

/// Channels with a version 1 worth 10 and a newest version 3.
fn channels(scene: &Scene, salts: std::ops::Range<u8>, newest: u128) -> Vec<Watched> {
    let one = |salt| {
        let params = scene.params(MODE, salt);
        let proof = |version, user| scene.proof(&params, scene.state(&params, version, user, &[]));
        Watched {
            params,
            old: proof(1, 10),
            new: proof(3, newest),
        }
    };
    salts.map(one).collect()
}

fn dir(scene: &Scene) -> (PathBuf, String) {
    let path = scene.path("tower");
    let text = path.display().to_string();
    (path, text)
}

async fn add(scene: &Scene, proof: &ChannelProof, extras: &Extras) -> Ran {
    let file = scene.file("push.json", proof, extras);
    let ran = scene
        .acctl(&["tower", "add", &file, "--dir", &dir(scene).1])
        .await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran
}

async fn once(scene: &Scene, more: &[&str]) -> Ran {
    let key_file = scene.key_file(TOWER);
    let dir = dir(scene).1;
    let args = [
        "tower",
        "run",
        "--dir",
        &dir,
        "--key-file",
        &key_file,
        "--once",
    ];
    scene.acctl(&[&args, more].concat()).await
}

/// Posts the old states of all in one transaction.
async fn close_all(scene: &Scene, by: &Wallet, all: &[Watched]) {
    let at = scene.chain.channels();
    let closes: Vec<_> = all
        .iter()
        .map(|one| dispute::close(at, &one.params, &posted(&one.old), None, None))
        .collect();
    by.call(&calls::batch(at, &closes)).await.unwrap();
    for one in all {
        let view = scene.chain.channel(scene.id(&one.params), At::Latest).await;
        assert!(view.unwrap().closing);
    }
}

#[tokio::test]
async fn a_tower_that_was_down_for_half_the_window_answers_all_in_one_transaction_and_is_paid() {
    let scene = Scene::new().await;
    scene.wallet(TOWER).await;
    let hub = scene.wallet(operator(MODE) + 1).await;
    let all = channels(&scene, 1..25, 40);
    for one in &all {
        add(&scene, &one.new, &Extras::default()).await;
    }
    // It has run before, and then it is down while the hub cheats in all channels.
    let ran = once(&scene, &[]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{ran:?}");
    close_all(&scene, &hub, &all).await;
    scene.pass(WINDOW / 2);

    let block = scene.block().await;
    let ran = once(&scene, &[]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.out
            .contains("challenge of 24 channels in one transaction"),
        "{}",
        ran.out
    );
    assert_eq!(
        scene.block().await,
        block + 1,
        "one transaction, in one block"
    );
    let again = once(&scene, &[]).await;
    assert_eq!((again.code, again.out.as_str()), (Some(0), ""), "{again:?}");

    scene.pass(WINDOW);
    let ran = once(&scene, &[]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.out.matches("bounty: ").count(), 24, "{}", ran.out);
    assert_eq!(scene.tokens(TOWER).await, 24 * BOUNTY);
    assert_eq!(scene.tokens(USER).await, 24 * (40 + 1_000 - BOUNTY));
    for one in &all {
        let view = scene.chain.channel(scene.id(&one.params), At::Latest).await;
        assert_eq!(view.unwrap().epoch, 1);
    }
    let after = once(&scene, &[]).await;
    assert_eq!((after.code, after.out.as_str()), (Some(0), ""), "{after:?}");
}

#[tokio::test]
async fn a_running_tower_takes_proofs_that_are_pushed_and_goes_on_after_a_kill() {
    let scene = Scene::new().await;
    scene.wallet(TOWER).await;
    let hub = scene.wallet(operator(MODE) + 1).await;
    let all = channels(&scene, 1..3, 70);
    let (path, text) = dir(&scene);
    let key_file = scene.key_file(TOWER);
    let args = [
        "tower",
        "run",
        "--dir",
        &text,
        "--key-file",
        &key_file,
        "--poll",
        "1",
    ];
    let mut child = scene.start(&args);
    close_all(&scene, &hub, &all).await;
    // The close is seen before there is a proof of it.
    let version = async |one: &Watched| {
        let id = scene.id(&one.params);
        let view = scene.chain.channel(id, At::Latest).await.unwrap();
        let logs = scene
            .chain
            .channel_logs(id, 0, scene.block().await)
            .await
            .unwrap();
        let told = logs
            .iter()
            .fold(None, |now, log| chain::record::advance(now, id, &log.body));
        assert!(view.closing);
        told.unwrap().state.version
    };
    for one in &all {
        add(&scene, &one.new, &Extras::default()).await;
        let begun = Instant::now();
        while version(one).await != 3 {
            assert!(begun.elapsed() < Duration::from_secs(30), "never answered");
            assert!(
                child.try_wait().unwrap().is_none(),
                "it runs until it is stopped"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    child.kill().await.unwrap();
    // What a kill in the middle of a write leaves behind.
    std::fs::write(path.join("tower.new-1"), "{\"half").unwrap();
    std::fs::write(path.join("broken.json"), "{\"half").unwrap();
    scene.pass(WINDOW);
    let ran = once(&scene, &[]).await;
    assert_eq!(ran.code, Some(1), "a file can't be used: {ran:?}");
    assert!(ran.err.contains("broken.json"), "{}", ran.err);
    assert_eq!(scene.tokens(TOWER).await, 2 * BOUNTY);
}

#[tokio::test]
async fn whose_money_is_guarded_decides_what_is_answered() {
    let scene = Scene::new().await;
    scene.wallet(TOWER).await;
    let custody = scene.wallet(CUSTODY).await;
    let all = channels(&scene, 1..3, 4);
    for one in &all {
        add(&scene, &one.new, &Extras::default()).await;
    }
    close_all(&scene, &custody, &all).await;
    let block = scene.block().await;
    let ran = once(&scene, &[]).await;
    assert_eq!((ran.code, scene.block().await), (Some(0), block), "{ran:?}");
    let ran = once(&scene, &["--guard", "hub"]).await;
    assert!(ran.out.contains("challenge of 2 channels"), "{ran:?}");
    scene.pass(WINDOW + 1);
    let ran = once(&scene, &["--guard", "hub"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // The user's 4 of each channel are the hub's; 5 % of 4 is no bounty.
    assert_eq!(
        (scene.tokens(USER).await, scene.tokens(TOWER).await),
        (0, 0)
    );
}

#[tokio::test]
async fn only_the_newest_proof_is_kept_and_evidence_of_older_ones_stays() {
    let scene = Scene::new().await;
    scene.wallet(TOWER).await;
    let all = channels(&scene, 1..2, 40);
    let one = &all[0];
    let hub_key = key(operator(MODE) + 1);
    let revoke = hub_core::types::Revoke {
        channel_id: scene.id(&one.params),
        epoch: 0,
        version: 2,
    };
    let extras = Extras {
        revoke: Some(acctl::dispute::material::RevokeEntry {
            signer: hub_key.address(),
            version: 2,
            signature: hub_key.sign(&scene.chain.domain(), &revoke),
        }),
        ..Extras::default()
    };
    let middle = scene.proof(&one.params, scene.state(&one.params, 2, 20, &[]));
    assert!(add(&scene, &middle, &extras).await.out.contains("watched"));
    assert!(
        add(&scene, &one.new, &Extras::default())
            .await
            .out
            .contains("watched")
    );
    assert!(
        add(&scene, &one.old, &Extras::default())
            .await
            .out
            .contains("known already")
    );
    assert!(
        add(&scene, &one.new, &Extras::default())
            .await
            .out
            .contains("known already")
    );
    let forged = document(&one.new, &Extras::default()).replace("\"40\"", "\"41\"");
    std::fs::write(scene.path("forged.json"), forged).unwrap();
    let file = scene.path("forged.json").display().to_string();
    let ran = scene
        .acctl(&["tower", "add", &file, "--dir", &dir(&scene).1])
        .await;
    assert!(
        ran.code == Some(2) && ran.err.contains("does not hold"),
        "{ran:?}"
    );

    // The hub posts version 2, which it revoked: its base is no evidence, its word is.
    let hub = scene.wallet(operator(MODE) + 1).await;
    let at = scene.chain.channels();
    let close = dispute::close(at, &one.params, &posted(&middle), None, None);
    hub.call(&close).await.unwrap();
    let ran = once(&scene, &[]).await;
    assert!(
        ran.out.contains("challenge of 1") && ran.out.contains("penalize of 1"),
        "{ran:?}"
    );
    scene.pass(WINDOW + 1);
    once(&scene, &[]).await;
    assert_eq!(scene.tokens(TOWER).await, BOUNTY);
    let held = scene.chain.balance_of(one.params.user, At::Latest).await;
    assert_eq!(held.unwrap(), Amount::new(40 + 1_000 - BOUNTY));
}

#[tokio::test]
async fn a_cursor_of_another_chain_and_missing_proofs_are_named() {
    let scene = Scene::new().await;
    scene.wallet(TOWER).await;
    let ran = once(&scene, &[]).await;
    assert!(
        ran.code == Some(2) && ran.err.contains("acctl tower add"),
        "{ran:?}"
    );
    let all = channels(&scene, 1..2, 40);
    add(&scene, &all[0].new, &Extras::default()).await;
    assert_eq!(once(&scene, &[]).await.code, Some(0));
    let state = dir(&scene).0.join("tower.state");
    let text = std::fs::read_to_string(&state).unwrap();
    std::fs::write(&state, text.replace("31337", "1")).unwrap();
    let ran = once(&scene, &[]).await;
    assert!(
        ran.code == Some(2) && ran.err.contains("another directory"),
        "{ran:?}"
    );
    std::fs::write(&state, "{}").unwrap();
    let ran = once(&scene, &[]).await;
    assert!(
        ran.code == Some(2) && ran.err.contains("no cursor"),
        "{ran:?}"
    );
    for (command, words) in [("run", "bounty"), ("add", "--dir")] {
        let help = scene.acctl(&["tower", command, "--help"]).await;
        assert!(help.out.contains(words), "{}", help.out);
    }
}
