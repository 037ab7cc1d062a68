//! What was given up because it is old leaves the books in order, and still hides no edit.

use crate::books::{Books, Fate, Order};
use crate::world::World;
use reconcile::{CheckId, Options};
use std::collections::BTreeSet;
use time::Duration;

const AGE: i64 = 70;

/// Two accounts with a past on each hub, one of which never moved again, and an open close of none.
fn books() -> Books {
    use Order::{Deposit, Issue, Open, Redeem, Refund, Transfer, Withdraw};
    let mut books = Books::new();
    for hub in 0..2 {
        books.age = Duration::days(AGE);
        let a: Vec<_> = (0..3).map(|_| books.account(hub)).collect();
        let opens: Vec<_> = a.iter().map(|at| Open(*at)).collect();
        books.post(hub, &opens, Fate::Committed);
        let issues = [Issue(a[0], 9_000), Issue(a[1], 500), Issue(a[2], 70)];
        books.post(hub, &issues, Fate::Committed);
        let moves = [Transfer(a[0], a[1], 100), Redeem(a[1], 5)];
        books.post(hub, &moves, Fate::Committed);
        let orders = [Withdraw(a[0], 1_000), Withdraw(a[1], 60)];
        let ids = books.post(hub, &orders, Fate::Committed);
        books.order(a[0], ids[0], 1_000, 5, 0);
        books.order(a[1], ids[1], 60, 6, 0);
        books.post(hub, &[Refund(a[1], ids[1], 60)], Fate::Committed);
        books.pay_in(a[0], 400);
        let credit = books.post(hub, &[Deposit(a[0], 400)], Fate::Committed);
        books.deposit(a[0], 400, Some(credit[0]));
        books.age = Duration::ZERO;
        books.post(hub, &[Transfer(a[0], a[1], 11)], Fate::Committed);
        books.post(hub, &[Transfer(a[1], a[0], 3)], Fate::NotHanded);
    }
    books.close();
    books
}

/// The same books after what is older than a month was given up, as the service does it.
async fn pruned() -> World {
    let world = World::of(books()).await;
    assert!(world.report().await.is_clean());
    // The rows lie among the rest: an empty week after theirs takes them along.
    world
        .run(&format!(
            "DO $$ DECLARE monday timestamptz := date_trunc('week', now() - interval '{AGE} days' + interval '7 days', 'UTC');
             BEGIN
                PERFORM account.make_week('operations', monday), account.make_week('batch_states', monday);
             END $$"
        ))
        .await;
    world
        .edit(
            "UPDATE account.retention SET keys_from = account.first_id(now() - interval '31 days')",
        )
        .await;
    world
        .run("DO $$ BEGIN ASSERT account.drop_oldest_week(now() - interval '31 days', false) = 'dropped'; END $$")
        .await;
    world
        .edit("UPDATE account.retention SET copied_to = journal_from")
        .await;
    let drop =
        |word| format!("DO $$ BEGIN ASSERT account.drop_oldest_states(false) = '{word}'; END $$");
    // Without what is needed of it no week goes.
    world.run(&drop("heads")).await;
    world.keep_carried().await;
    world.run(&drop("dropped")).await;
    world
        .edit("UPDATE hub.journal SET states = NULL WHERE batch_id < 3")
        .await;
    world
}

#[tokio::test]
async fn books_whose_old_rows_were_given_up_are_clean() {
    let world = pruned().await;
    for trace_operations in [true, false] {
        let options = Options {
            trace_operations,
            ..Options::default()
        };
        let report = world.report_with(&options).await;
        assert!(report.is_clean(), "{:#?}", report.breaks);
        assert!(report.checks.iter().all(|check| check.compared > 0));
    }
}

#[tokio::test]
async fn without_what_they_add_up_to_the_dropped_operations_are_missed() {
    let world = pruned().await;
    world
        .edit("UPDATE account.carried SET net = net + 1 WHERE net > 5000")
        .await;
    let expected = BTreeSet::from([(CheckId::R4, "account.accounts".to_owned())]);
    assert_eq!(tables(&world).await, expected);
    let world = pruned().await;
    world
        .edit("UPDATE account.carried SET thread = batch")
        .await;
    assert_eq!(tables(&world).await, expected);
}

/// The tables that breaks name, by check.
async fn tables(world: &World) -> BTreeSet<(CheckId, String)> {
    let named = world.named().await;
    named.into_iter().map(|b| (b.0, b.1)).collect()
}

#[tokio::test]
async fn states_that_went_too_early_and_signatures_changed_afterwards_are_named() {
    let world = pruned().await;
    world
        .edit(
            "DELETE FROM account.batch_states s USING account.batches b
             WHERE b.id = s.id AND b.hub_id = (SELECT min(hub_id::text)::uuid FROM account.hubs)",
        )
        .await;
    let named = world.named().await;
    assert_eq!(named.len(), 2, "both of today: {named:?}");
    let table = "account.batch_states";
    assert!(named.iter().all(|b| b.0 == CheckId::R3 && b.1 == table));

    let world = pruned().await;
    world
        .edit("UPDATE account.batches SET root = prev_root WHERE batch_id = 4")
        .await;
    let named = world.named().await;
    let batches = named
        .iter()
        .filter(|b| b.0 == CheckId::R3 && b.1 == "account.batches");
    assert_eq!(batches.count(), 2, "one on each hub: {named:?}");
    assert!(
        named.iter().all(|b| b.1 != "account.kept_leaves"),
        "{named:?}"
    );
}

/// The leaf that holds a head, of the dormant account, and one that is only where the journal
/// begins, both of one hub.
const DORMANT: &str = "FROM account.heads h WHERE k.batch = h.batch AND h.hub_id = (SELECT min(hub_id::text)::uuid FROM account.hubs)";
const SUPERSEDED: &str = "FROM account.carried c JOIN account.heads h ON h.account_id = c.account
    WHERE k.batch = c.batch AND k.leaf = c.leaf AND h.version > c.version AND h.hub_id = (SELECT min(hub_id::text)::uuid FROM account.hubs)";

#[tokio::test]
async fn an_edited_kept_leaf_is_named_and_so_is_a_missing_one() {
    for which in [DORMANT, SUPERSEDED] {
        let set = |column: &str| {
            format!(
                "UPDATE account.kept_leaves k SET {column} = set_byte({column}, 100, (get_byte({column}, 100) + 1) % 256) {which}"
            )
        };
        let using = which.replacen("FROM", "USING", 1);
        for edit in [
            set("state"),
            format!("UPDATE account.kept_leaves k SET path = substring(path FROM 33) {which}"),
            format!(
                "UPDATE account.kept_leaves k SET path = set_byte(path, 3, (get_byte(path, 3) + 1) % 256) {which}"
            ),
            format!("UPDATE account.kept_leaves k SET leaf = k.leaf + 1000 {which}"),
            format!("DELETE FROM account.kept_leaves k {using}"),
        ] {
            let world = pruned().await;
            world.edit(&edit).await;
            let named = world.named().await;
            assert!(!named.is_empty(), "{edit}");
            assert!(
                named
                    .iter()
                    .all(|b| b.0 == CheckId::R3 && b.1 == "account.kept_leaves"),
                "{edit}: {named:?}"
            );
        }
    }
}
