//! Imports files of operations into the account system and checks what comes of them.

use acctl::{args::Args, commands};
use clap::Parser as _;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    commands::run(Args::parse()).await.into()
}
