//! Tests of the protocol core from outside.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod answers;
mod invariants;
mod machine;
mod outcomes;
mod proof;
mod unlocks;
mod vectors;
mod walk;
