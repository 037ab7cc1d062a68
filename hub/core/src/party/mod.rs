//! Either side of one channel, as the protocol has it (P1-P9, N2, N4): events in, effects out.
//!
//! A [`Party`] is the *hub* or the *user* side. What matters more to the exchange is who signs
//! last: the custody key in a custodial channel, the hub in a self-custodied one. The last signer
//! proposes, the other signs first:
//!
//! ```text
//! last   Propose(state, changes, base with both signatures)  ->  first
//! last   <-  Signed(first signature)                             first, once durable
//! last   Complete(last signature, Revoke(base))              ->  first, once durable
//! last   <-  Revoke(base)                                        first, self-custody only
//! ```
//!
//! Nothing here waits for an answer: whatever is lost is asked for again and gets the same answer,
//! and a state that stays half-signed is superseded by a newer one on the same base. Each effect
//! list is carried out in order, so that [`Effect::Store`] is durable before what follows leaves.
//!
//! The machine neither holds a key nor knows a time: [`Keys`] and [`ChainView`] come in as
//! arguments. A service that signs whole batches uses [`Party::examine`] and records the result
//! itself; a wallet, the tower and the simulator use [`Party::receive`] and [`answer`].

mod book;
mod change;
mod evidence;
mod machine;
mod message;
mod money;
mod refuse;
mod restore;
mod watch;

pub use crate::dispute::Side;
pub use book::{Book, Fence, Import, Standing};
pub use change::{Change, Order};
pub use evidence::{Attestation, BatchPath, Channel, Content, Ecdsa, Keys, Signed};
pub use machine::{Effect, Party};
pub use message::{Message, Proposal};
pub use money::ChainView;
pub use refuse::Refuse;
pub use restore::VERSION_JUMP;
pub use watch::{Answer, Posted, answer};
