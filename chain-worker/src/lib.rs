//! The chain-worker: the only process that sends chain transactions, and the eyes of the others.
//!
//! * [`receive`]: commands from the broker become rows;
//! * [`worker`]: one leader's round: [`watch`] and [`finality`] read the chain, [`track`] follows our
//!   own transactions, [`plan`] signs new ones, [`send`] hands them to the node;
//! * [`tower`]: answers stale closes with its own copies of the newest states;
//! * [`push`]: final events to each hub; the outbox relay of `runtime` carries all events to the broker.
//!
//! Whatever is sent or told was committed before. An answer that does not come decides nothing.

pub mod config;
pub mod error;
pub mod finality;
pub mod metrics;
pub mod plan;
pub mod push;
pub mod receive;
pub mod run;
pub mod send;
pub mod store;
pub mod tower;
pub mod track;
pub mod watch;
pub mod worker;
