//! A system of its own, started by the local stack's program, and everything one does to it from
//! outside.

use anyhow::{Context as _, ensure};
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::Value;
use sqlx::PgPool;
use stack::{Identity, Ports, Record, TempDir, tools};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A running system that ends with this value.
pub struct System {
    dir: PathBuf,
    /// Removes the directory when it goes.
    temp: Option<TempDir>,
    env: HashMap<String, String>,
    /// What the newest start printed.
    started: String,
    http: reqwest::Client,
}

/// An answer of the API.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body; null when it had none.
    pub body: Value,
}

impl Answer {
    /// The problem's code, or nothing.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// A text field of the body.
    ///
    /// # Panics
    /// When there is none: the test then fails with the body.
    pub fn text(&self, field: &str) -> &str {
        match self.body[field].as_str() {
            Some(text) => text,
            None => panic!("no {field} in {} {}", self.status, self.body),
        }
    }
}

impl System {
    /// Starts a system on ports of its own.
    pub async fn up() -> anyhow::Result<Self> {
        let temp = TempDir::new()?;
        Self::start(temp.path().to_owned(), Some(temp)).await
    }

    /// Starts a system whose data stays in this directory when this value goes.
    pub async fn up_in(dir: &Path) -> anyhow::Result<Self> {
        Self::start(std::path::absolute(dir)?, None).await
    }

