//! What must hold before a side signs (N2), written down once more, apart from the machine.
//!
//! The machine cannot make a state that breaks these rules; the checks stand here so that a
//! mistake in it, or a state that came from outside, is caught before a signature exists.

use crate::{Action, Amount, ChannelId, Facts, Operation, State, Version};

/// A rule that a proposed state or batch breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// N2.1: another epoch than the base's.
    #[error("epoch {proposed} is not the channel's epoch {current}")]
    Epoch {
        /// The base's.
        current: u32,
        /// The proposal's.
        proposed: u32,
    },
    /// N2.1: the version was used, or is older.
    #[error("version {proposed} is not above {max_signed}, the highest ever signed here")]
    VersionUsed {
        /// The highest version this side ever signed in the channel.
        max_signed: Version,
        /// The proposal's.
        proposed: Version,
    },
    /// N2.1 and P2: the acknowledged version is not the base's.
    #[error("ackVersion {proposed} is not the base's version {base}")]
    AckIsNotBase {
        /// The base's version.
        base: Version,
        /// The proposal's `ackVersion`.
        proposed: Version,
    },
    /// N2.2: balances and locks don't add up to the capacity.
    #[error("balances and locks add up to {total:?}, the capacity is {capacity}")]
    BrokenSum {
        /// Their sum, if it can be formed.
        total: Option<Amount>,
        /// What it must be.
        capacity: Amount,
    },
    /// A value the contract can't hold.
    #[error("a balance exceeds uint96")]
    TooWide,
    /// N2.4: the hub balance doesn't cover what is pending.
    #[error("hub balance {hub_balance} is below {reserve}, kept for withdrawals and credits")]
    Reserve {
        /// The hub's balance.
        hub_balance: Amount,
        /// What is pending.
        reserve: Amount,
    },
    /// N2.5: deposits folded before they are final.
    #[error("{deposited} of deposits are folded, {final_deposits} are final")]
    DepositNotFinal {
        /// Folded by the proposal.
        deposited: Amount,
        /// Final on chain.
        final_deposits: Amount,
    },
    /// N2.5: a withdrawal that may still be executed is taken back.
    #[error("withdrawn {withdrawn} is below {floor}, executed or executable on chain")]
    WithdrawStillLive {
        /// The proposal's total.
        withdrawn: Amount,
        /// What it must not fall below.
        floor: Amount,
    },
    /// N2.1: the channel is closing.
    #[error("the channel is closing")]
    Closing,
    /// P11: entitlements changed by something else than issuance and redemption.
    #[error("the batch changes entitlements by {actual}, its orders by {ordered}")]
    NotConserved {
        /// Sum over all states.
        actual: i128,
        /// Issued less redeemed.
        ordered: i128,
    },
    /// Sums don't fit; no honest batch gets near.
    #[error("the sums of the batch do not fit")]
    Overflow,
}

/// Checks one proposed state against its base (N2.1, 2, 4, 5).
pub fn check_successor(
    base: &State,
    proposed: &State,
    max_signed: Version,
    capacity: Amount,
    facts: &Facts,
) -> Result<(), Breach> {
    if facts.closing {
        return Err(Breach::Closing);
    }
    if proposed.epoch != base.epoch {
        return Err(Breach::Epoch {
            current: base.epoch,
            proposed: proposed.epoch,
        });
    }
    if proposed.version <= max_signed.max(base.version) {
        return Err(Breach::VersionUsed {
            max_signed: max_signed.max(base.version),
            proposed: proposed.version,
        });
    }
    if proposed.ack_version != base.version {
        return Err(Breach::AckIsNotBase {
            base: base.version,
            proposed: proposed.ack_version,
        });
    }
    if proposed.total() != Some(capacity) {
        return Err(Breach::BrokenSum {
            total: proposed.total(),
            capacity,
        });
    }
    if !capacity.fits_balance() {
        return Err(Breach::TooWide);
    }
    let reserve = facts.reserve(proposed);
    if proposed.hub_balance < reserve {
        return Err(Breach::Reserve {
            hub_balance: proposed.hub_balance,
            reserve,
        });
    }
    if proposed.deposited > facts.final_deposits && proposed.deposited > base.deposited {
        return Err(Breach::DepositNotFinal {
            deposited: proposed.deposited,
            final_deposits: facts.final_deposits,
        });
    }
    if proposed.withdrawn < facts.withdraw_floor {
        return Err(Breach::WithdrawStillLive {
            withdrawn: proposed.withdrawn,
            floor: facts.withdraw_floor,
        });
    }
    Ok(())
}

/// Checks that the batch as a whole creates and destroys nothing but what its issuances and
/// redemptions order (P11, N2.3). `changes` are (base, proposed) pairs.
pub fn check_conservation<'a>(
    changes: impl IntoIterator<Item = (&'a State, &'a State)>,
    operations: &[Operation],
) -> Result<(), Breach> {
    let mut actual = 0_i128;
    for (base, proposed) in changes {
        let change = difference(base, proposed).ok_or(Breach::Overflow)?;
        actual = actual.checked_add(change).ok_or(Breach::Overflow)?;
    }
    let mut ordered = 0_i128;
    for operation in operations {
        let signed = i128::try_from(operation.action.amount().units());
        let amount = signed.map_err(|_| Breach::Overflow)?;
        ordered = match operation.action {
            Action::Issue { .. } => ordered.checked_add(amount),
            Action::Redeem { .. } => ordered.checked_sub(amount),
            _ => Some(ordered),
        }
        .ok_or(Breach::Overflow)?;
    }
    if actual == ordered {
        Ok(())
    } else {
        Err(Breach::NotConserved { actual, ordered })
    }
}

fn difference(base: &State, proposed: &State) -> Option<i128> {
    proposed.entitlement()?.checked_sub(base.entitlement()?)
}

/// The channels a set of operations touches, each once, in id order.
pub fn touched(operations: &[Operation]) -> Vec<ChannelId> {
    let mut channels: Vec<_> = operations
        .iter()
        .flat_map(|operation| operation.action.legs().map(|(channel, ..)| channel))
        .collect();
    channels.sort_unstable();
    channels.dedup();
    channels
}
