//! The outbox relay and the consumer on real servers.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use chain_messages::topology::COMMANDS;
use runtime::amqp::{
    Broker, BrokerMetrics, Consumer, Message, Outcome, Publisher, Topology, consume,
};
use runtime::outbox::{Outbox, OutboxMetrics, Relay, RelayError};
use runtime::shutdown::{Shutdown, Trigger};
use runtime::telemetry::{Build, Metrics};
use sqlx::{PgConnection, PgPool};
use stack::Testbed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use uuid::Uuid;

struct World {
    pool: PgPool,
    broker: Broker,
    metrics: Metrics,
    arrived: Arc<Mutex<Vec<Uuid>>>,
    trigger: Trigger,
    shutdown: Shutdown,
    _bed: Testbed,
}

impl Drop for World {
    fn drop(&mut self) {
        self.trigger.drain();
    }
}

impl World {
    async fn start() -> Self {
        let fingerprint: Vec<_> = migrations::MIGRATOR
            .iter()
            .map(|migration| format!("{:?}", migration.checksum))
            .collect();
        let bed = stack::testbed(&fingerprint.join(","), async |url: String| {
            migrations::migrate(&url, "password").await
        })
        .await
        .unwrap();
        let metrics = Metrics::new(&Build::new("test", "0")).unwrap();
        let counted = BrokerMetrics::new(&metrics).unwrap();
        let topology = Topology::chain(&bed.queue_prefix);
        let (shutdown, trigger) = Shutdown::manual();
        Self {
            pool: PgPool::connect(&bed.role_url("chub_account"))
                .await
                .unwrap(),
            broker: Broker::new(&bed.amqp_url, topology, counted).unwrap(),
            metrics,
            arrived: Arc::default(),
            trigger,
            shutdown,
            _bed: bed,
        }
    }

    fn relay(&self, metrics: &Metrics, public: &'static [&'static str]) -> Relay {
        Relay {
            pool: self.pool.clone(),
            outbox: Outbox::Account,
            publisher: Publisher::new(self.broker.clone()),
            public,
            nudge: Arc::new(Notify::new()),
            metrics: OutboxMetrics::new(metrics).unwrap(),
        }
    }

    fn listen(&self) {
        let consumer = Consumer {
            broker: self.broker.clone(),
            queue: COMMANDS,
            prefetch: 10,
        };
        let arrived = Arc::clone(&self.arrived);
        let handler = move |message: runtime::amqp::Received| {
            arrived.lock().unwrap().push(message.id.unwrap());
            async { Outcome::Ack }
        };
        tokio::spawn(consume(consumer, self.shutdown.clone(), handler));
    }

    fn arrived(&self) -> Vec<Uuid> {
        self.arrived.lock().unwrap().clone()
    }
}

