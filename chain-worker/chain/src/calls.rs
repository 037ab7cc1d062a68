//! Calldata of what we send, and how much gas it may use.

pub mod claims;
pub mod dispute;

use crate::bindings::{HubChannels, Token};
use crate::convert::{address, hash, params, uint40, uint96};
use alloy::primitives::{Bytes, U256, keccak256};
use alloy::sol_types::SolCall as _;
use chain_messages::WithdrawCommand;
use hub_core::{Address, Amount, ChannelId, ChannelParams};

/// Gas of one withdrawal in a batch: 150,000 that its payout may burn, and twice the 40,000 of its
/// checks and storage.
const GAS_PER_WITHDRAWAL: u64 = 230_000;
/// Gas of everything else in a transaction of ours; funding a vault takes about 110,000.
const GAS_BASE: u64 = 300_000;

/// Gas of one channel's collateral; the first of a channel takes 26,000.
const GAS_COLLATERAL: u64 = 40_000;

/// How a hub's credit is covered on chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FundingMode {
    /// The contract creates what it pays out.
    Mint,
    /// Tokens lie in the hub's vault before.
    Vault,
}

impl FundingMode {
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Mint),
            2 => Some(Self::Vault),
            _ => None,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Mint => 1,
            Self::Vault => 2,
        }
    }
}

/// What a hub registers with. Windows in seconds, amounts in minor units.
#[derive(Debug, Clone)]
pub struct Registration {
    /// How it pays.
    pub mode: FundingMode,
    /// Shortest window of its channels.
    pub min_challenge_period: u32,
    /// Longest window of its channels.
    pub max_challenge_period: u32,
    /// Most that it forfeits on a channel.
    pub penalty_cap: Amount,
    /// First key that signs for it.
    pub signer: Address,
    /// Its bond, at least 100 penalty caps.
    pub bond: Amount,
    /// Where its service is found.
    pub uri: String,
}

/// A call of one of our contracts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The contract.
    pub to: Address,
    /// Calldata.
    pub data: Vec<u8>,
    /// The most gas it may use.
    pub gas: u64,
}

fn call(to: Address, data: Vec<u8>) -> Call {
    Call {
        to,
        data,
        gas: GAS_BASE,
    }
}

fn call_with(to: Address, data: Vec<u8>, gas: u64) -> Call {
    Call { to, data, gas }
}

/// Runs many calls of `HubChannels` in one transaction. One that fails changes nothing and leaves
/// a `CallSkipped` log with its place.
pub fn batch(channels: Address, calls: &[Call]) -> Call {
    let data = HubChannels::batchCall {
        calls: calls.iter().map(|call| call.data.clone().into()).collect(),
    };
    let gas = calls.iter().map(|call| call.gas).sum::<u64>();
    call_with(channels, data.abi_encode(), GAS_BASE + gas)
}

/// Pays one co-signed withdrawal, or fails.
pub fn withdraw(channels: Address, item: &WithdrawCommand) -> Call {
    let data = HubChannels::withdrawCall {
        item: withdrawal(item),
    };
    call_with(channels, data.abi_encode(), GAS_PER_WITHDRAWAL)
}

/// Hub in vault mode: sets its own tokens aside for single channels; they must be approved.
pub fn batch_collateral(channels: Address, amounts: &[(ChannelId, Amount)]) -> Call {
    let data = HubChannels::batchCollateralCall {
        channelIds: amounts.iter().map(|(id, _)| hash(*id)).collect(),
        amounts: amounts.iter().map(|(_, amount)| uint96(*amount)).collect(),
    };
    call_with(
        channels,
        data.abi_encode(),
        GAS_BASE + GAS_COLLATERAL * amounts.len() as u64,
    )
}

