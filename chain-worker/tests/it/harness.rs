//! One chain, database, broker prefix and worker for one test.

use crate::hubs::Recorder;
use crate::proxy::Proxy;
use chain::deploy::{self, NewHub, Windows};
use chain::{At, Chain, FundingMode, Node, Registration, Wallet};
use chain_messages::{
    Certainty, Command, Envelope, Event, WithdrawCommand,
    topology::{ACCOUNT_QUEUE, COMMANDS},
};
use hub_core::types::Withdraw;
use hub_core::{Address, Amount, ChannelId, ChannelParams, Hash32};
use runtime::amqp::{Broker, BrokerMetrics, Consumer, Outcome, Publisher, Topology, consume};
use runtime::outbox::{Outbox, OutboxMetrics, Relay};
use runtime::shutdown::{Shutdown, Trigger};
use runtime::telemetry::{Build, Metrics};
use signer::Signer;
use sqlx::PgPool;
use sqlx::types::Json;
use stack::{Anvil, AnvilOptions, Server, Service, TempDir, Testbed};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use uuid::Uuid;

pub const VAULT_HUB: u8 = 11;
pub const MINT_HUB: u8 = 21;
pub const CONFIRMATIONS: u64 = 2;
/// Tokens an operator has besides its vault and bond.
pub const OPERATOR_TOKENS: u128 = 100_000;
pub const VAULT: u128 = 1_000_000;

pub fn key(byte: u8) -> Signer {
    Signer::from_bytes(&[byte; 32]).unwrap()
}

fn deployer() -> Signer {
    let key = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    Signer::from_bytes(&hex(key)).unwrap()
}

fn hex(text: &str) -> [u8; 32] {
    let digit = |at: usize| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap();
    std::array::from_fn(digit)
}

pub struct Options {
    pub bump_after_ms: u64,
    pub through_proxy: bool,
    pub amqp_url: Option<String>,
    pub extra: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bump_after_ms: 30_000,
            through_proxy: false,
            amqp_url: None,
            extra: Vec::new(),
        }
    }
}

pub struct World {
    pub worker: Server,
    pub chain: Chain,
    pub events: Arc<Mutex<Vec<Envelope<Event>>>>,
    pub hubs: Arc<Recorder>,
    pub proxy: Proxy,
    /// As account-service.
    pub account: PgPool,
    /// As the worker.
    pub pool: PgPool,
    pub broker: Broker,
    pub port: u16,
    pub plan: stack::Plan,
    pub mining: Arc<AtomicBool>,
    nudge: Arc<Notify>,
    trigger: Trigger,
    pub anvil: Anvil,
    _bed: Testbed,
    pub dir: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.trigger.drain();
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.plan.launch.log).unwrap_or_default();
            let tail: Vec<_> = log.lines().rev().take(40).collect();
            for line in tail.into_iter().rev() {
                eprintln!("worker: {line}");
            }
        }
    }
}

pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < Duration::from_secs(40), "never: {what}");
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

impl World {
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let fingerprint: Vec<_> = migrations::MIGRATOR
            .iter()
            .map(|migration| format!("{:?}", migration.checksum))
            .collect();
        let bed = stack::testbed(&fingerprint.join(","), async |url: String| {
            migrations::migrate(&url, "password").await
        })
        .await
        .unwrap();
        let anvil = Anvil::spawn(AnvilOptions::default()).await.unwrap();
        let (chain, block) = deploy(&anvil).await;
        let node_port = anvil.rpc_url().rsplit(':').next().unwrap().parse().unwrap();
        rpc(node_port, "evm_setAutomine", "[false]").await;
        let proxy = Proxy::start(node_port).await;
        let hubs = Recorder::start().await;
        let mining = Arc::new(AtomicBool::new(true));
        let (shutdown, trigger) = Shutdown::manual();
        tokio::spawn(mine(node_port, Arc::clone(&mining), shutdown.clone()));

