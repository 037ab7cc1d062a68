//! The servers that all tests of the workspace share.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicU32, Ordering},
};

use stack::{Error, bare_testbed, shared, testbed};

#[tokio::test]
async fn two_testbeds_see_nothing_of_each_other() {
    let (a, b) = (bare_testbed().await.unwrap(), bare_testbed().await.unwrap());
    a.sql("CREATE TABLE only_here ()").await.unwrap();
    assert!(b.sql("SELECT * FROM only_here").await.is_err());
    assert_ne!(a.redis_prefix, b.redis_prefix);
    assert_ne!(a.queue_prefix, b.queue_prefix);
}

#[tokio::test]
async fn the_database_goes_with_the_testbed() {
    let bed = bare_testbed().await.unwrap();
    let name = bed.database.clone();
    drop(bed);
    assert!(
        !shared()
            .await
            .unwrap()
            .endpoints()
            .has_database(&name)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn migrations_run_once_and_every_testbed_is_a_copy() {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let at = shared().await.unwrap().endpoints();
    // Another fingerprint in every process: a template of an earlier run must not answer for this
    // one.
    let fingerprint = format!("copy {}", std::process::id());
    let migrate = async |url: String| {
        RUNS.fetch_add(1, Ordering::SeqCst);
        let database = url.rsplit('/').next().unwrap_or_default().to_owned();
        at.sql(&database, "CREATE TABLE migrated AS SELECT 7 AS v")
            .await
            .map(|_| ())
    };
    let beds = tokio::join!(
        testbed(&fingerprint, migrate),
        testbed(&fingerprint, migrate),
        testbed(&fingerprint, migrate)
    );
    for bed in [beds.0.unwrap(), beds.1.unwrap(), beds.2.unwrap()] {
        assert_eq!(
            bed.sql("SELECT v FROM migrated").await.unwrap(),
            [[Some("7".to_owned())]]
        );
        bed.sql("INSERT INTO migrated VALUES (8)").await.unwrap();
    }
    assert_eq!(RUNS.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_failed_migration_is_reported_and_tried_again() {
    let fingerprint = format!("failing {}", std::process::id());
    let failed = testbed(&fingerprint, async |_| Err("column missing")).await;
    assert!(matches!(failed, Err(Error::Migration(text)) if text == "column missing"));
    testbed(&fingerprint, async |_| Ok::<_, Infallible>(()))
        .await
        .unwrap();
}
