//! Nodes of others answer for few blocks at a time. This one is the real node behind a gate that
//! refuses logs of more than 500 blocks.

use crate::scene::{Scene, TOWER, USER, operator, posted};
use acctl::dispute::material::Extras;
use chain::calls::{self, dispute};
use chain::{At, FundingMode};
use hub_core::ChannelParams;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const MOST: u64 = 500;

/// Serves until the test ends. Returns the URL and the count of refusals.
fn gate(node: u16) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let refused = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&refused);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let count = Arc::clone(&count);
            std::thread::spawn(move || serve(stream.unwrap(), node, &count));
        }
    });
    (url, refused)
}

fn serve(mut stream: TcpStream, node: u16, refused: &AtomicU32) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let answer = if too_wide(&request) {
        refused.fetch_add(1, Ordering::Relaxed);
        let error = json!({"code": -32005, "message": "more than 500 blocks"});
        json!({"jsonrpc": "2.0", "id": request["id"], "error": error}).to_string()
    } else {
        let text = String::from_utf8(body).unwrap();
        let limit = Duration::from_secs(10);
        stack::request(node, "POST", "/", &text, limit).unwrap().1
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    // A caller that went away needs no answer.
    let _ = stream.write_all(format!("{head}{answer}").as_bytes());
}

fn too_wide(request: &Value) -> bool {
    let block = |name: &str| {
        let text = request["params"][0][name].as_str().unwrap_or("0x0");
        u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
    };
    request["method"] == "eth_getLogs" && block("toBlock") - block("fromBlock") >= MOST
}

#[tokio::test]
async fn a_node_that_answers_for_few_blocks_is_enough_for_exit_and_tower() {
    let scene = Scene::new().await;
    for by in [USER, TOWER] {
        scene.wallet(by).await;
    }
    let mode = FundingMode::Mint;
    let hub = scene.wallet(operator(mode) + 1).await;
    let channels = [1, 2].map(|salt| ChannelParams {
        challenge_period: 3_600,
        ..scene.params(mode, salt)
    });
    let proof = |params: &ChannelParams, version, user| {
        scene.proof(params, scene.state(params, version, user, &[]))
    };
    let at = scene.chain.channels();
    let closes = channels
        .map(|params| dispute::close(at, &params, &posted(&proof(&params, 1, 10)), None, None));
    scene.mine(200);
    hub.call(&calls::batch(at, &closes)).await.unwrap();
    scene.mine(700);

    let (url, refused) = gate(scene.port());
    let file = scene.file("one.json", &proof(&channels[0], 3, 70), &Extras::default());
    let said = scene.exit(&file, USER, &["--rpc", &url]).await;
    assert_eq!(said["steps"][0]["step"], "challenge", "{said}");

    let file = scene.file("two.json", &proof(&channels[1], 3, 70), &Extras::default());
    let dir = scene.path("tower").display().to_string();
    let added = scene.acctl(&["tower", "add", &file, "--dir", &dir]).await;
    assert_eq!(added.code, Some(0), "{added:?}");
    let key_file = scene.key_file(TOWER);
    let args = [
        "tower",
        "run",
        "--dir",
        &dir,
        "--key-file",
        &key_file,
        "--once",
        "--rpc",
        &url,
    ];
    let ran = scene.acctl(&args).await;
    assert!(
        ran.code == Some(0) && ran.out.contains("challenge of 1"),
        "{ran:?}"
    );
    assert!(
        refused.load(Ordering::Relaxed) >= 2,
        "the gate was asked for everything at once"
    );

    scene.pass(3_600);
    let ran = scene.acctl(&args).await;
    assert!(ran.out.contains("bounty: "), "{ran:?}");
    let said = scene.exit(&file, USER, &["--rpc", &url]).await;
    assert_eq!(
        (&said["status"], &said["paid"]),
        (&"done".into(), &"1020".into())
    );
    for params in &channels[1..] {
        let view = scene.chain.channel(scene.id(params), At::Latest).await;
        assert_eq!(view.unwrap().epoch, 1);
    }
}
