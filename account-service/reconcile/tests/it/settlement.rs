//! Withdrawals and deposits: rows, operations, hub and chain.

use crate::books::FINAL_TIME;
use crate::world::{Story, World, names};
use hub_core::Amount;
use reconcile::CheckId::{R4, R7, R8};
use reconcile::Class;

#[tokio::test]
async fn an_order_that_is_not_its_operation_is_named() {
    for set in [
        "amount = amount + 1",
        "account_id = '00000000-0000-0000-0000-00000000dead'",
    ] {
        names(
            |_, story| {
                format!(
                    "UPDATE account.withdrawals SET {set} WHERE id = '{}'",
                    story.completed
                )
            },
            |_, story| vec![(R7, "account.withdrawals", story.completed.to_string())],
        )
        .await;
    }
}

#[tokio::test]
async fn a_doubled_withdrawal_is_named() {
    let double = "00000000-0000-0000-0000-0000000000d2";
    names(
        |_, story| {
            format!(
                "INSERT INTO account.withdrawals SELECT (jsonb_populate_record(w, '{{\"id\": \"{double}\"}}')).*
                 FROM account.withdrawals w WHERE w.id = '{}'",
                story.completed
            )
        },
        |_, _| vec![(R7, "account.withdrawals", double.to_owned())],
    )
    .await;
}

#[tokio::test]
async fn a_missing_order_is_named_by_its_operation_and_by_the_hub() {
    names(
        |_, story| {
            format!(
                "DELETE FROM account.withdrawals WHERE id = '{}'",
                story.submitted
            )
        },
        |world, story| {
            let hub = world.books.hubs[1].terms.hub_id;
            vec![
                (R7, "account.operations", story.submitted.to_string()),
                (R7, "hub.withdrawals", format!("{hub}/{}", story.submitted)),
            ]
        },
    )
    .await;
}

#[tokio::test]
async fn an_order_whose_payee_or_terms_were_changed_is_named() {
    for set in [
        "to_address = decode(repeat('bb', 20), 'hex')",
        "valid_until = valid_until + 1",
        "prev_total = prev_total + 1",
        "hub_signature = user_signature",
        "user_signature = NULL",
    ] {
        names(
            |_, story| {
                format!(
                    "UPDATE account.withdrawals SET {set} WHERE id = '{}'",
                    story.submitted
                )
            },
            |_, story| vec![(R7, "account.withdrawals", story.submitted.to_string())],
        )
        .await;
    }
}

#[tokio::test]
async fn a_completed_order_is_compared_with_what_the_hub_signed() {
    names(
        |_, story| {
            format!(
                "UPDATE account.withdrawals SET to_address = decode(repeat('bb', 20), 'hex') WHERE id = '{}'",
                story.completed
            )
        },
        |world, story| {
            let hub = world.books.hubs[1].terms.hub_id;
            vec![(R7, "hub.withdrawals", format!("{hub}/{}", story.completed))]
        },
    )
    .await;
}

#[tokio::test]
async fn an_order_that_failed_without_its_refund_is_named() {
    names(
        |_, story| {
            format!(
                "UPDATE account.withdrawals SET status = 6 WHERE id = '{}'",
                story.submitted
            )
        },
        |_, story| vec![(R7, "account.withdrawals", story.submitted.to_string())],
    )
    .await;
}

#[tokio::test]
async fn an_order_that_was_paid_and_given_back_is_named() {
    let (world, story) = World::new().await;
    world
        .edit(&format!(
            "UPDATE account.withdrawals SET status = 5, tx_hash = '\\x07' WHERE id = '{}'",
            story.failed
        ))
        .await;
    let report = world.report().await;
    let row = report
        .breaks
        .iter()
        .find(|b| b.key == story.failed.to_string())
        .unwrap();
    assert_eq!((row.check, row.class), (R7, Class::Duplicate));
    assert!(
        report.breaks.iter().all(|b| b.check == R7),
        "{:#?}",
        report.breaks
    );
}

