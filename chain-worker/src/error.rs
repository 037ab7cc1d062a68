//! Why a round of the worker did not get through.

use chain::ChainError;

/// Why a step stopped. All but [`StepError::Halted`] go away by trying again.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The node.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The database.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Another worker leads: nothing was written.
    #[error("another worker has taken over")]
    NotLeader,
    /// The chain changed while it was read, or the node is behind.
    #[error("the chain moves: {0}")]
    Moving(String),
    /// A block that was final is gone. What was paid or credited on its word needs a person.
    #[error("halted: {0}")]
    Halted(String),
}
