//! Posting a state, answering it, and ending the epoch.
//!
//! Calls of a running dispute name it as the last log left it (see [`crate::record`]); when
//! another call came in between, the contract refuses with `HubChannels_WrongDispute`.

use super::{Call, call_with};
use crate::bindings::HubChannels;
use crate::convert::{evm_state, params, uint40, uint96};
use crate::cosigned::{Attestation, CoSigned, Evidence};
use crate::record::evm_dispute;
use alloy::primitives::Bytes;
use alloy::sol_types::SolCall as _;
use hub_core::dispute::Dispute;
use hub_core::types::CoopSettle;
use hub_core::{Address, Amount, ChannelParams, Epoch, Signature, State};

/// Twice the 118,000 of a close in a batch of depth 12.
const GAS_CLOSE: u64 = 250_000;
/// Twice the 65,000 of a challenge, which may be in a batch of depth 20 instead.
const GAS_ANSWER: u64 = 150_000;
/// 93,000, and two payouts of which each may burn 150,000 and wants 12,000 more to be there.
const GAS_SETTLE: u64 = 430_000;

/// A party's leave for the sender to close in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedIntent {
    /// Last second at which it may be used.
    pub valid_until: u64,
    /// Over the `CloseIntent` of channel, epoch, state and that second.
    pub signature: Signature,
}

/// A credit of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedCredit {
    /// All that was ever credited in the epoch, in minor units.
    pub cumulative: Amount,
    /// The hub's.
    pub signature: Signature,
}

/// Posts a state. The closer is who signed `intent`, else the sender.
pub fn close(
    channels: Address,
    channel: &ChannelParams,
    posted: &CoSigned,
    intent: Option<&SignedIntent>,
    credit: Option<&SignedCredit>,
) -> Call {
    let data = HubChannels::closeCall {
        params: params(channel),
        posted: posted.evm(),
        intent: HubChannels::CloseIntent {
            validUntil: uint40(intent.map_or(0, |intent| intent.valid_until)),
            signature: bytes(intent.map(|intent| &intent.signature)),
        },
        credit: evm_credit(credit),
    };
    call_with(channels, data.abi_encode(), GAS_CLOSE)
}

/// Replaces the posted state by a newer one.
pub fn challenge(
    channels: Address,
    channel: &ChannelParams,
    dispute: &Dispute,
    newer: &CoSigned,
) -> Call {
    let data = HubChannels::challengeCall {
        params: params(channel),
        dispute: evm_dispute(dispute),
        newer: newer.evm(),
    };
    call_with(channels, data.abi_encode(), GAS_ANSWER)
}

/// Shows a newer credit of the hub.
pub fn add_credit(
    channels: Address,
    channel: &ChannelParams,
    dispute: &Dispute,
    credit: &SignedCredit,
) -> Call {
    let data = HubChannels::addCreditCall {
        params: params(channel),
        dispute: evm_dispute(dispute),
        credit: evm_credit(Some(credit)),
    };
    call_with(channels, data.abi_encode(), GAS_ANSWER)
}

/// Shows that the closer of `epoch` had given up what it posted. Without a running dispute, a
/// user's late payout is forfeited.
pub fn penalize(
    channels: Address,
    channel: &ChannelParams,
    epoch: Epoch,
    dispute: Option<&Dispute>,
    evidence: &Evidence,
) -> Call {
    let none = HubChannels::Dispute {
        stateHash: Default::default(),
        version: Default::default(),
        closedVersion: Default::default(),
        creditMax: 0,
        penalized: false,
        bountyTo: Default::default(),
    };
    let data = HubChannels::penalizeCall {
        params: params(channel),
        epoch,
        dispute: dispute.map_or(none, evm_dispute),
        evidence: evidence.evm(),
    };
    // After a settlement it pays the bounty at once.
    call_with(channels, data.abi_encode(), GAS_SETTLE)
}

/// Ends the dispute at once with the other side's signature over `AcceptClose`.
pub fn accept_close(
    channels: Address,
    channel: &ChannelParams,
    dispute: &Dispute,
    signature: &Signature,
) -> Call {
    let data = HubChannels::acceptCloseCall {
        params: params(channel),
        dispute: evm_dispute(dispute),
        state: evm_state(&dispute.state),
        signature: bytes(Some(signature)),
    };
    call_with(channels, data.abi_encode(), GAS_SETTLE)
}

/// Ends the epoch after the deadline.
pub fn settle(channels: Address, channel: &ChannelParams, dispute: &Dispute) -> Call {
    let data = HubChannels::settleCall {
        params: params(channel),
        dispute: evm_dispute(dispute),
        state: evm_state(&dispute.state),
    };
    call_with(channels, data.abi_encode(), GAS_SETTLE)
}

/// Ends the epoch by agreement: the hub's and the user's signature over `CoopSettle`.
pub fn coop_settle(
    channels: Address,
    channel: &ChannelParams,
    agreement: &CoopSettle,
    signatures: (&Signature, &Signature),
) -> Call {
    let data = HubChannels::coopSettleCall {
        params: params(channel),
        agreement: HubChannels::CoopSettlement {
            withdrawn: agreement.withdrawn.units(),
            deposited: agreement.deposited.units(),
            userAmount: uint96(agreement.user_amount),
            validUntil: uint40(agreement.valid_until),
            hubSignature: bytes(Some(signatures.0)),
            userSignature: bytes(Some(signatures.1)),
        },
    };
    call_with(channels, data.abi_encode(), GAS_SETTLE)
}

/// Shows two different states of one version with the hub's consent.
pub fn prove_equivocation(
    channels: Address,
    channel: &ChannelParams,
    first: (&State, &Attestation),
    second: (&State, &Attestation),
) -> Call {
    let data = HubChannels::proveEquivocationCall {
        params: params(channel),
        first: evm_state(first.0),
        firstByHub: first.1.evm(),
        second: evm_state(second.0),
        secondByHub: second.1.evm(),
    };
    call_with(channels, data.abi_encode(), GAS_SETTLE)
}

fn evm_credit(credit: Option<&SignedCredit>) -> HubChannels::Credit {
    HubChannels::Credit {
        cumulative: credit.map_or(0, |credit| credit.cumulative.units()),
        signature: bytes(credit.map(|credit| &credit.signature)),
    }
}

fn bytes(signature: Option<&Signature>) -> Bytes {
    signature
        .map(|signature| Bytes::copy_from_slice(&signature.0))
        .unwrap_or_default()
}
