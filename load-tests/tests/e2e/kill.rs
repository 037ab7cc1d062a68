//! SIGKILL to each service in the middle of the story: it ends with the same totals, and no
//! operation has two effects.

use crate::printed;
use load_tests::System;
use sqlx::PgPool;
use stack::tools::workspace_root;
use std::time::{Duration, Instant};

/// Longest a run may take to get to its next mark.
const PATIENCE: Duration = Duration::from_secs(120);

async fn count(database: &PgPool, run: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM account.operations WHERE client_ref LIKE $1 || ':%'")
        .bind(run)
        .fetch_one(database)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_any_service_three_times_loses_nothing_and_doubles_nothing() {
    let mut system = System::up().await.unwrap();
    let database = system.database().await.unwrap();
    let day = workspace_root().join("deploy/demo/business-day.csv");
    let day = day.to_str().unwrap().to_owned();
    let whole = system
        .acctl(&["import", &day, "--run-id", "whole", "--verify"])
        .await
        .unwrap();
    assert!(whole.status.success(), "{}", printed(&whole));
    let all = count(&database, "whole").await;
    assert!(all > 500, "{all} operations");

    for service in ["account-service", "hub-vault", "chain-worker"] {
        let args = ["import", &day, "--run-id", service, "--verify"];
        // The import borrows nothing of the system, so that it can be restarted meanwhile.
        let mut import = tokio::process::Command::new(load_tests::program("acctl"));
        for name in [
            "ACCOUNT_API",
            "ACCOUNT_API_KEY",
            "CHAIN_RPC",
            "TOKEN_ADDRESS",
            "CHANNELS_ADDRESS",
        ] {
            import.env(name, system.env(name));
        }
        let import = tokio::spawn(import.args(args).kill_on_drop(true).output());
        for percent in [20, 50, 80] {
            let mark = Instant::now();
            while count(&database, service).await * 100 < all * percent {
                assert!(
                    mark.elapsed() < PATIENCE,
                    "{service} stands before {percent} %"
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            system.kill9(service).unwrap();
            system.restart().await.unwrap();
        }
        let import = import.await.unwrap().unwrap();
        assert!(import.status.success(), "{service}: {}", printed(&import));
        assert_eq!(count(&database, service).await, all, "{service}");

        // The same keys once more: everything is answered from the journal.
        let again = system.acctl(&args).await.unwrap();
        assert!(again.status.success(), "{service}: {}", printed(&again));
        assert_eq!(count(&database, service).await, all, "{service}");
    }
    let doubled: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT client_ref FROM account.operations
         WHERE client_ref IS NOT NULL GROUP BY owner, client_ref HAVING count(*) > 1) d",
    )
    .fetch_one(&database)
    .await
    .unwrap();
    assert_eq!(doubled, 0);
}
