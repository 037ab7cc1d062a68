//! The broker between the account side and the worker.

use crate::harness::{Options, VAULT_HUB, World, eventually};
use chain_messages::topology::COMMANDS;
use chain_messages::{Command, Event};
use hub_core::Address;
use runtime::amqp::{Message, Publisher};
use stack::{Kind, Stack, StackConfig};
use uuid::Uuid;

const PAYEE: Address = Address([0xdd; 20]);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_loses_nothing() {
    let config = StackConfig::private(&[Kind::RabbitMq]).unwrap();
    let stack = Stack::start(config).await.unwrap();
    let world = World::with(Options {
        amqp_url: Some(stack.endpoints().amqp_url()),
        ..Options::default()
    })
    .await;
    // Queues that RabbitMQ 3.10 has made minutes ago may not survive a kill: it writes their names
    // to disk every three minutes, and in good order at a stop.
    let server = stack.server(Kind::RabbitMq).unwrap();
    world
        .command(&world.order(VAULT_HUB, 100, 0, 1, PAYEE))
        .await;
    eventually("paid before", async || world.paid(PAYEE) == [1]).await;
    server.restart().await.unwrap();
    let mut total = 1;
    for salt in 1..=12_u8 {
        world
            .command(&world.order(VAULT_HUB, salt, 0, u128::from(salt), PAYEE))
            .await;
        total += u128::from(salt);
        if salt == 6 {
            server.kill9();
        }
    }
    server.start().await.unwrap();
    eventually("all paid", async || world.paid(PAYEE).len() == 13).await;
    assert_eq!(world.balance(PAYEE).await, total);
    let finals: Vec<_> = world
        .told()
        .into_iter()
        .filter_map(|event| match event {
            Event::Finalized { block, .. } => Some(block),
            _ => None,
        })
        .collect();
    assert!(finals.is_sorted(), "events of one worker come in order");
    let (pending, done) = (
        "SELECT count(*) FROM chain.outbox WHERE published_at IS NULL",
        "SELECT count(*) FROM chain.outbox WHERE published_at IS NOT NULL",
    );
    world.mine(false);
    eventually("all published", async || world.count(pending).await == 0).await;
    let published = world.count(done).await;
    eventually("all arrived", async || {
        world.told().len() as i64 == published
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_never_be_executed_is_dead_and_the_rest_goes_on() {
    let world = World::start().await;
    let publisher = Publisher::new(world.broker.clone());
    let garbage = Message {
        id: Uuid::now_v7(),
        exchange: COMMANDS.into(),
        routing_key: COMMANDS.into(),
        correlation_id: "garbage".into(),
        body: b"{\"id\":1}".to_vec(),
    };
    publisher.publish(&[garbage]).await.unwrap();
    let Command::Withdraw(mut forged) = world.order(VAULT_HUB, 1, 0, 10, PAYEE) else {
        unreachable!("an order is one");
    };
    forged.withdraw.to = Address([0xee; 20]);
    world.command(&Command::Withdraw(forged)).await;
    // A hub that nobody serves here.
    world.command(&world.order(60, 1, 0, 10, PAYEE)).await;
    world
        .command(&world.order(VAULT_HUB, 1, 0, 10, PAYEE))
        .await;
    eventually("the good one is paid", async || world.paid(PAYEE) == [10]).await;
    assert_eq!(world.count("SELECT count(*) FROM chain.commands").await, 1);
    let (_, metrics) = world.get("/metrics").await;
    let refused: u64 = metrics
        .lines()
        .filter(|line| line.starts_with("chub_commands_total") && line.contains("refused"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(refused, 3);
    assert_eq!(world.get("/readyz").await.0, 200);
    assert_eq!(world.get("/livez").await.0, 200);
    assert!(world.get("/version").await.1.contains("chain-worker"));
}
