//! Evidence for locks, and what is paid after an epoch has ended.

use super::{Call, call_with};
use crate::bindings::HubChannels;
use crate::convert::{address, evm_lock, hash, params};
use crate::record::SettledLocks;
use alloy::primitives::{Bytes, U256};
use alloy::sol_types::SolCall as _;
use hub_core::{Address, Amount, ChannelParams, Epoch, Hash32, Signature};

/// One payout, which may burn 150,000 and wants 12,000 more to be there, and 50,000 around it.
const GAS_PAYOUT: u64 = 220_000;
/// A preimage or a meter: a new slot and a log.
const GAS_EVIDENCE: u64 = 60_000;
/// A lock of a list: 6,000 of reading it, with as much again.
const GAS_PER_LOCK: u64 = 12_000;

/// What a buyer signed for: granules of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedMeter {
    /// The buyer's key, to which the order id commits.
    pub signer: Address,
    /// The order's terms, to which the order id commits.
    pub terms: Hash32,
    /// All that were delivered.
    pub delivered: u64,
    /// Over the `Meter` of order id and granules.
    pub signature: Signature,
}

/// A cumulative promise out of a chequebook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedCheque {
    /// The book's key, to which the book id commits.
    pub signer: Address,
    /// The book's terms, to which the book id commits.
    pub terms: Hash32,
    /// Who is paid.
    pub beneficiary: Address,
    /// All that was ever promised to it, in minor units.
    pub cumulative: Amount,
    /// Over the `Cheque` of book id, beneficiary and total.
    pub signature: Signature,
}

/// Makes preimages known, with the block's time. Known ones keep their first time.
pub fn register_preimages(channels: Address, preimages: &[Hash32]) -> Call {
    let data = HubChannels::registerPreimagesCall {
        preimages: preimages.iter().map(|preimage| hash(*preimage)).collect(),
    };
    let gas = GAS_EVIDENCE * preimages.len() as u64;
    call_with(channels, data.abi_encode(), gas)
}

/// Shows the granules of an order; the highest counts.
pub fn show_meter(channels: Address, meter: &SignedMeter) -> Call {
    let data = HubChannels::showMeterCall {
        meter: HubChannels::Meter {
            signer: address(meter.signer),
            terms: hash(meter.terms),
            delivered: meter.delivered,
            signature: Bytes::copy_from_slice(&meter.signature.0),
        },
    };
    call_with(channels, data.abi_encode(), GAS_EVIDENCE)
}

/// Resolves every lock of a settled list that can be resolved now.
pub fn unlock(
    channels: Address,
    channel: &ChannelParams,
    epoch: Epoch,
    settled: &SettledLocks,
) -> Call {
    let data = HubChannels::unlockCall {
        params: params(channel),
        epoch,
        list: evm_list(settled),
    };
    let gas = GAS_PAYOUT + GAS_PER_LOCK * settled.locks.len() as u64;
    call_with(channels, data.abi_encode(), gas)
}

/// Pays a beneficiary of the cover lock at `index` of a settled list.
pub fn cash_cheque(
    channels: Address,
    channel: &ChannelParams,
    epoch: Epoch,
    settled: &SettledLocks,
    index: usize,
    cheque: &SignedCheque,
) -> Call {
    let data = HubChannels::cashChequeCall {
        params: params(channel),
        epoch,
        list: evm_list(settled),
        index: U256::from(index),
        cheque: HubChannels::Cheque {
            signer: address(cheque.signer),
            terms: hash(cheque.terms),
            beneficiary: address(cheque.beneficiary),
            cumulative: cheque.cumulative.units(),
            signature: Bytes::copy_from_slice(&cheque.signature.0),
        },
    };
    let gas = GAS_PAYOUT + GAS_PER_LOCK * settled.locks.len() as u64;
    call_with(channels, data.abi_encode(), gas)
}

/// Pays the closer of an ended epoch, once that is due.
pub fn claim_delayed(channels: Address, channel: &ChannelParams, epoch: Epoch) -> Call {
    let data = HubChannels::claimDelayedCall {
        params: params(channel),
        epoch,
    };
    call_with(channels, data.abi_encode(), GAS_PAYOUT)
}

/// Pays what the hub's funds could not, as far as they reach now.
pub fn pay_owed(channels: Address, channel: &ChannelParams, epoch: Epoch) -> Call {
    let data = HubChannels::payOwedCall {
        params: params(channel),
        epoch,
    };
    call_with(channels, data.abi_encode(), GAS_PAYOUT)
}

/// Pays again what could not be delivered. Only `account` itself may name another receiver.
pub fn claim_reclaim(channels: Address, account: Address, to: Address) -> Call {
    let data = HubChannels::claimReclaimCall {
        account: address(account),
        to: address(to),
    };
    call_with(channels, data.abi_encode(), 2 * GAS_PAYOUT)
}

fn evm_list(settled: &SettledLocks) -> HubChannels::LockList {
    HubChannels::LockList {
        locks: settled.locks.iter().map(evm_lock).collect(),
        reserve: U256::from(settled.list.reserve.units()),
        short: U256::from(settled.list.short.units()),
    }
}
