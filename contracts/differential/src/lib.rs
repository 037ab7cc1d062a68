//! Runs random histories of channels through the model of `hub-core` and, call by call, through
//! the deployed bytecode of `contracts/artifacts` in an EVM in this process. Every acceptance, every
//! refusal with its values, every payment and all that the contract keeps must agree, to the unit.
//!
//! A history is a function of its seed: a failing one is printed with the command that repeats it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test harness: what can't be is a failed test"
)]

pub mod abi;
pub mod bug;
pub mod evm;
pub mod history;
pub mod keys;
pub mod twin;

mod moves;
mod shown;
