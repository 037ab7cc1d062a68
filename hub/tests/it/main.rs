//! The hub against real servers, one binary for all tests.

// A helper of a test that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod api;
mod batches;
mod chain;
mod hostile;
mod kill;
mod limits;
mod process;
mod restore;
mod setback;
mod support;
mod tamper;
mod withdrawals;
