//! Tests of the command line that need no running system.

// A failed step of a test ends it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod client;
mod command;
mod demo;
mod model;
mod plan;
mod proof;
mod report;
mod schedule;
mod verify;
