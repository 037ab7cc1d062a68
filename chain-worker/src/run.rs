//! Wires the worker together.

use crate::config::{Args, Hub};
use crate::metrics::WorkerMetrics;
use crate::store::{self, copies, hubs, leases};
use crate::tower::{self, Tower};
use crate::worker::{Settings, Worker};
use crate::{push, receive};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use anyhow::Context as _;
use chain::{Chain, Node};
use chain_messages::topology::COMMANDS;
use runtime::amqp::{Backoff, Broker, BrokerMetrics, Consumer, Publisher, Topology, consume};
use runtime::ops::{self, Ops};
use runtime::outbox::{Outbox, OutboxMetrics, Relay};
use runtime::shutdown::{Shutdown, Trigger};
use runtime::telemetry::{Build, Metrics};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Connections to the database: the round, the relay, the consumer, two for each hub, probes.
const CONNECTIONS: u32 = 12;
/// Commands the broker may send ahead.
const PREFETCH: u16 = 50;
/// How long a probe waits for the database.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// Runs until the drain begins, or until a part ends that must not.
///
/// # Errors
/// A configuration that can't work, a schema of another deployment, a port that is taken.
pub async fn run(args: Args, shutdown: Shutdown, trigger: Trigger) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind(args.listen).with_context(|| format!("listening on {}", args.listen))?;
    let served = args.read_hubs()?;
    let account = args.read_account()?;
    let build = Build::new("chain-worker", env!("CARGO_PKG_VERSION"));
    let metrics = Metrics::new(&build)?;
    let worker_metrics = WorkerMetrics::new(&metrics)?;
    let broker_metrics = BrokerMetrics::new(&metrics)?;
    let outbox_metrics = OutboxMetrics::new(&metrics)?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(Duration::from_secs(5))
        .connect_lazy(&args.database_url)?;
    let started = Arc::new(AtomicBool::new(false));
    let ops = ops(build, metrics, pool.clone(), Arc::clone(&started))?;
    let server = serve(listener, ops, &shutdown)?;

    let topology = Topology::chain(&args.queue_prefix);
    let broker = Broker::new(&args.amqp_url, topology, broker_metrics)?;
    let work = async {
        let Some(chain) = connect(&args, &pool, &served, &worker_metrics, &shutdown).await? else {
            return Ok(());
        };
        let outbox = Arc::new(Notify::new());
        let worker = Arc::new(Worker {
            pool: pool.clone(),
            chain,
            hubs: served.clone(),
            settings: Settings::new(&args, account.clone()),
            tower: Tower::default(),
            metrics: worker_metrics.clone(),
            broker_metrics: broker.metrics().clone(),
            wake: Arc::new(Notify::new()),
            outbox: Arc::clone(&outbox),
            push: Notify::new(),
            lead: watch::channel(None).0,
            holder: Uuid::now_v7(),
        });
        let relay = Relay {
            pool: pool.clone(),
            outbox: Outbox::Chain,
            publisher: Publisher::new(broker.clone()),
            public: &[],
            nudge: outbox,
            metrics: outbox_metrics,
        };
        started.store(true, Ordering::SeqCst);
        work(worker, relay, broker.clone(), &shutdown).await
    };
    let outcome = work.await;
    // A part that failed takes the process with it: whoever supervises it starts it anew.
    trigger.drain();
    server.await??;
    outcome
}

async fn work(
    worker: Arc<Worker>,
    relay: Relay,
    broker: Broker,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let mut parts: JoinSet<anyhow::Result<()>> = JoinSet::new();
    for index in 0..worker.hubs.len() {
        let (worker, shutdown) = (Arc::clone(&worker), shutdown.clone());
        parts.spawn(async move { push::run(&worker, &worker.hubs[index], shutdown).await });
    }
    for index in 0..worker.hubs.len() {
        let (worker, shutdown) = (Arc::clone(&worker), shutdown.clone());
        parts.spawn(async move { tower::pull::run(&worker, &worker.hubs[index], shutdown).await });
    }
    let until = shutdown.clone();
    parts.spawn(async move {
        relay.run(until).await;
        Ok(())
    });
    let (until, receiver) = (shutdown.clone(), Arc::clone(&worker));
    parts.spawn(async move {
        let consumer = Consumer {
            broker,
            queue: COMMANDS,
            prefetch: PREFETCH,
        };
        let handler = move |message| {
            let worker = Arc::clone(&receiver);
            async move { receive::receive(&worker, message).await }
        };
        consume(consumer, until, handler).await;
        Ok(())
    });
    let until = shutdown.clone();
    parts.spawn(async move {
        worker.run(until).await;
        Ok(())
    });
    while let Some(ended) = parts.join_next().await {
        ended.context("a part of the worker broke")??;
        anyhow::ensure!(shutdown.is_draining(), "a part of the worker ended early");
    }
    Ok(())
}

