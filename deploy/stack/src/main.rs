//! Starts, stops and inspects the local stack.

mod cli;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// The local stack: PostgreSQL, Redis, RabbitMQ and an EVM node of its own, and the services on
/// them.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Where all data is kept; by default `.local` in the checkout.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts what does not run, migrates, and writes `dev.env`.
    Up {
        /// Servers and secrets only.
        #[arg(long)]
        no_services: bool,
    },
    /// Stops what `up` started.
    Down,
    /// Stops what `up` started and deletes all its data.
    Reset,
    /// Says what runs.
    Status,
    /// Says which tools are there and how to get those that are missing.
    Doctor,
    /// Prints `dev.env`.
    Env,
    /// Starts throw-away servers on free ports, prints their addresses and keeps them until it is
    /// interrupted.
    Run,
    /// Stops the servers that tests share, unless a test uses them.
    TestDown,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let local = cli::Local::new(args.dir);
    let outcome = match args.command {
        Command::Up { no_services } => cli::up::up(&local, !no_services).await,
        Command::Down => cli::down::down(&local).await,
        Command::Reset => cli::down::reset(&local).await,
        Command::Status => Ok(cli::status::status(&local)),
        Command::Doctor => Ok(cli::doctor::doctor()),
        Command::Env => cli::dev_env::print(&local),
        Command::Run => cli::run::run().await,
        Command::TestDown => cli::down::test_down().await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("stack: {error}");
            ExitCode::FAILURE
        }
    }
}
