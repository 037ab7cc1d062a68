//! What the engine counts.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

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
    /// 1 while a restore fence is up.
    pub fenced: IntGauge,
}

impl EngineMetrics {
    /// Registers the metrics.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let seconds = |name: &str, help: &str| {
            let buckets = prometheus::exponential_buckets(0.000_5, 2.0, 16)?;
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let batch_size = Histogram::with_opts(
            HistogramOpts::new("chub_batch_size", "Operations per batch.")
                .buckets(prometheus::exponential_buckets(1.0, 2.0, 12)?),
        )?;
        registry.register(Box::new(batch_size.clone()))?;
        Ok(Self {
            operations: counters(
                "chub_operations_total",
                "Money operations by kind and outcome.",
                &["kind", "outcome"],
            )?,
            batch_size,
            batch_seconds: seconds("chub_batch_seconds", "Start of a batch to its commit.")?,
            hub_seconds: seconds("chub_hub_seconds", "Time until the hub answered a batch.")?,
            commit_seconds: seconds("chub_commit_seconds", "Time of the database's COMMIT.")?,
            rollbacks: counters(
                "chub_batch_rollbacks_total",
                "Tries of a batch that were rolled back, by cause.",
                &["cause"],
            )?,
            burned: counter("chub_batches_burned_total", "Hub batches that were burned.")?,
            states_signed: counter(
                "chub_states_signed_total",
                "States signed by the custody key.",
            )?,
            waiting: gauge("chub_engine_waiting", "Groups waiting for a batch.")?,
            fenced: gauge("chub_restore_fence", "1 while a restore fence is up.")?,
        })
    }
}