/// Waits for node and database; then checks that they belong together.
async fn connect(
    args: &Args,
    pool: &PgPool,
    served: &[Hub],
    metrics: &WorkerMetrics,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<Chain>> {
    let seconds = metrics.rpc_seconds.clone();
    let node = Node::new(&args.chain_rpc)?.observed(Arc::new(move |method, took, answered| {
        let outcome = if answered { "ok" } else { "error" };
        let labels = [method, outcome];
        seconds
            .with_label_values(&labels)
            .observe(took.as_secs_f64());
    }));
    let mut backoff = Backoff::default();
    while !shutdown.is_draining() {
        match reach(args, &node, pool, served).await {
            Ok(Ok(chain)) => return Ok(Some(chain)),
            Ok(Err(wrong)) => return Err(wrong),
            Err(error) => {
                tracing::warn!(%error, "not started yet");
                tokio::select! {
                    () = tokio::time::sleep(backoff.step()) => {}
                    () = shutdown.begun() => {}
                }
            }
        }
    }
    Ok(None)
}

/// The outer error goes away by waiting, the inner one does not.
async fn reach(
    args: &Args,
    node: &Node,
    pool: &PgPool,
    served: &[Hub],
) -> anyhow::Result<anyhow::Result<Chain>> {
    let (token, channels) = (args.token_address, args.channels_address);
    let chain = Chain::connect(node.clone(), token, channels).await?;
    let mut tx = pool.begin().await?;
    if !leases::claim_deployment(&mut tx, &chain.domain(), token).await? {
        return Ok(Err(anyhow::anyhow!(
            "the database belongs to other contracts than {token} and {channels} on chain {}",
            chain.domain().chain_id
        )));
    }
    for hub in served {
        hubs::ensure(&mut *tx, hub.address()).await?;
        copies::ensure_mark(&mut *tx, hub.address()).await?;
    }
    tx.commit().await?;
    for hub in served {
        let seen = chain.hub(hub.address(), chain::At::Latest).await?;
        if seen.mode.is_some_and(|mode| mode != hub.mode) {
            let (who, mode) = (hub.address(), seen.mode);
            return Ok(Err(anyhow::anyhow!(
                "hub {who} is registered in {mode:?} mode"
            )));
        }
    }
    Ok(Ok(chain))
}

fn ops(
    build: Build,
    metrics: Metrics,
    pool: PgPool,
    started: Arc<AtomicBool>,
) -> anyhow::Result<Ops> {
    let ready = move || {
        let (pool, started) = (pool.clone(), Arc::clone(&started));
        async move {
            if !started.load(Ordering::SeqCst) {
                return Err("chain or database were not reached yet".to_owned());
            }
            match tokio::time::timeout(PROBE_LIMIT, store::ping(&pool)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(format!("database: {error}")),
                Err(_) => Err("database: no answer".into()),
            }
        }
    };
    Ok(Ops::new(build, metrics, ready)?)
}

fn serve(
    listener: TcpListener,
    ops: Ops,
    shutdown: &Shutdown,
) -> anyhow::Result<tokio::task::JoinHandle<std::io::Result<()>>> {
    let ops = web::Data::new(ops);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(ops.clone())
            .wrap(from_fn(ops::measure))
            .configure(ops::routes)
    })
    .workers(1)
    .disable_signals()
    .listen(listener)?
    .run();
    let until = shutdown.clone();
    Ok(tokio::spawn(async move { until.serve(server).await }))
}
