//! The REST API, against a real server on real Postgres and Redis.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod accounts;
mod cache;
mod caps;
mod cases;
mod catalogue;
mod chain;
mod closing;
mod document;
mod fence;
mod harness;
mod keys;
mod money;
mod partitions;
mod reads;
mod replicas;
mod seed;
mod transport;