        let amqp_url = options.amqp_url.clone().unwrap_or(bed.amqp_url.clone());
        let dir = TempDir::new().unwrap();
        let port = stack::free_port().unwrap();
        let mut args = vec![
            format!("--listen=127.0.0.1:{port}"),
            format!("--database-url={}", bed.role_url("chub_chain")),
            format!("--amqp-url={amqp_url}"),
            format!("--queue-prefix={}", bed.queue_prefix),
            format!("--token-address={}", chain.token()),
            format!("--channels-address={}", chain.channels()),
            format!("--deploy-block={block}"),
            format!("--confirmations={CONFIRMATIONS}"),
            "--vault-buffer=5000".into(),
            "--poll-ms=50".into(),
            format!("--bump-after-ms={}", options.bump_after_ms),
            format!(
                "--chain-rpc={}",
                if options.through_proxy {
                    proxy.url.clone()
                } else {
                    anvil.rpc_url()
                }
            ),
        ];
        for (operator, mode) in [(VAULT_HUB, "vault"), (MINT_HUB, "mint")] {
            let digits: String = [operator; 32].iter().map(|b| format!("{b:02x}")).collect();
            let key_file = secret(&dir, &format!("{mode}.key"), &digits);
            let token = secret(&dir, &format!("{mode}.token"), "a-token");
            args.push(format!(
                "--hub={key_file},{}/{mode},{token},{mode}",
                hubs.url
            ));
        }
        args.extend(options.extra);
        let plan = Service {
            name: "chain-worker".into(),
            program: env!("CARGO_BIN_EXE_chain-worker").into(),
            args,
            env: Vec::new(),
            port,
            dir: dir.path().to_owned(),
            log_dir: dir.path().to_owned(),
            order: 9,
        }
        .plan();

        let metrics = Metrics::new(&Build::new("test", "0")).unwrap();
        let topology = Topology::chain(&bed.queue_prefix);
        let broker = BrokerMetrics::new(&metrics).unwrap();
        let broker = Broker::new(&amqp_url, topology, broker).unwrap();
        let account = PgPool::connect(&bed.role_url("chub_account"))
            .await
            .unwrap();
        let nudge = Arc::new(Notify::new());
        let relay = Relay {
            pool: account.clone(),
            outbox: Outbox::Account,
            publisher: Publisher::new(broker.clone()),
            public: &[],
            nudge: Arc::clone(&nudge),
            metrics: OutboxMetrics::new(&metrics).unwrap(),
        };
        tokio::spawn(relay.run(shutdown.clone()));
        let events = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(listen(broker.clone(), Arc::clone(&events), shutdown));

        let worker = Server::new(plan.clone(), stack::Life::Owned);
        worker.start().await.unwrap();
        Self {
            worker,
            chain,
            events,
            hubs,
            proxy,
            pool: PgPool::connect(&bed.role_url("chub_chain")).await.unwrap(),
            account,
            broker,
            port,
            plan,
            mining,
            nudge,
            trigger,
            anvil,
            _bed: bed,
            dir,
        }
    }

    pub async fn rpc(&self, method: &str, params: &str) -> String {
        let port = self
            .anvil
            .rpc_url()
            .rsplit(':')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        rpc(port, method, params).await
    }

    pub fn mine(&self, on: bool) {
        self.mining.store(on, Ordering::SeqCst);
    }

    /// Puts a command into the account side's outbox.
    pub async fn command(&self, command: &Command) -> Uuid {
        let id = Uuid::now_v7();
        sqlx::query(
            "INSERT INTO account.outbox (id, exchange, routing_key, correlation_id, body, created_at)
             VALUES ($1, $2, $2, $3, $4, now())",
        )
        .bind(id)
        .bind(COMMANDS)
        .bind(format!("request-{id}"))
        .bind(Json(command))
        .execute(&self.account)
        .await
        .unwrap();
        self.nudge.notify_one();
        id
    }

    pub fn params(&self, hub: u8, salt: u8) -> ChannelParams {
        ChannelParams {
            hub: key(hub).address(),
            hub_signer: key(hub + 1).address(),
            user: key(9).address(),
            user_signer: key(9).address(),
            custodial: true,
            capacity: Amount::new(10_u128.pow(28)),
            challenge_period: 60,
            self_delay: 60,
            penalty_cap: Amount::new(10),
            bounty_bps: 500,
            salt: Hash32([salt; 32]),
        }
    }

    pub fn channel(&self, hub: u8, salt: u8) -> ChannelId {
        self.params(hub, salt).channel_id(&self.chain.domain())
    }

    /// An order that both keys signed.
    pub fn order(&self, hub: u8, salt: u8, prev_total: u128, amount: u128, to: Address) -> Command {
        let domain = self.chain.domain();
        let withdraw = Withdraw {
            channel_id: self.channel(hub, salt),
            epoch: 0,
            prev_total: Amount::new(prev_total),
            amount: Amount::new(amount),
            to,
            valid_until: 4_000_000_000,
            request_id: Hash32(std::array::from_fn(|at| match at {
                0 => hub,
                1 => salt,
                2..=9 => prev_total.to_be_bytes()[at + 6],
                _ => 1,
            })),
        };
        Command::Withdraw(Box::new(WithdrawCommand {
            params: self.params(hub, salt),
            withdraw,
            hub_signature: key(hub + 1).sign(&domain, &withdraw),
            user_signature: key(9).sign(&domain, &withdraw),
        }))
    }

    pub async fn balance(&self, of: Address) -> u128 {
        self.chain.balance_of(of, At::Latest).await.unwrap().units()
    }

    pub fn wallet(&self, byte: u8) -> Wallet {
        Wallet::new(self.chain.node().clone(), key(byte))
    }

    pub fn deployer(&self) -> Wallet {
        Wallet::new(self.chain.node().clone(), deployer())
    }

    /// Events so far, each once and in the order of their first arrival.
    pub fn told(&self) -> Vec<Event> {
        let mut seen = std::collections::HashSet::new();
        let events = self.events.lock().unwrap();
        let fresh = events.iter().filter(|message| seen.insert(message.id));
        fresh.map(|message| message.body.clone()).collect()
    }

    /// Final payouts told, by payee.
    pub fn paid(&self, to: Address) -> Vec<u128> {
        self.told()
            .into_iter()
            .filter_map(|event| match event {
                Event::Withdrawn {
                    to: payee,
                    amount,
                    certainty: Certainty::Final,
                    ..
                } if payee == to => Some(amount.units()),
                _ => None,
            })
            .collect()
    }

    pub async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let (port, path) = (self.port, path.to_owned());
        let asked = move || stack::request(port, "GET", &path, "", Duration::from_secs(5));
        tokio::task::spawn_blocking(asked).await.unwrap().unwrap()
    }
}