/// Pays many co-signed withdrawals. One that can't be paid is skipped, so that it never fails as
/// a whole.
pub fn batch_withdraw(channels: Address, items: &[WithdrawCommand]) -> Call {
    let data = HubChannels::batchWithdrawCall {
        items: items.iter().map(withdrawal).collect(),
    };
    Call {
        to: channels,
        data: data.abi_encode(),
        gas: GAS_BASE + GAS_PER_WITHDRAWAL * items.len() as u64,
    }
}

fn withdrawal(item: &WithdrawCommand) -> HubChannels::Withdrawal {
    HubChannels::Withdrawal {
        params: params(&item.params),
        epoch: item.withdraw.epoch,
        prevTotal: item.withdraw.prev_total.units(),
        amount: uint96(item.withdraw.amount),
        to: address(item.withdraw.to),
        validUntil: uint40(item.withdraw.valid_until),
        requestId: hash(item.withdraw.request_id),
        hubSignature: Bytes::copy_from_slice(&item.hub_signature.0),
        userSignature: Bytes::copy_from_slice(&item.user_signature.0),
    }
}

/// Moves the sender's tokens into a hub's vault; they must be approved.
pub fn fund_vault(channels: Address, hub: Address, amount: Amount) -> Call {
    let data = HubChannels::fundVaultCall {
        hub: address(hub),
        amount: U256::from(amount.units()),
    };
    call(channels, data.abi_encode())
}

/// Lets `HubChannels` take the sender's tokens without a limit. It takes them only in calls that
/// the sender itself makes, and nobody can change it.
pub fn approve_all(token: Address, channels: Address) -> Call {
    let data = Token::approveCall {
        spender: address(channels),
        value: U256::MAX,
    };
    call(token, data.abi_encode())
}

/// Pays the sender's tokens into a channel; they must be approved.
pub fn deposit(channels: Address, channel: &ChannelParams, amount: Amount) -> Call {
    let data = HubChannels::depositCall {
        params: params(channel),
        amount: U256::from(amount.units()),
    };
    call(channels, data.abi_encode())
}

/// Makes the sender a hub; its bond must be approved.
pub fn register_hub(channels: Address, hub: &Registration) -> Call {
    let data = HubChannels::registerHubCall {
        rules: HubChannels::HubRules {
            mode: hub.mode.code(),
            minChallengePeriod: hub.min_challenge_period,
            maxChallengePeriod: hub.max_challenge_period,
            penaltyCap: uint96(hub.penalty_cap),
            operatorPays: false,
        },
        signer: address(hub.signer),
        bond: U256::from(hub.bond.units()),
        uri: hub.uri.clone(),
    };
    call(channels, data.abi_encode())
}

/// Lets one more key sign for the sender, a hub.
pub fn add_hub_signer(channels: Address, signer: Address) -> Call {
    let data = HubChannels::addHubSignerCall {
        signer: address(signer),
    };
    call(channels, data.abi_encode())
}

/// Admin: lets a hub create tokens by payouts.
pub fn allow_mint(channels: Address, hub: Address, amount: Amount) -> Call {
    let data = HubChannels::allowMintCall {
        hub: address(hub),
        amount: U256::from(amount.units()),
    };
    call(channels, data.abi_encode())
}

/// Admin of the token: lets a contract create tokens.
pub fn grant_minter(token: Address, minter: Address) -> Call {
    let data = Token::grantRoleCall {
        role: keccak256("MINTER_ROLE"),
        account: address(minter),
    };
    call(token, data.abi_encode())
}

/// Minter: creates tokens.
pub fn mint(token: Address, to: Address, amount: Amount) -> Call {
    let data = Token::mintCall {
        to: address(to),
        amount: U256::from(amount.units()),
    };
    call(token, data.abi_encode())
}

/// Moves the sender's tokens.
pub fn transfer(token: Address, to: Address, amount: Amount) -> Call {
    let data = Token::transferCall {
        to: address(to),
        value: U256::from(amount.units()),
    };
    call(token, data.abi_encode())
}
