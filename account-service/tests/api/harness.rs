//! A real server on a free port, with a database, a key prefix and secrets of its own.

use account_service::auth;
use account_service::config::{Config, HubOption};
use account_service::engine::Engine;
use account_service::run;
use account_service::store::api_keys::NewKey;
use clap::Parser;
use hub::config::Serve;
use hub::run::Running;
use hub_client::HubClient;
use reqwest::{Client, Method, RequestBuilder, Response};
use runtime::shutdown::{Shutdown, Trigger};
use serde_json::{Value, json};
use signer::Signer;
use sqlx::{AssertSqlSafe, PgPool};
use stack::{TempDir, Testbed};
use std::fs;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use time::Duration;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub const TOKEN: &str = "0x5fbdb2315678afecb367f032d93f642f64180aa3";
pub const CHANNELS: &str = "0xe7f1725e7734ce288f8367e1bb143e90bb3f0512";
/// What callers show the hub of the tests.
const HUB_TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// The custody key of the tests.
pub const CUSTODY: [u8; 32] = [0x22; 32];

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    config: Config,
}

/// A running server.
pub struct Server {
    pub address: SocketAddr,
    pub pool: PgPool,
    pub engine: Engine,
    pub bed: Testbed,
    /// An administrator's key.
    pub admin: String,
    pub http: Client,
    trigger: Trigger,
    task: Option<JoinHandle<anyhow::Result<()>>>,
    _secrets: TempDir,
}

impl Server {
    /// On shared Postgres and Redis.
    pub async fn start() -> Self {
        Self::start_with(|_, _| {}).await
    }

    /// With other options than the usual.
    pub async fn start_with(change: impl FnOnce(&mut Config, &Testbed)) -> Self {
        let bed = testbed().await;
        Self::start_on(bed, change).await
    }

    /// On a database that is there.
    pub async fn start_on(bed: Testbed, change: impl FnOnce(&mut Config, &Testbed)) -> Self {
        let secrets = TempDir::new().unwrap();
        let mut config = config_for(&bed, secrets.path());
        change(&mut config, &bed);
        let (shutdown, trigger) = Shutdown::manual();
        let service = run::start(config, shutdown).await.unwrap();
        let (address, pool) = (service.address, service.pool.clone());
        let engine = service.engine.clone();
        let task = tokio::spawn(service.serve());
        let admin = key(&pool, Uuid::now_v7(), &["admin:*"], |_| {}).await;
        Self {
            address,
            pool,
            engine,
            bed,
            admin,
            http: Client::builder().no_proxy().build().unwrap(),
            trigger,
            task: Some(task),
            _secrets: secrets,
        }
    }

    /// Stops in good order.
    pub async fn stop(mut self) {
        self.finish().await;
    }

    /// Waits until the process would have ended; its database stays.
    pub async fn finish(&mut self) {
        self.trigger.drain();
        if let Some(task) = self.task.take() {
            task.await.unwrap().unwrap();
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request as administrator.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_as(&self.admin, method, path)
    }

    pub fn request_as(&self, key: &str, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path)).bearer_auth(key)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.get_as(&self.admin, path).await
    }

    pub async fn get_as(&self, key: &str, path: &str) -> Answer {
        Answer::of(
            self.request_as(key, Method::GET, path)
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_as(&self.admin, path, body).await
    }

    /// With a new idempotency key.
    pub async fn post_as(&self, key: &str, path: &str, body: &Value) -> Answer {
        let request = self
            .request_as(key, Method::POST, path)
            .header("Idempotency-Key", Uuid::now_v7().to_string())
            .json(body);
        Answer::of(request.send().await.unwrap()).await
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        Answer::of(request.send().await.unwrap()).await
    }

    /// A key of an owner.
    pub async fn key(&self, owner: Uuid, scopes: &[&str]) -> String {
        key(&self.pool, owner, scopes, |_| {}).await
    }

    /// Counts and sums over every table that a request could change.
    pub async fn fingerprint(&self) -> String {
        // The engine signs an accepted withdrawal by itself, soon after its answer.
        for _ in 0..500 {
            let unsigned: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM account.withdrawals WHERE status = 1 AND NOT cancelled",
            )
            .fetch_one(&self.pool)
            .await
            .unwrap();
            if unsigned == 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        sqlx::query_scalar(
            "SELECT concat_ws(' ',
                (SELECT concat(count(*), '/', coalesce(sum(version), 0), '/', coalesce(sum(status), 0)) FROM account.accounts),
                (SELECT concat(count(*), '/', coalesce(sum(version), 0), '/', coalesce(sum(user_balance), 0), '/',
                    coalesce(sum(hub_balance), 0), '/', coalesce(sum(status), 0)) FROM account.heads),
                (SELECT concat(count(*), '/', coalesce(sum(amount), 0)) FROM account.operations),
                (SELECT count(*) FROM account.batches),
                (SELECT count(*) FROM account.outbox),
                (SELECT concat(count(*), '/', coalesce(sum(version), 0), '/', coalesce(sum(status), 0)) FROM account.withdrawals),
                (SELECT count(*) FROM account.deposits),
                (SELECT count(*) FROM account.recon_runs),
                (SELECT count(*) FROM account.api_keys))",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.trigger.drain();
    }
}

