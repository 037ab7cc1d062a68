//! Books that are in order have no breaks, whatever is still under way.

use crate::world::World;
use reconcile::{CheckId, Error, Options, run};

#[tokio::test]
async fn books_in_order_are_clean_and_every_check_compared_something() {
    let (world, _) = World::new().await;
    let report = world.report().await;
    assert!(report.is_clean(), "{:#?}", report.breaks);
    assert_eq!(report.block, world.chain.block);
    let ids: Vec<_> = report.checks.iter().map(|check| check.id).collect();
    assert_eq!(ids, CheckId::ALL);
    assert!(
        report.checks.iter().all(|check| check.compared > 0),
        "{:?}",
        report.checks
    );
}

#[tokio::test]
async fn without_tracing_the_same_books_are_clean() {
    let (world, _) = World::new().await;
    let options = Options {
        trace_operations: false,
        ..Options::default()
    };
    let report = world.report_with(&options).await;
    assert!(report.is_clean(), "{:#?}", report.breaks);
}

#[tokio::test]
async fn a_node_that_is_behind_the_database_is_an_error_and_no_clean_report() {
    let (mut world, _) = World::new().await;
    world.chain.block = 99;
    let result = run(&world.recon, &world.chain, &Options::default()).await;
    assert!(
        matches!(
            result,
            Err(Error::NodeBehind {
                node: 99,
                known: 100
            })
        ),
        "{result:?}"
    );
}

#[tokio::test]
async fn without_any_final_block_there_is_no_report() {
    let (world, _) = World::new().await;
    world.edit("DELETE FROM account.chain_marks").await;
    let result = run(&world.recon, &world.chain, &Options::default()).await;
    assert!(matches!(result, Err(Error::NoFinalBlock)), "{result:?}");
}

#[tokio::test]
async fn a_run_changes_nothing_even_for_a_role_that_could() {
    let (world, _) = World::new().await;
    let refused = sqlx::query("UPDATE account.heads SET user_balance = 0")
        .execute(&world.recon)
        .await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("permission denied")
    );
    let before = world.report().await;
    let after = world.report().await;
    assert_eq!(before.checks, after.checks);
}

#[tokio::test]
async fn all_breaks_are_counted_when_only_some_are_listed() {
    let (world, _) = World::new().await;
    world
        .edit("UPDATE account.heads SET user_balance = user_balance + 1")
        .await;
    let options = Options {
        max_breaks: 3,
        ..Options::default()
    };
    let report = world.report_with(&options).await;
    let found: u64 = report.checks.iter().map(|check| check.breaks).sum();
    assert_eq!(report.breaks.len(), 3);
    assert!(found >= 12, "{:?}", report.checks);
}
