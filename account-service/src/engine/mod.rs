//! The posting engine: takes money orders, makes co-signed states of them, one batch at a time.

pub mod types;

pub use types::*;
