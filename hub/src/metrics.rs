//! The hub's figures.

use hub_core::Amount;
use prometheus::{Gauge, HistogramVec, IntCounter, IntCounterVec, IntGauge};
use runtime::telemetry::{Metrics, SECONDS};

/// Minor units of a whole token.
const TOKEN: f64 = 1e18;

/// All of them.
#[derive(Debug, Clone)]
pub struct HubMetrics {
    /// Batches signed.
    pub batches: IntCounter,
    /// States signed.
    pub states: IntCounter,
    /// Operations in signed batches.
    pub operations: IntCounter,
    /// Requests answered from the journal.
    pub replays: IntCounter,
    /// Refusals, by code.
    pub refusals: IntCounterVec,
    /// Batches that got their fate, by fate.
    pub fates: IntCounterVec,
    /// `Withdraw`s signed.
    pub withdraws: IntCounter,
    /// Chain events taken in.
    pub events: IntCounter,
    /// Time a batch takes, by phase.
    pub phases: HistogramVec,
    /// What abandoned batches could yield, whole tokens.
    pub abandoned: Gauge,
    /// What the vault still covers, whole tokens.
    pub headroom: Gauge,
    /// All batches up to this one have a fate.
    pub low_water: IntGauge,
    /// Signed batches without a fate.
    pub half_signed: IntGauge,
    /// 1 while nothing is signed.
    pub fenced: IntGauge,
    /// Channels that the chain has settled and whose rows here are edited.
    pub behind: IntGauge,
    /// Reads of all sums from the database.
    pub reloads: IntCounter,
    /// Old batches that lost their states.
    pub erased: IntCounter,
    /// Old batches whose states are still needed.
    pub kept: IntGauge,
    /// Bytes of the journal.
    pub journal_bytes: IntGauge,
}

impl HubMetrics {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> prometheus::Result<Self> {
        Ok(Self {
            batches: metrics.counter("hub_batches_signed_total", "Batches signed.")?,
            states: metrics.counter("hub_states_signed_total", "States signed.")?,
            operations: metrics.counter("hub_operations_total", "Operations in signed batches.")?,
            replays: metrics.counter(
                "hub_replays_total",
                "Requests answered from the journal, with the same signature as before.",
            )?,
            refusals: metrics.counter_vec(
                "hub_refusals_total",
                "Requests refused, by code or rule.",
                &["code"],
            )?,
            fates: metrics.counter_vec(
                "hub_fates_total",
                "Batches that got their fate.",
                &["fate"],
            )?,
            withdraws: metrics.counter("hub_withdraws_signed_total", "Withdraws signed.")?,
            events: metrics.counter("hub_chain_events_total", "Chain events taken in.")?,
            phases: metrics.histogram_vec(
                "hub_batch_phase_seconds",
                "Time of a batch's phases: wait, read, decide, journal, commit, sign.",
                &["phase"],
                &SECONDS,
            )?,
            abandoned: metrics.float_gauge(
                "hub_abandoned_tokens",
                "What abandoned batches could yield until newer states are completed.",
            )?,
            headroom: metrics.float_gauge(
                "hub_headroom_tokens",
                "What the vault still covers; 0 in mint mode.",
            )?,
            low_water: metrics.gauge(
                "hub_low_water_batch",
                "All batches up to this one have a fate.",
            )?,
            half_signed: metrics.gauge(
                "hub_half_signed_batches",
                "Signed batches whose fate is not known.",
            )?,
            fenced: metrics.gauge("hub_fenced", "1 while the hub signs nothing.")?,
            behind: metrics.gauge(
                "hub_channels_behind",
                "Channels that the chain has settled and whose rows here were edited.",
            )?,
            reloads: metrics.counter(
                "hub_ledger_reloads_total",
                "Reads of all sums from the database.",
            )?,
            erased: metrics.counter(
                "hub_states_erased_total",
                "Old batches whose states were erased.",
            )?,
            kept: metrics.gauge(
                "hub_kept_batches",
                "Batches past their time whose states are still needed.",
            )?,
            journal_bytes: metrics.gauge(
                "hub_journal_bytes",
                "Bytes of the journal on disk, with indexes, of all hubs of the schema.",
            )?,
        })
    }
}

/// Whole tokens, for a gauge: exact figures are in the database.
pub fn tokens(amount: Amount) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
    let units = amount.units() as f64;
    units / TOKEN
}
