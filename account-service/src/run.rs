//! Wires the service: database, cache, engine, server, and what runs beside them.

use crate::api::reconciliation::Reconciler;
use crate::api::{self, ApiMetrics, App, Directory, Settings, envelope};
use crate::auth::Keys;
use crate::broker;
use crate::cache::{Balances, Redis};
use crate::config::Config;
use crate::cursor::CursorKey;
use crate::engine::{Engine, EngineConfig, EngineMetrics, HubEndpoint};
use crate::limits::Limits;
use crate::reconciler::{self, Sources};
use crate::retention::{Retention, RetentionMetrics};
use crate::store::{self, recon};
use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{HttpServer, web};
use anyhow::Context as _;
use futures_util::future::try_join_all;
use hub_core::{ChannelId, Version};
use runtime::config::read_secret;
use runtime::ops::{self, Ops};
use runtime::shutdown::Shutdown;
use runtime::telemetry::{Build, Metrics};
use signer::Signer;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

/// Time for a request's head; a client on a slow line needs a fraction of it.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// Connections without a request are kept so long: longer than the pauses of a busy client.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Connections of one HTTP thread; more wait to be accepted. 16 kB each.
const MAX_CONNECTIONS: usize = 10_000;
/// How often it is written down which API keys were used.
const LAST_USED_EVERY: Duration = Duration::from_secs(30);
/// Batches whose versions wait to be told to Redis: seconds of work; more are dropped, which
/// only makes a cached balance live out its time.
const COMMITTED_QUEUE: usize = 1_024;
/// A reconciliation run takes minutes; one that is older lost its process.
const ABANDONED_AFTER: time::Duration = time::Duration::hours(1);
/// Connections for reading by reconciliation.
const RECON_CONNECTIONS: u32 = 4;

/// The service, listening.
pub struct Service {
    /// Where it listens.
    pub address: SocketAddr,
    /// Woken when there may be something in the outbox.
    pub outbox: Arc<Notify>,
    /// The posting engine.
    pub engine: Engine,
    /// The database, as role `chub_account`.
    pub pool: PgPool,
    app: web::Data<App>,
    server: Server,
    shutdown: Shutdown,
    beside: JoinSet<()>,
}

/// Connects to everything and begins to listen. Hubs, Redis and the broker may come later.
pub async fn start(config: Config, shutdown: Shutdown) -> anyhow::Result<Service> {
    let build = Build::new("account-service", env!("CARGO_PKG_VERSION"));
    let metrics = Metrics::new(&build)?;
    // Callers that only read never keep a batch waiting for a connection.
    let posting = (config.database_connections / 2).max(1);
    let reading = (config.database_connections - posting).max(1);
    let pool = connect(&config.database_url, reading, &[]).await?;
    let posting = connect(&config.database_url, posting, &store::POSTING).await?;
    let redis = Redis::new(config.redis_url.as_deref(), &config.redis_prefix)?;
    let balances = Arc::new(Balances::new(redis.clone()));
    let outbox = Arc::new(Notify::new());
    let (committed, versions) = mpsc::channel(COMMITTED_QUEUE);
    let engine = Engine::start(EngineConfig {
        pool: posting,
        hubs: endpoints(&config)?,
        custody: Signer::from_file(&config.custody_key_file)?,
        barred_payees: vec![config.token_address, config.channels_address],
        batch_max: usize::from(config.batch_max),
        vault_threshold: config.vault_threshold,
        withdraw_validity_s: config.withdraw_validity_s,
        metrics: EngineMetrics::register(&metrics)?,
        outbox: outbox.clone(),
        committed: Some(committed),
    });
    let mut beside = JoinSet::new();
    if let Some(url) = &config.amqp_url {
        let parts = broker::Parts {
            url,
            prefix: &config.queue_prefix,
            pool: &pool,
            engine: &engine,
            outbox: &outbox,
            metrics: &metrics,
            shutdown: &shutdown,
        };
        broker::start(&parts, &mut beside)?;
    }
    let app = web::Data::new(App {
        pool: pool.clone(),
        engine: engine.clone(),
        keys: Keys::new(pool.clone()),
        limits: Limits::new(redis.clone()),
        balances: balances.clone(),
        cursors: CursorKey::from_file(&config.cursor_key_file)?,
        metrics: ApiMetrics::register(&metrics)?,
        directory: Directory::default(),
        settings: Settings {
            asset: config.asset.clone(),
            token: config.token_address,
            channels: config.channels_address,
        },
        reconciler: reconciliation(&config, &pool).await?,
    });
    let retention = RetentionMetrics::register(&metrics)?;
    let retention = Retention::new(pool.clone(), config.keep, retention);
    let ops = ops_of(build, metrics, &engine, &pool, &shutdown)?;
    let now = runtime::clock::now();
    recon::fail_abandoned(&pool, now - ABANDONED_AFTER, now).await?;
    let (server, address) = listen(&config, &app, ops)?;
    beside.spawn(tell_versions(versions, balances));
    beside.spawn(note_last_used(app.clone(), shutdown.clone()));
    beside.spawn(retention.run(shutdown.clone()));
    Ok(Service {
        address,
        outbox,
        engine,
        pool,
        app,
        server,
        shutdown,
        beside,
    })
}

