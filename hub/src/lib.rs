//! The hub: the counterparty of every channel. It checks each proposed batch by itself, journals
//! it, and only then signs; it never signs two states of one version.
//!
//! * [`engine`]: deciding ([`engine::decide`], pure), the ledger in memory, one transaction per batch;
//! * [`store`]: all SQL;
//! * [`api`]: the internal HTTP API;
//! * [`config`], [`run`]: arguments and wiring; [`retention`]: what is given up when it is old;
//!   [`fence`]: what an operator does after a restore.

pub mod api;
pub mod config;
pub mod engine;
pub mod fence;
pub mod metrics;
pub mod retention;
pub mod run;
pub mod store;

pub use engine::{Hub, HubParts};
