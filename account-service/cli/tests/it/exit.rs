//! A proof file, a node and a key are enough to be paid: nothing else of the system runs here.

use crate::scene::{CUSTODY, Ran, Scene, USER, WINDOW, hash_lock, key, operator, posted};
use acctl::dispute::material::{CreditEntry, Extras, RevokeEntry};
use chain::calls::{self, dispute};
use chain::{At, FundingMode};
use hub_core::types::{Credit, Revoke};
use hub_core::{Amount, ChannelParams, Hash32};
use serde_json::Value;

const MODES: [FundingMode; 2] = [FundingMode::Vault, FundingMode::Mint];

fn steps(said: &Value) -> Vec<&str> {
    let steps = said["steps"].as_array().unwrap().iter();
    steps.map(|step| step["step"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_exit_with_open_locks_pays_balance_preimages_and_expired_locks_in_both_modes() {
    let scene = Scene::new().await;
    scene.wallet(USER).await;
    for mode in MODES {
        let params = scene.params(mode, 1);
        let (known, unknown) = (Hash32([77; 32]), Hash32([78; 32]));
        let (known, unknown) = match mode {
            FundingMode::Vault => (known, unknown),
            FundingMode::Mint => (Hash32([79; 32]), Hash32([80; 32])),
        };
        let expiry = scene.time().await + 3_600;
        let locks = vec![
            hash_lock(1, false, 40, expiry, known),
            hash_lock(2, true, 25, expiry, unknown),
            hash_lock(3, false, 30, expiry, unknown),
        ];
        let state = scene.state(&params, 3, 500, &locks);
        let extras = Extras {
            locks,
            preimages: vec![known],
            ..Extras::default()
        };
        let file = scene.file("p.json", &scene.proof(&params, state), &extras);
        let before = scene.tokens(USER).await;

        let block = scene.block().await;
        let plan = scene.acctl(&["exit", &file, "--plan"]).await;
        assert_eq!(plan.code, Some(0), "{plan:?}");
        for words in [
            "now: register preimages",
            "close with version 3",
            "an exit",
            "settle: ",
        ] {
            assert!(plan.out.contains(words), "{words}: {}", plan.out);
        }
        assert_eq!(scene.block().await, block, "a plan sends nothing");

        let said = scene.exit(&file, USER, &[]).await;
        assert_eq!(steps(&said), ["register preimages", "close"]);
        assert_eq!(said["status"], "waiting", "{said}");
        assert_eq!(said["due"], "500");
        let again = scene.exit(&file, USER, &[]).await;
        assert!(steps(&again).is_empty(), "{again}");

        scene.pass(WINDOW + 1);
        let said = scene.exit(&file, USER, &[]).await;
        assert_eq!(steps(&said), ["settle", "unlock"]);
        assert_eq!(said["run_again_at"], expiry, "{said}");
        assert_eq!(scene.tokens(USER).await - before, 540);

        scene.pass(3_600);
        let said = scene.exit(&file, USER, &[]).await;
        assert_eq!(
            (steps(&said), &said["status"]),
            (vec!["unlock"], &"done".into())
        );
        assert_eq!(scene.tokens(USER).await - before, 565);
        assert_eq!(said["paid"], "565");
        let again = scene.exit(&file, USER, &[]).await;
        assert!(
            steps(&again).is_empty() && again["status"] == "done",
            "{again}"
        );
    }
}

#[tokio::test]
async fn watching_goes_from_close_to_the_late_payout_of_a_party_in_both_modes() {
    let scene = Scene::new().await;
    scene.wallet(USER).await;
    for mode in MODES {
        let params = ChannelParams {
            custodial: false,
            user_signer: key(USER).address(),
            ..scene.params(mode, 2)
        };
        let proof = scene.proof(&params, scene.state(&params, 4, 310, &[]));
        let file = scene.file("p.json", &proof, &Extras::default());
        let before = scene.tokens(USER).await;
        let key_file = scene.key_file(USER);
        let args = [
            "exit",
            &file,
            "--key-file",
            &key_file,
            "--watch",
            "--poll",
            "1",
        ];
        let mut child = scene.start(&args);
        let mut passed = 0;
        while child.try_wait().unwrap().is_none() {
            assert!(passed < 100, "it never ends");
            passed += 1;
            scene.pass(20);
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
        let ran = Ran::of(child.wait_with_output().await.unwrap());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.out.contains("the user's signer"), "{}", ran.out);
        assert!(
            ran.out.contains("done: 0.00000000000000031 INF were paid"),
            "{}",
            ran.out
        );
        assert_eq!(scene.tokens(USER).await - before, 310);
    }
}

#[tokio::test]
async fn a_stale_close_of_the_hub_is_answered_and_the_user_gets_the_bonus() {
    let scene = Scene::new().await;
    scene.wallet(USER).await;
    let mode = FundingMode::Mint;
    let hub = scene.wallet(operator(mode) + 1).await;
    let domain = scene.chain.domain();

    // The newest state was derived from a later one than the posted.
    let params = scene.params(mode, 3);
    let [old, new] = [(1, 10), (3, 400)]
        .map(|(version, user)| scene.proof(&params, scene.state(&params, version, user, &[])));
    let close = dispute::close(scene.chain.channels(), &params, &posted(&old), None, None);
    hub.call(&close).await.unwrap();
    let file = scene.file("new.json", &new, &Extras::default());
    let said = scene.exit(&file, USER, &[]).await;
    assert_eq!(steps(&said), ["challenge"]);
    scene.pass(WINDOW + 1);
    let said = scene.exit(&file, USER, &[]).await;
    assert_eq!(
        (steps(&said), &said["status"]),
        (vec!["settle"], &"done".into())
    );
    // The bounty for its own proof comes to the same address.
    assert_eq!(scene.tokens(USER).await, 400 + 1_000);

    // The newest state is the next to the posted one, which the hub has revoked; and a credit.
    let params = scene.params(mode, 4);
    let [old, new] = [(1, 10), (2, 200)]
        .map(|(version, user)| scene.proof(&params, scene.state(&params, version, user, &[])));
    let close = dispute::close(scene.chain.channels(), &params, &posted(&old), None, None);
    hub.call(&close).await.unwrap();
    let (channel_id, epoch) = (scene.id(&params), 0);
    let credit = Credit {
        channel_id,
        epoch,
        cumulative: Amount::new(50),
    };
    let revoke = Revoke {
        channel_id,
        epoch,
        version: 1,
    };
    let hub_key = key(operator(mode) + 1);
    let extras = Extras {
        credit: Some(CreditEntry {
            cumulative: credit.cumulative,
            signature: hub_key.sign(&domain, &credit),
        }),
        revoke: Some(RevokeEntry {
            signer: hub_key.address(),
            version: 1,
            signature: hub_key.sign(&domain, &revoke),
        }),
        ..Extras::default()
    };
    // The evidence lies in another file than the newest state.
    let evidence = scene.file("old.json", &old, &extras);
    let file = scene.file("new.json", &new, &Extras::default());
    let said = scene.exit(&file, USER, &[&evidence]).await;
    assert_eq!(steps(&said), ["challenge", "add credit", "penalize"]);
    scene.pass(WINDOW + 1);
    let said = scene.exit(&file, USER, &[]).await;
    assert_eq!(steps(&said), ["settle"]);
    assert_eq!(scene.tokens(USER).await, 1_400 + 200 + 50 + 1_000);
}

#[tokio::test]
async fn what_a_short_vault_owes_is_paid_when_it_has_funds_and_anybody_may_push_it() {
    let scene = Scene::new().await;
    scene.wallet(USER).await;
    scene.wallet(50).await;
    let params = scene.params(FundingMode::Vault, 5);
    let proof = scene.proof(&params, scene.state(&params, 2, 2_700, &[]));
    let file = scene.file("p.json", &proof, &Extras::default());
    let said = scene.acctl(&["exit", &file, "--plan"]).await;
    assert!(
        said.out.contains("short by 0.0000000000000007 INF"),
        "{}",
        said.out
    );
    scene.exit(&file, USER, &[]).await;
    scene.pass(WINDOW + 1);
    // From here on a key that is no party goes on.
    let said = scene.exit(&file, 50, &[]).await;
    assert_eq!(steps(&said), ["settle"]);
    assert_eq!(said["status"], "waiting");
    assert!(said["message"].as_str().unwrap().contains("owes"), "{said}");
    assert_eq!(scene.tokens(USER).await, 2_000);

    let hub = scene.wallet(operator(FundingMode::Vault)).await;
    let fund = calls::fund_vault(scene.chain.channels(), params.hub, Amount::new(5_000));
    hub.call(&fund).await.unwrap();
    let said = scene.exit(&file, 50, &[]).await;
    assert_eq!(
        (steps(&said), &said["status"]),
        (vec!["have paid what is owed"], &"done".into())
    );
    assert_eq!(scene.tokens(USER).await, 2_700);
    assert_eq!(scene.tokens(50).await, 0);
}

#[tokio::test]
async fn answering_ones_own_stale_close_is_left_out_where_it_would_forfeit() {
    let scene = Scene::new().await;
    scene.wallet(USER).await;
    let custody = scene.wallet(CUSTODY).await;
    let params = scene.params(FundingMode::Mint, 6);
    let [old, new] = [(1, 300), (3, 350)]
        .map(|(version, user)| scene.proof(&params, scene.state(&params, version, user, &[])));
    let close = dispute::close(scene.chain.channels(), &params, &posted(&old), None, None);
    custody.call(&close).await.unwrap();
    let file = scene.file("new.json", &new, &Extras::default());
    let said = scene.exit(&file, USER, &[]).await;
    assert!(
        steps(&said).is_empty() && said["status"] == "waiting",
        "{said}"
    );
    scene.pass(WINDOW + 1);
    scene.exit(&file, USER, &[]).await;
    scene.pass(WINDOW);
    let said = scene.exit(&file, USER, &[]).await;
    assert_eq!(
        (steps(&said), &said["status"]),
        (vec!["claim the late payout"], &"done".into())
    );
    assert_eq!(scene.tokens(USER).await, 300);
    let pending = scene.chain.pending(scene.id(&params), 0, At::Latest).await;
    assert!(pending.unwrap().is_empty());
}

#[tokio::test]
async fn deposits_and_a_credit_alone_are_paid_by_the_null_state() {
    let scene = Scene::new().await;
    scene.wallet(USER).await;
    let mode = FundingMode::Vault;
    let params = ChannelParams {
        custodial: false,
        user_signer: key(USER).address(),
        ..scene.params(mode, 7)
    };
    let payer = scene.wallet(operator(mode)).await;
    let deposit = calls::deposit(scene.chain.channels(), &params, Amount::new(30));
    payer.call(&deposit).await.unwrap();
    let credit = Credit {
        channel_id: scene.id(&params),
        epoch: 0,
        cumulative: Amount::new(20),
    };
    let domain = scene.chain.domain();
    let signature = key(operator(mode) + 1).sign(&domain, &credit);
    let file = serde_json::json!({
        "format": "channel-null/1", "channel_params": params, "domain": domain, "epoch": 0,
        "credit": {"cumulative": "20", "signature": signature},
    });
    let path = scene.path("null.json");
    std::fs::write(&path, file.to_string()).unwrap();
    let file = path.display().to_string();
    let said = scene.exit(&file, USER, &[]).await;
    assert_eq!(
        (&said["status"], &said["due"]),
        (&"refused".into(), &"50".into())
    );
    let said = scene.exit(&file, USER, &["--old-state"]).await;
    assert_eq!(steps(&said), ["close"]);
    scene.pass(WINDOW + 1);
    assert_eq!(steps(&scene.exit(&file, USER, &[]).await), ["settle"]);
    scene.pass(WINDOW);
    let said = scene.exit(&file, USER, &[]).await;
    assert_eq!(
        (&said["status"], &said["paid"]),
        (&"done".into(), &"50".into())
    );
    assert_eq!(scene.tokens(USER).await, 50);
}
