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

/// The same books after what is older than a month was given up, as the service does it: weeks by
/// the function, states of batches that are no head's.
async fn pruned() -> World {
    let world = World::of(books()).await;
    assert!(world.report().await.is_clean());
    // The rows lie among the rest: an empty week after theirs takes them along.
    world
        .run(&format!(
            "DO $$ DECLARE monday timestamptz := date_trunc('week', now() - interval '{AGE} days' + interval '7 days', 'UTC');
             BEGIN
                EXECUTE format('CREATE TABLE account.%I PARTITION OF account.operations FOR VALUES FROM (%L) TO (%L)',
                    'operations_' || to_char(monday AT TIME ZONE 'UTC', 'YYYY_MM_DD'),
                    account.first_id(monday), account.first_id(monday + interval '7 days'));
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
        .edit(
            "DELETE FROM account.batch_states s USING account.retention r
             WHERE s.id < r.journal_from AND NOT EXISTS (SELECT 1 FROM account.heads h WHERE h.batch = s.id)",
        )
        .await;
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
    let named: BTreeSet<_> = world
        .named()
        .await
        .into_iter()
        .map(|b| (b.0, b.1))
        .collect();
    let expected = (CheckId::R4, "account.accounts".to_owned());
    assert_eq!(named, BTreeSet::from([expected]));
}

#[tokio::test]
async fn states_erased_too_early_and_signatures_changed_afterwards_are_named() {
    let world = pruned().await;
    // A batch of the time that is kept, and one that a head is in.
    world
        .edit(
            "DELETE FROM account.batch_states s USING account.batches b
             WHERE b.id = s.id AND b.hub_id = (SELECT min(hub_id::text)::uuid FROM account.hubs)",
        )
        .await;
    let named = world.named().await;
    let batches: Vec<_> = named
        .iter()
        .filter(|b| b.1 == "account.batch_states")
        .collect();
    // The dormant account's, and both of today.
    assert_eq!(batches.len(), 3, "{named:?}");
    assert!(batches.iter().all(|b| b.0 == CheckId::R3));

    let world = pruned().await;
    world
        .edit(
            "UPDATE account.batches b SET root = prev_root WHERE b.batch_id = 4
             AND NOT EXISTS (SELECT 1 FROM account.batch_states s WHERE s.id = b.id)",
        )
        .await;
    let named = world.named().await;
    let batches = named
        .iter()
        .filter(|b| b.0 == CheckId::R3 && b.1 == "account.batches");
    assert_eq!(batches.count(), 2, "one on each hub: {named:?}");
}
