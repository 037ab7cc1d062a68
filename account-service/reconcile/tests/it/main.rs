//! Reconciliation against a real Postgres, with books made by the real rules and real keys.

// A helper of a test that fails is a test that fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod books;
mod clean;
mod edits;
mod large;
mod retention;
mod settlement;
mod world;