async fn insert(db: &mut PgConnection, id: Uuid, exchange: &str) {
    sqlx::query(
        "INSERT INTO account.outbox (id, exchange, routing_key, correlation_id, body, created_at)
         VALUES ($1, $2, $3, 'c', '{}', now())",
    )
    .bind(id)
    .bind(exchange)
    .bind(COMMANDS)
    .execute(db)
    .await
    .unwrap();
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_a_slow_transaction_commits_late_is_published() {
    let world = World::start().await;
    world.listen();
    tokio::spawn(world.relay(&world.metrics, &[]).run(world.shutdown.clone()));
    let (early, late) = (Uuid::now_v7(), Uuid::now_v7());
    let mut slow = world.pool.begin().await.unwrap();
    insert(&mut slow, early, COMMANDS).await;
    insert(&mut world.pool.acquire().await.unwrap(), late, COMMANDS).await;
    eventually("the later id is there", || world.arrived() == [late]).await;
    slow.commit().await.unwrap();
    eventually("and the earlier one too", || {
        world.arrived() == [late, early]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_relays_publish_every_row_in_order() {
    let world = World::start().await;
    world.listen();
    let ids: Vec<_> = (0..1_500).map(|_| Uuid::now_v7()).collect();
    let mut db = world.pool.acquire().await.unwrap();
    for id in &ids {
        insert(&mut db, *id, COMMANDS).await;
    }
    let other = Metrics::new(&Build::new("other", "0")).unwrap();
    for metrics in [&world.metrics, &other] {
        tokio::spawn(world.relay(metrics, &[]).run(world.shutdown.clone()));
    }
    eventually("all there", || world.arrived().len() >= ids.len()).await;
    assert_eq!(world.arrived(), ids);
    let left: i64 =
        sqlx::query_scalar("SELECT count(*) FROM account.outbox WHERE published_at IS NULL")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_without_a_queue_stays_unless_its_exchange_is_public() {
    let world = World::start().await;
    // An exchange of ours, and a key that no queue is bound for.
    let id = Uuid::now_v7();
    let mut db = world.pool.acquire().await.unwrap();
    insert(&mut db, id, COMMANDS).await;
    sqlx::query("UPDATE account.outbox SET routing_key = 'nobody'")
        .execute(&mut *db)
        .await
        .unwrap();
    let refused = world.relay(&world.metrics, &[]).pass().await;
    assert!(matches!(refused, Err(RelayError::NotStored { id: of, .. }) if of == id));
    let other = Metrics::new(&Build::new("other", "0")).unwrap();
    let relay = world.relay(&other, &[COMMANDS]);
    assert_eq!(relay.pass().await.unwrap(), 1);
    assert_eq!(relay.pass().await.unwrap(), 0);
    let text = world.metrics.render().unwrap();
    assert!(text.contains("chub_publish_returned_total 2"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_waits_keeps_the_order_and_a_dead_message_goes_aside() {
    let world = World::start().await;
    let publisher = Publisher::new(world.broker.clone());
    let ids: Vec<_> = (0..4).map(|_| Uuid::now_v7()).collect();
    let messages: Vec<_> = ids
        .iter()
        .map(|id| Message {
            id: *id,
            exchange: COMMANDS.into(),
            routing_key: COMMANDS.into(),
            correlation_id: "c".into(),
            body: b"{}".to_vec(),
        })
        .collect();
    publisher.publish(&messages).await.unwrap();
    let (first, dead) = (ids[0], ids[2]);
    let tries = Arc::new(Mutex::new(0));
    let (arrived, counted) = (Arc::clone(&world.arrived), Arc::clone(&tries));
    let handler = move |message: runtime::amqp::Received| {
        let id = message.id.unwrap();
        let outcome = if id == first && *counted.lock().unwrap() < 3 {
            *counted.lock().unwrap() += 1;
            Outcome::Requeue("not yet".into())
        } else if id == dead {
            Outcome::Dead("never".into())
        } else {
            arrived.lock().unwrap().push(id);
            Outcome::Ack
        };
        async { outcome }
    };
    let consumer = |shutdown: &Shutdown| {
        let consumer = Consumer {
            broker: world.broker.clone(),
            queue: COMMANDS,
            prefetch: 10,
        };
        (consumer, shutdown.clone())
    };
    let (once, stop) = Shutdown::manual();
    let (reader, until) = consumer(&once);
    let running = tokio::spawn(consume(reader, until, handler));
    eventually("three handled", || {
        world.arrived() == [ids[0], ids[1], ids[3]]
    })
    .await;
    assert_eq!(*tries.lock().unwrap(), 3);
    stop.drain();
    running.await.unwrap();
    // A fresh consumer looks at the dead-letter queue first.
    let (reader, until) = consumer(&world.shutdown);
    tokio::spawn(consume(reader, until, |_| async { Outcome::Ack }));
    eventually("one is dead", || {
        let text = world.metrics.render().unwrap();
        text.contains("chub_dead_letters{queue=\"chain.commands\"} 1")
    })
    .await;
}
