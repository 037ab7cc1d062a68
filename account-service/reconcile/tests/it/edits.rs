//! Each row edited by hand is named, by its check and its key, and nothing else is.

use crate::world::{World, names};
use reconcile::CheckId::{R2, R3, R4, R5, R6};
use reconcile::{Class, Severity};
use uuid::Uuid;

/// The story's second hub has its accounts at 6 to 11.
const SOMEBODY: usize = 6;

#[tokio::test]
async fn an_edited_balance_is_one_break_that_says_which_column() {
    let (world, _) = World::new().await;
    let balance = world.books.accounts[SOMEBODY]
        .head
        .unwrap()
        .0
        .user_balance
        .units();
    let channel = world.bytea(SOMEBODY);
    let edit = "UPDATE account.heads SET user_balance = user_balance + 1 WHERE channel_id = ";
    world.edit(&format!("{edit}{channel}")).await;
    let report = world.report().await;
    let [found] = &report.breaks[..] else {
        panic!("{:#?}", report.breaks);
    };
    assert_eq!(
        (found.check, found.class, found.severity),
        (R2, Class::AmountMismatch, Severity::High)
    );
    assert_eq!((found.schema, found.table), ("account", "heads"));
    assert_eq!(found.key, world.channel(SOMEBODY));
    assert_eq!(found.expected, format!("user_balance={balance}"));
    assert_eq!(found.found, format!("user_balance={}", balance + 1));
}

#[tokio::test]
async fn an_edited_balance_of_the_hub_is_one_break_that_says_which_column() {
    let (world, _) = World::new().await;
    let (state, _) = world.books.accounts[SOMEBODY + 2].hub_signed.unwrap();
    let channel = world.bytea(SOMEBODY + 2);
    let edit = "UPDATE hub.heads SET user_balance = user_balance + 1 WHERE channel_id = ";
    world.edit(&format!("{edit}{channel}")).await;
    let report = world.report().await;
    let [found] = &report.breaks[..] else {
        panic!("{:#?}", report.breaks);
    };
    assert_eq!(
        (found.check, found.schema, found.table),
        (R2, "hub", "heads")
    );
    assert_eq!(found.key, world.channel(SOMEBODY + 2));
    assert_eq!(
        found.expected,
        format!("user_balance={}", state.user_balance)
    );
}

#[tokio::test]
async fn each_column_of_a_head_is_covered() {
    for set in [
        "hub_balance = hub_balance - 1, user_balance = user_balance + 1",
        "version = version + 1",
        "ack_version = 0",
        "epoch = 1",
        "withdrawn = withdrawn + 5",
        "deposited = deposited + 5",
        "credited = 1",
        "user_locked = 1",
        "locks_hash = decode(repeat('11', 32), 'hex')",
        "transfers_root = decode(repeat('11', 31), 'hex')",
        "state_hash = decode(repeat('11', 32), 'hex')",
    ] {
        for schema in ["account", "hub"] {
            if schema == "hub" && (set.starts_with("transfers") || set.starts_with("version")) {
                continue;
            }
            names(
                |world, _| {
                    let channel = world.bytea(SOMEBODY + 2);
                    format!("UPDATE {schema}.heads SET {set} WHERE channel_id = {channel}")
                },
                |world, _| {
                    let table = if schema == "hub" {
                        "hub.heads"
                    } else {
                        "account.heads"
                    };
                    vec![(R2, table, world.channel(SOMEBODY + 2))]
                },
            )
            .await;
        }
    }
}

#[tokio::test]
async fn a_missing_head_is_named_on_the_side_that_lacks_it() {
    names(
        |world, _| {
            format!(
                "DELETE FROM hub.heads WHERE channel_id = {}",
                world.bytea(SOMEBODY)
            )
        },
        |world, _| vec![(R2, "hub.heads", world.channel(SOMEBODY))],
    )
    .await;
}

