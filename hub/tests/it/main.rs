//! The hub against real servers, one binary for all tests.

// A helper of a test that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod batches;
mod chain;
mod support;
