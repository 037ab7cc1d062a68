//! A database that is set back: under a running hub, behind a fence that is up already, and with
//! events that come again before what they are about.

use crate::chain::{deposited, events, finalized, settled};
use crate::support::{Account, Base, database, pair, start, terms, wide_limits};
use chain_messages::tower::AttestedBatch;
use chain_messages::{Certainty, Event};
use hub::Hub;
use hub_client::{
    Fate, FatesRequest, FundingMode, Hello, HubRefusal, ImportBatch, ImportRequest, SignedBatch,
};
use hub_core::{Amount, Hash32, Operation, State};
use stack::Testbed;

const TABLES: [&str; 9] = [
    "hubs",
    "channels",
    "heads",
    "journal",
    "orders",
    "withdrawals",
    "channel_facts",
    "chain_marks",
    "inbox",
];

async fn backup(bed: &Testbed) {
    bed.sql("CREATE SCHEMA backup").await.unwrap();
    for table in TABLES {
        let copy = format!("CREATE TABLE backup.{table} AS TABLE hub.{table}");
        bed.sql(&copy).await.unwrap();
    }
}

async fn set_back(bed: &Testbed) {
    for table in TABLES {
        let copy = format!(
            "DELETE FROM hub.{table}; INSERT INTO hub.{table} SELECT * FROM backup.{table}"
        );
        bed.sql(&copy).await.unwrap();
    }
}

/// Signs and commits a batch, and tells the hub nothing of it.
async fn signed(
    account: &mut Account,
    hub: &Hub,
    operations: Vec<Operation>,
) -> (ImportBatch, Fate) {
    let opened = operations.iter().filter_map(|op| match op.action {
        hub_core::Action::Open { params } => Some(params),
        _ => None,
    });
    let opened = opened.collect();
    let proposed = account.propose(operations);
    let signed = hub.sign_batch(proposed.request.clone()).await.unwrap();
    let fate = account.commit(&proposed, &signed);
    let Fate::Committed { user_signature, .. } = fate else {
        panic!("a commit burns nothing");
    };
    let attested = AttestedBatch {
        batch_id: signed.batch_id,
        prev_root: signed.prev_root,
        hub_signature: signed.signature,
        user_signature,
        states: AttestedBatch::encode(&proposed.states),
    };
    let batch = ImportBatch {
        attested,
        request_id: proposed.request.request_id,
        opened,
        orders: Vec::new(),
    };
    (batch, fate)
}

/// The same, and the hub has its fate.
async fn posted(account: &mut Account, hub: &Hub, operations: Vec<Operation>) -> ImportBatch {
    let (batch, fate) = signed(account, hub, operations).await;
    hub.fates(FatesRequest { fates: vec![fate] }).await.unwrap();
    batch
}

/// A batch that the hub has signed, and nobody will commit.
async fn burned(account: &mut Account, hub: &Hub, operation: Operation) -> (SignedBatch, Fate) {
    let request = account.propose(vec![operation]).request;
    let signed = hub.sign_batch(request).await.unwrap();
    account.newest.batch_id = signed.batch_id;
    account.newest.root = signed.root;
    let batch_id = signed.batch_id;
    (signed, Fate::Burned { batch_id })
}

fn import(batches: Vec<ImportBatch>, complete: u64) -> ImportRequest {
    ImportRequest {
        batches,
        withdraws: Vec::new(),
        complete: Some(complete),
    }
}

async fn lift(bed: &Testbed, account: &Account) {
    let pool = runtime::pg::connect(&bed.role_url("chub_hub"), 1).await;
    let mut connection = pool.unwrap().acquire().await.unwrap();
    let (hub_id, jump) = (account.terms.hub_id, hub::engine::limits::RESTORE_JUMP);
    let lifted = hub::store::hubs::lift_fence(&mut connection, hub_id, jump).await;
    assert!(lifted.unwrap());
}

fn restored(refused: &hub_client::ErrorBody) -> bool {
    matches!(&refused.error, HubRefusal::Fenced { why } if why.starts_with("HUB_RESTORED"))
}

