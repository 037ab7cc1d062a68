//! All SQL of account-service, one file per table group. Functions take the caller's
//! connection or transaction and assert how many rows they touched.

pub mod accounts;
pub mod api_keys;
pub mod batches;
pub mod batches_read;
pub mod closing;
pub mod deposits_read;
pub mod directory;
pub mod heads;
pub mod hubs;
pub mod hubs_write;
pub mod import;
pub mod journal;
pub mod leaves;
pub mod operations_read;
pub mod partitions;
pub mod pending;
pub mod recon;
pub mod recover;
pub mod retention;
pub mod settlement;
pub mod states;
pub mod tower;
pub mod withdrawals_read;

/// Settings of the connections that post. Statements with arrays of thousands are planned once,
/// as what they are: look-ups by key, row after row in the order of the arrays. A plan made for
/// one array's values costs more than it saves, and one that joins by hash or by scan would take
/// row locks in an order of its own.
pub const POSTING: [(&str, &str); 4] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_seqscan", "off"),
];

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
