//! The schema of all three services, and the roles that keep them apart.
//!
//! One database, one schema per service, one role per service with rights on its own schema
//! only, and a role `chub_recon` that may read everything and write nothing.

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// All migrations, in order. Append-only.
pub static MIGRATOR: Migrator = sqlx::migrate!("./sql");

/// A role of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// account-service.
    Account,
    /// hub.
    Hub,
    /// chain-worker.
    Chain,
    /// Reconciliation: reads all schemas.
    Recon,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Account, Self::Hub, Self::Chain, Self::Recon];

    /// Name of the role in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Account => "chub_account",
            Self::Hub => "chub_hub",
            Self::Chain => "chub_chain",
            Self::Recon => "chub_recon",
        }
    }

    /// The schema it owns the rows of, and finds without naming it.
    fn schema(self) -> Option<&'static str> {
        match self {
            Self::Account => Some("account"),
            Self::Hub => Some("hub"),
            Self::Chain => Some("chain"),
            Self::Recon => None,
        }
    }

    /// The owner's URL with this role's name and password in place of the owner's.
    pub fn url(self, owner_url: &str, password: &str) -> Option<String> {
        let (scheme, rest) = owner_url.split_once("://")?;
        let (_, host) = rest.rsplit_once('@')?;
        Some(format!("{scheme}://{}:{password}@{host}", self.name()))
    }
}

/// Brings a database up to date: roles with this password, schemas, tables, rights. Safe to
/// run again, and by several processes at once on one cluster.
pub async fn migrate(owner_url: &str, password: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        !password.is_empty() && password.chars().all(|c| c.is_ascii_alphanumeric()),
        "the roles' password must be letters and digits"
    );
    let mut connection = PgConnection::connect(owner_url).await?;
    for role in Role::ALL {
        ensure_role(&mut connection, role, password).await?;
    }
    MIGRATOR.run(&mut connection).await?;
    for role in Role::ALL {
        grant(&mut connection, role).await?;
    }
    connection.close().await?;
    Ok(())
}

/// Roles belong to the cluster, so another process may create one at the same moment.
async fn ensure_role(
    connection: &mut PgConnection,
    role: Role,
    password: &str,
) -> sqlx::Result<()> {
    let name = role.name();
    let sql = format!(
        "DO $$ BEGIN
            PERFORM pg_advisory_xact_lock(7368756201);
            IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{name}') THEN
                CREATE ROLE {name} LOGIN PASSWORD '{password}';
            ELSE
                ALTER ROLE {name} LOGIN PASSWORD '{password}';
            END IF;
        END $$"
    );
    // Name and password are checked above; neither can be a bound parameter here.
    connection.execute(AssertSqlSafe(sql)).await.map(drop)
}

async fn grant(connection: &mut PgConnection, role: Role) -> sqlx::Result<()> {
    let name = role.name();
    let mut statements = Vec::new();
    match role.schema() {
        Some(schema) => {
            statements.push(format!("GRANT USAGE ON SCHEMA {schema} TO {name}"));
            statements.push(format!(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {name}"
            ));
        }
        None => {
            for schema in Role::ALL.into_iter().filter_map(Role::schema) {
                statements.push(format!("GRANT USAGE ON SCHEMA {schema} TO {name}"));
                statements.push(format!(
                    "GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {name}"
                ));
            }
        }
    }
    statements.push(format!(
        "GRANT CONNECT ON DATABASE {} TO {name}",
        database(connection).await?
    ));
    for statement in statements {
        // Made of the constants of this file and a quoted identifier.
        connection.execute(AssertSqlSafe(statement)).await?;
    }
    Ok(())
}

async fn database(connection: &mut PgConnection) -> sqlx::Result<String> {
    sqlx::query_scalar("SELECT quote_ident(current_database())")
        .fetch_one(connection)
        .await
}
