//! Tests of the command line that need no running system.

// A failed step of a test ends it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod client;
mod command;
mod demo;
mod exit;
mod exit_refusals;
mod exit_trades;
mod model;
mod narrow;
mod plan;
mod proof;
mod report;
mod scene;
mod schedule;
mod tower;
mod tower_evidence;
mod tower_stuck;
mod verify;
