//! Tests of the protocol core from outside.

mod machine;
mod proof;
mod vectors;
