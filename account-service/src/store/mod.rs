//! All SQL of account-service, one file per table group. Functions take the caller's
//! connection or transaction and assert how many rows they touched.

pub mod accounts;
pub mod api_keys;
pub mod batches;
pub mod batches_read;
pub mod deposits_read;
pub mod directory;
pub mod heads;
pub mod hubs;
pub mod hubs_write;
pub mod journal;
pub mod operations_read;
pub mod recon;
pub mod settlement;
pub mod withdrawals_read;

/// A row count that no race explains: a bug, or an edited database.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {found} rows instead of {expected}")]
pub struct RowCount {
    /// The statement.
    pub what: &'static str,
    /// Rows it should touch.
    pub expected: u64,
    /// Rows it did.
    pub found: u64,
}

impl RowCount {
    /// Compares.
    pub fn check(what: &'static str, expected: usize, found: u64) -> Result<(), Self> {
        let expected = u64::try_from(expected).unwrap_or(u64::MAX);
        if found == expected {
            Ok(())
        } else {
            Err(Self {
                what,
                expected,
                found,
            })
        }
    }
}
