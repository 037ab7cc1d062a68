//! What every service needs to run: database columns, logs, metrics, health, the broker.

pub mod clock;
pub mod pg;
