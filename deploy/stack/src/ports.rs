use std::{
    collections::HashSet,
    fs,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    Error,
    error::{Attempt, PathDisplay},
};

/// What listens in a stack; always on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Port {
    /// The REST API.
    AccountService,
    /// The worker's health and metrics.
    ChainWorker,
    /// The hub in vault mode.
    HubVault,
    /// The hub in mint mode.
    HubMint,
    /// PostgreSQL.
    Postgres,
    /// Redis.
    Redis,
    /// RabbitMQ's AMQP listener.
    Amqp,
    /// RabbitMQ's Erlang distribution.
    AmqpDistribution,
    /// RabbitMQ's port mapper.
    Epmd,
    /// The EVM node.
    Anvil,
}

impl Port {
    /// Every port with its name in `ports.env` and the number a local stack asks for first.
    pub const ALL: [(Port, &'static str, u16); 10] = [
        (Port::AccountService, "ACCOUNT_SERVICE_PORT", 18080),
        (Port::ChainWorker, "CHAIN_WORKER_PORT", 18081),
        (Port::HubVault, "HUB_VAULT_PORT", 18082),
        (Port::HubMint, "HUB_MINT_PORT", 18083),
        (Port::Postgres, "POSTGRES_PORT", 18432),
        (Port::Redis, "REDIS_PORT", 18379),
        (Port::Amqp, "AMQP_PORT", 18672),
        (Port::AmqpDistribution, "AMQP_DISTRIBUTION_PORT", 18673),
        (Port::Epmd, "EPMD_PORT", 18369),
        (Port::Anvil, "ANVIL_PORT", 18545),
    ];

    /// Name of the process that listens there.
    pub fn process(self) -> &'static str {
        match self {
            Port::AccountService => "account-service",
            Port::ChainWorker => "chain-worker",
            Port::HubVault => "hub-vault",
            Port::HubMint => "hub-mint",
            Port::Postgres => "postgres",
            Port::Redis => "redis",
            Port::Amqp | Port::AmqpDistribution => "rabbitmq",
            Port::Epmd => "epmd",
            Port::Anvil => "anvil",
        }
    }
}

/// A number for each [`Port`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports([u16; Port::ALL.len()]);

impl Default for Ports {
    fn default() -> Self {
        Self(Port::ALL.map(|(_, _, number)| number))
    }
}

impl Ports {
    /// The number of one port.
    pub fn get(&self, port: Port) -> u16 {
        self.0[port as usize]
    }

    /// Free numbers for a stack that only this process knows.
    ///
    /// # Errors
    /// [`Error::NoFreePort`] when the machine has none left.
    pub fn free() -> Result<Self, Error> {
        let mut ports = Self::default();
        for number in &mut ports.0 {
            *number = free_port()?;
        }
        Ok(ports)
    }

    /// These numbers, with each that another program holds replaced by the next free one. `ours`
    /// tells which ports are held by processes of this very stack.
    ///
    /// # Errors
    /// [`Error::NoFreePort`] when there is none within reach.
    pub fn settled(&self, ours: impl Fn(Port) -> bool) -> Result<Self, Error> {
        let mut settled = self.clone();
        for (port, _, _) in Port::ALL {
            let wanted = self.get(port);
            if ours(port) {
                continue;
            }
            let others: HashSet<u16> = Port::ALL
                .iter()
                .filter(|(p, _, _)| *p != port)
                .map(|(p, _, _)| settled.get(*p))
                .collect();
            settled.0[port as usize] = (wanted..wanted.saturating_add(1000))
                .find(|number| !others.contains(number) && is_free(*number))
                .ok_or(Error::NoFreePort(wanted))?;
        }
        Ok(settled)
    }

