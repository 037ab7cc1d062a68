//! The worker's own binary against a real chain, database and broker. What stands in for the hubs
//! only writes down what it is told.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod broker;
mod crash;
mod funding;
mod harness;
mod hubs;
mod proxy;
mod reorg;
mod tower;
mod withdraw;
