//! Redis as a cache: it may be wiped, stale or away at any time, and costs speed only.

mod balances;
mod link;

pub use balances::{Balances, CachedBalance};
pub use link::Redis;
