//! Reconciliation of ledger, channels and chain: everything that should be equal is compared,
//! and every difference is named with the row it stands in.
//!
//! A run reads one snapshot of the database, read only, over four connections, and one final block
//! of the chain that is at least as new as anything the snapshot calls final. Everything that names
//! a batch comes sorted by batch and passes once: batches with their states, heads, operations. It
//! holds a bounded part of these in memory, and some 110 bytes for each account: its channel, and
//! what its operations add up to so far.
//!
//! | check | what is compared |
//! |---|---|
//! | R1 | balances and locks of each channel add up to its capacity |
//! | R2 | each head row, at account-service and at the hub, is the state that was signed |
//! | R3 | each batch has the root of its states, its place in the hub's chain, both signatures |
//! | R4 | the operations of each account add up to its balance, and are those that were signed |
//! | R5 | what users have is what was issued and deposited, less what was redeemed and withdrawn |
//! | R6 | the contract holds what vault hubs owe; mint hubs created what they paid |
//! | R7 | each withdrawal: order, operation, payment on chain, refund, each exactly once |
//! | R8 | each deposit: log, row, operation, each exactly once |
//!
//! One wrong row is one break as far as possible: what follows from a difference that is named
//! is not named again.

pub mod chain;
mod check;
mod findings;
pub mod report;
mod run;
mod store;

pub use chain::{ChainError, ChainNumbers, ChainView, ChannelNumbers, HubNumbers};
pub use report::{Break, Check, CheckId, Class, Report, Severity};
pub use run::{Error, Options, run};
