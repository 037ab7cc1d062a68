//! The servers of the system, for the local stack and for tests: own instances of PostgreSQL,
//! Redis, RabbitMQ and an EVM node, on own ports of the loopback address, with their data in a
//! directory of their own.
//!
//! Nothing here ever connects to, signals or configures a server that it did not start.
//!
//! - [`testbed`] gives a test a database of its own, and prefixes, on servers that all tests share.
//! - [`Stack`] with [`StackConfig::private`] gives a test servers that it may kill, pause and restart ([`Server`]).
//! - [`Anvil`] is a private chain; [`Service`] starts one of our own processes.

mod anvil;
mod error;
mod http;
mod launch;
mod ports;
pub mod postgres;
mod probe;
mod process;
pub mod rabbitmq;
mod record;
pub mod redis;
mod server;
mod servers;
mod service;
mod shared;
mod sql;
mod temp;
mod testbed;
pub mod tools;
mod watchdog;

pub use anvil::{Anvil, AnvilOptions, BLOCK_TIME_SECS, CHAIN_ID};
pub use error::{Error, PathDisplay};
pub use http::request;
pub use launch::{Launch, Life};
pub use ports::{Port, Ports, free_port, is_free};
pub use postgres::{DATABASE, OWNER};
pub use probe::Probe;
pub use process::Identity;
pub use record::{Record, StopSignal};
pub use server::{Plan, Server, Started};
pub use servers::{Endpoints, Kind, Stack, StackConfig, stop_recorded};
pub use service::Service;
pub use shared::{Shared, lock_file, shared, test_down};
pub use sql::{Rows, execute};
pub use temp::TempDir;
pub use testbed::{Testbed, bare_testbed, testbed};
