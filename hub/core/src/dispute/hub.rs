//! What all channels of one hub share on chain.

use super::{Payment, Refusal};
use crate::settlement::FundingMode;
use crate::{Address, Amount, ChannelParams};

/// Deposits of one epoch stay at or below this, in minor units.
pub const MAX_DEPOSITED: Amount = Amount::new((1 << 112) - 1);
/// Largest bounty, in 1/10,000: more would make proving one's own cheating worth while.
pub const MAX_BOUNTY_BPS: u16 = 500;

/// A registered hub; amounts in minor units, times in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hub {
    /// The operator's account.
    pub address: Address,
    /// The contract itself, which can be nobody's payee.
    pub contract: Address,
    /// Keys that may sign for the hub.
    pub signers: Vec<Address>,
    /// Where payouts come from.
    pub mode: FundingMode,
    /// Whether a withdrawal that the operator sends needs no signature of the hub signer.
    pub operator_pays: bool,
    /// Shortest window of a channel.
    pub min_challenge_period: u32,
    /// Longest window, and longest self delay.
    pub max_challenge_period: u32,
    /// Most that the hub forfeits in one channel.
    pub penalty_cap: Amount,
    /// The vault, or the mint allowance left.
    pub funds: Amount,
    /// What forfeits are paid from.
    pub bond: Amount,
    /// Sum of what users and settled lock lists are owed.
    pub owed: Amount,
    /// Whether the guardian has stopped new obligations: deposits, never an exit.
    pub paused: bool,
}

impl Hub {
    /// Whether a channel with these parameters is the hub's and within its rules.
    pub fn accepts(&self, params: &ChannelParams) -> bool {
        params.hub == self.address
            && params.challenge_period >= self.min_challenge_period
            && params.challenge_period <= self.max_challenge_period
            && params.self_delay <= self.max_challenge_period
            && params.bounty_bps <= MAX_BOUNTY_BPS
            && !params.capacity.is_zero()
            && params.user != Address::ZERO
            && params.user != self.contract
            && params.user_signer != Address::ZERO
            && params.user_signer != params.hub_signer
            && self.signers.contains(&params.hub_signer)
    }

    /// Moves tokens into the vault. Anybody may; only a hub in vault mode has one.
    pub fn fund_vault(&mut self, amount: Amount) -> Result<(), Refusal> {
        if self.mode != FundingMode::Vault {
            return Err(Refusal::WrongMode { hub: self.address });
        }
        if amount.is_zero() {
            return Err(Refusal::AmountZero);
        }
        self.funds = added(self.funds, amount)?;
        Ok(())
    }

    /// Moves tokens into the bond. Anybody may.
    pub fn fund_bond(&mut self, amount: Amount) -> Result<(), Refusal> {
        if amount.is_zero() {
            return Err(Refusal::AmountZero);
        }
        self.bond = added(self.bond, amount)?;
        Ok(())
    }

    /// Most that the hub forfeits in a channel now.
    pub fn penalty_limit(&self, params: &ChannelParams) -> Amount {
        params.penalty_cap.min(self.penalty_cap).min(self.bond)
    }

    /// Takes what is there of `wanted` out of the funds.
    pub(super) fn take(&mut self, wanted: Amount) -> Amount {
        let taken = wanted.min(self.funds);
        self.funds = self.funds.less(taken);
        taken
    }

    /// Gives back what was taken. No exit may depend on how much the hub has meanwhile.
    pub(super) fn give_back(&mut self, amount: Amount) {
        self.funds = Amount::new(self.funds.units().saturating_add(amount.units()));
    }

    /// A payment of what was taken from the funds.
    pub(super) fn pays(&self, to: Address, amount: Amount) -> Option<Payment> {
        (!amount.is_zero()).then_some(Payment {
            to,
            amount,
            minted: self.mode == FundingMode::Mint,
        })
    }
}

/// A payment of tokens that the contract holds.
pub(super) fn pays_held(to: Address, amount: Amount) -> Option<Payment> {
    (!amount.is_zero()).then_some(Payment {
        to,
        amount,
        minted: false,
    })
}

/// The sum, or the contract's refusal of what does not fit.
pub(super) fn added(left: Amount, right: Amount) -> Result<Amount, Refusal> {
    left.checked_add(right)
        .ok_or(Refusal::AmountTooLarge { amount: right })
}
