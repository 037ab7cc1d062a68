//! A short form of every k6 scenario: what it asks is answered, nothing is left under way, and a
//! reconciliation is clean.

use load_tests::{System, k6};

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_is_answered_drains_and_reconciles() {
    let system = System::up().await.unwrap();
    for scenario in k6::SCENARIOS {
        let summary = k6::run(&system, scenario, k6::Form::Short).await.unwrap();
        assert!(
            summary.value("done", "count") >= 10.0,
            "{scenario}: {summary:?}"
        );
        assert!(
            summary.value("reconciliation_ms", "value") > 0.0,
            "{scenario}"
        );
    }
    // The scripts know the same scenarios as we do.
    let scripts = stack::tools::workspace_root().join("load-tests/k6/scenarios.js");
    let text = std::fs::read_to_string(scripts).unwrap();
    let table = text.split_once("const SCENARIOS = {").unwrap().1;
    let table = table.split_once("\n};").unwrap().0;
    let names = table.lines().filter_map(|line| {
        let name = line.strip_prefix("  ")?.strip_suffix(": {")?;
        (!name.starts_with(' ')).then_some(name)
    });
    assert_eq!(names.collect::<Vec<_>>(), k6::SCENARIOS);
}

#[tokio::test]
async fn k6_fails_when_a_request_is_refused() {
    let system = System::up().await.unwrap();
    // Without a transfer the thresholds can't be met.
    system.kill9("hub-mint").unwrap();
    let error = k6::run(&system, "steady", k6::Form::Short)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("steady"), "{error}");
}