#[tokio::test]
async fn a_running_hub_meets_what_its_database_lost_before_it_signs_anything_more() {
    let (bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    let operations = vec![
        account.open(0),
        account.open(1),
        account.open(2),
        account.issue(0, 100),
    ];
    account.post(&hub, operations).await;
    backup(&bed).await;
    let older = account.clone();
    let operations = vec![account.transfer(0, 1, 30)];
    let lost = posted(&mut account, &hub, operations).await;
    let operation = account.transfer(0, 1, 5);
    let (_, fate) = burned(&mut account, &hub, operation).await;
    hub.fates(FatesRequest { fates: vec![fate] }).await.unwrap();
    set_back(&bed).await;

    // On channels of which nothing was lost, so that no row differs.
    let operation = account.issue(2, 7);
    let request = account.propose(vec![operation]).request;
    let refused = hub.sign_batch(request).await.unwrap_err();
    assert!(restored(&refused), "{refused:?}");
    // The version that the burned batch used, with another content.
    let mut behind = older.clone();
    let operation = behind.transfer(0, 1, 6);
    let request = behind.propose(vec![operation]).request;
    let refused = hub.sign_batch(request).await.unwrap_err();
    assert!(restored(&refused), "{refused:?}");
    assert_eq!(hub.journal(0, 10).await.unwrap().len(), 1);

    // Replicas hear of another session, and from it what is lacking.
    let session = hub.session();
    assert_ne!(session, account.session);
    let newest = account.newest;
    let welcome = hub.hello(Hello { newest }).await.unwrap();
    assert_eq!(welcome.session, session);
    assert_eq!(welcome.import_above, Some(1));
    account.session = session;
    let back = hub.import(import(vec![lost], newest.batch_id)).await;
    assert_eq!(back.unwrap().newest.batch_id, 2);
    lift(&bed, &account).await;
    for n in 0..3 {
        let head = hub.channel(account.id(n)).await.unwrap();
        account.floors.insert(account.id(n), head.max_signed);
    }
    let operations = vec![account.transfer(0, 1, 5), account.issue(2, 7)];
    account.post(&hub, operations).await;
    assert_eq!(account.user_balance(1), 35);
}

#[tokio::test]
async fn a_quiet_hub_meets_another_batch_under_the_number_of_its_newest() {
    let (bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    let open = account.open(0);
    account.post(&hub, vec![open]).await;
    bed.sql(r"UPDATE hub.journal SET root = decode(repeat('11', 32), 'hex')")
        .await
        .unwrap();
    let nothing = FatesRequest { fates: Vec::new() };
    let refused = hub.fates(nothing.clone()).await.unwrap_err();
    assert!(restored(&refused), "{refused:?}");
    // It is fenced, and works on: the fence is a state to be seen.
    let marks = hub.fates(nothing).await.unwrap();
    assert_ne!(marks.session, account.session);
    assert_eq!(marks.session, hub.session());
}

#[tokio::test]
async fn a_restored_hub_takes_the_fates_of_what_it_has_among_those_of_what_it_lost() {
    let (bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    let operations = vec![account.open(0), account.open(1), account.issue(0, 100)];
    account.post(&hub, operations).await;
    let operation = account.transfer(0, 1, 30);
    let (_, second) = signed(&mut account, &hub, vec![operation]).await;
    let open = account.open(2);
    let (_, third) = signed(&mut account, &hub, vec![open]).await;
    // As under load: the newest batches have no fate here yet.
    backup(&bed).await;
    let fates = vec![second.clone(), third.clone()];
    hub.fates(FatesRequest { fates }).await.unwrap();
    let operation = account.transfer(1, 2, 10);
    let (lost, fourth) = signed(&mut account, &hub, vec![operation]).await;
    let fates = vec![fourth.clone()];
    hub.fates(FatesRequest { fates }).await.unwrap();
    let operation = account.transfer(0, 1, 5);
    let (last, fifth) = burned(&mut account, &hub, operation).await;
    set_back(&bed).await;

    let hub = start(&bed, &account.terms, wide_limits()).await;
    account.greet(&hub).await;
    let fates = vec![second, third, fourth, fifth];
    let marks = hub.fates(FatesRequest { fates }).await.unwrap();
    assert_eq!(marks.low_water, 3);
    let back = hub.import(import(vec![lost], last.batch_id)).await;
    assert_eq!(back.unwrap().newest.batch_id, 4);
    for n in 0..3 {
        let head = hub.channel(account.id(n)).await.unwrap();
        assert_eq!(head.held, account.heads[&account.id(n)].state);
    }
}

#[tokio::test]
async fn a_fence_raised_by_hand_hides_no_loss_and_is_not_lifted_before_the_import() {
    let bed = database().await;
    let terms = terms(FundingMode::Mint);
    let hub = start(&bed, &terms, wide_limits()).await;
    let mut account = Account::new(terms);
    account.greet(&hub).await;
    let open = account.open(0);
    account.post(&hub, vec![open]).await;
    backup(&bed).await;
    let operation = account.issue(0, 5);
    let lost = posted(&mut account, &hub, vec![operation]).await;
    set_back(&bed).await;
    let dir = stack::TempDir::new().unwrap();
    let arguments = crate::process::arguments(&dir, &bed, &account.terms, 0);
    let fence = |action: &[&str]| {
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_hub"))
            .args(&arguments)
            .arg("fence")
            .args(action)
            .output()
            .unwrap();
        let text = String::from_utf8(done.stdout).unwrap();
        (done.status.success(), text)
    };
    assert!(fence(&["raise", "--why", "a restore is under way"]).0);
    let hub = start(&bed, &account.terms, wide_limits()).await;
    let newest = account.newest;
    let welcome = hub.hello(Hello { newest }).await.unwrap();
    assert_eq!(welcome.import_above, Some(1));
    let (_, text) = fence(&["status"]);
    assert!(text.contains("HUB_RESTORED"), "{text}");
    assert!(text.contains("a restore is under way"), "{text}");
    assert!(!fence(&["lift", "--confirm"]).0);
    // Whatever the reason says.
    bed.sql("UPDATE hub.hubs SET fence = 'by hand'")
        .await
        .unwrap();
    assert!(!fence(&["lift", "--confirm"]).0);
    hub.hello(Hello { newest }).await.unwrap();
    hub.import(import(vec![lost], newest.batch_id))
        .await
        .unwrap();
    let (done, text) = fence(&["lift", "--confirm"]);
    assert!(done && text.contains("lifted"), "{text}");
}

#[tokio::test]
async fn settlements_that_are_told_again_before_the_import_end_the_epochs_of_lost_batches() {
    let (bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    let operations = vec![account.open(0), account.open(1), account.issue(0, 100)];
    account.post(&hub, operations).await;
    backup(&bed).await;
    // Lost: a transfer of a channel that was settled then, one that was opened, settled and
    // begun again, and one that was opened and settled.
    let operations = vec![account.transfer(0, 1, 30)];
    let mut lost = vec![posted(&mut account, &hub, operations).await];
    let operations = vec![
        account.open(2),
        account.open(3),
        account.issue(2, 50),
        account.issue(3, 9),
    ];
    lost.push(posted(&mut account, &hub, operations).await);
    let ends: Vec<_> = [0, 2, 3]
        .map(|n| settled(&account.heads[&account.id(n)].state))
        .into_iter()
        .collect();
    for end in &ends {
        hub.chain_events(end.clone()).await.unwrap();
    }
    let null = |channel| State::null(channel, 1, account.terms.capacity);
    let (zero, two, three) = (
        null(account.id(0)),
        null(account.id(2)),
        null(account.id(3)),
    );
    let batch_id = 0;
    let base = Base {
        state: two,
        batch_id,
    };
    account.heads.insert(account.id(2), base);
    account.floors.insert(account.id(2), 1);
    let operation = account.issue(2, 7);
    lost.push(posted(&mut account, &hub, vec![operation]).await);
    set_back(&bed).await;

    let hub = start(&bed, &account.terms, wide_limits()).await;
    for end in ends {
        hub.chain_events(end).await.unwrap();
    }
    account.greet(&hub).await;
    let newest = account.newest.batch_id;
    let back = hub.import(import(lost, newest)).await.unwrap();
    assert_eq!(back.newest.batch_id, 4);
    // With the next block everything is in the epoch of the chain.
    hub.chain_events(finalized(100)).await.unwrap();
    let held = async |n| hub.channel(account.id(n)).await.unwrap().held;
    assert_eq!(held(0).await, zero);
    assert_eq!(held(1).await, account.heads[&account.id(1)].state);
    assert_eq!(held(2).await, account.heads[&account.id(2)].state);
    assert_eq!(held(3).await, three);
}

#[tokio::test]
async fn an_edited_head_holds_up_no_events_and_begins_its_epoch_once_it_is_mended() {
    let (bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    let operations = vec![account.open(0), account.open(1), account.issue(0, 100)];
    account.post(&hub, operations).await;
    let edited = account.heads[&account.id(0)].state;
    bed.sql("UPDATE hub.heads SET user_balance = user_balance + 1 WHERE user_balance = 100")
        .await
        .unwrap();
    let hub = start(&bed, &account.terms, wide_limits()).await;
    account.greet(&hub).await;
    let mut page = settled(&edited);
    let deposit = deposited(account.id(1), 11, Certainty::Final);
    page.events.extend(deposit.events);
    hub.chain_events(page).await.unwrap();
    let facts = |n| hub_core::Facts {
        final_deposits: Amount::new(n),
        ..hub_core::Facts::default()
    };
    // What else the page said counts.
    account.facts.insert(account.id(1), facts(11));
    let operation = account.operation(hub_core::Action::Deposit {
        channel: account.id(1),
        amount: Amount::new(11),
    });
    account.post(&hub, vec![operation]).await;
    assert_eq!(account.user_balance(1), 11);
    let operation = account.issue(0, 1);
    let request = account.propose(vec![operation]).request;
    let refused = hub.sign_batch(request).await.unwrap_err();
    assert!(matches!(refused.error, HubRefusal::HeadDamaged { .. }));
    bed.sql("UPDATE hub.heads SET user_balance = user_balance - 1 WHERE user_balance = 101")
        .await
        .unwrap();
    // Its epoch is over, whether or not the head says so yet.
    let request = account.propose(vec![operation]).request;
    let refused = hub.sign_batch(request).await.unwrap_err();
    assert!(
        matches!(refused.error, HubRefusal::Closing { .. }),
        "{refused:?}"
    );
    // A restart between forgets nothing.
    let hub = start(&bed, &account.terms, wide_limits()).await;
    hub.chain_events(finalized(100)).await.unwrap();
    let head = hub.channel(account.id(0)).await.unwrap();
    assert_eq!(
        head.held,
        State::null(account.id(0), 1, account.terms.capacity)
    );
}

fn close(state: State, certainty: Certainty) -> hub_client::ChainEventsRequest {
    events(vec![Event::Closed {
        state,
        by_hub: false,
        deadline: 100,
        certainty,
        place: chain_messages::Place {
            block: 1,
            block_hash: Hash32([1; 32]),
            tx_hash: Hash32([2; 32]),
            log_index: 0,
        },
    }])
}

#[tokio::test]
async fn a_close_of_the_next_epoch_that_is_seen_before_the_settlement_is_final_is_not_forgotten() {
    let (bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    let operations = vec![account.open(0), account.open(1), account.issue(0, 100)];
    account.post(&hub, operations).await;
    let first = account.heads[&account.id(0)].state;
    let next = State::null(account.id(0), 1, account.terms.capacity);
    // The same for a channel whose second close goes away again: the first one still stands.
    let other = account.heads[&account.id(1)].state;
    let gone = State::null(account.id(1), 1, account.terms.capacity);
    for (state, certainty) in [
        (first, Certainty::Seen),
        (other, Certainty::Seen),
        (next, Certainty::Seen),
        (gone, Certainty::Seen),
        (gone, Certainty::Orphaned),
    ] {
        hub.chain_events(close(state, certainty)).await.unwrap();
    }
    let closing = async |hub: &Hub, account: &mut Account, n: u64| {
        let operation = account.issue(n, 1);
        let request = account.propose(vec![operation]).request;
        let refused = hub.sign_batch(request).await.unwrap_err();
        assert!(
            matches!(refused.error, HubRefusal::Closing { .. }),
            "{refused:?}"
        );
    };
    closing(&hub, &mut account, 1).await;
    let hub = start(&bed, &account.terms, wide_limits()).await;
    account.greet(&hub).await;
    closing(&hub, &mut account, 0).await;
    for state in [&first, &other] {
        hub.chain_events(settled(state)).await.unwrap();
    }
    for (n, state) in [(0, next), (1, gone)] {
        let batch_id = 0;
        account
            .heads
            .insert(account.id(n), Base { state, batch_id });
        account.floors.insert(account.id(n), 1);
    }
    closing(&hub, &mut account, 0).await;
    let operation = account.issue(1, 5);
    account.post(&hub, vec![operation]).await;
    // The settlement of that epoch opens the channel again.
    hub.chain_events(settled(&next)).await.unwrap();
    let state = State::null(account.id(0), 2, account.terms.capacity);
    let batch_id = 0;
    account
        .heads
        .insert(account.id(0), Base { state, batch_id });
    let operation = account.issue(0, 5);
    account.post(&hub, vec![operation]).await;
}
