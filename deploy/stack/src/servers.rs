use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    Error, Life, Plan, Server, anvil,
    error::Attempt,
    ports::{Port, Ports},
    postgres, rabbitmq,
    record::Record,
    redis,
    server::{Started, end},
    sql,
    temp::TempDir,
};

/// The servers a stack may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// Redis.
    Redis,
    /// RabbitMQ with its port mapper.
    RabbitMq,
    /// The EVM node.
    Anvil,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Postgres, Kind::Redis, Kind::RabbitMq, Kind::Anvil];
}

/// Which servers to start, where.
#[derive(Debug, Clone)]
pub struct StackConfig {
    /// Which servers.
    pub kinds: Vec<Kind>,
    /// Where their data is; `None` is a directory that goes with the stack.
    pub dir: Option<PathBuf>,
    /// Where they listen.
    pub ports: Ports,
    /// How long they live.
    pub life: Life,
}

impl StackConfig {
    /// Servers of one test's own, on free ports, gone with the test.
    ///
    /// # Errors
    /// [`Error::NoFreePort`].
    pub fn private(kinds: &[Kind]) -> Result<Self, Error> {
        Ok(Self {
            kinds: kinds.to_vec(),
            dir: None,
            ports: Ports::free()?,
            life: Life::Owned,
        })
    }
}

/// Running servers. Owned ones stop when this is dropped, the last started first.
#[derive(Debug)]
pub struct Stack {
    servers: Vec<(Option<Kind>, Server, Started)>,
    endpoints: Endpoints,
    _temp: Option<TempDir>,
}

/// Where the servers of a stack answer.
#[derive(Debug, Clone)]
pub struct Endpoints {
    ports: Ports,
}

impl Stack {
    /// Starts the servers side by side and waits until each answers by its own protocol.
    ///
    /// # Errors
    /// The first failure; owned servers that came up are stopped again.
    pub async fn start(config: StackConfig) -> Result<Self, Error> {
        let temp = config.dir.is_none().then(TempDir::new).transpose()?;
        let dir = config
            .dir
            .as_deref()
            .or(temp.as_ref().map(TempDir::path))
            .unwrap_or(Path::new("."));
        let logs = dir.join("log");
        fs::create_dir_all(&logs).attempt(|| format!("creating {}", logs.display()))?;
        if let Life::Detached { run_dir } = &config.life {
            fs::create_dir_all(run_dir).attempt(|| format!("creating {}", run_dir.display()))?;
        }
        let (ports, wants) = (&config.ports, |kind| config.kinds.contains(&kind));
        let start = async |kind: Option<Kind>, plan: Plan| {
            let server = Server::new(plan, config.life.clone());
            let started = server.start().await?;
            Ok::<_, Error>((kind, server, started))
        };
        let postgres = async {
            if !wants(Kind::Postgres) {
                return Ok(Vec::new());
            }
            let plan = postgres::plan(dir, &logs, ports).await?;
            Ok(vec![start(Some(Kind::Postgres), plan).await?])
        };
        let small = async {
            let mut started = Vec::new();
            if wants(Kind::Redis) {
                started.push(start(Some(Kind::Redis), redis::plan(dir, &logs, ports)?).await?);
            }
            if wants(Kind::Anvil) {
                started.push(start(Some(Kind::Anvil), anvil::plan(dir, &logs, ports)?).await?);
            }
            Ok::<_, Error>(started)
        };
        let rabbitmq = async {
            if !wants(Kind::RabbitMq) {
                return Ok(Vec::new());
            }
            let plan = rabbitmq::plan(dir, &logs, ports)?;
            let epmd = start(None, rabbitmq::epmd_plan(dir, &logs, ports)?).await?;
            Ok::<_, Error>(vec![epmd, start(Some(Kind::RabbitMq), plan).await?])
        };
        let (postgres, small, rabbitmq) = tokio::try_join!(postgres, small, rabbitmq)?;
        let mut servers: Vec<_> = postgres.into_iter().chain(small).chain(rabbitmq).collect();
        servers.sort_by_key(|(_, server, _)| std::cmp::Reverse(server.plan().order));
        Ok(Self {
            servers,
            endpoints: Endpoints {
                ports: config.ports,
            },
            _temp: temp,
        })
    }

