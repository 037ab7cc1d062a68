//! Meters and cheques of a file bring what metered and cover locks owe, with nobody's help.

use crate::scene::{Scene, USER, WINDOW, key, operator};
use acctl::dispute::material::Extras;
use acctl::dispute::trade::{ChequeEntry, MeterEntry};
use chain::FundingMode;
use hub_core::lock::{Lock, LockKind};
use hub_core::trade::{Book, Cheque, Meter, Order};
use hub_core::{Amount, Domain, Hash32};
use serde_json::Value;

/// Signs meters and cheques for the hub.
const BUYER: u8 = 60;
const TERMS: Hash32 = Hash32([5; 32]);

fn steps(said: &Value) -> Vec<&str> {
    let steps = said["steps"].as_array().unwrap().iter();
    steps.map(|step| step["step"].as_str().unwrap()).collect()
}

fn lock(id: u8, kind: LockKind, amount: u128, expiry: u64, condition: Hash32) -> Lock {
    Lock {
        id: Hash32([id; 32]),
        kind,
        user_pays: false,
        amount: Amount::new(amount),
        expiry,
        condition,
        total: if kind == LockKind::Metered { 10 } else { 0 },
    }
}

fn order() -> Order {
    Order {
        signer: key(BUYER).address(),
        terms: TERMS,
    }
}

fn book() -> Book {
    Book {
        signer: key(BUYER).address(),
        terms: TERMS,
    }
}

fn meter(domain: &Domain, delivered: u64) -> MeterEntry {
    let order_id = order().id();
    let signature = key(BUYER).sign(
        domain,
        &Meter {
            order_id,
            delivered,
        },
    );
    MeterEntry {
        signer: key(BUYER).address(),
        terms: TERMS,
        delivered,
        signature,
    }
}

fn cheque(domain: &Domain, cumulative: u128) -> ChequeEntry {
    let (beneficiary, cumulative) = (key(USER).address(), Amount::new(cumulative));
    let signed = Cheque {
        book_id: book().id(),
        beneficiary,
        cumulative,
    };
    ChequeEntry {
        signer: key(BUYER).address(),
        terms: TERMS,
        beneficiary,
        cumulative,
        signature: key(BUYER).sign(domain, &signed),
    }
}

#[tokio::test]
async fn an_exit_is_paid_by_meter_and_cheque_and_a_higher_one_in_another_file_counts() {
    let scene = Scene::new().await;
    scene.wallet(USER).await;
    let params = scene.params(FundingMode::Vault, 1);
    let domain = scene.chain.domain();
    let expiry = scene.time().await + 3_600;
    let locks = vec![
        lock(1, LockKind::Metered, 100, expiry, order().id()),
        lock(2, LockKind::Cover, 60, expiry, book().id()),
    ];
    let proof = scene.proof(&params, scene.state(&params, 3, 500, &locks));
    let with = |delivered, cumulative| Extras {
        locks: locks.clone(),
        meters: vec![meter(&domain, delivered)],
        cheques: vec![cheque(&domain, cumulative)],
        ..Extras::default()
    };
    let file = scene.file("p.json", &proof, &with(7, 20));
    let older = scene.file("older.json", &proof, &with(3, 45));
    let plan = scene.acctl(&["exit", &file, "--plan"]).await;
    assert!(plan.out.contains("7 of 10 parts"), "{}", plan.out);
    assert!(plan.out.contains("cash the file's cheques"), "{}", plan.out);

    let said = scene.exit(&file, USER, &[&older]).await;
    assert_eq!(steps(&said), ["show the meter", "close"], "{said}");
    scene.pass(WINDOW + 1);
    // The cheque of the one file, then the higher one of the other.
    let said = scene.exit(&file, USER, &[]).await;
    assert_eq!(
        steps(&said),
        ["settle", "cash a cheque", "unlock"],
        "{said}"
    );
    assert_eq!(scene.tokens(USER).await, 500 + 20 + 70);
    let said = scene.exit(&file, USER, &[&older]).await;
    assert_eq!(steps(&said), ["cash a cheque"], "{said}");
    assert_eq!(scene.tokens(USER).await, 500 + 45 + 70);
    let said = scene.exit(&file, USER, &[&older]).await;
    assert!(steps(&said).is_empty(), "{said}");

    // The rest of the cover is the hub's.
    scene.pass(3_600);
    let said = scene
        .exit(&file, operator(FundingMode::Vault), &[&older])
        .await;
    assert_eq!(said["status"], "done", "{said}");
    assert_eq!(said["paid"], "615");
    assert_eq!(scene.tokens(USER).await, 615);
}

#[tokio::test]
async fn a_meter_or_cheque_of_another_order_key_or_amount_is_refused_with_its_reason() {
    let scene = Scene::new().await;
    let params = scene.params(FundingMode::Mint, 1);
    let domain = scene.chain.domain();
    let expiry = scene.time().await + 3_600;
    let locks = vec![
        lock(1, LockKind::Metered, 100, expiry, order().id()),
        lock(2, LockKind::Cover, 60, expiry, book().id()),
    ];
    let proof = scene.proof(&params, scene.state(&params, 3, 500, &locks));
    let (good_meter, good_cheque) = (meter(&domain, 7), cheque(&domain, 20));
    let other = key(USER).address();
    let cases = [
        (
            MeterEntry {
                delivered: 8,
                ..good_meter
            },
            good_cheque,
            "not its buyer's",
        ),
        (
            MeterEntry {
                signer: other,
                ..good_meter
            },
            good_cheque,
            "none of the file's locks",
        ),
        (
            good_meter,
            ChequeEntry {
                cumulative: Amount::new(60),
                ..good_cheque
            },
            "not by the book's key",
        ),
        (
            good_meter,
            ChequeEntry {
                terms: Hash32::ZERO,
                ..good_cheque
            },
            "none of the file's locks",
        ),
    ];
    for (meter, cheque, reason) in cases {
        let extras = Extras {
            locks: locks.clone(),
            meters: vec![meter],
            cheques: vec![cheque],
            ..Extras::default()
        };
        let file = scene.file("p.json", &proof, &extras);
        let ran = scene.acctl(&["exit", &file, "--plan"]).await;
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains(reason), "{reason}: {}", ran.err);
    }
}