#[tokio::test]
async fn a_deleted_refund_leaves_state_and_order_without_it() {
    let (world, story) = World::new().await;
    world
        .edit(&format!(
            "DELETE FROM account.operations WHERE idem_key = 'refund:{}'",
            story.failed
        ))
        .await;
    let checks: Vec<_> = world
        .named()
        .await
        .into_iter()
        .map(|(check, table, _)| (check, table))
        .collect();
    assert!(
        checks.contains(&(R4, "account.operations".to_owned())),
        "{checks:?}"
    );
    assert!(
        checks.contains(&(R7, "account.withdrawals".to_owned())),
        "{checks:?}"
    );
}

#[tokio::test]
async fn an_order_long_past_its_expiry_is_stuck() {
    let (world, story) = World::new().await;
    let late = FINAL_TIME + 300 + 601;
    world
        .edit(&format!(
            "UPDATE account.chain_marks SET final_timestamp = {late}"
        ))
        .await;
    let report = world.report().await;
    let stuck: Vec<_> = report.breaks.iter().map(|b| (b.check, b.class)).collect();
    assert_eq!(
        stuck,
        [(R7, Class::Stuck), (R7, Class::Stuck)],
        "{:#?}",
        report.breaks
    );
    assert!(
        report
            .breaks
            .iter()
            .any(|b| b.key == story.submitted.to_string())
    );
}

#[tokio::test]
async fn what_the_contract_paid_and_nobody_here_knows_is_named() {
    let (mut world, _) = World::new().await;
    let account = &world.books.accounts[6];
    let key = format!("{}/0", account.channel);
    let channel = world.chain.channels.get_mut(&account.channel).unwrap();
    channel.withdrawn = channel.withdrawn.checked_add(Amount::new(250)).unwrap();
    let supply = &mut world.chain.numbers.total_supply;
    *supply = supply.checked_add(Amount::new(250)).unwrap();
    let report = world.report().await;
    let found: Vec<_> = report
        .breaks
        .iter()
        .map(|b| (b.check, b.class, b.key.clone()))
        .collect();
    assert_eq!(found, [(R7, Class::MissingInternal, key)]);

    // The same, paid in a block that the database has not been told of: no break.
    world.chain.channels_before = Some(world.books.channels.clone());
    let report = world.report().await;
    assert!(report.is_clean(), "{:#?}", report.breaks);
}

#[tokio::test]
async fn what_the_contract_never_paid_is_named_at_both_sides() {
    let (mut world, _) = World::new().await;
    let account = &world.books.accounts[6];
    let channel = world.chain.channels.get_mut(&account.channel).unwrap();
    channel.withdrawn = Amount::new(900);
    let supply = &mut world.chain.numbers.total_supply;
    *supply = supply.checked_sub(Amount::new(100)).unwrap();
    let named = world.named().await;
    let tables: Vec<_> = named
        .into_iter()
        .map(|(check, table, _)| (check, table))
        .collect();
    let expected = ["account.channel_facts", "hub.channel_facts"];
    assert_eq!(tables, expected.map(|table| (R7, table.to_owned())));
}

#[tokio::test]
async fn each_order_has_one_log_of_its_payment() {
    let log = |story: &Story| {
        let id = story.completed.simple();
        format!("chain.logs WHERE request_id = decode('{id}' || repeat('0', 32), 'hex')")
    };
    // Only the log: the contract still says that it paid.
    for (edit, tables) in [
        (
            "DELETE FROM",
            vec!["account.channel_facts", "account.withdrawals"],
        ),
        (
            "tx_hash = decode(repeat('99', 32), 'hex')",
            vec!["account.withdrawals"],
        ),
    ] {
        let (world, story) = World::new().await;
        let sql = match edit.strip_prefix("DELETE") {
            Some(_) => format!("DELETE FROM {}", log(&story)),
            None => format!(
                "UPDATE {}",
                log(&story).replace("WHERE", &format!("SET {edit} WHERE"))
            ),
        };
        world.edit(&sql).await;
        let named = world.named().await;
        let found: Vec<_> = named
            .iter()
            .map(|(check, table, _)| (*check, table.as_str()))
            .collect();
        let expected: Vec<_> = tables.into_iter().map(|table| (R7, table)).collect();
        assert_eq!(found, expected, "{sql}");
    }
}

