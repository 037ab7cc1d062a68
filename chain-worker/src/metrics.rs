//! What is counted. Hubs are told apart by their operators: a few, and named in the configuration.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Result,
};
use runtime::telemetry::{Metrics, SECONDS};

/// Blocks a reorganisation undoes.
const DEPTHS: [f64; 7] = [1.0, 2.0, 3.0, 6.0, 12.0, 32.0, 64.0];

/// Seconds left of a window; windows last from ten minutes to seven days.
const WINDOW: [f64; 9] = [
    0.0, 10.0, 60.0, 600.0, 3_600.0, 21_600.0, 43_200.0, 86_400.0, 604_800.0,
];

/// All of the worker's own.
#[derive(Debug, Clone)]
pub struct WorkerMetrics {
    /// `leader`
    pub leader: IntGauge,
    /// `chain_head_block`
    pub head_block: IntGauge,
    /// `chain_head_age_seconds`
    pub head_age: Gauge,
    /// `chain_scan_lag_blocks`
    pub scan_lag: IntGauge,
    /// `chain_final_block`
    pub final_block: IntGauge,
    /// `chain_halted`
    pub halted: IntGauge,
    /// `reorg_depth_blocks`
    pub reorg_depth: Histogram,
    /// `tx_total{reason,outcome}`
    pub transactions: IntCounterVec,
    /// `tx_pending`
    pub pending: IntGauge,
    /// `nonce_gap`
    pub nonce_gap: IntGauge,
    /// `gas_used_total{reason}`
    pub gas_used: IntCounterVec,
    /// `rpc_duration_seconds{method,outcome}`
    pub rpc_seconds: HistogramVec,
    /// `hot_wallet_gas_tokens{hub}`
    pub gas_coin: GaugeVec,
    /// `operator_tokens{hub}`
    pub operator_tokens: GaugeVec,
    /// `funding_blocked{hub}`
    pub funding_blocked: IntGaugeVec,
    /// `commands_total{kind,outcome}`
    pub commands: IntCounterVec,
    /// `withdrawals_skipped_total{fault}`
    pub skipped: IntCounterVec,
    /// `hub_push_lag_events{hub}`
    pub push_lag: IntGaugeVec,
    /// `tower_copies{hub}`
    pub tower_copies: IntGaugeVec,
    /// `tower_copy_age_seconds{hub}`
    pub tower_age: GaugeVec,
    /// `tower_source_down{hub,source}`
    pub tower_source_down: IntGaugeVec,
    /// `tower_closes_total{hub}`
    pub tower_closes: IntCounterVec,
    /// `tower_open_closes{hub}`
    pub tower_open: IntGaugeVec,
    /// `tower_closes_without_copy{hub}`
    pub tower_without_copy: IntGaugeVec,
    /// `tower_closes_ahead_of_copy{hub}`
    pub tower_ahead: IntGaugeVec,
    /// `tower_answers_total{hub,step}`
    pub tower_answers: IntCounterVec,
    /// `tower_seconds_left`
    pub tower_seconds_left: Histogram,
    /// `step_failures_total{step}`
    pub failures: IntCounterVec,
}

impl WorkerMetrics {
    /// Registers them.
    pub fn new(m: &Metrics) -> Result<Self> {
        Ok(Self {
            leader: m.gauge("leader", "1 on the worker that acts.")?,
            head_block: m.gauge("chain_head_block", "The newest block of the node.")?,
            head_age: m.float_gauge("chain_head_age_seconds", "Age of that block.")?,
            scan_lag: m.gauge("chain_scan_lag_blocks", "Blocks not read yet.")?,
            final_block: m.gauge("chain_final_block", "The newest final block.")?,
            halted: m.gauge("chain_halted", "1 when a final block is gone; must be 0.")?,
            reorg_depth: m.histogram("reorg_depth_blocks", "Blocks undone at once.", &DEPTHS)?,
            transactions: m.counter_vec(
                "tx_total",
                "Own transactions: signed, bumped, mined, final, failed, displaced, unmined.",
                &["reason", "outcome"],
            )?,
            pending: m.gauge("tx_pending", "Own transactions that wait to be mined.")?,
            nonce_gap: m.gauge(
                "nonce_gap",
                "Nonces the node lacks below ours; should be 0.",
            )?,
            gas_used: m.counter_vec("gas_used_total", "Gas of final transactions.", &["reason"])?,
            rpc_seconds: m.histogram_vec(
                "rpc_duration_seconds",
                "Time the node took to answer.",
                &["method", "outcome"],
                &SECONDS,
            )?,
            gas_coin: m.float_gauge_vec(
                "hot_wallet_gas_tokens",
                "Native coin of an operator, whole coins.",
                &["hub"],
            )?,
            operator_tokens: m.float_gauge_vec(
                "operator_tokens",
                "Tokens an operator can fund with, whole tokens.",
                &["hub"],
            )?,
            funding_blocked: m.gauge_vec(
                "funding_blocked",
                "1 while an operator lacks the tokens for funding that is asked for.",
                &["hub"],
            )?,
            commands: m.counter_vec(
                "commands_total",
                "Commands: received, repeated, refused, done, failed.",
                &["kind", "outcome"],
            )?,
            skipped: m.counter_vec(
                "withdrawals_skipped_total",
                "Withdrawals the contract did not pay, in final blocks.",
                &["fault"],
            )?,
            push_lag: m.gauge_vec("hub_push_lag_events", "Events not told yet.", &["hub"])?,
            tower_copies: m.gauge_vec("tower_copies", "Copies of newest states.", &["hub"])?,
            tower_age: m.float_gauge_vec(
                "tower_copy_age_seconds",
                "Time since a source last gave all it had; must stay below 60.",
                &["hub"],
            )?,
            tower_source_down: m.gauge_vec(
                "tower_source_down",
                "1 while a source of copies gives nothing.",
                &["hub", "source"],
            )?,
            tower_closes: m.counter_vec("tower_closes_total", "Closes seen.", &["hub"])?,
            tower_open: m.gauge_vec("tower_open_closes", "Closes not over.", &["hub"])?,
            tower_without_copy: m.gauge_vec(
                "tower_closes_without_copy",
                "Running closes of channels without a copy; alarm above 0.",
                &["hub"],
            )?,
            tower_ahead: m.gauge_vec(
                "tower_closes_ahead_of_copy",
                "Running closes with a newer state than the copy; alarm above 0.",
                &["hub"],
            )?,
            tower_answers: m.counter_vec(
                "tower_answers_total",
                "Answers signed: challenge, penalize, settle, claim.",
                &["hub", "step"],
            )?,
            tower_seconds_left: m.histogram(
                "tower_seconds_left",
                "Seconds of the window left when a challenge is signed.",
                &WINDOW,
            )?,
            failures: m.counter_vec("step_failures_total", "Steps that failed.", &["step"])?,
        })
    }
}
