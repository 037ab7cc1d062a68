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
mod endpoints;
mod fence;
mod harness;
mod keys;
mod lists;
mod matrix;
mod money;
mod partitions;
mod reads;
mod replicas;
mod rows;
mod seed;
mod semantics;
mod setback;
mod transport;
mod withdrawals;
