use std::{path::PathBuf, time::Duration};

use crate::{Launch, Plan, Probe, StopSignal};

/// A process of ours: it listens on one port of the loopback address and answers 200 on `/readyz`
/// when it can work.
#[derive(Debug, Clone)]
pub struct Service {
    /// Name in messages and run records; its log is `NAME.log`.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment; of the caller's it gets nothing but PATH, HOME, locale and time zone.
    pub env: Vec<(String, String)>,
    /// Where it listens; telling it so is up to `args` or `env`.
    pub port: u16,
    /// Its working directory.
    pub dir: PathBuf,
    /// Where its log goes.
    pub log_dir: PathBuf,
    /// Place in the order of starts; the servers take 0 to 4, and what starts last stops first.
    pub order: u32,
}

impl Service {
    /// How to start it as a [`crate::Server`], owned by a test or detached. A detached one is
    /// restarted when its program file, arguments or environment have changed.
    pub fn plan(self) -> Plan {
        Plan {
            launch: Launch {
                log: self.log_dir.join(format!("{}.log", self.name)),
                name: self.name,
                program: self.program,
                args: self.args,
                env: self.env,
                dir: self.dir,
                never_root: false,
            },
            probe: Probe::Http(self.port),
            start_limit: Duration::from_secs(60),
            stop: StopSignal::Term,
            order: self.order,
        }
    }
}