/// An answer, read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn of(response: Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status and code; the answer must be a whole problem document.
    pub fn problem(&self) -> (u16, String) {
        let body = self.json();
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        assert_eq!(body["status"], self.status, "{self:?}");
        for member in ["type", "title", "detail", "instance", "code", "request_id"] {
            assert!(body[member].is_string(), "{member}: {self:?}");
        }
        assert_eq!(body["request_id"], self.header("x-request-id").unwrap());
        assert!(body["retryable"].is_boolean());
        (self.status, body["code"].as_str().unwrap().to_owned())
    }

    #[track_caller]
    pub fn is(&self, status: u16, code: &str) {
        let (found, text) = self.problem();
        assert_eq!((found, text.as_str()), (status, code), "{self:?}");
    }

    #[track_caller]
    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }
}

pub async fn testbed() -> Testbed {
    let fingerprint: Vec<_> = migrations::MIGRATOR
        .iter()
        .map(|migration| hex::encode(&migration.checksum))
        .collect();
    stack::testbed(&fingerprint.join(","), async |url: String| {
        migrations::migrate(&url, "password").await
    })
    .await
    .unwrap()
}

/// Brings an empty database to an older version, or from there on; its roles must be there.
pub async fn migrate(owner: &PgPool, versions: RangeInclusive<i64>) {
    let wanted = migrations::MIGRATOR.iter();
    for migration in wanted.filter(|one| versions.contains(&one.version)) {
        let sql = migration.sql.as_str().to_owned();
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(owner)
            .await
            .unwrap();
    }
}

