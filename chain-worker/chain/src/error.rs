//! How reading or writing the chain fails.

use hub_core::Address;

/// Why the chain did not answer as asked.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// No answer, or one that is none. If something was sent, it may have arrived.
    #[error("chain node did not answer {method}: {reason}")]
    Unreachable {
        /// The JSON-RPC method.
        method: &'static str,
        /// What went wrong.
        reason: String,
    },
    /// The node answered with an error.
    #[error("chain node refused {method}: {message} (code {code})")]
    Refused {
        /// The JSON-RPC method.
        method: &'static str,
        /// JSON-RPC's code.
        code: i64,
        /// The node's text.
        message: String,
    },
    /// The URL can't be used.
    #[error("not a URL of a chain node: {0}")]
    Url(String),
    /// A log or a result of one of our contracts that the artefacts don't explain: another
    /// contract, another version, or a node that lies.
    #[error("undecodable {what} of {contract}: {reason}")]
    Undecodable {
        /// The contract.
        contract: Address,
        /// What it was.
        what: String,
        /// Why.
        reason: String,
    },
    /// The node is on another chain or the contracts are not there.
    #[error("wrong chain: {0}")]
    WrongChain(String),
    /// A transaction of ours did not succeed.
    #[error("transaction {what} failed: {reason}")]
    Failed {
        /// What it was to do.
        what: String,
        /// Why, as far as known.
        reason: String,
    },
}
