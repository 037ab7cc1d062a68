//! Vaults.

use crate::harness::{OPERATOR_TOKENS, Options, VAULT, VAULT_HUB, World, eventually, key};
use chain::{At, calls};
use chain_messages::{Command, Event};
use hub_core::Amount;

const FUNDED: &str = "SELECT count(*) FROM chain.transactions WHERE kind = 2";
const DONE: &str = "SELECT count(*) FROM chain.commands WHERE kind = 2 AND status = 3";

fn fund(needed: u128) -> Command {
    Command::FundVault {
        hub: key(VAULT_HUB).address(),
        needed: Amount::new(needed),
    }
}

async fn vault(world: &World) -> u128 {
    let hub = key(VAULT_HUB).address();
    world
        .chain
        .hub(hub, At::Latest)
        .await
        .unwrap()
        .funds
        .units()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_are_one_top_up_of_at_least_the_buffer() {
    let world = World::start().await;
    world.mine(false);
    for needed in [100, 300, 200] {
        world.command(&fund(needed)).await;
    }
    eventually("one is sent", async || world.count(FUNDED).await == 1).await;
    // Covered by what is under way.
    world.command(&fund(400)).await;
    let sent = "SELECT count(*) FROM chain.commands WHERE status = 2";
    eventually("all are carried", async || world.count(sent).await == 4).await;
    world.mine(true);
    eventually("done", async || world.count(DONE).await == 4).await;
    assert_eq!(world.count(FUNDED).await, 1);
    assert_eq!(vault(&world).await, VAULT + 5_000);
    // More than the buffer.
    world.command(&fund(7_000)).await;
    eventually("done", async || world.count(DONE).await == 5).await;
    assert_eq!(vault(&world).await, VAULT + 12_000);
    eventually("the hub knows", async || {
        let told = world.hubs.told("vault");
        told.iter().any(|message| {
            matches!(message.body,
            Event::VaultChanged { vault, .. } if vault == Amount::new(VAULT + 12_000))
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tokens_a_request_stays_planned_and_shows_until_they_come() {
    let world = World::start().await;
    world.command(&fund(OPERATOR_TOKENS + 1)).await;
    let blocked = |metrics: String| {
        let mut lines = metrics.lines();
        lines.any(|line| line.starts_with("chub_funding_blocked") && line.ends_with(" 1"))
    };
    eventually("shown", async || blocked(world.get("/metrics").await.1)).await;
    let planned = "SELECT count(*) FROM chain.commands WHERE status = 1";
    assert_eq!(world.count(planned).await, 1);
    let operator = key(VAULT_HUB).address();
    let call = calls::mint(world.chain.token(), operator, Amount::new(10));
    world.deployer().call(&call).await.unwrap();
    eventually("done", async || world.count(DONE).await == 1).await;
    assert_eq!(vault(&world).await, VAULT + OPERATOR_TOKENS + 1);
    eventually("over", async || !blocked(world.get("/metrics").await.1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn low_headroom_is_refilled_once_without_being_asked() {
    let world = World::with(Options {
        extra: vec!["--vault-threshold=900".into()],
        ..Options::default()
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(world.count(FUNDED).await, 0, "no headroom is known");
    world.hubs.set_headroom(Some(100));
    eventually("refilled", async || world.count(FUNDED).await == 1).await;
    world.hubs.set_headroom(Some(5_100));
    eventually("done", async || world.count(DONE).await == 1).await;
    assert_eq!(vault(&world).await, VAULT + 5_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_is_down_hears_everything_in_order_when_it_is_back() {
    let world = World::start().await;
    world.hubs.set_down(true);
    for needed in [6_000, 7_000] {
        let done = world.count(DONE).await;
        world.command(&fund(needed)).await;
        eventually("done", async || world.count(DONE).await > done).await;
    }
    // It takes the first page, and its answer is lost: it must come again, the same.
    world.hubs.set_mute(true);
    world.hubs.set_down(false);
    eventually("told", async || !world.hubs.told("vault").is_empty()).await;
    world.hubs.set_mute(false);
    let vaults = || {
        let mut seen = std::collections::HashSet::new();
        let told = world.hubs.told("vault").into_iter();
        told.filter(|message| seen.insert(message.id))
            .filter_map(|message| match message.body {
                Event::VaultChanged { vault, .. } => Some(vault.units()),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    eventually("all told", async || {
        vaults().last() == Some(&(VAULT + 13_000))
    })
    .await;
    assert!(vaults().is_sorted(), "{:?}", vaults());
}