/// Waits until a statement in this database waits for a row that another one holds.
pub async fn until_blocked(pool: &PgPool) {
    for _ in 0..500 {
        let blocked: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        if blocked > 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("nothing waits for a row");
}

/// Writes a secret's file.
fn secret(dir: &Path, name: &str, text: &str) -> String {
    let path: PathBuf = dir.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

fn config_for(bed: &Testbed, secrets: &Path) -> Config {
    let file = |name: &str, text: &str| secret(secrets, name, text);
    let arguments = [
        "test".to_owned(),
        "--listen=127.0.0.1:0".to_owned(),
        "--http-workers=2".to_owned(),
        "--database-connections=8".to_owned(),
        format!("--database-url={}", bed.role_url("chub_account")),
        format!("--recon-database-url={}", bed.role_url("chub_recon")),
        format!("--redis-url={}", bed.redis_url),
        format!("--redis-prefix={}", bed.redis_prefix),
        format!("--queue-prefix={}", bed.queue_prefix),
        // Port 1 has no listener: the tests that need a hub name theirs.
        format!("--hub=http://127.0.0.1:1,{}", file("hub.token", "token")),
        format!(
            "--custody-key-file={}",
            file("custody.key", &hex::encode(CUSTODY))
        ),
        format!("--cursor-key-file={}", file("cursor.key", &"c".repeat(64))),
        format!("--token-address={TOKEN}"),
        format!("--channels-address={CHANNELS}"),
    ];
    Options::try_parse_from(arguments).unwrap().config
}

/// Makes a key.
pub async fn key(
    pool: &PgPool,
    owner: Uuid,
    scopes: &[&str],
    change: impl FnOnce(&mut NewKey),
) -> String {
    let now = runtime::clock::now();
    let mut new = NewKey {
        id: Uuid::now_v7(),
        owner,
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        rate_limit: None,
        expires_at: Some(now + Duration::hours(1)),
        created_at: now,
    };
    change(&mut new);
    auth::create_key(pool, &new).await.unwrap()
}

/// A running hub with one token for all; in mint mode unless changed.
pub struct Hub {
    pub serve: Serve,
    running: Option<Running>,
    trigger: Trigger,
    secrets: TempDir,
}

#[derive(Parser)]
struct HubOptions {
    #[command(flatten)]
    serve: Serve,
}

impl Hub {
    /// On the same cluster as the account-service it is for.
    pub async fn start(bed: &Testbed) -> Self {
        Self::start_with(bed, |_| {}).await
    }

    /// With other options than the usual.
    pub async fn start_with(bed: &Testbed, change: impl FnOnce(&mut Serve)) -> Self {
        let secrets = TempDir::new().unwrap();
        let custody = Signer::from_bytes(&CUSTODY).unwrap().address();
        let tokens = format!("propose,read,chain {HUB_TOKEN}\n");
        let arguments = [
            "hub".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            format!("--database-url={}", bed.role_url("chub_hub")),
            format!("--hub-id={}", Uuid::now_v7()),
            format!(
                "--hub-key-file={}",
                secret(secrets.path(), "hub.key", &"11".repeat(32))
            ),
            format!(
                "--hub-tokens-file={}",
                secret(secrets.path(), "tokens", &tokens)
            ),
            "--chain-id=31337".to_owned(),
            format!("--channels-address={CHANNELS}"),
            format!("--hub-address=0x{}", "09".repeat(20)),
            format!("--custody-signer={custody}"),
            "--funding-mode=mint".to_owned(),
        ];
        let mut serve = HubOptions::try_parse_from(arguments).unwrap().serve;
        change(&mut serve);
        let (shutdown, trigger) = Shutdown::manual();
        let running = hub::run::start(&serve, shutdown, trigger.clone());
        let running = running.await.unwrap();
        serve.listen = running.address;
        Self {
            serve,
            running: Some(running),
            trigger,
            secrets,
        }
    }

    /// Stops, and starts again where it was: a new session.
    pub async fn restart_with(&mut self, change: impl FnOnce(&mut Serve)) {
        self.stop().await;
        change(&mut self.serve);
        let (shutdown, trigger) = Shutdown::manual();
        let running = hub::run::start(&self.serve, shutdown, trigger.clone());
        self.running = Some(running.await.unwrap());
        self.trigger = trigger;
    }

    /// Stops in good order.
    pub async fn stop(&mut self) {
        self.trigger.drain();
        if let Some(running) = self.running.take() {
            running.finished().await.unwrap();
        }
    }

    /// Its internal API.
    pub fn client(&self) -> HubClient {
        let url = format!("http://{}", self.serve.listen);
        HubClient::new(&url, HUB_TOKEN, std::time::Duration::from_secs(5)).unwrap()
    }

    /// As an option of account-service.
    pub fn option(&self) -> HubOption {
        HubOption {
            url: format!("http://{}", self.serve.listen),
            token_file: secret(self.secrets.path(), "token", HUB_TOKEN).into(),
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.trigger.drain();
    }
}

impl Server {
    /// With a real hub, ready for money.
    pub async fn with_hub(change: impl FnOnce(&mut Config)) -> (Self, Hub) {
        let bed = testbed().await;
        let hub = Hub::start(&bed).await;
        let server = Self::on_hub(bed, &hub, change).await;
        (server, hub)
    }

    /// On a hub that runs, ready for money.
    pub async fn on_hub(bed: Testbed, hub: &Hub, change: impl FnOnce(&mut Config)) -> Self {
        let server = Self::start_on(bed, |config, _| {
            config.hubs = vec![hub.option()];
            change(config);
        })
        .await;
        server.until_ready().await;
        server
    }

    /// Another process on the same database.
    pub async fn replica(&self, hub: &Hub) -> Self {
        Self::start_with(|config, _| {
            config.database_url = self.bed.role_url("chub_account");
            config.hubs = vec![hub.option()];
        })
        .await
    }

    /// Waits for the hub to be connected.
    pub async fn until_ready(&self) {
        for _ in 0..200 {
            if self.get("/readyz").await.status == 200 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("not ready: {:?}", self.get("/readyz").await);
    }

    /// Opens an account and gives it money.
    pub async fn account(&self, key: &str, balance: &str) -> String {
        let opened = self.post_as(key, "/v1/accounts", &json!({})).await.ok(201);
        let id = opened["id"].as_str().unwrap().to_owned();
        if balance != "0" {
            let issue = json!({"account_id": id, "amount": balance});
            self.post("/v1/issuances", &issue).await.ok(201);
        }
        id
    }

    /// What an account can spend.
    pub async fn available(&self, account: &str) -> String {
        let path = format!("/v1/accounts/{account}/balances");
        let balances = self.get(&path).await.ok(200);
        balances["available"].as_str().unwrap().to_owned()
    }
}

/// A transfer's body.
pub fn transfer(from: &str, to: &str, amount: &str) -> Value {
    json!({ "from": from, "to": to, "amount": amount })
}
