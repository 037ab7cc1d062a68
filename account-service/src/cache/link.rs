//! The connection to Redis, which nothing waits for.

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue, Pipeline, RedisError, ScriptInvocation};
use std::fmt::{self, Display};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// An answer that takes longer is worth less than asking Postgres.
const PATIENCE: Duration = Duration::from_millis(100);
/// After a failure Redis is left alone for so long, so that its absence costs nothing.
const REST: Duration = Duration::from_secs(1);

/// Redis, or nothing where none is configured.
#[derive(Clone)]
pub struct Redis {
    inner: Option<Arc<Inner>>,
    prefix: Arc<str>,
}

struct Inner {
    manager: ConnectionManager,
    started: Instant,
    /// Milliseconds since `started` until which Redis is left alone.
    rests_until_ms: AtomicU64,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Redis {
    /// Connects when first used, and again whenever the connection was lost. Must be called
    /// within a tokio runtime. No `url`: every look-up misses.
    pub fn new(url: Option<&str>, prefix: &str) -> anyhow::Result<Self> {
        let inner = url.map(connect).transpose()?.map(Arc::new);
        Ok(Self {
            inner,
            prefix: prefix.into(),
        })
    }

    /// A key of this deployment.
    pub fn key(&self, kind: &str, name: &dyn Display) -> String {
        format!("{}{kind}:{name}", self.prefix)
    }

    /// Runs a command; `None` when Redis doesn't answer.
    pub async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Option<T> {
        self.ask(|mut manager| async move { command.query_async(&mut manager).await })
            .await
    }

    /// Runs several commands in one exchange.
    pub async fn pipeline<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Option<T> {
        self.ask(|mut manager| async move { pipeline.query_async(&mut manager).await })
            .await
    }

    /// Runs a script.
    pub async fn script<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Option<T> {
        self.ask(|mut manager| async move { script.invoke_async(&mut manager).await })
            .await
    }

    async fn ask<T, F, Fut>(&self, call: F) -> Option<T>
    where
        F: FnOnce(ConnectionManager) -> Fut,
        Fut: Future<Output = Result<T, RedisError>>,
    {
        let inner = self.inner.as_deref()?;
        let now_ms = inner.elapsed_ms();
        if now_ms < inner.rests_until_ms.load(Ordering::Relaxed) {
            return None;
        }
        let failure = match timeout(PATIENCE, call(inner.manager.clone())).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        let until = now_ms + u64::try_from(REST.as_millis()).unwrap_or(u64::MAX);
        inner.rests_until_ms.store(until, Ordering::Relaxed);
        tracing::warn!(failure, "redis is away; going on without it");
        None
    }
}

impl Inner {
    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn connect(url: &str) -> anyhow::Result<Inner> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE))
        .set_number_of_retries(0);
    Ok(Inner {
        manager: ConnectionManager::new_lazy_with_config(Client::open(url)?, config)?,
        started: Instant::now(),
        rests_until_ms: AtomicU64::new(0),
    })
}