#[tokio::test]
async fn edited_parameters_of_an_account_are_named() {
    names(
        |world, _| {
            let id = world.books.accounts[SOMEBODY].id;
            // Bytes 43 to 62 are the payout address.
            format!("UPDATE account.accounts SET params = overlay(params placing decode(repeat('ee', 20), 'hex') from 43) WHERE id = '{id}'")
        },
        |world, _| vec![(R2, "account.accounts", world.books.accounts[SOMEBODY].id.to_string())],
    )
    .await;
}

#[tokio::test]
async fn a_head_that_was_set_back_to_an_older_signed_state_is_named() {
    // The whole row, hash included, as it was: no column contradicts another.
    names(
        |world, _| {
            let (state, _) = world.books.accounts[SOMEBODY + 2].head.unwrap();
            let old = hub_core::State {
                version: state.version - 1,
                ..state
            };
            let hash = hex::encode(hub_core::Typed::hash_struct(&old).0);
            let channel = world.bytea(SOMEBODY + 2);
            format!("UPDATE account.heads SET version = version - 1, state_hash = '\\x{hash}' WHERE channel_id = {channel}")
        },
        |world, _| vec![(R2, "account.heads", world.channel(SOMEBODY + 2))],
    )
    .await;
}

fn batch(world: &World, at: usize) -> String {
    world.books.batches[at].to_string()
}

#[tokio::test]
async fn each_column_of_a_batch_is_covered() {
    let other = "(SELECT user_signature FROM account.batches WHERE batch_id = 1 AND hub_id = '00000000-0000-0000-0000-000000000001')";
    for set in [
        format!("user_signature = {other}"),
        format!("hub_signature = {other}"),
        "hub_signature = user_signature, user_signature = hub_signature".to_owned(),
        "hub_signature = '\\x00'".to_owned(),
        "root = decode(repeat('11', 32), 'hex')".to_owned(),
        "prev_root = decode(repeat('11', 32), 'hex')".to_owned(),
        "depth = depth + 1".to_owned(),
    ] {
        names(
            |world, _| {
                format!(
                    "UPDATE account.batches SET {set} WHERE id = '{}'",
                    batch(world, 2)
                )
            },
            |world, _| vec![(R3, "account.batches", batch(world, 2))],
        )
        .await;
    }
}

#[tokio::test]
async fn states_that_are_not_those_that_were_signed_are_named() {
    for edit in [
        "UPDATE account.batch_states SET states = set_byte(states, 100, (get_byte(states, 100) + 1) % 256)",
        "UPDATE account.batch_states SET states = substring(states FROM 215)",
        "UPDATE account.batch_states SET states = ''",
        "DELETE FROM account.batch_states",
    ] {
        names(
            |world, _| format!("{edit} WHERE id = '{}'", batch(world, 2)),
            |world, _| vec![(R3, "account.batch_states", batch(world, 2))],
        )
        .await;
    }
}

#[tokio::test]
async fn a_missing_batch_is_named_by_who_names_it_and_by_the_hub() {
    names(
        |world, _| {
            format!(
                "DELETE FROM account.batches WHERE id = '{}'",
                batch(world, 2)
            )
        },
        |world, _| {
            let hub = world.books.hubs[0].terms.hub_id;
            vec![
                (R3, "account.batches", batch(world, 2)),
                (R3, "account.batches", format!("{hub}/4")),
            ]
        },
    )
    .await;
}

