//! The cluster of a stack.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, chown},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Error, Launch,
    error::Attempt,
    launch::is_root,
    ports::{Port, Ports},
    probe::Probe,
    record::StopSignal,
    server::Plan,
    tools,
};

/// The superuser of a stack's cluster, who owns its databases.
pub const OWNER: &str = "chub";
/// The database of the local stack.
pub const DATABASE: &str = "chub";
/// Locale and encoding of the cluster: text sorts by bytes, on every machine alike.
pub const INITDB_ARGS: [&str; 2] = ["--encoding=UTF8", "--locale=C"];
/// Server settings that differ from PostgreSQL's defaults or that the system's safety rests on.
pub const SETTINGS: [(&str, &str); 7] = [
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("max_connections", "200"),
    // After each checkpoint every page is logged as a whole once; with a million accounts 2 GB are
    // full of that in half a minute. What is logged since is read again after a crash: 2.5 GB in
    // 20 s, and this bounds it to some 4 GB.
    ("max_wal_size", "8GB"),
    ("wal_compression", "lz4"),
    // Array statements are short; compiling them costs more than running them.
    ("jit", "off"),
    ("log_min_messages", "warning"),
];

/// MiB of shared buffers at most: heads, their keys and the newest rows of two million accounts.
const MOST_BUFFERS: u64 = 4_096;
/// MiB of them where the machine does not say how much memory it has.
const FEW_BUFFERS: u64 = 128;

/// A socket path the kernel accepts has at most 107 bytes; this is the file's share of them.
const SOCKET_FILE: usize = "/.s.PGSQL.65535".len();

/// Prepares a cluster under `dir` if there is none, and says how to start it.
pub(crate) async fn plan(dir: &Path, logs: &Path, ports: &Ports) -> Result<Plan, Error> {
    let bin = tools::postgres_bin()?;
    let home = dir.join("postgres");
    let data = home.join("data");
    make_home(&home)?;
    if !data.join("PG_VERSION").exists() {
        init(&bin, &home, &data).await?;
    }
    let port = ports.get(Port::Postgres);
    let socket_dir = Some(home.display().to_string())
        .filter(|dir| dir.len() + SOCKET_FILE <= 107)
        .unwrap_or_default();
    let mut settings: Vec<(&str, String)> = vec![
        ("listen_addresses", "127.0.0.1".into()),
        ("port", port.to_string()),
        ("unix_socket_directories", socket_dir),
    ];
    settings.extend(SETTINGS.map(|(name, value)| (name, value.to_owned())));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    settings.push(("shared_buffers", format!("{}MB", shared_buffers(&memory))));
    let mut args = vec!["-D".to_owned(), data.display().to_string()];
    args.extend(
        settings
            .into_iter()
            .flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]),
    );
    Ok(Plan {
        launch: Launch {
            name: "postgres".into(),
            program: bin.join("postgres"),
            args,
            env: Vec::new(),
            dir: home,
            log: logs.join("postgres.log"),
            never_root: true,
        },
        probe: Probe::Postgres(port),
        // Replaying the log after a crash of a loaded server is the slowest start.
        start_limit: Duration::from_secs(60),
        stop: StopSignal::Int,
        order: 0,
    })
}

fn make_home(home: &Path) -> Result<(), Error> {
    if !home.exists() {
        let made = fs::DirBuilder::new().mode(0o700).create(home);
        made.attempt(|| format!("creating {}", home.display()))?;
    }
    if is_root() {
        let (uid, gid) = postgres_user()?;
        chown(home, Some(uid), Some(gid))
            .attempt(|| format!("giving {} to postgres", home.display()))?;
    }
    Ok(())
}

async fn init(bin: &Path, home: &Path, data: &Path) -> Result<(), Error> {
    // Under another name until it is complete: an interrupted one is thrown away.
    let fresh = home.join("data.new");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).attempt(|| format!("removing {}", fresh.display()))?;
    }
    // The cluster listens on the loopback address only and holds nothing but test money: no
    // password.
    let mut args = vec![
        "-D".to_owned(),
        fresh.display().to_string(),
        format!("--username={OWNER}"),
    ];
    args.extend(
        INITDB_ARGS
            .iter()
            .chain(&["--auth=trust"])
            .map(|arg| (*arg).to_owned()),
    );
    let initdb = Launch {
        name: "initdb".into(),
        program: bin.join("initdb"),
        args,
        env: Vec::new(),
        dir: home.to_owned(),
        log: PathBuf::new(),
        never_root: true,
    };
    initdb.run().await?;
    fs::rename(&fresh, data).attempt(|| format!("renaming {}", fresh.display()))
}

fn postgres_user() -> Result<(u32, u32), Error> {
    let users = fs::read_to_string("/etc/passwd").attempt(|| "reading /etc/passwd".into())?;
    let fields = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|user| user[0] == "postgres");
    fields
        .and_then(|user| Some((user.get(2)?.parse().ok()?, user.get(3)?.parse().ok()?)))
        .ok_or(Error::ToolMissing {
            tool: "the user postgres",
            get: "run deploy/setup: the package creates it",
        })
}

/// A quarter of the machine's memory, in MiB.
fn shared_buffers(meminfo: &str) -> u64 {
    let mut lines = meminfo.lines();
    let total = lines.find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let kib = total.and_then(|kib| kib.parse::<u64>().ok());
    kib.map_or(FEW_BUFFERS, |kib| {
        (kib / 4_096).clamp(FEW_BUFFERS, MOST_BUFFERS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_a_quarter_of_the_memory_within_bounds() {
        let of = |kib: u64| shared_buffers(&format!("MemTotal:   {kib} kB\nMemFree: 1 kB\n"));
        assert_eq!(of(8 << 20), 2_048);
        assert_eq!(of(64 << 20), MOST_BUFFERS);
        assert_eq!(of(100 << 10), FEW_BUFFERS);
        assert_eq!(shared_buffers(""), FEW_BUFFERS);
    }
}
