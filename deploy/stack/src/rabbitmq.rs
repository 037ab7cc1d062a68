//! The broker of a stack.

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

/// The broker's own account, which it admits from the loopback address only.
pub const USER: &str = "guest";
/// Its password.
pub const PASSWORD: &str = "guest";

/// Says how to start the port mapper: by ourselves, because one that RabbitMQ starts outlives it
/// and listens everywhere.
pub(crate) fn epmd_plan(dir: &Path, logs: &Path, ports: &Ports) -> Result<Plan, Error> {
    let port = ports.get(Port::Epmd);
    Ok(Plan {
        launch: Launch {
            name: "epmd".into(),
            program: tools::epmd()?,
            args: ["-port", &port.to_string(), "-address", "127.0.0.1"]
                .map(str::to_owned)
                .to_vec(),
            env: Vec::new(),
            dir: dir.to_owned(),
            log: logs.join("epmd.log"),
            never_root: false,
        },
        probe: Probe::Epmd(port),
        start_limit: Duration::from_secs(20),
        stop: StopSignal::Term,
        order: 2,
    })
}

/// Says how to start the broker.
pub(crate) fn plan(dir: &Path, logs: &Path, ports: &Ports) -> Result<Plan, Error> {
    let program = tools::rabbitmq_server()?;
    let home = dir.join("rabbitmq");
    fs::create_dir_all(&home).attempt(|| format!("creating {}", home.display()))?;
    let port = ports.get(Port::Amqp);
    write(&home.join("enabled_plugins"), "[].\n")?;
    write(&home.join("rabbitmq.conf"), &config(port))?;
    let at = |name: &str| home.join(name).display().to_string();
    let env = [
        ("HOME", home.display().to_string()),
        // The name may stay the same on every port: each stack has its own port mapper.
        ("RABBITMQ_NODENAME", "stack@localhost".into()),
        ("RABBITMQ_NODE_PORT", port.to_string()),
        ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".into()),
        (
            "RABBITMQ_DIST_PORT",
            ports.get(Port::AmqpDistribution).to_string(),
        ),
        ("ERL_EPMD_PORT", ports.get(Port::Epmd).to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
        ("RABBITMQ_MNESIA_BASE", at("mnesia")),
        ("RABBITMQ_LOG_BASE", at("log")),
        ("RABBITMQ_GENERATED_CONFIG_DIR", at("generated")),
        ("RABBITMQ_SCHEMA_DIR", at("schema")),
        ("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf")),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", at("advanced.config")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins")),
        ("RABBITMQ_PID_FILE", at("pid")),
        ("RABBITMQ_CONF_ENV_FILE", "/dev/null".into()),
        ("ERL_CRASH_DUMP", at("erl_crash.dump")),
        (
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-kernel inet_dist_use_interface {127,0,0,1}".into(),
        ),
        // Makes the script replace itself by the broker, so that signals reach it.
        ("RUNNING_UNDER_SYSTEMD", "true".into()),
    ];
    Ok(Plan {
        launch: Launch {
            name: "rabbitmq".into(),
            program,
            args: Vec::new(),
            env: env.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            dir: home,
            log: logs.join("rabbitmq.log"),
            never_root: false,
        },
        probe: Probe::Amqp(port),
        // 6 s on an idle machine of two cores; much more while a workspace compiles beside it.
        start_limit: Duration::from_secs(120),
        stop: StopSignal::Term,
        order: 3,
    })
}

fn config(port: u16) -> String {
    format!(
        "listeners.tcp.1 = 127.0.0.1:{port}\n\
         loopback_users.{USER} = true\n\
         num_acceptors.tcp = 2\n\
         heartbeat = 10\n\
         disk_free_limit.absolute = 100MB\n\
         vm_memory_high_watermark.absolute = 1GB\n\
         log.console = true\n\
         log.console.level = warning\n\
         log.file = false\n"
    )
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).attempt(|| format!("writing {}", path.display()))
}
