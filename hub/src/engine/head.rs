//! What the hub knows of one channel.

use hub_client::ChannelHead;
use hub_core::{Amount, Epoch, Facts, Hash32, State, Typed as _, Version};

/// A channel's newest signed state and the co-signed one it was derived from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The highest version ever signed in the epoch.
    pub max_signed: Version,
    /// The newest state signed.
    pub signed: State,
    /// Its `hashStruct`.
    pub signed_hash: Hash32,
    /// The batch it is in; 0 for a null state.
    pub signed_batch: u64,
    /// Whether that batch is committed, so that the signed state is held co-signed.
    pub committed: bool,
    /// The newest co-signed state below the signed one.
    pub below: State,
    /// The batch that is in; 0 for a null state.
    pub below_batch: u64,
    /// The most that a signed state above `below` gives the user beyond it.
    pub pending_increase: Amount,
}

impl Head {
    /// A channel in which nothing is signed yet, in an epoch that begins.
    pub fn null(state: State) -> Self {
        Self {
            max_signed: 0,
            signed: state,
            signed_hash: state.hash_struct(),
            signed_batch: 0,
            committed: true,
            below: state,
            below_batch: 0,
            pending_increase: Amount::ZERO,
        }
    }

    /// The newest state held with both signatures, and its batch.
    pub fn held(&self) -> (&State, u64) {
        if self.committed {
            (&self.signed, self.signed_batch)
        } else {
            (&self.below, self.below_batch)
        }
    }

    /// `hashStruct` of the held state.
    pub fn held_hash(&self) -> Hash32 {
        if self.committed {
            self.signed_hash
        } else {
            self.below.hash_struct()
        }
    }

    /// The most that a half-signed state gives the user beyond the held one.
    pub fn pending(&self) -> Amount {
        if self.committed {
            Amount::ZERO
        } else {
            self.pending_increase
        }
    }

    /// The channel's worst entitlement: over the held and all half-signed states (P4). Nothing
    /// when it does not fit.
    pub fn worst(&self) -> Option<i128> {
        let pending = i128::try_from(self.pending().units()).ok()?;
        self.held().0.entitlement()?.checked_add(pending)
    }

    /// As the internal API shows it.
    pub fn to_wire(self) -> ChannelHead {
        let (held, held_batch) = self.held();
        ChannelHead {
            max_signed: self.max_signed,
            signed: self.signed,
            signed_batch: self.signed_batch,
            held: *held,
            held_batch,
        }
    }
}

/// What beyond the base a state gives the user: zero when it gives less.
pub fn increase(base: &State, next: &State) -> Option<Amount> {
    let change = next.entitlement()?.checked_sub(base.entitlement()?)?;
    u128::try_from(change.max(0)).ok().map(Amount::new)
}

/// A signed `Withdraw` that is not executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenWithdraw {
    /// What it pays.
    pub amount: Amount,
    /// Last second at which it may be executed.
    pub valid_until: u64,
}

/// What is final on chain about a channel, in its current epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChannelFacts {
    /// The epoch.
    pub epoch: Epoch,
    /// Withdrawals executed.
    pub executed: Amount,
    /// Deposits.
    pub final_deposits: Amount,
    /// Whether a close was seen.
    pub closing: bool,
    /// A later epoch of which a close was seen: the settlement before it is not final yet.
    pub later_close: Option<Epoch>,
    /// The newest signed `Withdraw` that is not executed.
    pub open: Option<OpenWithdraw>,
}

impl ChannelFacts {
    /// Those of a later epoch as it begins. A close of it may have been seen before.
    pub fn begin(&self, epoch: Epoch) -> Self {
        Self {
            epoch,
            closing: self.later_close == Some(epoch),
            later_close: self.later_close.filter(|later| *later > epoch),
            ..Self::default()
        }
    }

    /// For the machine, at the time of the newest final block.
    pub fn at(&self, final_timestamp: u64) -> Facts {
        let live = self.open.filter(|open| open.valid_until >= final_timestamp);
        let live = live.map_or(Amount::ZERO, |open| open.amount);
        Facts {
            executed: self.executed,
            // A sum that doesn't fit forbids every reversal.
            withdraw_floor: self.executed.checked_add(live).unwrap_or(Amount::MAX),
            final_deposits: self.final_deposits,
            credit_signed: Amount::ZERO,
            closing: self.closing,
        }
    }

    /// What the chain adds to the channel's claim on the vault (P4): deposits not folded, less
    /// what was paid out.
    pub fn claim(&self) -> Option<i128> {
        let signed = |amount: Amount| i128::try_from(amount.units()).ok();
        signed(self.final_deposits)?.checked_sub(signed(self.executed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub_core::ChannelId;

    #[test]
    fn a_withdraw_counts_until_a_final_block_is_past_its_validity() {
        let facts = ChannelFacts {
            executed: Amount::new(5),
            open: Some(OpenWithdraw {
                amount: Amount::new(7),
                valid_until: 100,
            }),
            ..ChannelFacts::default()
        };
        assert_eq!(facts.at(100).withdraw_floor, Amount::new(12));
        assert_eq!(facts.at(101).withdraw_floor, Amount::new(5));
    }

    #[test]
    fn the_worst_entitlement_is_that_of_the_held_or_any_half_signed_state() {
        let base = State::null(ChannelId([1; 32]), 0, Amount::new(100));
        let mut next = base;
        next.version = 1;
        next.user_balance = Amount::new(30);
        let mut head = Head::null(base);
        head.signed = next;
        head.signed_batch = 1;
        head.committed = false;
        head.pending_increase = increase(&base, &next).unwrap();
        assert_eq!(head.worst(), Some(30));
        assert_eq!(head.held().0.version, 0);
        head.committed = true;
        assert_eq!(head.worst(), Some(30));
        assert_eq!(head.held().0.version, 1);
        assert_eq!(increase(&next, &base), Some(Amount::ZERO));
    }
}
