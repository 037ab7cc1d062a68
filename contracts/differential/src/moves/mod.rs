//! One call each, made to the model and to the contract.

mod after;
mod disputes;
mod money;
