//! What the contract does with a channel, as pure transitions: money in and out, closing,
//! challenges, penalties, settlement, and what is paid after it (N6, N7).
//!
//! [`Hub`] is what all channels of a hub share, [`Channel`] is one channel with what its ended
//! epochs still have to pay, and [`Registry`] is the evidence that anybody may show. Block time
//! and sender are arguments. Signatures are not made or checked here: a caller says which side's
//! key a shown signature is by, and the same calls to the deployed contract must be accepted or
//! refused alike, by the same error, and pay the same people.
//!
//! The contract keeps hashes of disputes and lock lists and is shown the content; a dispute
//! stands here in full, so "the content shown is another" (`WrongDispute`) can't arise.
//!
//! [`answer`] decides what to do about a close.

mod after;
pub mod answer;
mod channel;
mod ending;
mod hub;
mod penalty;
mod refusal;
mod registry;
mod shown;
mod window;

pub use channel::{Channel, Delayed, Dispute, Ended, LockList, WithdrawOrder};
pub use ending::Agreement;
pub use hub::{Hub, MAX_BOUNTY_BPS, MAX_DEPOSITED};
pub use refusal::{Refusal, WithdrawFault};
pub use registry::Registry;
pub use shown::{Call, CoSigned, Evidence, Intent, Key, Payment, ShownCheque, ShownCredit, Side};