#[tokio::test]
async fn the_hubs_journal_is_compared_batch_by_batch() {
    for sql in [
        "DELETE FROM hub.journal WHERE",
        "UPDATE hub.journal SET root = decode(repeat('11', 32), 'hex') WHERE",
        "UPDATE hub.journal SET prev_root = decode(repeat('11', 32), 'hex') WHERE",
        "UPDATE hub.journal SET user_signature = decode(repeat('11', 65), 'hex') WHERE",
        "UPDATE hub.journal SET user_signature = NULL, fate = 2 WHERE",
    ] {
        names(
            |world, _| {
                format!(
                    "{sql} batch_id = 4 AND hub_id = '{}'",
                    world.books.hubs[0].terms.hub_id
                )
            },
            |world, _| {
                vec![(
                    R3,
                    "hub.journal",
                    format!("{}/4", world.books.hubs[0].terms.hub_id),
                )]
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_batch_burned_here_and_committed_at_the_hub_is_named() {
    names(
        |world, _| {
            let hub = world.books.hubs[1].terms.hub_id;
            format!("UPDATE hub.journal SET fate = 1, user_signature = decode(repeat('11', 65), 'hex') WHERE fate = 2 AND hub_id = '{hub}'")
        },
        |world, _| vec![(R3, "account.batches", format!("{}/3", world.books.hubs[1].terms.hub_id))],
    )
    .await;
}

/// The transfer of the story that is alone in both its states.
fn lone_transfer(world: &World) -> Uuid {
    *world.books.operations.last().unwrap()
}

#[tokio::test]
async fn an_edited_operation_is_one_break() {
    for set in [
        "amount = amount + 1",
        "payer_balance = payer_balance + 1",
        "payee_version = payee_version + 1",
        "payer_leaf = payee_leaf, payee_leaf = payer_leaf",
        "payer = payee, payee = payer",
        "payee_leaf = 4000",
        "payer_balance = NULL",
        "payer_balance = -1",
        "payee = '00000000-0000-0000-0000-00000000dead'",
    ] {
        let (world, _) = World::new().await;
        let id = lone_transfer(&world);
        world
            .edit(&format!(
                "UPDATE account.operations SET {set} WHERE id = '{id}'"
            ))
            .await;
        let named = world.named().await;
        let row = (R4, "account.operations".to_owned(), id.to_string());
        assert!(named.contains(&row), "{set}: {named:?}");
        assert!(
            named.iter().all(|(check, ..)| *check == R4),
            "{set}: {named:?}"
        );
    }
    names(
        |world, _| {
            let id = lone_transfer(world);
            format!("UPDATE account.operations SET amount = amount + 1 WHERE id = '{id}'")
        },
        |world, _| vec![(R4, "account.operations", lone_transfer(world).to_string())],
    )
    .await;
}

#[tokio::test]
async fn a_thread_that_leaves_an_operation_out_is_one_break() {
    for edit in [
        "UPDATE account.operations SET payer_previous = NULL WHERE id = '{id}' AND payer_previous IS NOT NULL",
        "UPDATE account.operations SET payer_previous = id WHERE id = '{id}'",
        "UPDATE account.heads h SET newest = o.payer_previous FROM account.operations o
         WHERE h.newest = o.id AND h.account_id = o.payer AND o.id = '{id}'",
        "UPDATE account.heads h SET newest = NULL FROM account.operations o
         WHERE h.newest = o.id AND h.account_id = o.payer AND o.id = '{id}'",
    ] {
        let (world, _) = World::new().await;
        let id = lone_transfer(&world);
        world.edit(&edit.replace("{id}", &id.to_string())).await;
        let named = world.named().await;
        let tables: Vec<_> = named
            .iter()
            .map(|(check, table, _)| (*check, &**table))
            .collect();
        assert_eq!(tables, [(R4, "account.accounts")], "{edit}");
    }
}

#[tokio::test]
async fn a_deleted_operation_is_named_by_the_states_it_was_part_of() {
    names(
        |world, _| {
            format!(
                "DELETE FROM account.operations WHERE id = '{}'",
                lone_transfer(world)
            )
        },
        |world, _| {
            let batch = world.books.batches.last().unwrap();
            vec![
                (R4, "account.operations", format!("{batch}/0")),
                (R4, "account.operations", format!("{batch}/1")),
            ]
        },
    )
    .await;
}

#[tokio::test]
async fn an_operation_of_several_in_one_state_is_missed() {
    let (world, _) = World::new().await;
    let edit = "DELETE FROM account.operations WHERE kind = 3 AND amount = 200 AND hub_id = ";
    let hub = world.books.hubs[1].terms.hub_id;
    world.edit(&format!("{edit}'{hub}'")).await;
    let named = world.named().await;
    let batch = world.books.batches[8 + 2];
    assert!(
        !named.is_empty() && named.iter().all(|(check, ..)| *check == R4),
        "{named:?}"
    );
    assert!(
        named
            .iter()
            .any(|(.., key)| key.starts_with(&batch.to_string())),
        "{named:?}"
    );
}

#[tokio::test]
async fn edits_that_cancel_out_are_found_by_tracing() {
    let (world, _) = World::new().await;
    let hub = world.books.hubs[1].terms.hub_id;
    // Both accounts keep their sums: 100 there, back, and there again become 100 there.
    let gone = format!(
        "DELETE FROM account.operations WHERE id IN (
            SELECT min(id::text)::uuid FROM account.operations
            WHERE kind = 3 AND amount = 100 AND hub_id = '{hub}' GROUP BY payer)"
    );
    world.edit(&gone).await;
    let named = world.named().await;
    assert!(
        !named.is_empty() && named.iter().all(|(check, ..)| *check == R4),
        "{named:?}"
    );
}

#[tokio::test]
async fn without_tracing_sums_still_name_the_accounts() {
    let (world, _) = World::new().await;
    let id = lone_transfer(&world);
    world
        .edit(&format!("DELETE FROM account.operations WHERE id = '{id}'"))
        .await;
    let options = reconcile::Options {
        trace_operations: false,
        ..reconcile::Options::default()
    };
    let report = world.report_with(&options).await;
    let keys: Vec<_> = report
        .breaks
        .iter()
        .map(|b| (b.check, b.key.clone()))
        .collect();
    for at in [SOMEBODY, SOMEBODY + 5] {
        let account = world.books.accounts[at].id.to_string();
        assert!(keys.contains(&(R4, account)), "{keys:?}");
    }
}

#[tokio::test]
async fn an_issuance_that_grew_breaks_the_identity_of_its_hub() {
    names(
        |world, _| {
            let id = world.books.operations[6];
            format!("UPDATE account.operations SET amount = amount + 1 WHERE id = '{id}'")
        },
        |world, _| {
            vec![
                (
                    R4,
                    "account.operations",
                    world.books.operations[6].to_string(),
                ),
                (
                    R5,
                    "account.hubs",
                    world.books.hubs[0].terms.hub_id.to_string(),
                ),
            ]
        },
    )
    .await;
}

#[tokio::test]
async fn changed_terms_of_a_hub_are_named() {
    let (world, _) = World::new().await;
    let hub = world.books.hubs[0].terms.hub_id;
    world.edit(&format!("UPDATE account.hubs SET terms = jsonb_set(terms, '{{bounty_bps}}', '1') WHERE hub_id = '{hub}'")).await;
    let named = world.named().await;
    assert_eq!(
        named.into_iter().collect::<Vec<_>>(),
        [(R2, "account.hubs".to_owned(), hub.to_string())]
    );
}

#[tokio::test]
async fn a_short_vault_and_a_short_contract_are_critical() {
    let (mut world, _) = World::new().await;
    let terms = world.books.hubs[0].terms.clone();
    let hub = world.chain.numbers.hubs.get_mut(&terms.hub).unwrap();
    hub.funds = hub_core::Amount::new(9_000);
    let report = world.report().await;
    let keys: Vec<_> = report
        .breaks
        .iter()
        .map(|b| (b.check, b.severity, b.key.clone()))
        .collect();
    assert_eq!(keys, [(R6, Severity::Critical, terms.hub_id.to_string())]);

    let (mut world, _) = World::new().await;
    world.chain.numbers.contract_balance = hub_core::Amount::new(1_900_000);
    let named = world.named().await;
    assert_eq!(
        named.into_iter().collect::<Vec<_>>(),
        [(R6, "account.hubs".to_owned(), "all".to_owned())]
    );
}

#[tokio::test]
async fn a_supply_that_nobody_paid_out_is_named() {
    let (mut world, _) = World::new().await;
    let supply = &mut world.chain.numbers.total_supply;
    *supply = supply.checked_add(hub_core::Amount::new(1)).unwrap();
    let named = world.named().await;
    let hub = world.books.hubs[1].terms.hub_id.to_string();
    assert_eq!(
        named.into_iter().collect::<Vec<_>>(),
        [(R6, "account.hubs".to_owned(), hub)]
    );
}
