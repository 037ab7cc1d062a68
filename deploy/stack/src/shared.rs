//! One set of servers for all tests of a workspace: started by the first test that asks, reused by
//! every later test process, ended by `stack test-down` or after ten idle minutes.

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

/// Ends the servers named in its arguments (pid:start) after ten rounds in which no test process
/// held the lock.
const REAPER: &str = r#"
users=$1 round_secs=$2; shift 2
idle=0
while [ "$idle" -lt 10 ]; do
    sleep "$round_secs"
    [ -e "$users" ] || exit 0
    if flock -n -x "$users" true; then idle=$((idle + 1)); else idle=0; fi
done
exec 9>>"$users"
flock -n -x 9 || exit 0
runs() {
    read -r stat 2>/dev/null <"/proc/${1%:*}/stat" || return 1
    start=${1#*:}
    set -- ${stat##*) }
    [ "$1" != Z ] && [ "${20}" = "$start" ]
}
for server in "$@"; do ! runs "$server" || kill -TERM "${server%:*}"; done
for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    left=
    for server in "$@"; do ! runs "$server" || left=1; done
    [ -n "$left" ] || break
    sleep 1
done
"#;
/// Length of a round of the reaper, in seconds.
const REAPER_ROUND: &str = "60";

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

/// The shared servers of this workspace's tests, started if they do not run. Never stop or disturb
/// them; a test of faults starts a [`Stack`] of its own.
///
/// # Errors
/// As [`Stack::start`].
pub async fn shared() -> Result<&'static Shared, Error> {
    static SHARED: tokio::sync::OnceCell<Shared> = tokio::sync::OnceCell::const_new();
    SHARED.get_or_try_init(|| start(shared_dir())).await
}

/// Stops the shared servers and removes their data, unless a test process uses them. False when one
/// does.
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
    // The reaper's own look at the lock takes a moment; a test process holds it for longer.
    let mut attempts = 0;
    while users.try_lock().is_err() {
        attempts += 1;
        if attempts > 10 {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop_recorded(&dir.join("run")).await?;
    fs::remove_dir_all(&dir).attempt(|| format!("removing {}", dir.display()))?;
    Ok(true)
}

/// In the target directory of the running test, so that each checkout and each target directory has
/// its own.
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
    let users_file = dir.join("users").display().to_string();
    let mut args = ["-c", REAPER, "reaper", &users_file, REAPER_ROUND]
        .map(str::to_owned)
        .to_vec();
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

/// An exclusive lock across processes, held until the file is dropped; waiting does not block the
/// runtime.
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

#[cfg(test)]
mod tests {
    use std::{
        process::{Child, Command},
        time::Instant,
    };

    use super::*;
    use crate::{Identity, TempDir};

    fn reap(users: &Path, server: &str) -> Child {
        let users = users.display().to_string();
        Command::new("sh")
            .args(["-c", REAPER, "reaper", &users, "0.05", server])
            .spawn()
            .unwrap()
    }

    #[test]
    fn idle_servers_are_ended_but_not_while_somebody_tests_and_never_a_stranger() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("users");
        let users = open(&path).unwrap();
        users.lock_shared().unwrap();
        let mut server = Command::new("sleep").arg("300").spawn().unwrap();
        let identity = Identity::of(server.id()).unwrap();
        let name = format!("{}:{}", identity.pid, identity.start_ticks);
        let stranger = format!("{}:{}", identity.pid, identity.start_ticks + 1);

        assert!(
            reap(&dir.path().join("absent"), &name)
                .wait()
                .unwrap()
                .success()
        );
        let mut reaper = reap(&path, &name);
        let watched = Instant::now();
        while watched.elapsed() < Duration::from_secs(2) {
            assert!(reaper.try_wait().unwrap().is_none() && identity.is_alive());
            std::thread::sleep(Duration::from_millis(50));
        }
        reaper.kill().unwrap();
        reaper.wait().unwrap();

        drop(users);
        assert!(reap(&path, &stranger).wait().unwrap().success());
        assert!(identity.is_alive());
        assert!(reap(&path, &name).wait().unwrap().success());
        server.wait().unwrap();
        assert!(!identity.is_alive());
    }
}
