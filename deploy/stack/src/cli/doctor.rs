use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use stack::{Port, is_free, tools};

const SETUP: &str = "deploy/setup";
/// Python's installer is a module of it.
const PIP: &[&str] = &["-m", "pip", "--version"];

struct Tool {
    name: &'static str,
    found: Option<PathBuf>,
    version: Version,
    get: &'static str,
}

enum Version {
    /// What the program prints for these arguments.
    Asked(&'static [&'static str]),
    /// Known from where it is.
    Known(String),
    /// It has none that matters.
    None,
}

/// Prints a line for each tool; false when one is missing.
pub fn doctor() -> bool {
    let mut all = true;
    for tool in tools() {
        match &tool.found {
            Some(path) => {
                let version = match tool.version {
                    Version::Asked(args) => {
                        ask(path, args).unwrap_or_else(|| "does not answer".into())
                    }
                    Version::Known(version) => version,
                    Version::None => String::new(),
                };
                println!(
                    "ok       {:<12} {version:<34} {}",
                    tool.name,
                    path.display()
                );
            }
            None => {
                all = false;
                println!("missing  {:<12} get it with: {}", tool.name, tool.get);
            }
        }
    }
    let taken: Vec<String> = Port::ALL
        .iter()
        .filter(|(_, _, port)| !is_free(*port))
        .map(|(_, _, port)| port.to_string())
        .collect();
    if !taken.is_empty() {
        println!(
            "note     ports {} are in use, by this stack or others; `make up` takes the next free ones",
            taken.join(", ")
        );
    }
    all
}

fn tools() -> Vec<Tool> {
    let asked = |name, found, args, get| Tool {
        name,
        found,
        version: Version::Asked(args),
        get,
    };
    let path = |name, args, get| asked(name, tools::in_path(name), args, get);
    let plain = |name, get| Tool {
        name,
        found: tools::in_path(name),
        version: Version::None,
        get,
    };
    let solc = tools::workspace_root().join("contracts/node_modules/solc/package.json");
    let solc_version = fs::read_to_string(&solc).ok().and_then(|text| {
        let package: serde_json::Value = serde_json::from_str(&text).ok()?;
        Some(package["version"].as_str()?.to_owned())
    });
    let rustup = "the command on https://rustup.rs, then a new shell";
    let node = "apt-get install nodejs npm, or https://nodejs.org";
    vec![
        path("cargo", &["--version"], rustup),
        path("rustc", &["--version"], rustup),
        path("cc", &["--version"], "apt-get install gcc libc6-dev"),
        path("node", &["--version"], node),
        path("npm", &["--version"], node),
        asked(
            "postgres",
            tools::postgres_bin().ok().map(|bin| bin.join("postgres")),
            &["--version"],
            SETUP,
        ),
        asked("redis", tools::redis_server().ok(), &["--version"], SETUP),
        Tool {
            name: "rabbitmq",
            found: tools::rabbitmq_server().ok(),
            version: Version::Known(rabbitmq_version().unwrap_or_default()),
            get: SETUP,
        },
        Tool {
            name: "epmd",
            found: tools::epmd().ok(),
            version: Version::None,
            get: SETUP,
        },
        asked("anvil", tools::anvil().ok(), &["--version"], SETUP),
        asked("forge", tools::foundry("forge"), &["--version"], SETUP),
        Tool {
            name: "solc",
            version: Version::Known(solc_version.clone().unwrap_or_default()),
            found: solc_version.map(|_| solc),
            get: SETUP,
        },
        path("python3", &["--version"], SETUP),
        asked(
            "pip",
            tools::in_path("python3").filter(|python| ask(python, PIP).is_some()),
            PIP,
            SETUP,
        ),
        plain("setpriv", "apt-get install util-linux"),
        plain("setsid", "apt-get install util-linux"),
        plain("flock", "apt-get install util-linux"),
    ]
}

fn ask(program: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next()?.trim();
    // Redis appends what it was built with.
    Some(line.split(" sha=").next().unwrap_or(line).to_owned())
}

/// The package's library folder carries it; asking the broker itself would boot an Erlang machine.
fn rabbitmq_version() -> Option<String> {
    let entries = fs::read_dir("/usr/lib/rabbitmq/lib").ok()?.flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter_map(|name| Some(name.strip_prefix("rabbitmq_server-")?.to_owned()))
        .max()
}
