//! The account-service process.

use account_service::auth;
use account_service::config::Config;
use account_service::fence::{self, FenceAction};
use account_service::ids::IdKind;
use account_service::recover;
use account_service::run;
use account_service::store::api_keys::{self, NewKey};
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use runtime::shutdown::Shutdown;
use sqlx::postgres::PgPoolOptions;
use time::Duration;
use uuid::Uuid;

/// REST API and posting engine of the custodial account system.
#[derive(Parser)]
#[command(version, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT
    Serve(Box<Config>),
    /// Make or take back API keys
    #[command(subcommand)]
    Keys(Keys),
    /// See, raise or lift the fence that stops money after a restore
    Fence(Fence),
    /// Take back from the hub what this database lost when it was restored
    Recover(Box<recover::Options>),
}

#[derive(Args)]
struct Fence {
    /// URL of Postgres, as role chub_account
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    #[command(subcommand)]
    action: FenceAction,
}

#[derive(Subcommand)]
enum Keys {
    /// Make a key; its secret is printed to standard output, this once
    Create(Create),
    /// Take a key back; replicas notice within 5 s
    Revoke(Revoke),
}

#[derive(Args)]
struct Create {
    /// URL of Postgres, as role chub_account
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// What the key may do, as resource:action, for example transfers:write, accounts:* or admin:*; may be repeated
    #[arg(long = "scope", required = true)]
    scopes: Vec<String>,
    /// Whose accounts the key works with; a new owner when left out
    #[arg(long)]
    owner: Option<Uuid>,
    /// Requests a minute; no limit when left out
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate_limit: Option<u32>,
    /// Days after which the key ends; never when left out
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..=36_500))]
    expires_days: Option<i64>,
}

#[derive(Args)]
struct Revoke {
    /// URL of Postgres, as role chub_account
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// The key's id, key_…
    id: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Serve(config) => {
            runtime::telemetry::init_logs();
            let (shutdown, _trigger) = Shutdown::on_signal()?;
            run::start(*config, shutdown).await?.serve().await
        }
        Command::Keys(Keys::Create(options)) => create(options).await,
        Command::Keys(Keys::Revoke(options)) => revoke(options).await,
        Command::Fence(options) => {
            fence::run(&connect(&options.database_url).await?, &options.action).await
        }
        Command::Recover(options) => {
            recover::run(&connect(&options.database_url).await?, &options).await
        }
    }
}

async fn connect(url: &str) -> anyhow::Result<sqlx::PgPool> {
    PgPoolOptions::new()
        .max_connections(1)
        .connect(url)
        .await
        .context("can't connect to Postgres; check DATABASE_URL")
}

async fn create(options: Create) -> anyhow::Result<()> {
    let now = runtime::clock::now();
    let key = NewKey {
        id: Uuid::now_v7(),
        owner: options.owner.unwrap_or_else(Uuid::now_v7),
        scopes: options.scopes,
        rate_limit: options.rate_limit,
        expires_at: options.expires_days.map(|days| now + Duration::days(days)),
        created_at: now,
    };
    let pool = connect(&options.database_url).await?;
    let secret = auth::create_key(&pool, &key).await?;
    // The secret alone goes to standard output, so that a script can take it.
    eprintln!(
        "{} of owner {}, scopes {}",
        IdKind::ApiKey.text(key.id),
        key.owner,
        key.scopes.join(" ")
    );
    println!("{secret}");
    Ok(())
}

async fn revoke(options: Revoke) -> anyhow::Result<()> {
    let id = IdKind::ApiKey
        .parse(&options.id)
        .context("the id must be key_ and 32 lower-case hexadecimal digits")?;
    let pool = connect(&options.database_url).await?;
    let revoked = api_keys::revoke(&pool, id, runtime::clock::now()).await?;
    anyhow::ensure!(revoked, "{} is not a key in use", options.id);
    eprintln!("{} revoked", options.id);
    Ok(())
}
