//! A tower gets through where others stand in its way: an API that answers for some channels only,
//! and a transaction of its own that nobody mines.

use crate::scene::{Scene, TOWER, USER, WINDOW, document, key, operator, posted};
use acctl::dispute::material::Extras;
use acctl::tower::shelf;
use chain::calls::dispute;
use chain::{At, Fees, FundingMode, Sent, Transaction};
use hub_core::proof::ChannelProof;
use hub_core::{Amount, ChannelParams, Hash32};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

const MODE: FundingMode = FundingMode::Mint;

/// Channels with an old and a newest proof, in the order of their ids.
fn channels(scene: &Scene, count: u8) -> Vec<(ChannelParams, ChannelProof, ChannelProof)> {
    let one = |salt| {
        let params = scene.params(MODE, salt);
        let proof = |version, user| scene.proof(&params, scene.state(&params, version, user, &[]));
        (params, proof(1, 10), proof(3, 40))
    };
    let mut all: Vec<_> = (1..=count).map(one).collect();
    all.sort_by_key(|(params, ..)| scene.id(params));
    all
}

/// An API that has the proofs of these paths and says 404 for all others.
async fn api(known: HashMap<String, String>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let (mut first, mut line) = (String::new(), String::new());
            stream.read_line(&mut first).await.unwrap();
            while stream.read_line(&mut line).await.unwrap() > 2 {
                line.clear();
            }
            let path = first.split(' ').nth(1).unwrap_or_default();
            let (status, body) = match known.get(path) {
                Some(body) => ("200 OK", body.as_str()),
                None => ("404 Not Found", r#"{"code":"NOT_FOUND"}"#),
            };
            let text = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(text.as_bytes()).await.unwrap();
        }
    });
    port
}

#[tokio::test]
async fn a_channel_that_the_api_does_not_know_keeps_no_other_from_being_fetched() {
    let scene = Scene::new().await;
    scene.wallet(TOWER).await;
    let all = channels(&scene, 3);
    let dir = scene.path("tower");
    for (_, old, _) in &all {
        shelf::add(&dir, &document(old, &Extras::default())).unwrap();
    }
    // Only the last one is known there.
    let (last, _, newest) = &all[2];
    let id = scene.id(last);
    let path = format!("/v1/channels/{id}/states/latest/proof");
    let known = HashMap::from([(path, document(newest, &Extras::default()))]);
    let port = api(known).await;
    let (key_file, dir) = (scene.key_file(TOWER), dir.display().to_string());
    let env_file = scene.path("api.env");
    let env = format!("ACCOUNT_API=http://127.0.0.1:{port}\nACCOUNT_API_KEY=k\n");
    std::fs::write(&env_file, env).unwrap();
    let env_file = env_file.display().to_string();
    let args = ["--env-file", &env_file, "tower", "run", "--dir", &dir];
    let more = ["--key-file", &key_file, "--once", "--pull", "1"];
    let ran = scene.acctl(&[&args[..], &more].concat()).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.err.matches("NOT_FOUND").count(), 2, "{}", ran.err);
    let mut held = shelf::Shelf::default();
    held.refresh(&scene.path("tower")).unwrap();
    assert_eq!(held.get(id, 0).unwrap().state().version, 3);
}

#[tokio::test]
async fn an_answer_takes_the_place_of_a_transaction_that_nobody_mines() {
    let scene = Scene::new().await;
    let tower = scene.wallet(TOWER).await;
    let hub = scene.wallet(operator(MODE) + 1).await;
    let (params, old, newest) = channels(&scene, 1).remove(0);
    shelf::add(&scene.path("tower"), &document(&newest, &Extras::default())).unwrap();
    let close = dispute::close(scene.chain.channels(), &params, &posted(&old), None, None);
    hub.call(&close).await.unwrap();

    // Its own transaction of before waits, at fees above the usual ones.
    scene.automine(false);
    let node = scene.chain.node();
    let usual = node.fees().await.unwrap();
    let stuck = Transaction {
        chain_id: node.chain_id().await.unwrap(),
        nonce: node.nonce(tower.address(), At::Latest).await.unwrap(),
        to: Some(key(USER).address()),
        value: Amount::new(7),
        data: Vec::new(),
        gas: 21_000,
        fees: Fees {
            max: usual.max * 2,
            priority: usual.priority * 2,
        },
    };
    let stuck = stuck.sign(&key(TOWER)).unwrap();
    assert_eq!(node.send_raw(&stuck.raw).await.unwrap(), Sent::Accepted);
    let (key_file, dir) = (scene.key_file(TOWER), scene.path("tower"));
    let dir = dir.display().to_string();
    let args = [
        "tower",
        "run",
        "--dir",
        &dir,
        "--key-file",
        &key_file,
        "--once",
    ];
    let child = scene.start(&args);
    let begun = Instant::now();
    let waits = async |hash: Hash32| scene.waits(&hash.to_string());
    while waits(stuck.hash).await {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "it queues behind"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    scene.automine(true);
    scene.mine(1);
    let ran = child.wait_with_output().await.unwrap();
    let out = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(out.contains("challenge of 1 channels"), "{out}");
    assert_eq!(node.receipt(stuck.hash).await.unwrap(), None);
    let view = scene.chain.channel(scene.id(&params), At::Latest).await;
    assert!(view.unwrap().deadline > scene.time().await, "of {WINDOW} s");
}
