//! What every service needs to run: database columns, logs, metrics, health, the broker.

pub mod amqp;
pub mod clock;
pub mod config;
pub mod ops;
pub mod outbox;
pub mod pg;
pub mod shutdown;
pub mod telemetry;
