//! Withdrawals from the command to the payout.

use crate::harness::{MINT_HUB, VAULT_HUB, World, eventually};
use chain::At;
use chain_messages::{Certainty, Command, Event};
use hub_core::{Address, Hash32};

const PAYEE: Address = Address([0xaa; 20]);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_of_both_modes_are_paid_once_and_everybody_is_told_in_order() {
    let world = World::start().await;
    let orders = [
        world.order(VAULT_HUB, 1, 0, 10, PAYEE),
        world.order(VAULT_HUB, 1, 10, 5, PAYEE),
        world.order(VAULT_HUB, 2, 0, 20, PAYEE),
        world.order(MINT_HUB, 1, 0, 7, PAYEE),
    ];
    for order in &orders {
        // The same order in two messages.
        world.command(order).await;
        world.command(order).await;
    }
    eventually("all paid", async || world.paid(PAYEE).len() == 4).await;
    assert_eq!(world.balance(PAYEE).await, 42);
    let commands = world
        .count("SELECT count(*) FROM chain.commands WHERE status = 3")
        .await;
    assert_eq!(commands, 4);
    let inbox = world.count("SELECT count(*) FROM chain.inbox").await;
    assert_eq!(inbox, 8);
    eventually("all transactions final", async || {
        let open = "SELECT count(*) FROM chain.transactions WHERE status <> 4";
        world.count(open).await == 0
    })
    .await;

    let mut steps = Vec::new();
    let request = match &orders[2] {
        Command::Withdraw(order) => order.withdraw.request_id,
        Command::FundVault { .. } | Command::Close(_) => Hash32::ZERO,
    };
    for event in world.told() {
        match event {
            Event::WithdrawSubmitted { request_id, .. } if request_id == request => {
                steps.push("submitted".to_owned());
            }
            Event::Withdrawn {
                request_id,
                certainty,
                confirmations,
                ..
            } if request_id == request => {
                steps.push(format!("{certainty:?} {confirmations}"));
            }
            _ => {}
        }
    }
    let first = steps
        .iter()
        .position(|step| step.starts_with("Seen"))
        .unwrap();
    assert_eq!(steps[..first], ["submitted"]);
    assert_eq!(steps.last().unwrap(), "Final 3");

    // The hub: payout before the final block that holds it, with the vault it left.
    eventually("the hub knows", async || {
        let told = world.hubs.told("vault");
        told.iter()
            .filter(|m| matches!(m.body, Event::Withdrawn { .. }))
            .count()
            == 3
    })
    .await;
    let told = world.hubs.told("vault");
    let mut vaults = told.iter().filter_map(|message| match message.body {
        Event::VaultChanged { vault, .. } => Some(vault),
        _ => None,
    });
    let left = world
        .chain
        .hub(world.params(VAULT_HUB, 1).hub, At::Latest)
        .await
        .unwrap();
    assert_eq!(vaults.next_back(), Some(left.funds));
    let mut newest = 0;
    for message in &told {
        match &message.body {
            Event::Finalized { block, .. } => {
                assert!(*block > newest, "final blocks only move forth");
                newest = *block;
            }
            Event::Withdrawn {
                place, certainty, ..
            } => {
                assert!(place.block > newest, "told before its final block");
                assert_eq!(*certainty, Certainty::Final);
            }
            _ => {}
        }
    }
    let mint = world.hubs.told("mint");
    assert!(
        mint.iter()
            .all(|m| !matches!(m.body, Event::VaultChanged { .. }))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_in_while_a_batch_waits_shares_the_next_one_and_a_full_one_does_not_wait() {
    let world = World::start().await;
    world.mine(false);
    world.command(&world.order(VAULT_HUB, 1, 0, 1, PAYEE)).await;
    eventually("first broadcast", async || {
        world
            .count("SELECT count(*) FROM chain.transactions WHERE status = 2")
            .await
            == 1
    })
    .await;
    for salt in 2..62 {
        world
            .command(&world.order(VAULT_HUB, salt, 0, 1, PAYEE))
            .await;
    }
    eventually("all planned", async || {
        world.count("SELECT count(*) FROM chain.commands").await == 61
    })
    .await;
    world.mine(true);
    eventually("all paid", async || world.paid(PAYEE).len() == 61).await;
    assert_eq!(world.balance(PAYEE).await, 61);
    let transactions = world.count("SELECT count(*) FROM chain.transactions").await;
    assert_eq!(transactions, 3, "the first, one of fifty, and the rest");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_the_contract_skips_is_tried_again_and_one_past_its_time_is_not() {
    let world = World::start().await;
    // Second of a chain whose first is not here yet: skipped until it is.
    world
        .command(&world.order(VAULT_HUB, 1, 10, 5, PAYEE))
        .await;
    eventually("skipped", async || {
        world
            .count("SELECT count(*) FROM chain.commands WHERE tries > 0")
            .await
            == 1
    })
    .await;
    world
        .command(&world.order(VAULT_HUB, 1, 0, 10, PAYEE))
        .await;
    let Command::Withdraw(mut late) = world.order(VAULT_HUB, 3, 0, 9, PAYEE) else {
        unreachable!("an order is one");
    };
    late.withdraw.valid_until = 1;
    let domain = world.chain.domain();
    late.hub_signature = crate::harness::key(VAULT_HUB + 1).sign(&domain, &late.withdraw);
    late.user_signature = crate::harness::key(9).sign(&domain, &late.withdraw);
    world.command(&Command::Withdraw(late)).await;
    eventually("both paid", async || world.paid(PAYEE) == [10, 5]).await;
    let failed = "SELECT count(*) FROM chain.commands WHERE status = 4 AND failure = 'expired'";
    eventually("one expired", async || world.count(failed).await == 1).await;
    assert_eq!(world.balance(PAYEE).await, 15);
    let (_, metrics) = world.get("/metrics").await;
    let skipped = "chub_withdrawals_skipped_total{fault=\"wrong_total\"} 1";
    assert!(metrics.contains(skipped), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_paid_by_somebody_else_is_done() {
    let world = World::start().await;
    let order = world.order(VAULT_HUB, 1, 0, 10, PAYEE);
    let Command::Withdraw(inner) = &order else {
        unreachable!("an order is one");
    };
    let call = chain::calls::batch_withdraw(world.chain.channels(), &[(**inner).clone()]);
    world.deployer().call(&call).await.unwrap();
    eventually("told", async || world.paid(PAYEE) == [10]).await;
    world.command(&order).await;
    let done = "SELECT count(*) FROM chain.commands WHERE status = 3";
    eventually("done", async || world.count(done).await == 1).await;
    assert_eq!(world.balance(PAYEE).await, 10);
    let sent = world.count("SELECT count(*) FROM chain.transactions").await;
    assert_eq!(sent, 0, "nothing had to be sent");
}
