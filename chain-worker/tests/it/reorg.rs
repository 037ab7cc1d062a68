//! Deposits, and blocks that go away.

use crate::harness::{VAULT_HUB, World, eventually};
use chain::{Receipt, calls};
use chain_messages::{Certainty, Event};
use hub_core::{Address, Amount};

const PAYEE: Address = Address([0xcc; 20]);

async fn deposit(world: &World, salt: u8, amount: u128) -> Receipt {
    let operator = world.wallet(VAULT_HUB);
    let channel = world.params(VAULT_HUB, salt);
    let call = calls::deposit(world.chain.channels(), &channel, Amount::new(amount));
    operator.call(&call).await.unwrap()
}

fn certainties(world: &World, salt: u8) -> Vec<Certainty> {
    let channel = world.channel(VAULT_HUB, salt);
    let told = world.told().into_iter();
    told.filter_map(|event| match event {
        Event::Deposited {
            channel_id,
            certainty,
            ..
        } if channel_id == channel => Some(certainty),
        _ => None,
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposit_is_seen_then_final_and_the_hub_hears_of_it_once() {
    let world = World::start().await;
    let receipt = deposit(&world, 1, 40).await;
    eventually("final", async || {
        certainties(&world, 1) == [Certainty::Seen, Certainty::Final]
    })
    .await;
    let is_deposit = |event: &Event| {
        matches!(event, Event::Deposited { total, place, .. }
            if *total == Amount::new(40) && place.block == receipt.block)
    };
    eventually("the hub knows", async || {
        let told = world.hubs.told("vault");
        told.iter()
            .filter(|message| is_deposit(&message.body))
            .count()
            == 1
    })
    .await;
    let told = world.hubs.told("vault");
    let at = |wanted: &dyn Fn(&Event) -> bool| told.iter().position(|m| wanted(&m.body)).unwrap();
    let deposited = at(&is_deposit);
    let raised = at(
        &|event| matches!(event, Event::VaultChanged { vault, .. } if *vault == Amount::new(crate::harness::VAULT + 40)),
    );
    assert!(deposited < raised, "never more headroom than there is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposit_whose_block_goes_away_is_undone_and_may_come_again() {
    let world = World::start().await;
    world.mine(false);
    world.rpc("evm_mine", "[]").await;
    let snapshot = world.rpc("evm_snapshot", "[]").await;
    let id = snapshot
        .split("\"result\":")
        .nth(1)
        .unwrap()
        .trim_end_matches('}')
        .to_owned();
    world.rpc("evm_setAutomine", "[true]").await;
    deposit(&world, 1, 40).await;
    eventually("seen", async || certainties(&world, 1) == [Certainty::Seen]).await;
    let reverted = world.rpc("evm_revert", &format!("[{id}]")).await;
    assert!(reverted.contains("true"), "{reverted}");
    world.rpc("evm_setAutomine", "[false]").await;
    eventually("undone with the head below the cursor", async || {
        certainties(&world, 1) == [Certainty::Seen, Certainty::Orphaned]
    })
    .await;
    world.mine(true);
    deposit(&world, 1, 25).await;
    eventually("another one", async || {
        certainties(&world, 1)
            == [
                Certainty::Seen,
                Certainty::Orphaned,
                Certainty::Seen,
                Certainty::Final,
            ]
    })
    .await;
    // The hub only hears what is final.
    let heard = || -> Vec<u128> {
        let told = world.hubs.told("vault").into_iter();
        told.filter_map(|m| match m.body {
            Event::Deposited { total, .. } => Some(total.units()),
            _ => None,
        })
        .collect()
    };
    eventually("the hub hears of it", async || !heard().is_empty()).await;
    assert_eq!(heard(), [25]);
    let orphaned = "SELECT count(*) FROM chain.logs WHERE status = 3";
    assert!(world.count(orphaned).await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payout_whose_block_is_replaced_is_paid_once_in_the_end() {
    let world = World::start().await;
    world.mine(false);
    world
        .command(&world.order(VAULT_HUB, 1, 0, 10, PAYEE))
        .await;
    eventually("broadcast", async || {
        world
            .count("SELECT count(*) FROM chain.transactions WHERE status = 2")
            .await
            == 1
    })
    .await;
    world.rpc("evm_mine", "[]").await;
    eventually("mined and read", async || {
        let mined = "SELECT count(*) FROM chain.transactions WHERE status = 3";
        let read =
            "SELECT count(*) FROM chain.logs WHERE status = 1 AND body ->> 'log' = 'withdrawn'";
        world.count(mined).await == 1 && world.count(read).await == 1
    })
    .await;
    let answer = world.rpc("anvil_reorg", "[1, []]").await;
    assert!(!answer.contains("error"), "{answer}");
    world.mine(true);
    eventually("paid", async || world.paid(PAYEE) == [10]).await;
    assert_eq!(world.balance(PAYEE).await, 10);
    let orphaned = world.told().into_iter().filter(|event| {
        matches!(
            event,
            Event::Withdrawn {
                certainty: Certainty::Orphaned,
                ..
            }
        )
    });
    assert_eq!(orphaned.count(), 1);
    let attempts = world.count("SELECT count(*) FROM chain.attempts").await;
    assert_eq!(attempts, 1, "the same transaction in another block");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_final_block_that_goes_away_halts_everything() {
    let world = World::start().await;
    world.mine(false);
    eventually("caught up", async || {
        let head = world.chain.node().head().await.unwrap().number;
        let done = "SELECT coalesce(max(final_block), 0) FROM chain.cursor";
        world.count(done).await.unsigned_abs() + 2 == head
    })
    .await;
    let answer = world.rpc("anvil_reorg", "[5, []]").await;
    assert!(!answer.contains("error"), "{answer}");
    eventually("halted", async || {
        world
            .get("/metrics")
            .await
            .1
            .contains("chub_chain_halted 1")
    })
    .await;
    world
        .command(&world.order(VAULT_HUB, 1, 0, 10, PAYEE))
        .await;
    eventually("planned", async || {
        world
            .count("SELECT count(*) FROM chain.commands WHERE status = 1")
            .await
            == 1
    })
    .await;
    world.mine(true);
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    let signed = world.count("SELECT count(*) FROM chain.transactions").await;
    assert_eq!(
        signed, 0,
        "nothing is paid on a chain that is not the one that was final"
    );
}
