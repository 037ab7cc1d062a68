//! The REST API, against a real server on real Postgres and Redis.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod accounts;
mod cache;
mod cases;
mod catalogue;
mod document;
mod harness;
mod keys;
mod money;
mod reads;

mod seed;
mod transport;
