//! Two parties, a lossy network, crashing processes, restored databases and a chain, by seed.
//!
//! Every rule of the protocol that money hangs on has a setting here that runs the real machine
//! (`hub_core::party`, `hub_core::dispute`, `hub_core::settlement`) and one or more settings with
//! the rule broken on purpose, which must be caught. Signatures are [`tokens`]; nothing else is
//! symbolic. The machine has no switches: a planted bug is a node of the simulator that overrules
//! its machine, or a contract that is wrapped.
//!
//! * [`duo`]: one channel, both custody modes, a network, crashes, backups, a contract;
//! * [`settle`]: who is paid what when an epoch ends (N7), in every order of events;
//! * [`hops`]: a transfer across two hubs by three locks (P15, N8);
//! * [`engine`]: batches, replicas, databases that fail over or are restored (N3, N5).

pub mod duo;
pub mod engine;
pub mod hops;
pub mod rng;
pub mod setting;
pub mod settings;
pub mod settle;
pub mod tokens;
