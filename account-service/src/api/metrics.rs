//! What the API counts. No label has a value that a caller can choose.

use crate::problem::Code;
use prometheus::{IntCounter, IntCounterVec};
use runtime::telemetry::Metrics;

/// The API's metrics.
#[derive(Debug, Clone)]
pub struct ApiMetrics {
    requests: IntCounterVec,
    refusals: IntCounterVec,
    replays: IntCounter,
    limited: IntCounter,
    auth_failures: IntCounterVec,
    cache: IntCounterVec,
}

impl ApiMetrics {
    /// Registers the metrics.
    pub fn register(metrics: &Metrics) -> prometheus::Result<Self> {
        Ok(Self {
            requests: metrics.counter_vec(
                "http_requests_total",
                "Requests answered.",
                &["route", "status"],
            )?,
            refusals: metrics.counter_vec(
                "refusals_total",
                "Requests refused, by code.",
                &["code"],
            )?,
            replays: metrics.counter(
                "idempotency_replays_total",
                "Requests answered with an earlier answer.",
            )?,
            limited: metrics.counter(
                "rate_limited_total",
                "Requests refused because of a rate limit.",
            )?,
            auth_failures: metrics.counter_vec(
                "auth_failures_total",
                "Requests without a valid key or scope.",
                &["reason"],
            )?,
            cache: metrics.counter_vec(
                "cache_lookups_total",
                "Look-ups in Redis, by what was looked for.",
                &["cache", "result"],
            )?,
        })
    }

    /// A request of a route's pattern was answered.
    pub fn answered(&self, route: &str, status: u16) {
        let status = status.to_string();
        self.requests
            .with_label_values(&[route, status.as_str()])
            .inc();
    }

    /// A request was refused.
    pub fn refused(&self, code: Code) {
        self.refusals.with_label_values(&[code.text()]).inc();
    }

    /// A request was answered with an earlier answer.
    pub fn replayed(&self) {
        self.replays.inc();
    }

    /// A request was over its rate limit.
    pub fn rate_limited(&self) {
        self.limited.inc();
    }

    /// A request had no valid key (`missing`, `key`) or not the `scope`.
    pub fn auth_failed(&self, reason: &str) {
        self.auth_failures.with_label_values(&[reason]).inc();
    }

    /// Something was looked up in Redis.
    pub fn looked_up(&self, cache: &str, hit: bool) {
        let result = if hit { "hit" } else { "miss" };
        self.cache.with_label_values(&[cache, result]).inc();
    }
}