async fn rpc(port: u16, method: &str, params: &str) -> String {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    let limit = Duration::from_secs(10);
    let asked = move || stack::request(port, "POST", "/", &body, limit);
    tokio::task::spawn_blocking(asked).await.unwrap().unwrap().1
}

async fn mine(port: u16, on: Arc<AtomicBool>, shutdown: Shutdown) {
    while !shutdown.is_draining() {
        if on.load(Ordering::SeqCst) {
            rpc(port, "evm_mine", "[]").await;
        }
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
}

async fn listen(broker: Broker, events: Arc<Mutex<Vec<Envelope<Event>>>>, shutdown: Shutdown) {
    let consumer = Consumer {
        broker,
        queue: ACCOUNT_QUEUE,
        prefetch: 20,
    };
    let handler = move |message: runtime::amqp::Received| {
        let envelope: Envelope<Event> = serde_json::from_slice(&message.body).unwrap();
        assert_eq!(message.id, Some(envelope.id));
        events.lock().unwrap().push(envelope);
        async { Outcome::Ack }
    };
    consume(consumer, shutdown, handler).await;
}

async fn deploy(anvil: &Anvil) -> (Chain, u64) {
    let node = Node::new(&anvil.rpc_url()).unwrap();
    let windows = Windows {
        min: 60,
        max: 604_800,
    };
    let place = deploy::deploy(&node, &deployer(), windows).await.unwrap();
    let chain = Chain::connect(node, place.token, place.channels)
        .await
        .unwrap();
    for (operator, mode, funds) in [
        (VAULT_HUB, FundingMode::Vault, VAULT),
        (MINT_HUB, FundingMode::Mint, VAULT),
    ] {
        let hub = NewHub {
            operator: key(operator),
            registration: Registration {
                mode,
                min_challenge_period: 60,
                max_challenge_period: 3_600,
                penalty_cap: Amount::new(10),
                signer: key(operator + 1).address(),
                bond: Amount::new(1_000),
                uri: "http://127.0.0.1:1".into(),
            },
            gas: Amount::new(100 * 10_u128.pow(18)),
            funds: Amount::new(funds),
            tokens: Amount::new(OPERATOR_TOKENS),
        };
        deploy::register(&chain, &deployer(), &hub).await.unwrap();
    }
    (chain, place.block)
}

fn secret(dir: &TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}
