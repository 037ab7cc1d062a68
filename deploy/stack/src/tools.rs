//! Where the programs are that a stack is made of.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::Error;

const FROM_SETUP: &str = "run deploy/setup to install it";

/// The checkout's top folder: the nearest one above the working directory, else the one this crate
/// was built in.
pub fn workspace_root() -> PathBuf {
    let is_root =
        |dir: &&Path| dir.join("contracts/package.json").is_file() && dir.join("deploy").is_dir();
    let here = env::current_dir().unwrap_or_default();
    let found = here.ancestors().find(is_root).map(Path::to_owned);
    found.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
}

/// PostgreSQL's program folder, of the newest version installed.
///
/// # Errors
/// [`Error::ToolMissing`].
pub fn postgres_bin() -> Result<PathBuf, Error> {
    let installed = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let version = |dir: &Path| {
        dir.file_name()
            .and_then(|name| name.to_str()?.parse::<u32>().ok())
    };
    installed
        .filter(|dir| dir.join("bin/initdb").is_file())
        .max_by_key(|dir| version(dir))
        .map(|dir| dir.join("bin"))
        .or_else(|| Some(in_path("initdb")?.parent()?.to_owned()))
        .ok_or(Error::ToolMissing {
            tool: "PostgreSQL (initdb)",
            get: FROM_SETUP,
        })
}

/// The Redis server.
///
/// # Errors
/// [`Error::ToolMissing`].
pub fn redis_server() -> Result<PathBuf, Error> {
    in_path("redis-server").ok_or(Error::ToolMissing {
        tool: "redis-server",
        get: FROM_SETUP,
    })
}

/// RabbitMQ's own start script. The one in `sbin` insists on the user `rabbitmq`; this one runs as
/// anybody.
///
/// # Errors
/// [`Error::ToolMissing`].
pub fn rabbitmq_server() -> Result<PathBuf, Error> {
    existing(PathBuf::from("/usr/lib/rabbitmq/bin/rabbitmq-server")).ok_or(Error::ToolMissing {
        tool: "RabbitMQ (rabbitmq-server)",
        get: FROM_SETUP,
    })
}

/// Erlang's port mapper, which RabbitMQ needs.
///
/// # Errors
/// [`Error::ToolMissing`].
pub fn epmd() -> Result<PathBuf, Error> {
    in_path("epmd").ok_or(Error::ToolMissing {
        tool: "epmd (part of Erlang)",
        get: FROM_SETUP,
    })
}

/// The EVM node itself: npm's `.bin/anvil` is a wrapper that leaves it running when it is ended.
///
/// # Errors
/// [`Error::ToolMissing`].
pub fn anvil() -> Result<PathBuf, Error> {
    foundry("anvil").ok_or(Error::ToolMissing {
        tool: "anvil",
        get: FROM_SETUP,
    })
}

/// A program of the Foundry family from `contracts/node_modules`.
pub fn foundry(program: &str) -> Option<PathBuf> {
    let machine = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let packages = workspace_root().join("contracts/node_modules/@foundry-rs");
    existing(packages.join(format!("{program}-linux-{machine}/bin/{program}")))
}

/// A program in PATH, or in the folders for system programs that a plain user's PATH may lack.
pub fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .find_map(|dir| existing(dir.join(program)))
}

fn existing(path: PathBuf) -> Option<PathBuf> {
    path.is_file().then_some(path)
}
