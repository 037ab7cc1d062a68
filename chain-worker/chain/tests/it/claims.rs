//! Locks of a settled list, and payouts that come later.

use crate::scene::{Scene, send};
use crate::{deployer, key};
use chain::calls::claims::{self, SignedCheque, SignedMeter};
use chain::calls::{self, dispute};
use chain::{At, LogBody, SettledLocks, Wallet, record};
use hub_core::lock::{Lock, LockKind};
use hub_core::{Amount, Domain, Hash32, eip712, keccak256, sha256};
use signer::Signer;

const PREIMAGE: Hash32 = Hash32([77; 32]);

fn lock(id: u8, kind: LockKind, user_pays: bool, amount: u128, condition: Hash32) -> Lock {
    Lock {
        id: Hash32([id; 32]),
        kind,
        user_pays,
        amount: Amount::new(amount),
        expiry: 4_000_000_000,
        condition,
        total: if kind == LockKind::Metered { 10 } else { 0 },
    }
}

/// What the contract has is what the logs tell.
async fn told(scene: &Scene, mut list: SettledLocks) -> SettledLocks {
    let logs = scene.logs().await;
    let start = logs
        .iter()
        .rposition(|log| matches!(log.body, LogBody::Settled { .. }));
    for log in &logs[start.unwrap()..] {
        list = list.advance(scene.id, 0, &log.body);
    }
    let pending = scene.chain.pending(scene.id, 0, At::Latest).await.unwrap();
    let hash = match list.locks.is_empty() {
        true => Hash32::ZERO,
        false => record::lock_list_hash(&list.list),
    };
    assert_eq!(pending.lock_list, hash);
    list
}

/// A message of the contract that only the contract checks: `hashStruct` of words.
fn hash_struct(kind: &str, words: &[[u8; 32]]) -> Hash32 {
    let mut bytes = keccak256(kind.as_bytes()).0.to_vec();
    words.iter().for_each(|word| bytes.extend(word));
    keccak256(&bytes)
}

fn word(bytes: &[u8]) -> [u8; 32] {
    let mut word = [0; 32];
    word[32 - bytes.len()..].copy_from_slice(bytes);
    word
}

fn signed(by: &Signer, domain: &Domain, hash: Hash32) -> hub_core::Signature {
    by.sign_transaction(eip712::digest(domain.separator(), hash))
}