    /// Reads `NAME=number` lines; names that are absent keep their defaults, and so does everything
    /// without a file.
    ///
    /// # Errors
    /// [`Error::BadFile`] when a line can't be read.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let mut ports = Self::default();
        let Ok(text) = fs::read_to_string(path) else {
            return Ok(ports);
        };
        for line in text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        {
            let entry = line.split_once('=').and_then(|(name, number)| {
                let (port, _, _) = Port::ALL.iter().find(|(_, n, _)| *n == name.trim())?;
                Some((
                    *port,
                    number
                        .trim()
                        .parse::<u16>()
                        .ok()
                        .filter(|number| *number > 0)?,
                ))
            });
            let (port, number) = entry.ok_or_else(|| Error::BadFile {
                path: PathDisplay(path.to_owned()),
                problem: format!("`{line}` is not NAME=port; correct it or delete the file"),
            })?;
            ports.0[port as usize] = number;
        }
        Ok(ports)
    }

    /// Writes what [`Ports::load`] reads.
    ///
    /// # Errors
    /// [`Error::Io`] when the file can't be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let lines: String = Port::ALL
            .iter()
            .map(|(port, name, _)| format!("{name}={}\n", self.get(*port)))
            .collect();
        fs::write(path, lines).attempt(|| format!("writing {}", path.display()))
    }
}

/// True when nothing listens on this port of the loopback address. Asks by binding, so no listener
/// sees a connection. Asks again before it says no: a process that is just being started has a copy
/// of the socket that this process asked with before.
pub fn is_free(port: u16) -> bool {
    const PAUSES: [u64; 3] = [0, 5, 50];
    PAUSES.into_iter().any(|pause| {
        std::thread::sleep(Duration::from_millis(pause));
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
    })
}

/// A free port below the range from which the kernel takes the local ends of connections: a server
/// can be restarted on it, because no connection takes it in between. Never the same one twice in a
/// process.
///
/// # Errors
/// [`Error::NoFreePort`] when there is none.
pub fn free_port() -> Result<u16, Error> {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

    // Processes that start together must not walk the same sequence.
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.subsec_nanos());
    let seed =
        (nanos / 1_000).wrapping_add(std::process::id().wrapping_mul(7_919)) % u32::from(COUNT);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    (0..u32::from(COUNT))
        .filter_map(|step| {
            u16::try_from((seed + step) % u32::from(COUNT))
                .ok()
                .map(|offset| FIRST + offset)
        })
        .find(|port| !given.contains(port) && is_free(*port))
        .inspect(|port| {
            given.insert(*port);
        })
        .ok_or(Error::NoFreePort(FIRST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_order_is_the_order_of_the_enum() {
        for (index, (port, _, _)) in Port::ALL.iter().enumerate() {
            assert_eq!(*port as usize, index);
        }
    }

    #[test]
    fn a_taken_port_is_replaced_by_a_free_one_and_remembered() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = holder.local_addr().unwrap().port();
        let mut wanted = Ports::free().unwrap();
        wanted.0[Port::Redis as usize] = taken;

        let settled = wanted.settled(|_| false).unwrap();
        assert_ne!(settled.get(Port::Redis), taken);
        assert_eq!(settled.get(Port::Postgres), wanted.get(Port::Postgres));
        assert_eq!(
            wanted.settled(|port| port == Port::Redis).unwrap(),
            wanted,
            "a port of our own is kept"
        );

        let file = std::env::temp_dir().join(format!("ports-{}.env", std::process::id()));
        settled.save(&file).unwrap();
        assert_eq!(Ports::load(&file).unwrap(), settled);
        fs::write(&file, "REDIS_PORT=70000\n").unwrap();
        assert!(
            Ports::load(&file)
                .unwrap_err()
                .to_string()
                .contains("REDIS_PORT=70000")
        );
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_port_stays_free_while_processes_are_started() {
        let port = free_port().unwrap();
        std::thread::scope(|scope| {
            let starts = scope.spawn(|| {
                for _ in 0..100 {
                    std::process::Command::new("true").status().unwrap();
                }
            });
            while !starts.is_finished() {
                assert!(is_free(port));
            }
        });
    }

    #[test]
    fn no_stack_port_is_a_standard_port() {
        for (_, name, number) in Port::ALL {
            assert!(
                ![5432, 6379, 5672, 25672, 4369, 8545, 8080].contains(&number),
                "{name}"
            );
        }
    }
}