#[tokio::test]
async fn a_payment_whose_order_is_still_open_is_named() {
    names(
        |_, story| {
            format!(
                "UPDATE account.withdrawals SET status = 3 WHERE id = '{}'",
                story.completed
            )
        },
        |_, story| vec![(R7, "account.withdrawals", story.completed.to_string())],
    )
    .await;
}

#[tokio::test]
async fn a_payment_made_twice_is_named() {
    let (world, story) = World::new().await;
    world
        .edit(&format!(
            "INSERT INTO chain.logs SELECT (jsonb_populate_record(l, '{{\"log_index\": 9}}')).* FROM chain.logs l
             WHERE request_id = decode('{}' || repeat('0', 32), 'hex')",
            story.completed.simple()
        ))
        .await;
    let named = world.named().await;
    let key = (
        R7,
        "account.withdrawals".to_owned(),
        story.completed.to_string(),
    );
    assert_eq!(named.into_iter().collect::<Vec<_>>(), [key]);
}

#[tokio::test]
async fn a_final_deposit_without_a_row_is_named_by_its_log() {
    let (world, _) = World::new().await;
    let channel = world.bytea(10);
    world
        .edit(&format!(
            "DELETE FROM account.deposits WHERE channel_id = {channel}"
        ))
        .await;
    let tables: Vec<_> = world
        .named()
        .await
        .into_iter()
        .map(|(check, table, _)| (check, table))
        .collect();
    assert_eq!(tables, [(R8, "chain.logs".to_owned())]);
}

#[tokio::test]
async fn a_deposit_that_is_not_its_operation_is_named() {
    for set in [
        "account_id = '00000000-0000-0000-0000-00000000dead'",
        "operation_id = NULL",
    ] {
        let (world, story) = World::new().await;
        world
            .edit(&format!(
                "UPDATE account.deposits SET {set} WHERE id = '{}'",
                story.deposit
            ))
            .await;
        let named = world.named().await;
        assert!(
            named.contains(&(R8, "account.deposits".to_owned(), story.deposit.to_string())),
            "{named:?}"
        );
        assert!(named.iter().all(|(check, ..)| *check == R8), "{named:?}");
    }
}

#[tokio::test]
async fn a_deposit_credited_twice_is_named() {
    let double = "00000000-0000-0000-0000-0000000000d2";
    let (world, story) = World::new().await;
    world
        .edit(&format!(
            "INSERT INTO account.deposits SELECT (jsonb_populate_record(d, '{{\"id\": \"{double}\", \"log_index\": 5}}')).*
             FROM account.deposits d WHERE d.id = '{}'",
            story.deposit
        ))
        .await;
    let report = world.report().await;
    let classes: Vec<_> = report
        .breaks
        .iter()
        .map(|b| (b.check, b.class, b.table))
        .collect();
    assert!(
        classes.contains(&(R8, Class::Duplicate, "operations")),
        "{classes:?}"
    );
    assert!(
        classes.iter().all(|(check, ..)| *check == R8),
        "{classes:?}"
    );
}

#[tokio::test]
async fn a_deposit_that_no_log_on_chain_made_is_named() {
    let (mut world, _) = World::new().await;
    let channel = world.books.accounts[10].channel;
    world.chain.channels.remove(&channel);
    let supply = &mut world.chain.numbers.total_supply;
    *supply = supply.checked_add(Amount::new(30)).unwrap();
    let named = world.named().await;
    let tables: Vec<_> = named
        .into_iter()
        .map(|(check, table, _)| (check, table))
        .collect();
    let expected = ["account.channel_facts", "hub.channel_facts"];
    assert_eq!(tables, expected.map(|table| (R8, table.to_owned())));
}

#[tokio::test]
async fn a_final_deposit_that_nobody_credits_is_stuck() {
    let (world, _) = World::new().await;
    world
        .edit("UPDATE account.deposits SET updated_at = created_at WHERE status = 2")
        .await;
    let report = world.report().await;
    let stuck: Vec<_> = report.breaks.iter().map(|b| (b.check, b.class)).collect();
    assert_eq!(stuck, [(R8, Class::Stuck), (R8, Class::Stuck)]);
}
