//! The real binary, and the arguments it runs on.

use hub_client::{HubClient, Terms};
use stack::{TempDir, Testbed};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const PROPOSE: &str = "propose-0123456789abcdef0123456789abcdef";
pub const READ: &str = "read-0123456789abcdef0123456789abcdef";
pub const CHAIN: &str = "chain-0123456789abcdef0123456789abcdef";
pub const ALL: &str = "all-0123456789abcdef0123456789abcdef";

/// The arguments of a hub on these terms, with its secrets in `dir`.
pub fn arguments(dir: &TempDir, bed: &Testbed, terms: &Terms, port: u16) -> Vec<String> {
    let secret = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let tokens =
        format!("propose {PROPOSE}\nread {READ}\nchain {CHAIN}\npropose,read,chain {ALL}\n");
    [
        ("listen", format!("127.0.0.1:{port}")),
        ("database-url", bed.role_url("chub_hub")),
        ("hub-id", terms.hub_id.to_string()),
        ("hub-key-file", secret("hub.key", &"11".repeat(32))),
        ("hub-tokens-file", secret("hub.tokens", &tokens)),
        ("chain-id", terms.domain.chain_id.to_string()),
        (
            "channels-address",
            terms.domain.verifying_contract.to_string(),
        ),
        ("hub-address", terms.hub.to_string()),
        ("custody-signer", terms.custody_signer.to_string()),
        ("funding-mode", "mint".to_owned()),
        ("capacity", terms.capacity.to_string()),
        ("challenge-period", terms.challenge_period.to_string()),
        ("self-delay", terms.self_delay.to_string()),
        ("penalty-cap", terms.penalty_cap.to_string()),
        ("bounty-bps", terms.bounty_bps.to_string()),
    ]
    .into_iter()
    .flat_map(|(name, value)| [format!("--{name}"), value])
    .collect()
}

/// A running hub process. It ends when this is dropped.
pub struct Process {
    child: Child,
    arguments: Vec<String>,
    port: u16,
}

impl Process {
    pub async fn start(arguments: Vec<String>, port: u16) -> Self {
        let child = spawn(&arguments);
        let process = Self {
            child,
            arguments,
            port,
        };
        process.ready().await;
        process
    }

    pub fn client(&self) -> HubClient {
        let base = format!("http://127.0.0.1:{}", self.port);
        HubClient::new(&base, ALL, Duration::from_secs(5)).unwrap()
    }

    /// SIGKILL, at once.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub async fn restart(&mut self) {
        self.child = spawn(&self.arguments);
        self.ready().await;
    }

    async fn ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let url = format!("http://127.0.0.1:{}/readyz", self.port);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        loop {
            if let Ok(response) = http.get(&url).send().await
                && response.status().is_success()
            {
                return;
            }
            assert!(Instant::now() < deadline, "the hub does not become ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn spawn(arguments: &[String]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_hub"))
        .args(arguments)
        .env("RUST_LOG", "error")
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
