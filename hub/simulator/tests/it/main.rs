//! Every setting, some thousands of times.

use simulator::setting::Setting;
use simulator::settings;

/// Runs of each setting; `simulate` makes many more.
const RUNS: u64 = 1_000;
/// Runs after which a planted bug must have shown.
const MOST: u64 = 40_000;

fn check(settings: &[Setting]) {
    let failures: Vec<_> = settings
        .iter()
        .filter_map(|setting| setting.verdict(&setting.hunt(RUNS, MOST)))
        .collect();
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

#[test]
fn one_channel_keeps_everybody_whole_and_every_planted_bug_shows() {
    check(settings::DUO);
}

#[test]
fn every_order_of_events_pays_the_same_and_broken_settlements_show() {
    check(settings::SETTLE);
}

#[test]
fn no_forwarding_hub_loses_and_every_broken_distance_shows() {
    check(settings::HOPS);
}

#[test]
fn batches_survive_crashes_and_restores_and_every_broken_engine_shows() {
    check(settings::ENGINE);
}
