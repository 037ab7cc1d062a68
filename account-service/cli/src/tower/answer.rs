//! What a tower does about a close. Pure: what it holds and the dispute in, at most one call out.

use crate::args::Guarded;
use crate::dispute::material::Material;
use crate::exit::decide::{evidence, forfeits};
use chain::calls::{Call, dispute as calls};
use hub_core::Address;
use hub_core::dispute::Dispute;
use hub_core::settlement::{self, ChainTotals, Closer};

/// A call, and what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The call.
    pub call: Call,
    /// In words.
    pub what: &'static str,
}

/// What the chain says of a channel that is being closed.
#[derive(Debug, Clone, Copy)]
pub struct Closing {
    /// The dispute as it is now.
    pub dispute: Dispute,
    /// Executed withdrawals and deposits of the epoch.
    pub totals: ChainTotals,
    /// Time of the newest block, Unix seconds.
    pub now: u64,
}

/// The next call about a running dispute, if one is called for.
pub fn answer(
    contract: Address,
    held: &Material,
    closing: &Closing,
    guard: Guarded,
) -> Option<Answer> {
    let (params, dispute) = (&held.params, &closing.dispute);
    let found = |call, what| Some(Answer { call, what });
    if closing.now > dispute.deadline {
        return found(calls::settle(contract, params, dispute), "settle");
    }
    if held.state().epoch != dispute.state.epoch {
        return None;
    }
    let newer = held.state().version > dispute.state.version;
    if newer && wants(held, closing, guard) {
        let call = calls::challenge(contract, params, dispute, &held.held);
        return found(call, "challenge");
    }
    let guards_user = guard != Guarded::Hub;
    let credit = held.credit.filter(|credit| {
        guards_user && credit.cumulative > dispute.credit_max.max(dispute.state.credited)
    });
    if let Some(credit) = credit {
        let call = calls::add_credit(contract, params, dispute, &credit);
        return found(call, "show the credit");
    }
    let theirs = match guard {
        Guarded::User => dispute.closer == Closer::Hub,
        Guarded::Hub => dispute.closer == Closer::User,
        Guarded::Both => true,
    };
    let proof = evidence(held, dispute).filter(|_| theirs)?;
    let epoch = dispute.state.epoch;
    let call = calls::penalize(contract, params, epoch, Some(dispute), &proof);
    found(call, "penalize")
}

/// Whether a newer state is to be posted for whom the tower guards.
fn wants(held: &Material, closing: &Closing, guard: Guarded) -> bool {
    let dispute = &closing.dispute;
    let by_hub = dispute.closer == Closer::Hub;
    match guard {
        Guarded::Both => true,
        Guarded::Hub => !by_hub,
        Guarded::User if by_hub => true,
        Guarded::User => {
            let totals = ChainTotals {
                credit_max: dispute.credit_max,
                ..closing.totals
            };
            let due = |state| settlement::dues(state, &totals).user_due;
            !forfeits(held, dispute) && due(held.state()) >= due(&dispute.state)
        }
    }
}
