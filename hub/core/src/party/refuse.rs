//! Why a party does not do what it is asked to.

use crate::lock::LockBreach;
use crate::rules::Breach;
use crate::{Amount, Hash32, Version, fold};

/// A refusal by name. Nothing was changed, unless an effect says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refuse {
    /// N2.1-5, checked against base and facts.
    #[error(transparent)]
    Rule(#[from] Breach),
    /// A change that the channel's funds don't allow.
    #[error(transparent)]
    Machine(#[from] fold::Refusal),
    /// N2.2: the locks.
    #[error(transparent)]
    Lock(#[from] LockBreach),
    /// N5: this side's data may be older than what it has signed.
    #[error("fenced: this side may have lost what it signed")]
    Fenced,
    /// N5: a state that was lost here may have revoked what is held.
    #[error("what is held may be revoked: close from version {0} on")]
    Unsettled(Version),
    /// P13: a close was asked for or seen.
    #[error("the channel is closing")]
    Closing,
    /// Only the last signer proposes.
    #[error("the other side proposes in this channel")]
    NotProposer,
    /// N4: one open proposal per channel.
    #[error("version {0} is still open")]
    ProposalOpen(Version),
    /// A proposal with no change in it.
    #[error("nothing changes")]
    Empty,
    /// N2.1: the base is not held here, and both signatures were not shown.
    #[error("base version {base} is not held co-signed, {held} is")]
    BaseUnknown {
        /// The proposal's base.
        base: Version,
        /// What is held.
        held: Version,
    },
    /// This side holds something newer than the proposal's base.
    #[error("base version {base} is behind {held}, held co-signed")]
    BaseBehind {
        /// The proposal's base.
        base: Version,
        /// What is held.
        held: Version,
    },
    /// Another state at the base's version.
    #[error("another state is held at version {0}")]
    BaseDiffers(Version),
    /// N2.3: the changes don't lead to the proposed state.
    #[error("the changes lead to another state than the proposed one")]
    Underived,
    /// N2.6: a change that takes from this side and that its owner did not approve.
    #[error("operation {0} was not approved")]
    NotApproved(Hash32),
    /// N2.5: a credit shown to this side is left out.
    #[error("{credited} of credits are folded, {held} are held")]
    CreditNotFolded {
        /// The proposal's.
        credited: Amount,
        /// What this side can show.
        held: Amount,
    },
    /// More credit to fold than was signed.
    #[error("{unfolded} of credits are not folded, not {amount}")]
    CreditUnknown {
        /// Signed and not folded.
        unfolded: Amount,
        /// What was to be folded.
        amount: Amount,
    },
    /// N2.4, before a `Credit` or for a half-signed state: the hub balance does not cover it.
    #[error("state {version} leaves {hub_balance}, {reserve} is kept")]
    Uncovered {
        /// The state.
        version: Version,
        /// Its hub balance.
        hub_balance: Amount,
        /// What it has to cover.
        reserve: Amount,
    },
    /// A cumulative total that does not grow.
    #[error("{cumulative} is not above {newest}")]
    NotNewer {
        /// The newest.
        newest: Amount,
        /// What was asked for.
        cumulative: Amount,
    },
    /// P9: the order is in no co-signed state, or the chain of totals is broken.
    #[error("a withdrawal up to {total} is not in the held state, which has {withdrawn}")]
    NotOrdered {
        /// `prevTotal` and amount.
        total: Amount,
        /// What the held state counts.
        withdrawn: Amount,
    },
    /// P5: withdraws form one chain.
    #[error("prevTotal is {found}, the chain of withdraws is at {expected}")]
    BrokenChain {
        /// Where the chain ends.
        expected: Amount,
        /// What was asked for.
        found: Amount,
    },
    /// Its time is past.
    #[error("valid until {0}, which is past")]
    Past(u64),
    /// A signature that is missing or not the signer's.
    #[error("not signed by the other side")]
    BadSignature,
    /// An answer to nothing that is open here.
    #[error("version {0} is not open here")]
    NotOpen(Version),
    /// No lock of this id.
    #[error("no lock {0}")]
    NoSuchLock(Hash32),
    /// What is asked does not fit the lock's kind.
    #[error("lock {0} is of another kind")]
    OtherLockKind(Hash32),
    /// The preimage is another lock's.
    #[error("the preimage does not release lock {0}")]
    WrongPreimage(Hash32),
    /// A hash lock without a preimage in time.
    #[error("lock {0} is past its expiry")]
    LockExpired(Hash32),
    /// A lock that may still be paid.
    #[error("lock {0} is not over")]
    LockLive(Hash32),
    /// P7: the meter or the cheques say otherwise.
    #[error("lock {0} is resolved against the meter or cheques known here")]
    AgainstEvidence(Hash32),
    /// Cheques above the cover.
    #[error("lock {0} does not cover the cheques")]
    CoverShort(Hash32),
    /// Amounts that don't fit.
    #[error("amounts do not fit")]
    Overflow,
}
