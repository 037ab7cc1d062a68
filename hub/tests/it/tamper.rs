//! An edited row stops its channel, and only that one.

use crate::support::{amount, pair, start, wide_limits};
use hub_client::{Fate, FatesRequest, FundingMode, HubRefusal};

/// Edits one head; the next batch on it is refused, warm and cold, and others go on.
async fn edit(statement: &str) {
    let (bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    let mut operations: Vec<_> = (0..4).map(|n| account.open(n)).collect();
    operations.extend((0..4).map(|n| account.issue(n, 1_000)));
    account.post(&hub, operations).await;
    let edited = account.id(0);
    bed.sql(&format!(
        r"UPDATE hub.heads SET {statement} WHERE channel_id = '\x{}'",
        hex(&edited.0)
    ))
    .await
    .unwrap();
    let damaged = HubRefusal::HeadDamaged {
        channels: vec![edited],
    };
    let mut hub = hub;
    for round in ["warm", "cold"] {
        let operation = account.transfer(0, 1, 5);
        let request = account.propose(vec![operation]).request;
        for _ in 0..2 {
            let refused = hub.sign_batch(request.clone()).await.unwrap_err();
            assert_eq!(refused.error, damaged, "{round}: {statement}");
        }
        let operations = vec![account.transfer(1, 2, 5), account.transfer(2, 3, 7)];
        account.post(&hub, operations).await;
        assert_eq!(hub.channel(edited).await.unwrap_err().error, damaged);
        hub = start(&bed, &account.terms, wide_limits()).await;
        account.greet(&hub).await;
    }
    let count = bed.sql("SELECT count(*) FROM hub.journal").await.unwrap();
    assert_eq!(count[0][0].as_deref(), Some("3"));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_user_balance_edited_up_stops_its_channel() {
    edit("user_balance = user_balance + 1").await;
}

#[tokio::test]
async fn a_balance_moved_within_the_capacity_stops_its_channel() {
    edit("user_balance = user_balance + 1, hub_balance = hub_balance - 1").await;
}

#[tokio::test]
async fn an_edited_hash_or_total_stops_its_channel() {
    edit(r"state_hash = decode(repeat('00', 32), 'hex')").await;
    edit("withdrawn = withdrawn + 1").await;
}

#[tokio::test]
async fn a_raised_version_floor_costs_versions_and_nothing_else() {
    let (bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    let operations = vec![account.open(0), account.issue(0, 1_000)];
    account.post(&hub, operations).await;
    bed.sql("UPDATE hub.heads SET max_signed = max_signed + 5")
        .await
        .unwrap();
    let operation = account.issue(0, 1);
    let request = account.propose(vec![operation]).request;
    let refused = hub.sign_batch(request).await.unwrap_err();
    assert!(matches!(refused.error, HubRefusal::VersionUsed { .. }));
    account.floors.insert(account.id(0), 6);
    let operations = vec![operation];
    account.post(&hub, operations).await;
    assert_eq!(account.heads[&account.id(0)].state.version, 7);
    assert_eq!(amount(account.user_balance(0)), amount(1_001));
}

#[tokio::test]
async fn a_row_edited_while_its_batch_has_no_fate_stops_neither_the_fate_nor_other_channels() {
    let (bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    let mut operations: Vec<_> = (0..4).map(|n| account.open(n)).collect();
    operations.extend((0..4).map(|n| account.issue(n, 1_000)));
    account.post(&hub, operations).await;
    // The fate of a batch that something newer was signed past is checked channel by channel.
    let mut second = account.clone();
    let operation = account.transfer(0, 1, 100);
    let early = account.propose(vec![operation]);
    let early_signed = hub.sign_batch(early.request.clone()).await.unwrap();
    second.floors.insert(second.id(0), 2);
    let operation = second.transfer(0, 2, 50);
    let late = second.propose(vec![operation]);
    let late_signed = hub.sign_batch(late.request.clone()).await.unwrap();
    let edited = account.id(0);
    bed.sql(&format!(
        r"UPDATE hub.heads SET user_balance = user_balance + 1 WHERE channel_id = '\x{}'",
        hex(&edited.0)
    ))
    .await
    .unwrap();
    let hub = start(&bed, &account.terms, wide_limits()).await;
    account.greet(&hub).await;
    let fates = vec![
        account.commit(&early, &early_signed),
        Fate::Burned {
            batch_id: late_signed.batch_id,
        },
    ];
    let marks = hub.fates(FatesRequest { fates }).await.unwrap();
    assert_eq!(marks.low_water, late_signed.batch_id);
    account.floors.insert(account.id(2), 2);
    let operations = vec![account.transfer(1, 2, 1_100), account.transfer(2, 3, 7)];
    account.post(&hub, operations).await;
    let operation = account.transfer(0, 3, 1);
    let request = account.propose(vec![operation]).request;
    let damaged = HubRefusal::HeadDamaged {
        channels: vec![edited],
    };
    assert_eq!(hub.sign_batch(request).await.unwrap_err().error, damaged);
}
