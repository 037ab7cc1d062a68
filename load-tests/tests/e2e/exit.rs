//! With every service of ours dead, a proof file and a key get the money out of a running
//! system's channel, and a third party's tower answers a stale close.

use crate::chain::{PATIENCE, pass, rpc, tokens, until};
use crate::printed;
use load_tests::{Answer, System};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

/// An account of the local chain that has native coin, and its key.
const CUSTOMER: &str = "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720";
const CUSTOMER_KEY: &str = "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6";
/// Another, for the tower, and one that pays for the hub signer's gas.
const TOWER: &str = "0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f";
const TOWER_KEY: &str = "dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97";
const RICH: &str = "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955";
/// The local stack's window, and what a closer waits longer, in seconds.
const WINDOW: u64 = 60;

/// An account that is paid at the customer's address, with 5,000 units.
async fn account(system: &System, hub: &str) -> Answer {
    let order = json!({"hub_id": hub, "chain_address": CUSTOMER});
    let account = system.post("/v1/accounts", order).await.unwrap();
    let issue = json!({"account_id": account.text("id"), "amount": "5000"});
    let issued = system.post("/v1/issuances", issue).await.unwrap();
    until(
        system,
        &format!("/v1/issuances/{}", issued.text("id")),
        |issued| issued.text("status") == "completed",
    )
    .await;
    account
}

async fn transfer(system: &System, from: &Answer, to: &Answer, amount: &str) {
    let order = json!({"from": from.text("id"), "to": to.text("id"), "amount": amount});
    system.post("/v1/transfers", order).await.unwrap();
}

fn channel(account: &Answer) -> &str {
    account.body["channel"]["id"].as_str().unwrap()
}

/// Saves what `acctl proof fetch` prints; returns the file.
async fn fetch(system: &System, account: &Answer, name: &str) -> String {
    let fetched = system.acctl(&["proof", "fetch", channel(account)]).await;
    let fetched = fetched.unwrap();
    assert!(fetched.status.success(), "{}", printed(&fetched));
    let path = system.dir().join(name);
    fs::write(&path, fetched.stdout).unwrap();
    path.display().to_string()
}

fn secret(system: &System, name: &str, digits: &str) -> String {
    let path = system.dir().join(name);
    fs::write(&path, digits).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

/// Runs `acctl`, which must succeed; what it printed.
async fn acctl(system: &System, args: &[&str]) -> String {
    let output = system.acctl(args).await.unwrap();
    assert!(output.status.success(), "{args:?}: {}", printed(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn money_leaves_by_a_proof_and_a_tower_answers_with_every_service_dead() {
    let system = System::up().await.unwrap();
    let key = secret(&system, "customer.key", CUSTOMER_KEY);
    let tower_key = secret(&system, "tower.key", TOWER_KEY);
    let hubs = system.get("/v1/hubs").await.unwrap();
    let hubs = hubs.body["data"].as_array().unwrap().clone();
    assert_eq!(hubs.len(), 2);
    let id = |hub: &Value| hub["id"].as_str().unwrap().to_owned();

    // In each mode: 5,000 issued, 700 transferred away, 300 withdrawn.
    let mut proofs = Vec::new();
    for hub in &hubs {
        let (payer, payee) = (
            account(&system, &id(hub)).await,
            account(&system, &id(hub)).await,
        );
        transfer(&system, &payer, &payee, "700").await;
        let order =
            json!({"account_id": payer.text("id"), "amount": "300", "to_address": CUSTOMER});
        let order = system.post("/v1/withdrawals", order).await.unwrap();
        until(
            &system,
            &format!("/v1/withdrawals/{}", order.text("id")),
            |done| done.text("status") == "completed",
        )
        .await;
        proofs.push(fetch(&system, &payer, &format!("{}.json", id(hub))).await);
    }
    // One more, whose stale state the hub will post, and whose newest a tower has pulled.
    let (cheated, payer) = (
        account(&system, &id(&hubs[0])).await,
        account(&system, &id(&hubs[0])).await,
    );
    let stale = fetch(&system, &cheated, "stale.json").await;
    for _ in 0..3 {
        transfer(&system, &payer, &cheated, "100").await;
    }
    let dir = system.dir().join("tower").display().to_string();
    let tower = [
        "tower",
        "run",
        "--dir",
        &dir,
        "--key-file",
        &tower_key,
        "--once",
        "--pull",
        "1",
    ];
    let pull = [&tower[..], &["--channel", channel(&cheated)]].concat();
    acctl(&system, &pull).await;

    for service in ["account-service", "hub-vault", "hub-mint", "chain-worker"] {
        system.kill9(service).unwrap();
    }
    for proof in &proofs {
        exits(&system, proof, &key).await;
    }
    let mode = hubs[0]["funding_mode"].as_str().unwrap();
    the_tower_answers(&system, &stale, mode, &tower).await;
}

/// All of the 4,000 that are left of the 5,000.
async fn exits(system: &System, proof: &str, key: &str) {
    let before = tokens(system, CUSTOMER).await;
    let plan = acctl(system, &["exit", proof, "--plan"]).await;
    assert!(plan.contains("0.000000000000004 INF to"), "{plan}");
    let closed = acctl(system, &["exit", proof, "--key-file", key]).await;
    assert!(closed.contains("an exit) posted version"), "{closed}");
    pass(system, WINDOW + 1).await;
    let done = acctl(system, &["exit", proof, "--key-file", key]).await;
    assert!(
        done.contains("done: 0.000000000000004 INF were paid"),
        "{done}"
    );
    assert_eq!(tokens(system, CUSTOMER).await - before, 4_000);
}

/// The hub posts 5,000 where 5,300 are co-signed.
async fn the_tower_answers(system: &System, stale: &str, mode: &str, tower: &[&str]) {
    let hub_key = system.dir().join(format!("secrets/hub-{mode}.key"));
    let signer = fs::read_to_string(stale).unwrap();
    let signer: Value = serde_json::from_str(&signer).unwrap();
    let signer = &signer["channel_params"]["hubSigner"];
    let coin = json!([{"from": RICH, "to": signer, "value": "0xde0b6b3a7640000"}]);
    rpc(system, "eth_sendTransaction", coin).await;
    // Mined when it has money to close with.
    let begun = Instant::now();
    while rpc(system, "eth_getBalance", json!([signer, "latest"])).await == "0x0" {
        assert!(begun.elapsed() < PATIENCE, "no coin for {signer}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let hub_key = hub_key.display().to_string();
    acctl(
        system,
        &["exit", stale, "--key-file", &hub_key, "--old-state"],
    )
    .await;
    pass(system, WINDOW / 2).await;
    let before = (tokens(system, CUSTOMER).await, tokens(system, TOWER).await);
    // The API is dead: it says so and goes on with what it has.
    let answered = system.acctl(tower).await.unwrap();
    assert!(answered.status.success(), "{}", printed(&answered));
    assert!(
        printed(&answered).contains("challenge of 1 channels"),
        "{}",
        printed(&answered)
    );
    pass(system, WINDOW).await;
    let settled = acctl(system, tower).await;
    assert!(settled.contains("bounty: "), "{settled}");
    let bounty = tokens(system, TOWER).await - before.1;
    let paid = tokens(system, CUSTOMER).await - before.0;
    // 5 % of the forfeit, and the rest of it beside the newest balance.
    assert!(bounty > 0);
    assert_eq!(paid, 5_300 + 19 * bounty);
}