    /// Stops what runs in a directory of [`System::up_in`] and deletes its data.
    pub async fn remove(dir: &Path) -> anyhow::Result<()> {
        let output = stack_command(dir, "reset").await?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "stack reset failed: {text}");
        Ok(())
    }

    async fn start(dir: PathBuf, temp: Option<TempDir>) -> anyhow::Result<Self> {
        // Two that start at once could choose one port before either has taken it.
        static STARTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _starting = STARTING.lock().await;
        let mut system = Self {
            dir,
            temp,
            env: HashMap::new(),
            started: String::new(),
            http: reqwest::Client::builder()
                .timeout(Duration::from_secs(30))
                .no_proxy()
                .build()?,
        };
        // Free ports instead of the usual ones: other test processes run meanwhile, and a
        // developer's own stack may.
        let ports = system.dir.join("ports.env");
        if !ports.exists() {
            Ports::free()?.save(&ports)?;
        }
        system.restart().await?;
        Ok(system)
    }

    /// Starts what doesn't run.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        let output = self.stack("up").await?;
        ensure!(
            output.status.success(),
            "stack up failed: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        self.started = String::from_utf8_lossy(&output.stdout).into_owned();
        let text = std::fs::read_to_string(self.dir.join("dev.env"))?;
        self.env = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok(())
    }

    /// Seconds that a process took to be ready at the newest start; nothing when it ran already.
    pub fn ready_after_s(&self, name: &str) -> Option<f64> {
        let ready = |line: &str| {
            let rest = line.strip_prefix(name)?.trim().strip_prefix("ready (")?;
            rest.strip_suffix(" s)")?.parse().ok()
        };
        self.started.lines().find_map(ready)
    }

    /// Stops everything; [`System::restart`] starts it again.
    pub async fn down(&self) -> anyhow::Result<()> {
        let output = self.stack("down").await?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "stack down failed: {text}");
        Ok(())
    }

    async fn stack(&self, command: &str) -> anyhow::Result<Output> {
        stack_command(&self.dir, command).await
    }

    /// A value of `dev.env`.
    ///
    /// # Panics
    /// When it is not there.
    pub fn env(&self, name: &str) -> &str {
        match self.env.get(name) {
            Some(value) => value,
            None => panic!("dev.env has no {name}"),
        }
    }

    /// Where the account-service listens.
    pub fn api_address(&self) -> anyhow::Result<SocketAddr> {
        let url = self.env("ACCOUNT_API");
        let address = url.trim_start_matches("http://");
        address.parse().with_context(|| url.to_owned())
    }

    /// Process id of one process of ours, by its name in the run directory.
    pub fn pid(&self, name: &str) -> anyhow::Result<i32> {
        let record = Record::load(&self.dir.join("run"), name);
        Ok(record
            .with_context(|| format!("{name} does not run"))?
            .identity
            .pid)
    }

    /// SIGKILL to one process of ours and to all it has started, by its name in the run directory.
    pub fn kill9(&self, name: &str) -> anyhow::Result<()> {
        const LIMIT: Duration = Duration::from_secs(10);
        let record = Record::load(&self.dir.join("run"), name)
            .with_context(|| format!("{name} does not run"))?;
        let mut dying = record.identity.signal_tree(Signal::KILL);
        dying.push(record.identity);
        // PostgreSQL does not start again while one of its old processes is listed, if only as one
        // that nobody has waited for yet.
        let listed = |one: &Identity| Path::new(&format!("/proc/{}", one.pid)).exists();
        let begun = Instant::now();
        while dying.iter().any(listed) && begun.elapsed() < LIMIT {
            std::thread::sleep(Duration::from_millis(2));
        }
        ensure!(
            !dying.iter().any(Identity::is_alive),
            "{name} survives SIGKILL"
        );
        Ok(())
    }

    /// A connection pool as the database's owner.
    pub async fn database(&self) -> anyhow::Result<PgPool> {
        Ok(PgPool::connect(self.env("DATABASE_URL")).await?)
    }

    /// Calls the API with a fresh idempotency key.
    pub async fn call(&self, method: Method, path: &str, body: Value) -> anyhow::Result<Answer> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let key = format!("e2e-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.call_with_key(method, path, body, &key).await
    }

    /// Calls the API with this idempotency key.
    pub async fn call_with_key(
        &self,
        method: Method,
        path: &str,
        body: Value,
        key: &str,
    ) -> anyhow::Result<Answer> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.env("ACCOUNT_API")))
            .bearer_auth(self.env("ACCOUNT_API_KEY"))
            .header("Idempotency-Key", key);
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status();
        let body = serde_json::from_slice(&response.bytes().await?).unwrap_or_default();
        Ok(Answer { status, body })
    }

    /// A GET.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.call(Method::GET, path, Value::Null).await
    }

    /// A POST that must succeed.
    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<Answer> {
        let answer = self.call(Method::POST, path, body).await?;
        ensure!(
            answer.status.is_success(),
            "POST {path}: {} {}",
            answer.status,
            answer.body
        );
        Ok(answer)
    }

    /// Runs `acctl` against the system.
    pub async fn acctl(&self, args: &[&str]) -> anyhow::Result<Output> {
        let mut process = tokio::process::Command::new(program("acctl"));
        process.args(args).envs(&self.env).stdin(Stdio::null());
        process
            .current_dir(tools::workspace_root())
            .kill_on_drop(true);
        process.output().await.context("acctl")
    }

    /// Where the system keeps its data.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let end = if self.temp.is_some() { "reset" } else { "down" };
        let reset = Command::new(program("stack"))
            .arg("--dir")
            .arg(&self.dir)
            .arg(end)
            .stdin(Stdio::null())
            .output();
        if let Err(error) = reset {
            eprintln!("the test's system still runs: {error}");
        }
    }
}

async fn stack_command(dir: &Path, command: &str) -> anyhow::Result<Output> {
    let mut process = tokio::process::Command::new(program("stack"));
    process.arg("--dir").arg(dir).arg(command);
    process.stdin(Stdio::null()).output().await.context("stack")
}

/// A program of this build: it lies beside the folder of the test programs.
pub fn program(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    let target = here
        .ancestors()
        .find(|dir| dir.join("deps").is_dir())
        .map_or_else(
            || tools::workspace_root().join("target/debug"),
            Path::to_owned,
        );
    target.join(name)
}
