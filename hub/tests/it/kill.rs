//! `kill -9` in the middle of a stream of batches.

use crate::process::{Process, arguments};
use crate::support::{Account, database, terms};
use hub_client::{FundingMode, Hello, HubClient, HubError, HubRefusal, SignedBatch};
use hub_core::encoding::decode_states;
use hub_core::{Operation, Typed as _};
use rand::Rng as _;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

const CHANNELS: u64 = 40;
const KILLS: u32 = 8;

async fn greet(client: &HubClient, account: &mut Account) {
    let newest = account.newest;
    account.session = client.hello(&Hello { newest }).await.unwrap().session;
}

fn transfers(account: &mut Account) -> Vec<Operation> {
    (0..CHANNELS / 2)
        .map(|n| account.transfer(n, n + CHANNELS / 2, 1))
        .collect()
}

/// Whether what is signed twice is the same.
fn same(one: &SignedBatch, two: &SignedBatch) -> bool {
    (
        one.batch_id,
        one.prev_root,
        one.root,
        one.depth,
        one.signature,
    ) == (
        two.batch_id,
        two.prev_root,
        two.root,
        two.depth,
        two.signature,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_hub_answers_again_what_it_answered_and_signs_no_version_twice() {
    let (bed, terms) = (database().await, terms(FundingMode::Mint));
    let dir = stack::TempDir::new().unwrap();
    let port = stack::free_port().unwrap();
    let mut process = Process::start(arguments(&dir, &bed, &terms, port), port).await;
    let client = process.client();
    let mut account = Account::new(terms);
    greet(&client, &mut account).await;
    let mut operations: Vec<_> = (0..CHANNELS).map(|n| account.open(n)).collect();
    operations.extend((0..CHANNELS).map(|n| account.issue(n, 50_000)));
    let first = account.propose(operations);
    let signed = client.sign_batch(&first.request).await.unwrap();
    let mut fates = vec![account.commit(&first, &signed)];
    let (mut answered, mut lost) = (Vec::new(), 0);
    for _ in 0..KILLS {
        let pause = rand::rng().random_range(20..400);
        let killed = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            process.kill();
            process
        });
        // Batch after batch, until one gets no answer.
        let pending = loop {
            let operations = transfers(&mut account);
            let mut proposed = account.propose(operations);
            proposed.request.fates = fates.clone();
            match client.sign_batch(&proposed.request).await {
                Ok(signed) => {
                    fates = vec![account.commit(&proposed, &signed)];
                    answered.push((proposed.request, signed));
                }
                Err(HubError::Unknown(_)) => break proposed,
                Err(refused) => panic!("{refused}"),
            }
        };
        process = killed.await.unwrap();
        process.restart().await;
        let (request, before) = answered.last().unwrap();
        let again = client.sign_batch(request).await.unwrap();
        assert!(same(before, &again), "{before:?} became {again:?}");
        // The one without an answer was journaled or not; asked again, it is signed either way.
        let mut pending = pending;
        let signed = match client.sign_batch(&pending.request).await {
            Ok(signed) => signed,
            Err(HubError::Refused(HubRefusal::Session { .. })) => {
                lost += 1;
                greet(&client, &mut account).await;
                pending.request.session = account.session;
                client.sign_batch(&pending.request).await.unwrap()
            }
            Err(error) => panic!("{error}"),
        };
        greet(&client, &mut account).await;
        fates = vec![account.commit(&pending, &signed)];
        answered.push((pending.request, signed));
    }
    println!("{} batches, {lost} lost before the journal", answered.len());
    assert!(answered.len() as u32 > 2 * KILLS);
    for (request, before) in answered.iter().rev().take(50) {
        assert!(same(before, &client.sign_batch(request).await.unwrap()));
    }
    let rows = journaled(&bed).await;
    assert_eq!(rows.len(), answered.len() + 1);
    let mut versions = HashMap::new();
    for state in rows.into_iter().flatten() {
        let at = (state.channel_id, state.epoch, state.version);
        let before = versions.insert(at, state.hash_struct());
        assert!(before.is_none(), "two states of {at:?}");
    }
    let answers: HashSet<_> = answered.iter().map(|(_, signed)| signed.batch_id).collect();
    assert_eq!(answers.len(), answered.len());
    assert_eq!(account.user_balance(0), 50_000 - answered.len() as u128);
}

async fn journaled(bed: &stack::Testbed) -> Vec<Vec<hub_core::State>> {
    let pool = runtime::pg::connect(&bed.role_url("chub_hub"), 1)
        .await
        .unwrap();
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("SELECT states FROM hub.journal")
        .fetch_all(&pool)
        .await
        .unwrap();
    pool.close().await;
    rows.iter().map(|row| decode_states(row).unwrap()).collect()
}
