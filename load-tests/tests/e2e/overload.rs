//! Ten times the capacity, and sudden death under full load.

use load_tests::drill::{self, OverloadPlan};
use load_tests::{Bed, System};

/// Most that a process may take, in MiB: its caches are bounded by design, and these accounts fill
/// none of them.
const RESIDENT_MIB: f64 = 1_500.0;

async fn bed() -> Bed {
    let system = System::up().await.unwrap();
    let mut bed = Bed::on(system).await.unwrap();
    bed.fill(200).await.unwrap();
    bed
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_times_the_capacity_loses_nothing_and_ends_with_the_load() {
    let mut bed = bed().await;
    let plan = OverloadPlan {
        seconds: 5,
        singles: 32,
        times: 10.0,
        least: 20_000.0,
        lists: 64,
    };
    let found = drill::overload(&mut bed, plan).await.unwrap();
    assert!(found.offered > 5.0 * found.capacity, "{found:?}");
    assert!(found.acknowledged > 0, "{found:?}");
    let refused: Vec<_> = found.refused.keys().map(String::as_str).collect();
    assert_eq!(refused, ["BACKPRESSURE"], "{found:?}");
    assert_eq!(
        (found.without_retry_after, found.broken),
        (0, 0),
        "{found:?}"
    );
    for process in ["account-service", "hub-mint"] {
        let [_, second, third] = found.resident_mib.each_ref().map(|mib| mib[process]);
        assert!(third < RESIDENT_MIB, "{process}: {found:?}");
        assert!(third < 1.5 * second + 64.0, "{process} grows: {found:?}");
    }
    bed.reconcile().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_under_full_load_loses_nothing_and_doubles_nothing() {
    let mut bed = bed().await;
    for process in ["account-service", "hub-mint", "postgres"] {
        let found = drill::kill(&mut bed, process, 3, 64).await.unwrap();
        assert!(found.acknowledged > 1_500, "{process}: {found:?}");
    }
    bed.reconcile().await.unwrap();
}
