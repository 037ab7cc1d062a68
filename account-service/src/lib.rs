//! Account-service: the REST API of the custodial account system, and the posting engine.

pub mod engine;
pub mod store;
