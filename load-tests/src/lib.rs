//! The whole system as its users meet it: the local stack's own program starts it, in a directory
//! and on ports of its own, and everything else goes over the public API, plain SQL and signals.

mod bed;
pub mod bench;
pub mod drill;
pub mod generator;
pub mod k6;
pub mod probe;
pub mod store;
mod system;

pub use bed::Bed;
pub use system::{Answer, System, program};
