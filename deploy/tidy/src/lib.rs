//! The rules of this repository that no compiler knows. Each is a function from sources to
//! violations, with a test that it finds a planted one; `tests/repository.rs` applies them all.

pub mod packages;
pub mod rust;
pub mod sizes;
pub mod sources;
pub mod sql;
pub mod words;

pub use sources::{Source, Violation};
