//! One set of servers for all tests of a workspace: started by the first test that asks, reused by every later test
//! process, ended by `stack test-down` or after ten idle minutes.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Endpoints, Error, Kind, Launch, Life, Plan, Server, Stack, StackConfig,
    error::Attempt,
    ports::{Port, Ports},
    probe::Probe,
    record::{Record, StopSignal},
    servers::stop_recorded,
    tools,
};

/// PostgreSQL, Redis and RabbitMQ; a chain is each test's own, see [`crate::Anvil`].
const KINDS: [Kind; 3] = [Kind::Postgres, Kind::Redis, Kind::RabbitMq];

/// Ends the servers named in its arguments (pid:start) after ten minutes in which no test process held the lock.
const REAPER: &str = r#"
users=$1; shift
minutes=0
while [ "$minutes" -lt 10 ]; do
    sleep 60
    [ -e "$users" ] || exit 0
    if flock -n -x "$users" true; then minutes=$((minutes + 1)); else minutes=0; fi
done
exec 9>"$users"
flock -n -x 9 || exit 0
for server in "$@"; do
    read -r stat <"/proc/${server%:*}/stat" || continue
    set -- ${stat##*) }
    [ "${20}" != "${server#*:}" ] || kill -TERM "${server%:*}"
done
"#;

/// The shared servers; held by a test process for as long as it lives.
#[derive(Debug)]
pub struct Shared {
    endpoints: Endpoints,
    dir: PathBuf,
    /// Shared lock that tells `test-down` and the reaper that somebody tests.
    _users: File,
}

impl Shared {
    /// Where the servers answer.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// A lock that all test processes of this workspace agree on; it ends with the returned file.
    pub(crate) async fn lock(&self, name: &str) -> Result<File, Error> {
        lock_file(&self.dir.join(name)).await
    }
}

/// The shared servers of this workspace's tests, started if they do not run. Never stop or disturb them; a test of
/// faults starts a [`Stack`] of its own.
///
/// # Errors
/// As [`Stack::start`].
pub async fn shared() -> Result<&'static Shared, Error> {
    static SHARED: tokio::sync::OnceCell<Shared> = tokio::sync::OnceCell::const_new();
    SHARED.get_or_try_init(|| start(shared_dir())).await
}

/// Stops the shared servers and removes their data, unless a test process uses them. False when one does.
///
/// # Errors
/// [`Error::WontStop`] or [`Error::Io`].
pub async fn test_down() -> Result<bool, Error> {
    let dir = shared_dir();
    if !dir.exists() {
        return Ok(true);
    }
    let _lock = lock_file(&dir.join("lock")).await?;
    let users = open(&dir.join("users"))?;
    if users.try_lock().is_err() {
        return Ok(false);
    }
    stop_recorded(&dir.join("run")).await?;
    fs::remove_dir_all(&dir).attempt(|| format!("removing {}", dir.display()))?;
    Ok(true)
}

/// In the target directory of the running test, so that each checkout and each target directory has its own.
fn shared_dir() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let target = program
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .map(Path::to_owned);
    target
        .unwrap_or_else(|| tools::workspace_root().join("target"))
        .join("test-stack")
}

async fn start(dir: PathBuf) -> Result<Shared, Error> {
    fs::create_dir_all(&dir).attempt(|| format!("creating {}", dir.display()))?;
    let _lock = lock_file(&dir.join("lock")).await?;
    let users = open(&dir.join("users"))?;
    users
        .lock_shared()
        .attempt(|| "locking the shared test servers".into())?;

    let run_dir = dir.join("run");
    let life = Life::Detached {
        run_dir: run_dir.clone(),
    };
    let stack = Stack::start(StackConfig {
        kinds: KINDS.to_vec(),
        dir: Some(dir.clone()),
        ports: ports(&dir, &run_dir)?,
        life: life.clone(),
    })
    .await?;

    let servers = stack
        .processes()
        .filter_map(|(server, _)| server.identity());
    let servers = servers.map(|identity| format!("{}:{}", identity.pid, identity.start_ticks));
    let mut args = vec![
        "-c".to_owned(),
        REAPER.into(),
        "reaper".into(),
        dir.join("users").display().to_string(),
    ];
    args.extend(servers);
    Server::new(reaper(&dir, args), life).start().await?;
    Ok(Shared {
        endpoints: stack.endpoints().clone(),
        dir,
        _users: users,
    })
}

/// The ports of the servers that run, else free ones.
fn ports(dir: &Path, run_dir: &Path) -> Result<Ports, Error> {
    let file = dir.join("ports.env");
    let known = if file.exists() {
        Ports::load(&file)?
    } else {
        Ports::free()?
    };
    let runs = |port: Port| {
        let record = Record::load(run_dir, port.process());
        record.is_some_and(|record| record.identity.is_alive())
    };
    let ports = known.settled(runs)?;
    ports.save(&file)?;
    Ok(ports)
}

fn reaper(dir: &Path, args: Vec<String>) -> Plan {
    Plan {
        launch: Launch {
            name: "reaper".into(),
            program: "/bin/sh".into(),
            args,
            env: Vec::new(),
            dir: dir.to_owned(),
            log: dir.join("log/reaper.log"),
            never_root: false,
        },
        probe: Probe::Running,
        start_limit: Duration::from_secs(5),
        stop: StopSignal::Term,
        order: 9,
    }
}

fn open(path: &Path) -> Result<File, Error> {
    let file = File::options().create(true).append(true).open(path);
    file.attempt(|| format!("opening {}", path.display()))
}

/// An exclusive lock across processes, held until the file is dropped; waiting does not block the runtime.
///
/// # Errors
/// [`Error::Io`].
pub async fn lock_file(path: &Path) -> Result<File, Error> {
    let file = open(path)?;
    let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
    locked
        .map_err(Into::into)
        .flatten()
        .attempt(|| format!("locking {}", path.display()))
}
