//! Real servers and processes, one binary for all tests of the crate.

// A helper of a test that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod cli;
mod compose;
mod servers;
mod service;
mod shared;
