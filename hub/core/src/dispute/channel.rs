//! A channel on chain while it is open: deposits, collateral, withdrawals.

use super::hub::added;
use super::{Call, Hub, Key, MAX_DEPOSITED, Payment, Refusal, WithdrawFault};
use crate::settlement::{Closer, FundingMode};
use crate::types::Withdraw;
use crate::{Address, Amount, ChannelId, ChannelParams, Epoch, Hash32, State, Version};
use std::collections::{BTreeMap, BTreeSet};

/// What the contract keeps of a channel; amounts in minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its parameters, which never change.
    pub params: ChannelParams,
    /// Digest of the parameters.
    pub id: ChannelId,
    /// The epoch now.
    pub epoch: Epoch,
    /// Executed withdrawals of this epoch.
    pub withdrawn: Amount,
    /// Deposits of this epoch.
    pub deposited: Amount,
    /// Tokens that a hub set aside for this channel.
    pub collateral: Amount,
    /// The running dispute; nothing while the channel is open.
    pub dispute: Option<Dispute>,
    /// What ended epochs still have to pay.
    pub ended: BTreeMap<Epoch, Ended>,
    /// Epochs in which the hub was proved to have signed two states of one version.
    pub equivocated: BTreeSet<Epoch>,
}

/// A close and what has answered it; times in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dispute {
    /// The newest state shown.
    pub state: State,
    /// What the closer posted: evidence is compared with this, for the whole dispute.
    pub closed_version: Version,
    /// Highest credit shown, in minor units.
    pub credit_max: Amount,
    /// Who receives the bounty, once the closer is penalized.
    pub penalized: Option<Address>,
    /// Who posted.
    pub closer: Closer,
    /// Last second for an answer.
    pub deadline: u64,
}

/// What an ended epoch still has to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    /// The closer's own payout.
    pub delayed: Option<Delayed>,
    /// What the hub's funds could not pay the user, in minor units: forfeited with a late payout.
    pub owed: Amount,
    /// What they could not pay out of locks, in minor units: never forfeited, waits for nobody.
    pub lock_owed: Amount,
    /// The settled lock list.
    pub locks: Option<LockList>,
    /// Collateral that a mint hub's channel had no use for: the operator's to claim, in minor
    /// units.
    pub stray: Amount,
}

/// A closer's late payout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delayed {
    /// To a user, or a hub's collateral back to its vault; in minor units.
    pub amount: Amount,
    /// When it is due, in seconds.
    pub due_at: u64,
    /// What a late proof is compared with.
    pub closed_version: Version,
    /// Who waits: the hub or the user.
    pub closer: Closer,
}

/// A settled lock list; amounts in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockList {
    /// Hash of the locks that stay.
    pub hash: Hash32,
    /// Set aside for them.
    pub reserve: Amount,
    /// What the funds could not cover.
    pub short: Amount,
}

/// A withdrawal as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WithdrawOrder {
    /// The order.
    pub order: Withdraw,
    /// Whose signature stands in the hub's place; nothing when the operator sends without one.
    pub hub: Option<Key>,
    /// Whose signature stands in the user's place.
    pub user: Key,
}

impl Channel {
    /// A channel that the contract has not heard of.
    pub fn new(params: ChannelParams, id: ChannelId) -> Self {
        Self {
            params,
            id,
            epoch: 0,
            withdrawn: Amount::ZERO,
            deposited: Amount::ZERO,
            collateral: Amount::ZERO,
            dispute: None,
            ended: BTreeMap::new(),
            equivocated: BTreeSet::new(),
        }
    }

    pub(super) fn require_valid(&self, hub: &Hub) -> Result<(), Refusal> {
        if hub.accepts(&self.params) {
            Ok(())
        } else {
            Err(Refusal::BadParams)
        }
    }

    pub(super) fn require_open(&self) -> Result<(), Refusal> {
        match self.dispute {
            None => Ok(()),
            Some(_) => Err(Refusal::WrongStatus { closing: true }),
        }
    }

    /// Pays tokens in; in mint mode they are burned and the allowance grows by as much.
    pub fn deposit(&mut self, hub: &mut Hub, amount: Amount) -> Result<(), Refusal> {
        if hub.paused {
            return Err(Refusal::Paused);
        }
        self.require_valid(hub)?;
        self.require_open()?;
        if amount.is_zero() {
            return Err(Refusal::AmountZero);
        }
        if amount > MAX_DEPOSITED.less(self.deposited) {
            return Err(Refusal::AmountTooLarge { amount });
        }
        let funds = added(hub.funds, amount)?;

        self.deposited = added(self.deposited, amount)?;
        hub.funds = funds;
        Ok(())
    }

    /// Sets tokens of a hub in vault mode aside for this channel.
    pub fn add_collateral(&mut self, sender: &Hub, amount: Amount) -> Result<(), Refusal> {
        if sender.mode != FundingMode::Vault {
            return Err(Refusal::WrongMode {
                hub: sender.address,
            });
        }
        self.collateral = added(self.collateral, amount)?;
        Ok(())
    }

    /// Pays one withdrawal. Vault before collateral: collateral is there for the settlement.
    pub fn withdraw(
        &mut self,
        hub: &mut Hub,
        shown: &WithdrawOrder,
        call: Call,
    ) -> Result<Payment, Refusal> {
        let order = &shown.order;
        if let Some(fault) = self.withdraw_fault(hub, shown, call) {
            return Err(Refusal::WithdrawRefused {
                request_id: order.request_id,
                fault,
            });
        }
        let total = added(order.prev_total, order.amount)?;

        self.withdrawn = total;
        let taken = hub.take(order.amount);
        self.collateral = self.collateral.less(order.amount.less(taken));
        Ok(Payment {
            to: order.to,
            amount: order.amount,
            minted: hub.mode == FundingMode::Mint,
        })
    }

    fn withdraw_fault(
        &self,
        hub: &Hub,
        shown: &WithdrawOrder,
        call: Call,
    ) -> Option<WithdrawFault> {
        let order = &shown.order;
        let collateral = match hub.mode {
            FundingMode::Vault => self.collateral,
            FundingMode::Mint => Amount::ZERO,
        };
        let by_operator = call.sender == hub.address && hub.operator_pays && shown.hub.is_none();
        let faults = [
            (!hub.accepts(&self.params), WithdrawFault::ChannelParams),
            (self.dispute.is_some(), WithdrawFault::NotOpen),
            (order.epoch != self.epoch, WithdrawFault::WrongEpoch),
            (call.now > order.valid_until, WithdrawFault::Expired),
            (
                order.prev_total != self.withdrawn,
                WithdrawFault::WrongTotal,
            ),
            (
                order.amount.is_zero() || order.prev_total.checked_add(order.amount).is_none(),
                WithdrawFault::Amount,
            ),
            (
                order.to == Address::ZERO || order.to == hub.contract,
                WithdrawFault::Payee,
            ),
            (
                order.amount.less(hub.funds) > collateral,
                WithdrawFault::FundsShort,
            ),
            (
                !by_operator && shown.hub != Some(Key::Hub),
                WithdrawFault::HubSignature,
            ),
            (shown.user != Key::User, WithdrawFault::UserSignature),
        ];
        faults
            .into_iter()
            .find_map(|(found, fault)| found.then_some(fault))
    }
}
