//! What the engine counts.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};
use runtime::telemetry::{Metrics, SECONDS};

/// The engine's metrics, registered once per process.
#[derive(Debug, Clone)]
pub struct EngineMetrics {
    /// Operations by kind and outcome.
    pub operations: IntCounterVec,
    /// Operations per batch.
    pub batch_size: Histogram,
    /// Seconds from the start of a batch to its commit.
    pub batch_seconds: Histogram,
    /// Seconds until the hub answered.
    pub hub_seconds: Histogram,
    /// Seconds of the database's COMMIT.
    pub commit_seconds: Histogram,
    /// Tries of a batch that were rolled back, by cause.
    pub rollbacks: IntCounterVec,
    /// Batches burned.
    pub burned: IntCounter,
    /// States signed by the custody key.
    pub states_signed: IntCounter,
    /// Groups waiting to be put into a batch.
    pub waiting: IntGauge,
    /// Hubs whose restore fence is up.
    pub fenced: IntGauge,
}

impl EngineMetrics {
    /// Registers the metrics.
    pub fn register(metrics: &Metrics) -> prometheus::Result<Self> {
        let seconds = |name: &str, help: &str| metrics.histogram(name, help, &SECONDS);
        Ok(Self {
            operations: metrics.counter_vec(
                "operations_total",
                "Money operations by kind and outcome.",
                &["kind", "outcome"],
            )?,
            batch_size: metrics.histogram(
                "batch_size",
                "Operations per batch.",
                &prometheus::exponential_buckets(1.0, 2.0, 12)?,
            )?,
            batch_seconds: seconds("batch_seconds", "Start of a batch to its commit.")?,
            hub_seconds: seconds("hub_seconds", "Time until the hub answered a batch.")?,
            commit_seconds: seconds("commit_seconds", "Time of the database's COMMIT.")?,
            rollbacks: metrics.counter_vec(
                "batch_rollbacks_total",
                "Tries of a batch that were rolled back, by cause.",
                &["cause"],
            )?,
            burned: metrics.counter("batches_burned_total", "Hub batches that were burned.")?,
            states_signed: metrics
                .counter("states_signed_total", "States signed by the custody key.")?,
            waiting: metrics.gauge("engine_waiting", "Groups waiting for a batch.")?,
            fenced: metrics.gauge("restore_fence", "Hubs whose restore fence is up.")?,
        })
    }
}