    /// One of the servers, to stop, kill, pause or restart it; `None` when it was not asked for.
    pub fn server(&self, kind: Kind) -> Option<&Server> {
        self.servers
            .iter()
            .find(|(k, _, _)| *k == Some(kind))
            .map(|(_, server, _)| server)
    }

    /// Every process with what its start did, in the order in which they stop.
    pub fn processes(&self) -> impl Iterator<Item = (&Server, Started)> {
        self.servers
            .iter()
            .map(|(_, server, started)| (server, *started))
    }

    /// Where they answer.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Stops everything in good order.
    ///
    /// # Errors
    /// [`Error::WontStop`].
    pub async fn stop(&self) -> Result<(), Error> {
        for (_, server, _) in &self.servers {
            server.stop().await?;
        }
        Ok(())
    }
}

impl From<Ports> for Endpoints {
    /// Where servers on these ports would answer.
    fn from(ports: Ports) -> Self {
        Self { ports }
    }
}

impl Endpoints {
    /// The numbers behind the addresses.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// A database, entered as this role; no password on the loopback address.
    pub fn database_url(&self, role: &str, database: &str) -> String {
        format!(
            "postgres://{role}@127.0.0.1:{}/{database}",
            self.ports.get(Port::Postgres)
        )
    }

    /// Redis, database 0.
    pub fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.ports.get(Port::Redis))
    }

    /// RabbitMQ, virtual host `/`.
    pub fn amqp_url(&self) -> String {
        let port = self.ports.get(Port::Amqp);
        format!(
            "amqp://{}:{}@127.0.0.1:{port}/%2f",
            rabbitmq::USER,
            rabbitmq::PASSWORD
        )
    }

    /// The EVM node's JSON-RPC.
    pub fn chain_rpc(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.get(Port::Anvil))
    }

    /// Runs one statement as the cluster's owner.
    ///
    /// # Errors
    /// [`Error::Sql`] or [`Error::Io`].
    pub async fn sql(&self, database: &str, statement: &str) -> Result<sql::Rows, Error> {
        let (port, database) = (self.ports.get(Port::Postgres), database.to_owned());
        let statement = statement.to_owned();
        let work = tokio::task::spawn_blocking(move || sql::execute(port, &database, &statement));
        work.await.map_err(|source| Error::Io {
            what: "running SQL".into(),
            source: source.into(),
        })?
    }

    /// Creates an empty database. `name` is one of ours, not a caller's text.
    ///
    /// # Errors
    /// [`Error::Sql`], also when it exists.
    pub async fn create_database(&self, name: &str) -> Result<(), Error> {
        self.sql("postgres", &format!(r#"CREATE DATABASE "{name}""#))
            .await
            .map(|_| ())
    }

    /// True when there is a database of this name.
    ///
    /// # Errors
    /// [`Error::Sql`] or [`Error::Io`].
    pub async fn has_database(&self, name: &str) -> Result<bool, Error> {
        let rows = self
            .sql(
                "postgres",
                &format!("SELECT 1 FROM pg_database WHERE datname = '{name}'"),
            )
            .await?;
        Ok(!rows.is_empty())
    }
}

/// Stops what the records in this directory name, the last started first, and nothing else: a
/// record whose process has another start time now is only forgotten. Returns the names of those
/// that ran.
///
/// # Errors
/// [`Error::WontStop`].
pub async fn stop_recorded(run_dir: &Path) -> Result<Vec<String>, Error> {
    let mut stopped = Vec::new();
    for record in Record::all(run_dir).into_iter().rev() {
        if record.identity.is_alive() {
            end(&record.name, &record.identity, record.stop).await?;
            stopped.push(record.name.clone());
        }
        Record::remove(run_dir, &record.name);
    }
    Ok(stopped)
}
