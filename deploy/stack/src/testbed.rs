use std::hash::{DefaultHasher, Hash, Hasher};

use crate::{
    Endpoints, Error,
    ports::Port,
    postgres::OWNER,
    shared::{Shared, shared},
    sql, temp,
};

/// What one test has to itself on the shared servers: a database, a Redis key prefix and a queue
/// prefix. The database goes when this is dropped.
#[derive(Debug)]
pub struct Testbed {
    /// Name of the database.
    pub database: String,
    /// The database, entered as its owner.
    pub database_url: String,
    /// Shared Redis. Other tests may FLUSHALL it, as operators may.
    pub redis_url: String,
    /// Begins every key of this test.
    pub redis_prefix: String,
    /// Shared broker.
    pub amqp_url: String,
    /// Begins every queue and exchange of this test.
    pub queue_prefix: String,
    endpoints: Endpoints,
}

impl Testbed {
    /// The database, entered as another role.
    pub fn role_url(&self, role: &str) -> String {
        self.endpoints.database_url(role, &self.database)
    }

    /// Runs one statement in the database as its owner.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn sql(&self, statement: &str) -> Result<sql::Rows, Error> {
        self.endpoints.sql(&self.database, statement).await
    }

    fn new(endpoints: &Endpoints, name: String) -> Self {
        Self {
            database_url: endpoints.database_url(OWNER, &name),
            redis_url: endpoints.redis_url(),
            redis_prefix: format!("{name}:"),
            amqp_url: endpoints.amqp_url(),
            queue_prefix: format!("{name}."),
            endpoints: endpoints.clone(),
            database: name,
        }
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        let drop = format!(
            r#"DROP DATABASE IF EXISTS "{}" WITH (FORCE)"#,
            self.database
        );
        // One that stays takes disk until `stack test-down`; the test's own verdict matters more.
        let _ = sql::execute(
            self.endpoints.ports().get(Port::Postgres),
            "postgres",
            &drop,
        );
    }
}

/// A testbed with an empty database.
///
/// # Errors
/// As [`shared`].
pub async fn bare_testbed() -> Result<Testbed, Error> {
    let shared = shared().await?;
    let name = format!("test_{}", temp::unique());
    shared.endpoints().create_database(&name).await?;
    Ok(Testbed::new(shared.endpoints(), name))
}

/// A testbed with a migrated database. `migrate` gets an owner's URL of an empty database; it runs
/// once for each `fingerprint`, which must change whenever the migrations do, and all later
/// databases are copies of its result. It must leave no connection behind.
///
/// # Errors
/// As [`shared`]; [`Error::Migration`] with what `migrate` says.
pub async fn testbed<M, F, E>(fingerprint: &str, migrate: M) -> Result<Testbed, Error>
where
    M: FnOnce(String) -> F,
    F: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let shared = shared().await?;
    let template = template(shared, fingerprint, migrate).await?;
    let name = format!("test_{}", temp::unique());
    let create = format!(r#"CREATE DATABASE "{name}" TEMPLATE "{template}""#);
    shared.endpoints().sql("postgres", &create).await?;
    Ok(Testbed::new(shared.endpoints(), name))
}

async fn template<M, F, E>(shared: &Shared, fingerprint: &str, migrate: M) -> Result<String, Error>
where
    M: FnOnce(String) -> F,
    F: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let mut hasher = DefaultHasher::new();
    fingerprint.hash(&mut hasher);
    let name = format!("template_{:016x}", hasher.finish());
    let endpoints = shared.endpoints();
    let finished =
        format!("SELECT 1 FROM pg_database WHERE datname = '{name}' AND NOT datallowconn");
    if !endpoints.sql("postgres", &finished).await?.is_empty() {
        return Ok(name);
    }
    // Roles belong to the whole cluster, so two templates are never migrated at the same time.
    let _lock = shared.lock("template.lock").await?;
    if !endpoints.sql("postgres", &finished).await?.is_empty() {
        return Ok(name);
    }
    endpoints
        .sql(
            "postgres",
            &format!(r#"DROP DATABASE IF EXISTS "{name}" WITH (FORCE)"#),
        )
        .await?;
    endpoints.create_database(&name).await?;
    migrate(endpoints.database_url(OWNER, &name))
        .await
        .map_err(|e| Error::Migration(e.to_string()))?;
    // Closed to connections it can't change, and a copy never waits for one. The flag also says
    // that it is complete.
    endpoints
        .sql(
            "postgres",
            &format!(r#"ALTER DATABASE "{name}" ALLOW_CONNECTIONS false"#),
        )
        .await?;
    let leave =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    endpoints.sql("postgres", &leave).await?;
    Ok(name)
}
