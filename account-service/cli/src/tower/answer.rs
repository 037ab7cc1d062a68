//! What a tower does about a close. Pure: what it holds and the close in, at most one call out.

use crate::dispute::material::Material;
use chain::calls::{Call, claims, dispute as calls};
use hub_core::Address;
use hub_core::dispute::answer::{self, Closing, Guard, Move};

/// A call, and what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The call.
    pub call: Call,
    /// In words.
    pub what: &'static str,
}

/// The next call about a close, if one is called for.
pub fn answer(
    contract: Address,
    held: &Material,
    closing: &Closing,
    guard: Guard,
) -> Option<Answer> {
    let (params, dispute) = (&held.params, &closing.dispute);
    let epoch = dispute.state.epoch;
    let (call, what) = match answer::next(closing, Some(&held.against()), guard)? {
        Move::Challenge => {
            let call = calls::challenge(contract, params, dispute, &held.held);
            (call, "challenge")
        }
        Move::AddCredit => {
            let call = calls::add_credit(contract, params, dispute, held.credit.as_ref()?);
            (call, "show the credit")
        }
        Move::Penalize(proof) => {
            let evidence = held.evidence(dispute.closer, proof)?;
            let running = closing.late.is_none().then_some(dispute);
            let call = calls::penalize(contract, params, epoch, running, &evidence);
            (call, "penalize")
        }
        Move::Settle => (calls::settle(contract, params, dispute), "settle"),
        // The other side may fetch its money itself.
        Move::Claim if guard != Guard::Both && !guard.covers(dispute.closer) => return None,
        Move::Claim => {
            let call = claims::claim_delayed(contract, params, epoch);
            (call, "claim the late payout")
        }
    };
    Some(Answer { call, what })
}
