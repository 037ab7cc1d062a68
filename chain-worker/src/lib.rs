//! chain-worker.
