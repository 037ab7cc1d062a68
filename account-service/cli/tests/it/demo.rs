//! The committed business day is the generator's, and two computations of it agree.

use acctl::generate::{MIN_OPERATIONS, business_day};
use acctl::model::{Expectation, Rules, compute};
use acctl::plan::read;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/demo")
}

fn independent(file: &Path) -> Output {
    Command::new("python3")
        .arg(demo().join("independent.py"))
        .arg(file)
        .output()
        .expect("python3 runs the independent computation; install python3")
}

fn modelled(text: &str) -> Value {
    let plan = read(text.as_bytes()).unwrap();
    let (ledger, contradictions) = compute(&plan, Rules::default());
    assert_eq!(contradictions, []);
    serde_json::to_value(Expectation::of(&plan, &ledger)).unwrap()
}

#[test]
fn the_committed_file_is_what_the_generator_makes() {
    let committed = std::fs::read_to_string(demo().join("business-day.csv")).unwrap();
    assert!(
        committed == business_day(7, 1000),
        "write it again: acctl demo generate --out deploy/demo/business-day.csv"
    );
}

#[test]
fn the_model_and_the_independent_computation_agree_on_every_account_and_total() {
    let file = demo().join("business-day.csv");
    let output = independent(&file);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let independent: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        modelled(&std::fs::read_to_string(file).unwrap()),
        independent
    );
}

#[test]
fn the_independent_computation_names_a_row_that_expects_something_wrong() {
    let text = business_day(7, MIN_OPERATIONS);
    let wrong = text.replacen(",ok\n100,", ",INSUFFICIENT_FUNDS\n100,", 1);
    assert!(wrong != text, "row 99 is not what it was");
    let file = std::env::temp_dir().join(format!("acctl-wrong-{}.csv", std::process::id()));
    std::fs::write(&file, wrong).unwrap();
    let output = independent(&file);
    std::fs::remove_file(&file).unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("line 99: expects INSUFFICIENT_FUNDS, computed ok"),
        "{said}"
    );
}

#[test]
fn a_business_day_is_believable_for_any_seed_and_size() {
    for (seed, operations) in [(1, MIN_OPERATIONS), (2, 1000), (u64::MAX, 5000)] {
        let text = business_day(seed, operations);
        assert_eq!(text.lines().count(), operations + 1);
        let value = modelled(&text);
        let count = |name: &str| value["totals"][name].as_u64().unwrap();
        assert_eq!(count("accounts"), 42);
        assert_eq!(count("redemptions"), 2);
        assert!(count("refusals") >= 8);
        assert!(value["refused"].as_object().unwrap().len() >= 5);
    }
    let value = modelled(&business_day(7, 1000));
    assert!(value["totals"]["transfers"].as_u64().unwrap() >= 800);
    let payouts = value["payouts"].as_object().unwrap().len();
    assert_eq!(
        (payouts, &value["totals"]["withdrawals"]),
        (8, &Value::from(8))
    );
}
