//! The worker is killed at the worst moments.

use crate::harness::{Options, VAULT_HUB, World, eventually};
use crate::proxy::Mode;
use hub_core::{Address, Amount};

const PAYEE: Address = Address([0xbb; 20]);
const ATTEMPTS: &str = "SELECT count(*) FROM chain.attempts";

async fn killed_while(mode: Mode) {
    let world = World::with(Options {
        through_proxy: true,
        ..Options::default()
    })
    .await;
    world.proxy.set(mode);
    world
        .command(&world.order(VAULT_HUB, 1, 0, 10, PAYEE))
        .await;
    eventually("in the node's hands", async || world.proxy.held() > 0).await;
    assert_eq!(world.count(ATTEMPTS).await, 1, "stored before it was sent");
    let broadcast = "SELECT count(*) FROM chain.attempts WHERE broadcast_at IS NOT NULL";
    assert_eq!(world.count(broadcast).await, 0);
    world.worker.kill9();
    world.proxy.set(Mode::Pass);
    world.worker.start().await.unwrap();
    eventually("paid", async || world.paid(PAYEE) == [10]).await;
    assert_eq!(world.balance(PAYEE).await, 10);
    assert_eq!(world.count(ATTEMPTS).await, 1, "the same bytes again");
    eventually("final", async || {
        world
            .count("SELECT count(*) FROM chain.transactions WHERE status = 4")
            .await
            == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_commit_and_broadcast_it_pays_once() {
    killed_while(Mode::Swallow).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_the_node_took_it_it_pays_once() {
    killed_while(Mode::Mute).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_pays_every_order_once() {
    let world = World::start().await;
    let mut total = 0;
    for round in 0..5_u8 {
        for salt in 0..4 {
            let amount = u128::from(round) * 4 + u128::from(salt) + 1;
            let order = world.order(VAULT_HUB, round * 4 + salt + 1, 0, amount, PAYEE);
            world.command(&order).await;
            total += amount;
        }
        tokio::time::sleep(std::time::Duration::from_millis(u64::from(round) * 150)).await;
        world.worker.kill9();
        world.worker.start().await.unwrap();
    }
    eventually("all paid", async || world.paid(PAYEE).len() == 20).await;
    assert_eq!(world.balance(PAYEE).await, total);
    let nonces = "SELECT max(nonce) - min(nonce) + 1 - count(*) FROM chain.transactions";
    assert_eq!(world.count(nonces).await, 0, "nonces without a gap");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_worker_waits_and_takes_over() {
    let world = World::start().await;
    let mut plan = world.plan.clone();
    let port = stack::free_port().unwrap();
    plan.launch.args[0] = format!("--listen=127.0.0.1:{port}");
    plan.launch.log = world.dir.path().join("second.log");
    plan.probe = stack::Probe::Http(port);
    let second = stack::Server::new(plan, stack::Life::Owned);
    second.start().await.unwrap();
    world
        .command(&world.order(VAULT_HUB, 1, 0, 10, PAYEE))
        .await;
    eventually("paid", async || world.paid(PAYEE) == [10]).await;
    let fence = "SELECT fence FROM chain.leases";
    assert_eq!(world.count(fence).await, 1, "one leader so far");
    world.worker.kill9();
    world
        .command(&world.order(VAULT_HUB, 1, 10, 5, PAYEE))
        .await;
    eventually("paid by the other", async || world.paid(PAYEE) == [10, 5]).await;
    assert_eq!(world.count(fence).await, 2);
    assert_eq!(world.balance(PAYEE).await, 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_waits_gets_higher_fees_and_pays_once() {
    let world = World::with(Options {
        bump_after_ms: 800,
        ..Options::default()
    })
    .await;
    world.mine(false);
    world
        .command(&world.order(VAULT_HUB, 1, 0, 10, PAYEE))
        .await;
    eventually("raised twice", async || world.count(ATTEMPTS).await >= 3).await;
    let same = "SELECT count(DISTINCT nonce) FROM chain.attempts";
    assert_eq!(world.count(same).await, 1, "all of one nonce");
    let rising = "SELECT count(*) FROM chain.attempts a JOIN chain.attempts b
        ON b.nonce = a.nonce AND b.attempt = a.attempt + 1 WHERE b.max_fee * 10 < a.max_fee * 11";
    assert_eq!(
        world.count(rising).await,
        0,
        "each a tenth above the one before"
    );
    world.mine(true);
    eventually("paid", async || world.paid(PAYEE) == [10]).await;
    assert_eq!(world.balance(PAYEE).await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nonce_that_somebody_else_took_is_given_up_only_when_that_is_final() {
    let world = World::with(Options {
        through_proxy: true,
        ..Options::default()
    })
    .await;
    world.proxy.set(Mode::Swallow);
    world
        .command(&world.order(VAULT_HUB, 1, 0, 10, PAYEE))
        .await;
    eventually("signed", async || world.proxy.held() > 0).await;
    // The operator's key is used behind our back, with the nonce that ours has.
    let foreign = world.wallet(VAULT_HUB).pay(PAYEE, Amount::new(1)).await;
    let block = foreign.unwrap().block;
    world.worker.kill9();
    world.proxy.set(Mode::Pass);
    world.worker.start().await.unwrap();
    let displaced = "SELECT count(*) FROM chain.transactions WHERE status = 6";
    eventually("given up", async || world.count(displaced).await == 1).await;
    let done = world.count("SELECT final_block FROM chain.cursor").await;
    assert!(done.unsigned_abs() >= block, "only a final block decides");
    eventually("paid with another nonce", async || {
        world.paid(PAYEE) == [10]
    })
    .await;
    assert_eq!(world.balance(PAYEE).await, 10);
}