impl Service {
    /// Serves until the shutdown begins, then finishes what was begun.
    pub async fn serve(mut self) -> anyhow::Result<()> {
        tracing::info!(address = %self.address, "listening");
        self.shutdown.serve(self.server).await?;
        self.engine.drain().await;
        if let Err(error) = self.app.keys.flush_last_used().await {
            tracing::warn!(%error, "last use of API keys not written down");
        }
        self.beside.shutdown().await;
        self.pool.close().await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Opens all connections now and here. One that an HTTP thread opened would be served by that
/// thread alone, and be gone when it ends, while the engine still needs it to finish its batches.
async fn connect(url: &str, connections: u32, settings: &[(&str, &str)]) -> anyhow::Result<PgPool> {
    let pool = runtime::pg::connect_with(url, connections, settings)
        .await
        .context("can't connect to Postgres; check DATABASE_URL and that migrations ran")?;
    let all = (0..connections).map(|_| pool.acquire());
    drop(try_join_all(all).await.context(
        "Postgres does not give DATABASE_CONNECTIONS connections; lower it or raise max_connections",
    )?);
    Ok(pool)
}

fn endpoints(config: &Config) -> anyhow::Result<Vec<HubEndpoint>> {
    let endpoint = |hub: &crate::config::HubOption| {
        Ok(HubEndpoint {
            url: hub.url.clone(),
            token: read_secret(&hub.token_file)?,
        })
    };
    config.hubs.iter().map(endpoint).collect()
}

async fn reconciliation(config: &Config, pool: &PgPool) -> anyhow::Result<Arc<Reconciler>> {
    let recon = match &config.recon_database_url {
        Some(url) => Some(
            // Without the usual limits: a run reads everything in one snapshot.
            PgPoolOptions::new()
                .max_connections(RECON_CONNECTIONS)
                .connect(url)
                .await
                .context("can't connect to Postgres; check RECON_DATABASE_URL")?,
        ),
        None => None,
    };
    let sources = Sources {
        pool: recon,
        chain_rpc: config.chain_rpc.clone(),
        token: config.token_address,
        channels: config.channels_address,
        confirmations: config.confirmations,
    };
    Ok(Arc::new(Reconciler::new(pool.clone(), move |run| {
        Box::pin(reconciler::make(sources.clone(), run))
    })))
}

fn ops_of(
    build: Build,
    metrics: Metrics,
    engine: &Engine,
    pool: &PgPool,
    shutdown: &Shutdown,
) -> anyhow::Result<Ops> {
    let (engine, pool, shutdown) = (engine.clone(), pool.clone(), shutdown.clone());
    let ready = move || {
        let (engine, pool, shutdown) = (engine.clone(), pool.clone(), shutdown.clone());
        async move {
            if shutdown.is_draining() {
                return Err("draining".to_owned());
            }
            // The chain is not asked: off-chain money moves without it.
            sqlx::query("SELECT 1")
                .execute(&pool)
                .await
                .map_err(|error| format!("database: {error}"))?;
            engine.ready()
        }
    };
    Ok(Ops::new(build, metrics, ready)?)
}

fn listen(config: &Config, app: &web::Data<App>, ops: Ops) -> anyhow::Result<(Server, SocketAddr)> {
    let (app, ops) = (app.clone(), web::Data::new(ops));
    let mut server = HttpServer::new(move || {
        actix_web::App::new()
            .app_data(app.clone())
            .app_data(ops.clone())
            .wrap(from_fn(envelope::wrap))
            .wrap(from_fn(ops::measure))
            .configure(api::configure)
    })
    .client_request_timeout(HEAD_TIME)
    .keep_alive(KEEP_ALIVE)
    .max_connections(MAX_CONNECTIONS)
    .shutdown_timeout(20)
    .disable_signals();
    if let Some(workers) = config.http_workers {
        server = server.workers(usize::from(workers));
    }
    let server = server
        .bind(config.listen)
        .with_context(|| format!("can't listen on {}", config.listen))?;
    let address = server
        .addrs()
        .first()
        .copied()
        .context("no address bound")?;
    Ok((server.run(), address))
}

/// Tells all replicas which versions committed batches led to.
async fn tell_versions(
    mut versions: mpsc::Receiver<Vec<(ChannelId, Version)>>,
    balances: Arc<Balances>,
) {
    while let Some(reached) = versions.recv().await {
        balances.advance(&reached).await;
    }
}

async fn note_last_used(app: web::Data<App>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LAST_USED_EVERY) => {}
            // The last time is written down after the last request.
            () = shutdown.begun() => return,
        }
        if let Err(error) = app.keys.flush_last_used().await {
            tracing::warn!(%error, "last use of API keys not written down yet");
        }
    }
}
