//! A balance edited in either database moves nothing, stops nobody else, and is found.

use crate::{funded, transfer};
use hub_core::ChannelId;
use load_tests::{Answer, System};
use serde_json::{Value, json};
use sqlx::PgPool;
use std::time::Duration;

const EDIT_ACCOUNT: &str =
    "UPDATE account.heads SET user_balance = user_balance + 1 WHERE channel_id = $1";
const EDIT_HUB: &str = "UPDATE hub.heads SET user_balance = user_balance + 1 WHERE channel_id = $1";

fn channel(account: &Answer) -> ChannelId {
    account.body["channel"]["id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

async fn edit(database: &PgPool, statement: &'static str, account: &Answer) {
    let done = sqlx::query(statement)
        .bind(channel(account).0.as_slice())
        .execute(database)
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 1);
}

/// The breaks of a run started now.
async fn reconcile(system: &System) -> Vec<Value> {
    let run = system
        .post("/v1/reconciliation/runs", json!({}))
        .await
        .unwrap();
    let path = format!("/v1/reconciliation/runs/{}", run.text("id"));
    for _ in 0..300 {
        let run = system.get(&path).await.unwrap();
        match run.text("status") {
            "running" => tokio::time::sleep(Duration::from_millis(100)).await,
            "failed" => panic!("{run:?}"),
            _ => {
                let breaks = system
                    .get(&format!("{path}/breaks?limit=100"))
                    .await
                    .unwrap();
                return breaks.body["data"].as_array().unwrap().clone();
            }
        }
    }
    panic!("the run did not end");
}

fn names(found: &[Value], schema: &str, account: &Answer) -> bool {
    let id = channel(account).to_string();
    found.iter().any(|one| {
        one["schema"] == schema && one["table"] == "heads" && one["key"].to_string().contains(&id)
    })
}

async fn is_frozen(system: &System, edited: &Answer, others: &[Answer; 2]) {
    let out = transfer(system, edited, &others[0]).await.unwrap();
    assert_eq!(
        (out.status.as_u16(), out.code()),
        (423, "CHANNEL_FROZEN"),
        "{out:?}"
    );
    let into = transfer(system, &others[0], edited).await.unwrap();
    assert_eq!(
        (into.status.as_u16(), into.code()),
        (423, "CHANNEL_FROZEN"),
        "{into:?}"
    );
    let between = transfer(system, &others[0], &others[1]).await.unwrap();
    assert_eq!(between.status.as_u16(), 201, "{between:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_balance_freezes_its_channel_only_and_reconciliation_names_the_row() {
    let mut system = System::up().await.unwrap();
    let database = system.database().await.unwrap();
    let ours = funded(&system, "1000").await.unwrap();
    let hubs = funded(&system, "1000").await.unwrap();
    let others = [
        funded(&system, "1000").await.unwrap(),
        funded(&system, "1000").await.unwrap(),
    ];
    // Heads are remembered by both services now.
    for account in [&ours, &hubs] {
        let moved = transfer(&system, account, &others[0]).await.unwrap();
        assert_eq!(moved.status.as_u16(), 201, "{moved:?}");
    }
    assert_eq!(reconcile(&system).await, Vec::<Value>::new());

    edit(&database, EDIT_ACCOUNT, &ours).await;
    edit(&database, EDIT_HUB, &hubs).await;
    is_frozen(&system, &ours, &others).await;
    is_frozen(&system, &hubs, &others).await;
    let found = reconcile(&system).await;
    assert!(names(&found, "account", &ours), "{found:#?}");
    assert!(names(&found, "hub", &hubs), "{found:#?}");

    for service in ["account-service", "hub-vault"] {
        system.kill9(service).unwrap();
    }
    system.restart().await.unwrap();
    is_frozen(&system, &ours, &others).await;
    is_frozen(&system, &hubs, &others).await;

    // Mended by hand, both go on.
    for (statement, account) in [
        (
            "UPDATE account.heads SET user_balance = user_balance - 1 WHERE channel_id = $1",
            &ours,
        ),
        (
            "UPDATE hub.heads SET user_balance = user_balance - 1 WHERE channel_id = $1",
            &hubs,
        ),
    ] {
        edit(&database, statement, account).await;
        let moved = transfer(&system, account, &others[0]).await.unwrap();
        assert_eq!(moved.status.as_u16(), 201, "{moved:?}");
    }
    assert_eq!(reconcile(&system).await, Vec::<Value>::new());
}
