//! An exit refuses what can't end well, says why and what to do, and sends nothing.

use crate::scene::{CUSTODY, Scene, USER, document, hash_lock, key, operator, posted, proof_in};
use acctl::dispute::material::{CreditEntry, Extras, RevokeEntry};
use chain::FundingMode;
use chain::calls::dispute;
use hub_core::types::Revoke;
use hub_core::{Amount, Domain, Hash32, Signature};

const MODE: FundingMode = FundingMode::Mint;

#[tokio::test]
async fn files_that_do_not_fit_the_chain_or_themselves_are_refused() {
    let scene = Scene::new().await;
    scene.wallet(USER).await;
    let params = scene.params(MODE, 1);
    let state = scene.state(&params, 3, 500, &[]);
    let proof = scene.proof(&params, state);
    let domain = scene.chain.domain();
    let elsewhere = |domain: Domain| {
        let mut state = state;
        state.channel_id = params.channel_id(&domain);
        proof_in(domain, &params, state)
    };
    let other_chain = elsewhere(Domain {
        chain_id: 1,
        ..domain
    });
    let no_contract = elsewhere(Domain {
        verifying_contract: key(5).address(),
        ..domain
    });
    let other_contract = elsewhere(Domain {
        verifying_contract: scene.chain.token(),
        ..domain
    });
    let mut forged = proof.clone();
    forged.state_typed_data.message.user_balance = Amount::new(501);
    forged.state_typed_data.message.hub_balance =
        state.hub_balance.checked_sub(Amount::new(1)).unwrap();
    let lock = hash_lock(1, false, 40, 4_000_000_000, Hash32([1; 32]));
    let none = Extras::default();
    let locks = Extras {
        locks: vec![lock],
        ..Extras::default()
    };
    let preimages = Extras {
        preimages: vec![Hash32([1; 32])],
        ..Extras::default()
    };
    let credit = Extras {
        credit: Some(CreditEntry {
            cumulative: Amount::new(5),
            signature: Signature([1; 65]),
        }),
        ..Extras::default()
    };
    let key_file = scene.key_file(USER);
    let block = scene.block().await;
    for (proof, extras, words) in [
        (&other_chain, &none, "wrong chain: the proof is for chain 1"),
        (&no_contract, &none, "wrong contract"),
        (&other_contract, &none, "wrong contract"),
        (&forged, &none, "the proof does not hold"),
        (&proof, &locks, "lock list"),
        (&proof, &preimages, "releases none"),
        (&proof, &credit, "not the hub's"),
    ] {
        let file = scene.file("p.json", proof, extras);
        let ran = scene.acctl(&["exit", &file, "--key-file", &key_file]).await;
        assert_eq!(ran.code, Some(2), "{words}: {ran:?}");
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    for text in ["", "{}", &document(&proof, &none)[1..]] {
        std::fs::write(scene.path("p.json"), text).unwrap();
        let file = scene.path("p.json").display().to_string();
        let ran = scene.acctl(&["exit", &file, "--key-file", &key_file]).await;
        assert!(
            ran.code == Some(2) && ran.err.contains("channel-proof/1"),
            "{ran:?}"
        );
    }
    assert_eq!(scene.block().await, block);
}

#[tokio::test]
async fn keys_that_may_not_and_states_that_would_forfeit_are_refused() {
    let scene = Scene::new().await;
    for by in [USER, CUSTODY, 50] {
        scene.wallet(by).await;
    }
    let params = scene.params(MODE, 2);
    let mut proof = scene.proof(&params, scene.state(&params, 3, 500, &[]));
    let file = scene.file("p.json", &proof, &Extras::default());
    let refused = |said: &serde_json::Value, words: &str| {
        assert_eq!(said["status"], "refused", "{said}");
        let text = said["message"].as_str().unwrap();
        assert!(text.contains(words), "{words}: {text}");
    };
    let block = scene.block().await;
    refused(&scene.exit(&file, 50, &[]).await, "can't close the channel");

    proof.newest = false;
    let old = scene.file("old.json", &proof, &Extras::default());
    refused(&scene.exit(&old, CUSTODY, &[]).await, "--old-state");
    let revoke = Revoke {
        channel_id: scene.id(&params),
        epoch: 0,
        version: 3,
    };
    let extras = Extras {
        revoke: Some(RevokeEntry {
            signer: key(CUSTODY).address(),
            version: 3,
            signature: key(CUSTODY).sign(&scene.chain.domain(), &revoke),
        }),
        ..Extras::default()
    };
    let revoked = scene.file("revoked.json", &proof, &extras);
    refused(
        &scene.exit(&revoked, CUSTODY, &["--old-state"]).await,
        "was revoked",
    );

    let empty = scene.params(MODE, 3);
    let nothing = scene.proof(&empty, scene.state(&empty, 1, 0, &[]));
    let nothing = scene.file("nothing.json", &nothing, &Extras::default());
    refused(&scene.exit(&nothing, USER, &[]).await, "nothing is due");
    let other = scene.acctl(&["exit", &file, &nothing, "--plan"]).await;
    assert!(other.err.contains("two channels"), "{other:?}");

    let mut strange = scene.params(MODE, 4);
    strange.hub_signer = key(12).address();
    let unknown = scene.proof(&strange, scene.state(&strange, 1, 5, &[]));
    let unknown = scene.file("unknown.json", &unknown, &Extras::default());
    refused(&scene.exit(&unknown, USER, &[]).await, "does not know");

    let mut later = scene.state(&params, 1, 5, &[]);
    later.epoch = 7;
    let later = scene.file(
        "later.json",
        &scene.proof(&params, later),
        &Extras::default(),
    );
    refused(&scene.exit(&later, USER, &[]).await, "epoch 7");
    assert_eq!(scene.block().await, block, "nothing was sent");
}

#[tokio::test]
async fn an_older_file_than_what_is_posted_changes_nothing_unless_that_is_accepted() {
    let scene = Scene::new().await;
    scene.wallet(USER).await;
    let hub = scene.wallet(operator(MODE) + 1).await;
    let params = scene.params(MODE, 5);
    let [old, new] = [(2, 900), (5, 120)]
        .map(|(version, user)| scene.proof(&params, scene.state(&params, version, user, &[])));
    let close = dispute::close(scene.chain.channels(), &params, &posted(&new), None, None);
    hub.call(&close).await.unwrap();
    let file = scene.file("old.json", &old, &Extras::default());
    let said = scene.exit(&file, USER, &[]).await;
    assert_eq!(said["status"], "refused");
    assert!(
        said["message"].as_str().unwrap().contains("version 5"),
        "{said}"
    );
    let said = scene.exit(&file, USER, &["--accept-newer"]).await;
    assert_eq!(
        (&said["status"], &said["due"]),
        (&"waiting".into(), &"120".into())
    );
}

#[tokio::test]
async fn a_key_comes_from_a_file_or_the_environment_and_needs_gas() {
    let scene = Scene::new().await;
    let params = scene.params(MODE, 6);
    let proof = scene.proof(&params, scene.state(&params, 3, 500, &[]));
    let file = scene.file("p.json", &proof, &Extras::default());
    let ran = scene.acctl(&["exit", &file]).await;
    assert!(
        ran.code == Some(2) && ran.err.contains("EXIT_KEY"),
        "{ran:?}"
    );
    let ran = scene.acctl_with("EXIT_KEY", "12", &["exit", &file]).await;
    assert!(ran.code == Some(2) && ran.err.contains("no key"), "{ran:?}");
    let secret = hex::encode([USER; 32]);
    let ran = scene
        .acctl_with("EXIT_KEY", &secret, &["exit", &file])
        .await;
    assert!(
        ran.code == Some(2) && ran.err.contains("to pay for gas"),
        "{ran:?}"
    );
    assert!(!format!("{ran:?}").contains(&secret));
    scene.wallet(USER).await;
    let ran = scene
        .acctl_with("EXIT_KEY", &secret, &["exit", &file])
        .await;
    assert!(
        ran.code == Some(0) && ran.out.contains("posted version 3"),
        "{ran:?}"
    );
    let help = scene.acctl(&["exit", "--help"]).await;
    for words in [
        "an *exit*",
        "--watch",
        "preimages",
        "EXIT_KEY",
        "Exits with 0",
    ] {
        assert!(help.out.contains(words), "{words}: {}", help.out);
    }
}
