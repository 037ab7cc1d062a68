//! The cache of a stack.

use std::{fs, path::Path, time::Duration};

use crate::{
    Error, Launch,
    error::Attempt,
    ports::{Port, Ports},
    probe::Probe,
    record::StopSignal,
    server::Plan,
    tools,
};

/// Redis is a cache here: nothing is written to disk, and the oldest goes when memory is short.
pub const SETTINGS: [(&str, &str); 4] = [
    ("save", ""),
    ("appendonly", "no"),
    ("maxmemory", "256mb"),
    ("maxmemory-policy", "allkeys-lru"),
];

/// Says how to start Redis.
pub(crate) fn plan(dir: &Path, logs: &Path, ports: &Ports) -> Result<Plan, Error> {
    let home = dir.join("redis");
    fs::create_dir_all(&home).attempt(|| format!("creating {}", home.display()))?;
    let port = ports.get(Port::Redis);
    let mut args: Vec<String> = Vec::new();
    let place = [
        ("bind", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("dir", home.display().to_string()),
    ];
    for (name, value) in place {
        args.extend([format!("--{name}"), value]);
    }
    for (name, value) in SETTINGS {
        args.extend([format!("--{name}"), value.to_owned()]);
    }
    Ok(Plan {
        launch: Launch {
            name: "redis".into(),
            program: tools::redis_server()?,
            args,
            env: Vec::new(),
            dir: home,
            log: logs.join("redis.log"),
            never_root: false,
        },
        probe: Probe::Redis(port),
        start_limit: Duration::from_secs(20),
        stop: StopSignal::Term,
        order: 1,
    })
}
