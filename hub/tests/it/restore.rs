//! Sessions, the fence, and two processes of one hub.

use crate::support::{Account, custody_key, database, pair, start, terms, wide_limits};
use chain_messages::tower::AttestedBatch;
use hub_client::{
    BatchMark, Fate, FatesRequest, FundingMode, Hello, HubRefusal, ImportBatch, ImportOrder,
    ImportRequest,
};
use hub_core::Hash32;

#[tokio::test]
async fn nothing_is_signed_before_somebody_says_hello_to_the_session() {
    let bed = database().await;
    let terms = terms(FundingMode::Mint);
    let hub = start(&bed, &terms, wide_limits()).await;
    let mut account = Account::new(terms);
    account.session = hub.session();
    let open = account.open(0);
    let mut request = account.propose(vec![open]).request;
    let session = HubRefusal::Session {
        session: hub.session(),
    };
    let refused = hub.sign_batch(request.clone()).await.unwrap_err();
    assert_eq!(refused.error, session);
    account.greet(&hub).await;
    request.session = uuid::Uuid::nil();
    let refused = hub.sign_batch(request.clone()).await.unwrap_err();
    assert_eq!(refused.error, session);
    request.session = account.session;
    assert!(hub.sign_batch(request).await.is_ok());
}

#[tokio::test]
async fn the_process_that_started_last_signs_and_the_other_one_stops() {
    let (bed, first, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    let operations = vec![account.open(0), account.open(1), account.issue(0, 100)];
    account.post(&first, operations).await;
    let second = start(&bed, &account.terms, wide_limits()).await;
    let operation = account.transfer(0, 1, 5);
    let request = account.propose(vec![operation]).request;
    let refused = first.sign_batch(request.clone()).await.unwrap_err();
    assert_eq!(refused.error, HubRefusal::Unavailable);
    assert!(first.ready().await.is_err());
    assert!(second.ready().await.is_ok());
    account.greet(&second).await;
    account.post(&second, vec![operation]).await;
    assert_eq!(second.journal(0, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_batch_that_the_journal_lost_raises_the_fence_and_lifting_it_jumps_every_floor() {
    let (bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    let operations = vec![account.open(0), account.open(1), account.issue(0, 100)];
    account.post(&hub, operations).await;
    let backup = account.clone();
    let operations = vec![account.transfer(0, 1, 5)];
    let lost = account.post(&hub, operations).await;
    // The database of the hub is set back by one batch.
    bed.sql("DELETE FROM hub.journal WHERE batch_id = 2")
        .await
        .unwrap();
    restore_heads(&bed, &backup).await;
    let hub = start(&bed, &account.terms, wide_limits()).await;
    account.greet(&hub).await;
    let operation = account.transfer(0, 1, 7);
    let request = account.propose(vec![operation]).request;
    let refused = hub.sign_batch(request.clone()).await.unwrap_err();
    assert!(matches!(refused.error, HubRefusal::Fenced { .. }));
    // A restart doesn't lift it.
    let hub = start(&bed, &account.terms, wide_limits()).await;
    account.greet(&hub).await;
    let refused = hub.sign_batch(request.clone()).await.unwrap_err();
    assert!(matches!(refused.error, HubRefusal::Fenced { .. }));
    let url = bed.role_url("chub_hub");
    let pool = runtime::pg::connect(&url, 1).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    let hub_id = account.terms.hub_id;
    let jump = hub::engine::limits::RESTORE_JUMP;
    assert!(
        hub::store::hubs::lift_fence(&mut connection, hub_id, jump)
            .await
            .unwrap()
    );
    assert!(
        !hub::store::hubs::lift_fence(&mut connection, hub_id, jump)
            .await
            .unwrap()
    );
    // The serving process reads everything anew. What was lost is not guessed.
    let request = account.propose(vec![operation]).request;
    let refused = hub.sign_batch(request).await.unwrap_err();
    let unknown = HubRefusal::BaseUnknown {
        batches: vec![lost.batch_id],
    };
    assert_eq!(refused.error, unknown);
    let fates = vec![Fate::Burned {
        batch_id: lost.batch_id,
    }];
    assert!(hub.fates(FatesRequest { fates }).await.is_ok());
    // Channels of which nothing was lost go on, far above all that was.
    let mut older = backup.clone();
    older.session = account.session;
    let operation = older.transfer(0, 1, 9);
    let request = older.propose(vec![operation]).request;
    let HubRefusal::VersionUsed { channels } = hub.sign_batch(request).await.unwrap_err().error
    else {
        panic!("a version that may have been used was signed");
    };
    assert!(channels.iter().all(|used| used.max_signed > 1 << 32));
    // A channel that is not known may be one that was lost: its versions begin above as well.
    let open = older.open(2);
    let request = older.propose(vec![open]).request;
    let HubRefusal::VersionUsed { channels } = hub.sign_batch(request).await.unwrap_err().error
    else {
        panic!("a version that may have been used was signed");
    };
    assert_eq!(channels[0].max_signed, 1 << 32);
    older.floors.insert(older.id(2), channels[0].max_signed);
    let signed = older.post(&hub, vec![open]).await;
    assert!(signed.batch_id > 1 << 32);
    older.newest = account.newest;
    older.greet(&hub).await;
    let operations = vec![older.issue(2, 5)];
    older.post(&hub, operations).await;
}

async fn restore_heads(bed: &stack::Testbed, backup: &Account) {
    for base in backup.heads.values() {
        let state = &base.state;
        let channel: String = state
            .channel_id
            .0
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let hash =
            |hash: Hash32| -> String { hash.0.iter().map(|byte| format!("{byte:02x}")).collect() };
        let held: String = hub_core::encoding::encode_states([state])
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        bed.sql(&format!(
            r"UPDATE hub.heads SET max_signed = {v}, version = {v}, ack_version = {ack},
                hub_balance = {hub}, user_balance = {user}, signed_batch = {batch},
                transfers_root = '\x{root}', state_hash = '\x{hash}', held_state = '\x{held}'
              WHERE channel_id = '\x{channel}'",
            v = state.version,
            ack = state.ack_version,
            hub = state.hub_balance,
            user = state.user_balance,
            batch = base.batch_id,
            root = hash(state.transfers_root),
            hash = hash(hub_core::Typed::hash_struct(state)),
        ))
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn another_root_under_a_known_number_raises_the_fence() {
    let (_bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    let open = account.open(0);
    account.post(&hub, vec![open]).await;
    let newest = BatchMark {
        batch_id: 1,
        root: Hash32([1; 32]),
    };
    hub.hello(Hello { newest }).await.unwrap();
    let operation = account.issue(0, 5);
    let request = account.propose(vec![operation]).request;
    let refused = hub.sign_batch(request).await.unwrap_err();
    assert!(matches!(refused.error, HubRefusal::Fenced { .. }));
}

#[tokio::test]
async fn a_fate_is_final_and_a_proved_contradiction_raises_the_fence() {
    let (_bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    let open = account.open(0);
    let first = account.post(&hub, vec![open]).await;
    // A claim without proof stops only itself.
    let fates = vec![Fate::Burned {
        batch_id: first.batch_id,
    }];
    let refused = hub.fates(FatesRequest { fates }).await.unwrap_err();
    assert!(matches!(refused.error, HubRefusal::Fenced { .. }));
    let operation = account.issue(0, 5);
    let proposed = account.propose(vec![operation]);
    let signed = hub.sign_batch(proposed.request.clone()).await.unwrap();
    let fates = vec![Fate::Burned {
        batch_id: signed.batch_id,
    }];
    hub.fates(FatesRequest {
        fates: fates.clone(),
    })
    .await
    .unwrap();
    hub.fates(FatesRequest { fates }).await.unwrap();
    let unsigned = vec![Fate::Committed {
        batch_id: signed.batch_id,
        user_signature: signed.signature,
    }];
    let refused = hub
        .fates(FatesRequest { fates: unsigned })
        .await
        .unwrap_err();
    assert!(matches!(refused.error, HubRefusal::Rule { .. }));
    let message = account.message(&signed);
    let proof = vec![Fate::Committed {
        batch_id: signed.batch_id,
        user_signature: custody_key().sign(&account.terms.domain, &message),
    }];
    let refused = hub.fates(FatesRequest { fates: proof }).await.unwrap_err();
    assert!(matches!(refused.error, HubRefusal::Fenced { .. }));
    account.floors.insert(account.id(0), 2);
    let request = account.propose(vec![operation]).request;
    let refused = hub.sign_batch(request).await.unwrap_err();
    assert!(matches!(refused.error, HubRefusal::Fenced { .. }));
    let future = vec![Fate::Burned { batch_id: 99 }];
    let refused = hub.fates(FatesRequest { fates: future }).await.unwrap_err();
    assert!(matches!(refused.error, HubRefusal::Rule { .. }));
}

#[tokio::test]
async fn a_hub_does_not_start_on_the_rows_of_other_keys() {
    let (bed, _hub, account) = pair(FundingMode::Mint, wide_limits()).await;
    let mut other = account.terms.clone();
    other.custody_signer = hub_core::Address([1; 20]);
    let url = bed.role_url("chub_hub");
    let metrics = runtime::telemetry::Metrics::new(&runtime::telemetry::Build::new("hub", "test"));
    let started = hub::Hub::start(hub::HubParts {
        terms: other,
        signer: crate::support::hub_key(),
        limits: wide_limits(),
        pool: runtime::pg::connect(&url, 1).await.unwrap(),
        metrics: hub::metrics::HubMetrics::new(&metrics.unwrap()).unwrap(),
        stop: runtime::shutdown::Shutdown::manual().1,
    })
    .await;
    assert!(matches!(
        started,
        Err(hub::engine::StartError::OtherTerms { .. })
    ));
}

#[tokio::test]
async fn an_operator_sees_the_fence_and_lifts_it_only_with_a_confirmation() {
    let (bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    let open = account.open(0);
    account.post(&hub, vec![open]).await;
    let newest = BatchMark {
        batch_id: 9,
        root: Hash32([1; 32]),
    };
    let dir = stack::TempDir::new().unwrap();
    let arguments = crate::process::arguments(&dir, &bed, &account.terms, 0);
    let run = |action: &[&str]| {
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_hub"))
            .args(&arguments)
            .arg("fence")
            .args(action)
            .output()
            .unwrap();
        let text = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8(text).unwrap())
    };
    // Too early: an operator must not believe that the fence to come was lifted.
    let (done, text) = run(&["lift", "--confirm"]);
    assert!(!done && text.contains("there is no fence"), "{text}");
    hub.hello(Hello { newest }).await.unwrap();
    let (done, text) = run(&["status"]);
    assert!(done && text.contains("HUB_RESTORED"), "{text}");
    assert!(
        text.contains("newest batch a replica named: 9 0x0101"),
        "{text}"
    );
    assert!(!run(&["lift"]).0);
    // What was lost comes back first, unless the operator knows that it can't.
    assert!(!run(&["lift", "--confirm"]).0);
    assert!(run(&["status"]).1.contains("HUB_RESTORED"));
    let (done, text) = run(&["lift", "--confirm", "--without-import"]);
    assert!(done && text.contains("lifted"), "{text}");
    assert!(run(&["status"]).1.contains("none, the hub signs"));
    let open = account.open(1);
    account.floors.insert(account.id(1), 1 << 32);
    let signed = account.post(&hub, vec![open]).await;
    assert_eq!(signed.batch_id, 9 + (1 << 32) + 1);
    assert!(!run(&["lift", "--confirm", "--without-import"]).0);
    let open = account.open(2);
    account.floors.insert(account.id(2), 1 << 32);
    let next = account.post(&hub, vec![open]).await;
    assert_eq!(next.batch_id, signed.batch_id + 1);
}

fn batch(
    proposed: &crate::support::Proposed,
    signed: &hub_client::SignedBatch,
    fate: &Fate,
) -> ImportBatch {
    let Fate::Committed { user_signature, .. } = fate else {
        panic!("only a committed batch is given back");
    };
    ImportBatch {
        attested: AttestedBatch {
            batch_id: signed.batch_id,
            prev_root: signed.prev_root,
            hub_signature: signed.signature,
            user_signature: *user_signature,
            states: AttestedBatch::encode(&proposed.states),
        },
        request_id: proposed.request.request_id,
        opened: Vec::new(),
        orders: Vec::new(),
    }
}

fn import(batches: Vec<ImportBatch>, complete: Option<u64>) -> ImportRequest {
    ImportRequest {
        batches,
        withdraws: Vec::new(),
        complete,
    }
}

fn rule_of(refused: &hub_client::ErrorBody) -> &str {
    match &refused.error {
        HubRefusal::Rule { name, .. } => name,
        other => panic!("not a rule: {other:?}"),
    }
}

#[tokio::test]
async fn a_restored_hub_takes_back_only_what_both_signed_in_order_and_never_signs_over_it() {
    let (bed, hub, mut account) = pair(FundingMode::Mint, wide_limits()).await;
    let operations = vec![account.open(0), account.open(1), account.issue(0, 100)];
    account.post(&hub, operations).await;
    assert_eq!(
        rule_of(&hub.import(import(vec![], Some(1))).await.unwrap_err()),
        "IMPORT",
        "a hub that lost nothing takes nothing"
    );
    bed.sql(
        "CREATE SCHEMA backup; CREATE TABLE backup.hubs AS TABLE hub.hubs;
         CREATE TABLE backup.heads AS TABLE hub.heads;
         CREATE TABLE backup.journal AS TABLE hub.journal;
         CREATE TABLE backup.channels AS TABLE hub.channels",
    )
    .await
    .unwrap();
    // Lost: a transfer, an opening with an issuance, and a batch that was signed and burned.
    let mut lost = Vec::new();
    let steps = [
        vec![account.transfer(0, 1, 30)],
        vec![account.open(2), account.issue(2, 50)],
    ];
    for operations in steps {
        let proposed = account.propose(operations);
        let signed = hub.sign_batch(proposed.request.clone()).await.unwrap();
        let fate = account.commit(&proposed, &signed);
        lost.push(batch(&proposed, &signed, &fate));
        let fates = vec![fate];
        hub.fates(FatesRequest { fates }).await.unwrap();
    }
    lost[1].opened = vec![crate::support::params(&account.terms, 2)];
    let operation = account.transfer(0, 2, 70);
    let burned = account.propose(vec![operation]);
    let last = hub.sign_batch(burned.request.clone()).await.unwrap();
    account.newest.batch_id = last.batch_id;
    account.newest.root = last.root;
    bed.sql(
        "TRUNCATE hub.hubs, hub.heads, hub.journal, hub.channels;
         INSERT INTO hub.hubs SELECT * FROM backup.hubs;
         INSERT INTO hub.heads SELECT * FROM backup.heads;
         INSERT INTO hub.journal SELECT * FROM backup.journal;
         INSERT INTO hub.channels SELECT * FROM backup.channels",
    )
    .await
    .unwrap();

    let hub = start(&bed, &account.terms, wide_limits()).await;
    let newest = account.newest;
    let welcome = hub.hello(Hello { newest }).await.unwrap();
    account.session = welcome.session;
    assert_eq!(welcome.import_above, Some(1));
    // Out of order, without the opening's parameters, changed, with one signature: nothing of it.
    let mut unopened = lost[1].clone();
    unopened.opened.clear();
    let mut changed = lost[0].clone();
    changed.attested.states[213] ^= 1;
    let mut unsigned = lost[0].clone();
    unsigned.attested.user_signature = unsigned.attested.hub_signature;
    let mut ordered = lost[0].clone();
    ordered.orders = vec![ImportOrder {
        order: hub_core::OperationId([9; 16]),
        channel: account.id(0),
        amount: crate::support::amount(1),
        to: None,
    }];
    for (batches, name) in [
        (vec![lost[0].clone(), unopened], "IMPORT_GAP"),
        (vec![changed], "IMPORT_SIGNATURE"),
        (vec![unsigned], "IMPORT_SIGNATURE"),
        (vec![ordered], "IMPORT_ORDERS"),
    ] {
        let refused = hub.import(import(batches, None)).await.unwrap_err();
        assert_eq!(rule_of(&refused), name);
    }
    assert_eq!(hub.journal(0, 10).await.unwrap().len(), 1);

    let imported = hub.import(import(lost.clone(), None)).await.unwrap();
    assert_eq!(imported.newest.batch_id, lost[1].attested.batch_id);
    // Once more, as after a lost answer.
    let again = import(lost, Some(newest.batch_id));
    assert_eq!(hub.import(again).await.unwrap(), imported);
    let operation = account.transfer(0, 1, 1);
    let request = account.propose(vec![operation]).request;
    let refused = hub.sign_batch(request).await.unwrap_err();
    assert!(matches!(refused.error, HubRefusal::Fenced { .. }));
    let dir = stack::TempDir::new().unwrap();
    let arguments = crate::process::arguments(&dir, &bed, &account.terms, 0);
    let lifted = std::process::Command::new(env!("CARGO_BIN_EXE_hub"))
        .args(&arguments)
        .args(["fence", "lift", "--confirm"])
        .output()
        .unwrap();
    assert!(lifted.status.success(), "{lifted:?}");

    for n in 0..3 {
        let head = hub.channel(account.id(n)).await.unwrap();
        assert_eq!(head.held, account.heads[&account.id(n)].state);
        assert!(head.max_signed > 1 << 32, "{head:?}");
        account.floors.insert(account.id(n), head.max_signed);
    }
    let operations = vec![account.transfer(0, 2, 70), account.transfer(2, 1, 120)];
    let signed = account.post(&hub, operations).await;
    assert!(signed.batch_id > 1 << 32);
    assert_eq!(account.user_balance(1), 150);
}
