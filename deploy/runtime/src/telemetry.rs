//! Logs and metrics.

use prometheus::core::Collector;
use prometheus::{
    Encoder as _, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use tracing_subscriber::EnvFilter;

/// Begins the name of every metric.
pub const PREFIX: &str = "chub_";

/// Bounds for durations in seconds, from an in-memory answer to a stuck disk.
pub const SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 4.0, 16.0,
];

/// Starts logging as one JSON object a line to standard output. `RUST_LOG` sets what is shown,
/// else everything from `info` up. A second call does nothing.
pub fn init_logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // It fails only when a subscriber is there already: tests in one process share theirs.
    let _ = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stdout)
        .try_init();
}

/// Which build runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    /// Name of the service.
    pub service: &'static str,
    /// Version of its package.
    pub version: &'static str,
    /// Commit it was built from, when the build said so in `BUILD_COMMIT`.
    pub commit: &'static str,
}

impl Build {
    /// A service of this workspace.
    pub const fn new(service: &'static str, version: &'static str) -> Self {
        Self {
            service,
            version,
            commit: match option_env!("BUILD_COMMIT") {
                Some(commit) => commit,
                None => "unknown",
            },
        }
    }
}

/// The metrics of one process. Each maker prefixes [`PREFIX`] and registers what it returns.
///
/// The makers fail when a name is taken or malformed, which only a mistake in the program does.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// A registry with the process's own figures and `chub_build_info`.
    pub fn new(build: &Build) -> prometheus::Result<Self> {
        let metrics = Self {
            registry: Registry::new(),
        };
        let process = prometheus::process_collector::ProcessCollector::for_self();
        metrics.registry.register(Box::new(process))?;
        metrics
            .gauge_vec(
                "build_info",
                "Always 1; the labels say what runs.",
                &["service", "version", "commit"],
            )?
            .with_label_values(&[build.service, build.version, build.commit])
            .set(1);
        Ok(metrics)
    }

    /// A counter; by convention `name` ends in `_total`.
    pub fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.register(IntCounter::with_opts(opts(name, help))?)
    }

    /// A counter for each set of label values. Labels never carry ids or callers' text.
    pub fn counter_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(opts(name, help), labels)?)
    }

    /// A whole number that goes up and down.
    pub fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::with_opts(opts(name, help))?)
    }

    /// A whole number for each set of label values.
    pub fn gauge_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(opts(name, help), labels)?)
    }

    /// A number with a fraction, for amounts in whole tokens: minor units don't fit.
    pub fn float_gauge(&self, name: &str, help: &str) -> prometheus::Result<Gauge> {
        self.register(Gauge::with_opts(opts(name, help))?)
    }

    /// A number with a fraction for each set of label values.
    pub fn float_gauge_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<GaugeVec> {
        self.register(GaugeVec::new(opts(name, help), labels)?)
    }

    /// A histogram with these upper bounds, for example [`SECONDS`].
    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        bounds: &[f64],
    ) -> prometheus::Result<Histogram> {
        let opts = HistogramOpts::from(opts(name, help)).buckets(bounds.to_vec());
        self.register(Histogram::with_opts(opts)?)
    }

    /// A histogram for each set of label values.
    pub fn histogram_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        bounds: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        let opts = HistogramOpts::from(opts(name, help)).buckets(bounds.to_vec());
        self.register(HistogramVec::new(opts, labels)?)
    }

    /// All of it in Prometheus' text format.
    pub fn render(&self) -> prometheus::Result<String> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> prometheus::Result<C> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("{PREFIX}{name}"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_carry_the_prefix_the_build_and_the_process() {
        let metrics = Metrics::new(&Build::new("hub", "1.2.3")).unwrap();
        let counter = metrics.counter("things_total", "Things.").unwrap();
        counter.inc_by(3);
        assert!(
            metrics.counter("things_total", "Again.").is_err(),
            "one metric of a name"
        );
        let text = metrics.render().unwrap();
        assert!(text.contains("chub_things_total 3"), "{text}");
        assert!(text.contains("service=\"hub\""), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }
}
