//! The hub's internal API: wire types and client. The API is internal, so both ends share it.
//!
//! | route | scope | what |
//! |---|---|---|
//! | `GET /internal/v1/terms` | read | what the hub signs channels on |
//! | `POST /internal/v1/hello` | propose | a replica introduces itself to this session |
//! | `POST /internal/v1/batches` | propose | sign a batch as a whole, or say why not |
//! | `POST /internal/v1/fates` | propose | what became of batches |
//! | `POST /internal/v1/withdrawals` | propose | sign a `Withdraw` |
//! | `POST /internal/v1/import` | propose | what a restored hub lost |
//! | `POST /internal/v1/chain-events` | chain | what the worker saw on chain |
//! | `GET /internal/v1/journal?after=&limit=` | read | signed batches |
//! | `GET /internal/v1/channels/{id}` | read | one channel's head |
//! | `GET /internal/v1/attestations?hub=&after=` | read | committed batches with their states |
//! | `POST /internal/v1/params` | read | parameters of channels |
//!
//! Bodies are JSON, but for that of `batches`: see [`frame`].
//!
//! Every answer that is not 2xx carries an [`ErrorBody`].

pub mod client;
pub mod frame;
pub mod wire;

pub use client::{BuildError, HubClient, HubError};
pub use wire::*;
