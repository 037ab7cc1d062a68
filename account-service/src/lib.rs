//! Account-service: the REST API of the custodial account system, and the posting engine.

pub mod api;
pub mod auth;
pub mod broker;
pub mod cache;
pub mod config;
pub mod cursor;
pub mod engine;
pub mod fence;
pub mod ids;
pub mod limits;
pub mod problem;
pub mod reconciler;
pub mod recover;
pub mod retention;
pub mod run;
pub mod store;
