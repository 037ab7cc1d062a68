//! Wiring: arguments to a serving hub.

use crate::api::{self, Api};
use crate::config::Serve;
use crate::engine::{Hub, HubParts};
use crate::metrics::HubMetrics;
use crate::retention::Retention;
use actix_web::{App, HttpServer, middleware::from_fn, web};
use anyhow::Context as _;
use runtime::ops::{self, Ops};
use runtime::shutdown::{Shutdown, Trigger};
use runtime::telemetry::{Build, Metrics};
use signer::Signer;
use std::net::SocketAddr;
use std::time::Duration;

/// Threads that read and parse requests; the work itself is done elsewhere, one batch at a time.
const WORKERS: usize = 2;
/// Connections: a few replicas and workers, each with a pool.
const CONNECTIONS: usize = 512;
/// Requests under way get this long when the process stops.
const DRAIN_SECONDS: u64 = 10;

/// A serving hub.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// The hub behind the API.
    pub hub: Hub,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Running {
    /// Waits until it has drained.
    pub async fn finished(self) -> anyhow::Result<()> {
        self.serving.await?.context("serving")
    }
}

/// Starts a hub. It stops when the drain begins.
pub async fn start(serve: &Serve, shutdown: Shutdown, stop: Trigger) -> anyhow::Result<Running> {
    let build = Build::new("hub", env!("CARGO_PKG_VERSION"));
    let metrics = Metrics::new(&build)?;
    let signer = Signer::from_file(&serve.hub_key_file)?;
    let terms = serve.terms(&signer)?;
    let tokens = serve.tokens()?;
    // Statements with arrays of thousands are planned once, as look-ups by key.
    let settings = [("plan_cache_mode", "force_generic_plan")];
    let connections = serve.database_connections;
    let pool = runtime::pg::connect_with(&serve.database_url, connections, &settings)
        .await
        .context("connecting to Postgres")?;
    let figures = HubMetrics::new(&metrics)?;
    let retention = Retention::new(
        pool.clone(),
        serve.hub_id,
        serve.keep_states_days,
        figures.clone(),
    );
    let hub = Hub::start(HubParts {
        terms,
        signer,
        limits: serve.limits(),
        pool,
        metrics: figures,
        stop,
    })
    .await?;
    let (ready, draining) = (hub.clone(), shutdown.clone());
    let ops = Ops::new(build, metrics, move || {
        let (hub, draining) = (ready.clone(), draining.is_draining());
        async move {
            if draining {
                return Err("stopping".to_owned());
            }
            hub.ready().await
        }
    })?;
    let ops = web::Data::new(ops);
    let api = web::Data::new(Api {
        hub: hub.clone(),
        tokens,
    });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(ops.clone())
            .app_data(api.clone())
            .wrap(from_fn(ops::measure))
            .configure(ops::routes)
            .configure(api::routes)
            .default_service(web::to(api::no_such_route))
    })
    .workers(WORKERS)
    .max_connections(CONNECTIONS)
    .keep_alive(Duration::from_secs(75))
    .shutdown_timeout(DRAIN_SECONDS)
    .disable_signals()
    .bind(serve.listen)
    .with_context(|| format!("listening on {}", serve.listen))?;
    let address = server
        .addrs()
        .first()
        .copied()
        .context("no address bound")?;
    let server = server.run();
    tokio::spawn(retention.run(shutdown.clone()));
    tracing::info!(%address, hub = %hub.terms().hub_id, session = %hub.session(), "serving");
    let serving = tokio::spawn(async move { shutdown.serve(server).await });
    Ok(Running {
        address,
        hub,
        serving,
    })
}
