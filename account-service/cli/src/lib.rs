//! `acctl`: what a batch job of a business system calls. Imports files of operations, each
//! exactly once however often it is started, and compares the system with what the file leads to.
//!
//! * [`plan`] reads a file and refuses it whole if anything is wrong with it;
//! * [`model`] computes what it leads to, from the file alone;
//! * [`schedule`] orders its operations, [`import`] sends them through [`client`];
//! * [`verify`] compares balances, entries, channels, chain and reconciliation;
//! * [`exit`] enforces a proof on chain, [`tower`] answers stale closes for others;
//! * [`report`] is what people and programs read at the end.

pub mod args;
pub mod chain;
pub mod client;
pub mod commands;
pub mod config;
pub mod csv;
pub mod dispute;
pub mod exit;
pub mod generate;
pub mod history;
pub mod import;
pub mod model;
pub mod money;
pub mod plan;
pub mod progress;
pub mod proof;
pub mod report;
pub mod schedule;
pub mod session;
pub mod tower;
pub mod verify;
pub mod wire;
