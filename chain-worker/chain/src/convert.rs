//! Between the library's types and ours.

use crate::bindings::HubChannels;
use crate::error::ChainError;
use alloy::primitives::{Address as EvmAddress, B256, U256, Uint};
use hub_core::lock::Lock;
use hub_core::settlement::Closer;
use hub_core::{Address, Amount, ChannelId, ChannelParams, Hash32, State};

pub(crate) fn address(value: Address) -> EvmAddress {
    EvmAddress::new(value.0)
}

pub(crate) fn our_address(value: EvmAddress) -> Address {
    Address(value.into_array())
}

pub(crate) fn hash(value: impl Into<Hash32>) -> B256 {
    B256::new(value.into().0)
}

pub(crate) fn our_hash(value: B256) -> Hash32 {
    Hash32(value.0)
}

pub(crate) fn channel_id(value: B256) -> ChannelId {
    ChannelId(value.0)
}

/// An amount from the contract. Ours fit 128 bits; a token may have holders with more.
pub(crate) fn amount(contract: Address, what: &str, value: U256) -> Result<Amount, ChainError> {
    u128::try_from(value)
        .map(Amount::new)
        .map_err(|_| ChainError::Undecodable {
            contract,
            what: what.to_owned(),
            reason: format!("{value} exceeds 128 bits"),
        })
}

/// A balance as the contract's type. Larger values become one that no channel holds, so that
/// the contract refuses them.
pub(crate) fn uint96(value: Amount) -> Uint<96, 2> {
    let units = value.units().min(Amount::MAX_BALANCE.units());
    Uint::from_limbs([units as u64, (units >> 64) as u64])
}

pub(crate) fn from_uint96(value: Uint<96, 2>) -> Amount {
    let [low, high] = *value.as_limbs();
    Amount::new(u128::from(high) << 64 | u128::from(low))
}

/// A version as the contract's type.
pub(crate) fn uint48(value: u64) -> Uint<48, 1> {
    Uint::from_limbs([value.min((1 << 48) - 1)])
}

/// A time as the contract's type.
pub(crate) fn uint40(value: u64) -> Uint<40, 1> {
    Uint::from_limbs([value.min((1 << 40) - 1)])
}

pub(crate) fn params(value: &ChannelParams) -> HubChannels::ChannelParams {
    HubChannels::ChannelParams {
        hub: address(value.hub),
        hubSigner: address(value.hub_signer),
        user: address(value.user),
        userSigner: address(value.user_signer),
        custodial: value.custodial,
        capacity: uint96(value.capacity),
        challengePeriod: value.challenge_period,
        selfDelay: value.self_delay,
        penaltyCap: uint96(value.penalty_cap),
        bountyBps: value.bounty_bps,
        salt: hash(value.salt),
    }
}

pub(crate) fn our_params(value: &HubChannels::ChannelParams) -> ChannelParams {
    ChannelParams {
        hub: our_address(value.hub),
        hub_signer: our_address(value.hubSigner),
        user: our_address(value.user),
        user_signer: our_address(value.userSigner),
        custodial: value.custodial,
        capacity: from_uint96(value.capacity),
        challenge_period: value.challengePeriod,
        self_delay: value.selfDelay,
        penalty_cap: from_uint96(value.penaltyCap),
        bounty_bps: value.bountyBps,
        salt: our_hash(value.salt),
    }
}

pub(crate) fn evm_state(value: &State) -> HubChannels::State {
    HubChannels::State {
        channelId: hash(value.channel_id),
        epoch: value.epoch,
        version: uint48(value.version),
        ackVersion: uint48(value.ack_version),
        hubBalance: uint96(value.hub_balance),
        userBalance: uint96(value.user_balance),
        hubLocked: uint96(value.hub_locked),
        userLocked: uint96(value.user_locked),
        withdrawn: value.withdrawn.units(),
        deposited: value.deposited.units(),
        credited: value.credited.units(),
        locksHash: hash(value.locks_hash),
        transfersRoot: hash(value.transfers_root),
    }
}

pub(crate) fn evm_lock(value: &Lock) -> HubChannels::Lock {
    HubChannels::Lock {
        id: hash(value.id),
        kind: value.kind as u8,
        userPays: value.user_pays,
        amount: uint96(value.amount),
        expiry: uint40(value.expiry),
        condition: hash(value.condition),
        total: value.total,
    }
}

/// Who closed; nothing while nobody did.
pub(crate) fn closer(code: u8) -> Option<Closer> {
    match code {
        1 => Some(Closer::Hub),
        2 => Some(Closer::User),
        3 => Some(Closer::Exit),
        _ => None,
    }
}

pub(crate) fn state(value: &HubChannels::State) -> State {
    State {
        channel_id: channel_id(value.channelId),
        epoch: value.epoch,
        version: value.version.as_limbs()[0],
        ack_version: value.ackVersion.as_limbs()[0],
        hub_balance: from_uint96(value.hubBalance),
        user_balance: from_uint96(value.userBalance),
        hub_locked: from_uint96(value.hubLocked),
        user_locked: from_uint96(value.userLocked),
        withdrawn: Amount::new(value.withdrawn),
        deposited: Amount::new(value.deposited),
        credited: Amount::new(value.credited),
        locks_hash: our_hash(value.locksHash),
        transfers_root: our_hash(value.transfersRoot),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balance_survives_the_contracts_type() {
        for units in [0, 1, u128::from(u64::MAX), 1 << 64, (1 << 96) - 1] {
            assert_eq!(from_uint96(uint96(Amount::new(units))), Amount::new(units));
        }
    }
}
