//! Brings a database up to date.

use clap::Parser;
use std::path::PathBuf;

/// Creates or updates the schemas, tables and roles of the account system.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// URL of the database, as its owner.
    #[arg(long, env = "DATABASE_URL")]
    database_url: String,
    /// File with the password that the services' roles get.
    #[arg(long, env = "ROLES_PASSWORD_FILE")]
    roles_password_file: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let password = std::fs::read_to_string(&args.roles_password_file)?;
    migrations::migrate(&args.database_url, password.trim()).await
}