#[tokio::test]
async fn locks_of_every_kind_are_paid_after_settlement_and_the_list_stays_known() {
    let scene = Scene::new().await;
    let (at, params, domain) = (scene.chain.channels(), scene.params, scene.chain.domain());
    let terms = Hash32([5; 32]);
    let buyer = key(60);
    let order = hash_struct(
        "Order(address signer,bytes32 terms)",
        &[word(&buyer.address().0), terms.0],
    );
    let book = hash_struct(
        "Book(address signer,bytes32 terms)",
        &[word(&buyer.address().0), terms.0],
    );
    let locks = vec![
        lock(1, LockKind::Hash, false, 100, sha256(&PREIMAGE.0)),
        lock(2, LockKind::Metered, false, 50, order),
        lock(3, LockKind::Cover, true, 30, book),
        lock(4, LockKind::Hash, true, 20, Hash32([9; 32])),
    ];
    let user = scene.wallet(key(30)).await;
    let posted = scene.one(scene.state_of(&params, 1, 1_000, &locks));
    send(&user, &dispute::close(at, &params, &posted, None, None)).await;
    let running = scene.dispute().await;
    send(&user, &claims::register_preimages(at, &[PREIMAGE])).await;
    let registered = scene.chain.preimage_time(sha256(&PREIMAGE.0), At::Latest);
    assert!(registered.await.unwrap().is_some());
    scene.pass(61);
    // The hub's allowance was 900: the user's 900 of 1,000, nothing for the locks.
    send(&user, &dispute::settle(at, &params, &running)).await;
    let reserve = Amount::ZERO;
    let list = told(&scene, SettledLocks::new(locks.clone(), reserve)).await;
    assert_eq!(list.list.short, Amount::new(200));

    // The admin lets the hub create more, and the cover lock's beneficiary is first.
    let admin = Wallet::new(scene.chain.node().clone(), deployer());
    let allow = calls::allow_mint(at, params.hub, Amount::new(1_000));
    admin.call(&allow).await.unwrap();
    let payee = key(61).address();
    let cumulative = Amount::new(12);
    let cheque = hash_struct(
        "Cheque(bytes32 bookId,address beneficiary,uint128 cumulative)",
        &[book.0, word(&payee.0), word(&12_u128.to_be_bytes())],
    );
    let cheque = SignedCheque {
        signer: buyer.address(),
        terms,
        beneficiary: payee,
        cumulative,
        signature: signed(&buyer, &domain, cheque),
    };
    send(
        &user,
        &claims::cash_cheque(at, &params, 0, &list, 2, &cheque),
    )
    .await;
    let list = told(&scene, list).await;
    assert_eq!(list.locks[2].amount, Amount::new(18));

    let meter = hash_struct(
        "Meter(bytes32 orderId,uint64 delivered)",
        &[order.0, word(&7_u64.to_be_bytes())],
    );
    let meter = SignedMeter {
        signer: buyer.address(),
        terms,
        delivered: 7,
        signature: signed(&buyer, &domain, meter),
    };
    send(&user, &claims::show_meter(at, &meter)).await;
    assert_eq!(scene.chain.delivered(order, At::Latest).await.unwrap(), 7);
    send(&user, &claims::unlock(at, &params, 0, &list)).await;
    let list = told(&scene, SettledLocks::new(locks, reserve)).await;
    let left: Vec<_> = list.locks.iter().map(|lock| lock.id.0[0]).collect();
    assert_eq!(left, [3, 4]);
    let of = async |who: u8| {
        let held = scene.chain.balance_of(key(who).address(), At::Latest).await;
        held.unwrap().units()
    };
    assert_eq!((of(61).await, of(30).await), (12, 900 + 100 + 35));

    let pending = scene.chain.pending(scene.id, 0, At::Latest).await.unwrap();
    assert_eq!(pending.owed, Amount::new(100));
    send(&user, &claims::pay_owed(at, &params, 0)).await;
    assert!(matches!(
        scene.last().await,
        LogBody::OwedPaid { amount, left, .. } if (amount, left) == (Amount::new(100), Amount::ZERO)
    ));
    assert_eq!(of(30).await, 900 + 100 + 35 + 100);
}

#[tokio::test]
async fn collateral_of_a_closing_hub_and_the_balance_of_a_closing_user_come_later() {
    let scene = Scene::new().await;
    let at = scene.chain.channels();
    let params = hub_core::ChannelParams {
        user: key(30).address(),
        custodial: false,
        ..crate::params(11)
    };
    let id = params.channel_id(&scene.chain.domain());
    let operator = Wallet::new(scene.chain.node().clone(), key(11));
    let collateral = calls::batch_collateral(at, &[(id, Amount::new(90))]);
    operator.call(&collateral).await.unwrap();
    let view = scene.chain.channel(id, At::Latest).await.unwrap();
    assert_eq!(view.collateral, Amount::new(90));

    let hub = scene.wallet(key(12)).await;
    let null = chain::CoSigned::null(hub_core::State::null(id, 0, params.capacity));
    send(&hub, &dispute::close(at, &params, &null, None, None)).await;
    let running = scene.dispute_of(id).await.unwrap();
    scene.pass(61);
    send(&hub, &dispute::settle(at, &params, &running)).await;
    let waiting = scene.chain.pending(id, 0, At::Latest).await.unwrap();
    assert_eq!(
        waiting.delayed.map(|(amount, ..)| amount),
        Some(Amount::new(90))
    );
    scene.pass(61);
    send(&hub, &claims::claim_delayed(at, &params, 0)).await;
    assert!(matches!(scene.last().await, LogBody::DelayedPaid { to, .. } if to == params.hub));
    let funds = scene.chain.hub(params.hub, At::Latest).await.unwrap().funds;
    assert_eq!(funds, Amount::new(700 + 90));
    let unit = scene.chain.unit().await.unwrap();
    assert_eq!(unit, (18, "INF".to_owned()));
    let nothing = scene.chain.reclaimable(params.user, At::Latest).await;
    assert_eq!(nothing.unwrap(), Amount::ZERO);
}
