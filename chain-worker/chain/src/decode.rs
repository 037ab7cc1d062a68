//! From raw logs to what they say.

use crate::bindings::{ERROR_NAMES, EVENT_NAMES, HubChannels::HubChannelsEvents as Events};
use crate::convert::{amount, channel_id, closer, our_address, our_hash, our_params, state};
use crate::error::ChainError;
use crate::log::{ChainLog, Ending, LogBody, WithdrawFault};
use alloy::primitives::U256;
use alloy::sol_types::SolEventInterface as _;
use chain_messages::Place;
use hub_core::{Address, Amount};

pub(crate) fn decode(
    contract: Address,
    raw: &alloy::rpc::types::Log,
) -> Result<ChainLog, ChainError> {
    let undecodable = |reason: String| ChainError::Undecodable {
        contract,
        what: format!("log in transaction {:?}", raw.transaction_hash),
        reason,
    };
    let place = place(raw).ok_or_else(|| undecodable("it is in no block".into()))?;
    if our_address(raw.inner.address) != contract {
        return Err(undecodable("it is of another contract".into()));
    }
    let topic = raw.topic0().copied().unwrap_or_default();
    let name = EVENT_NAMES
        .get(&topic)
        .ok_or_else(|| undecodable(format!("no event has the topic {topic}")))?;
    let body = if Events::SELECTORS.contains(&topic.0) {
        let event = Events::decode_log(&raw.inner);
        let event = event.map_err(|error| undecodable(error.to_string()))?.data;
        Reader { contract }.body(event, name)?
    } else {
        LogBody::Other { name: name.clone() }
    };
    Ok(ChainLog { place, body })
}

fn place(raw: &alloy::rpc::types::Log) -> Option<Place> {
    Some(Place {
        block: raw.block_number?,
        block_hash: our_hash(raw.block_hash?),
        tx_hash: our_hash(raw.transaction_hash?),
        log_index: raw.log_index?,
    })
}

/// Name of an error of the contract from the bytes of a revert.
pub(crate) fn error_name(bytes: &[u8]) -> Option<&'static str> {
    let selector = bytes.first_chunk::<4>()?;
    ERROR_NAMES.get(selector).map(String::as_str)
}

struct Reader {
    contract: Address,
}

impl Reader {
    fn units(&self, what: &str, value: U256) -> Result<Amount, ChainError> {
        amount(self.contract, what, value)
    }

    /// A value that is none the contract knows.
    fn strange<T>(&self, what: &str) -> Result<T, ChainError> {
        Err(ChainError::Undecodable {
            contract: self.contract,
            what: what.to_owned(),
            reason: "out of range".into(),
        })
    }

    fn body(&self, event: Events, name: &str) -> Result<LogBody, ChainError> {
        Ok(match event {
            Events::Opened(e) => LogBody::Opened {
                params: Box::new(our_params(&e.params)),
                channel_id: channel_id(e.channelId),
            },
            Events::Deposited(e) => LogBody::Deposited {
                hub: our_address(e.hub),
                channel_id: channel_id(e.channelId),
                epoch: e.epoch,
                amount: self.units("deposit", e.amount)?,
                total: self.units("deposits", e.depositedAfter)?,
            },
            Events::Withdrawn(e) => LogBody::Withdrawn {
                hub: our_address(e.hub),
                channel_id: channel_id(e.channelId),
                epoch: e.epoch,
                request_id: our_hash(e.requestId),
                to: our_address(e.to),
                amount: self.units("withdrawal", e.amount)?,
                total: self.units("withdrawals", e.withdrawnAfter)?,
            },
            Events::WithdrawSkipped(e) => LogBody::WithdrawSkipped {
                hub: our_address(e.hub),
                channel_id: channel_id(e.channelId),
                request_id: our_hash(e.requestId),
                fault: WithdrawFault::from_code(e.fault),
            },
            Events::Settled(_) | Events::CoopSettled(_) => self.ending(event)?,
            Events::PreimageRegistered(e) => LogBody::PreimageRegistered {
                hash: our_hash(e.hash),
                preimage: our_hash(e.preimage),
            },
            Events::MeterShown(e) => LogBody::MeterShown {
                order: our_hash(e.orderId),
                delivered: e.delivered,
            },
            Events::Reclaimable(e) => LogBody::Reclaimable {
                account: our_address(e.account),
                amount: self.units("claim", e.amount)?,
            },
            Events::CallSkipped(e) => LogBody::CallSkipped {
                index: u64::try_from(e.index).unwrap_or(u64::MAX),
                reason: error_name(&e.reason)
                    .map_or_else(|| e.reason.to_string(), |name| name.to_owned()),
            },
            Events::Closed(_)
            | Events::Challenged(_)
            | Events::CreditAdded(_)
            | Events::Penalized(_)
            | Events::EquivocationProved(_) => self.dispute(event)?,
            Events::DelayedForfeited(_)
            | Events::DelayedPaid(_)
            | Events::Bounced(_)
            | Events::OwedPaid(_)
            | Events::Unlocked(_)
            | Events::ChequeCashed(_) => self.payout(event)?,
            Events::Reclaimed(_) => LogBody::Other { name: name.into() },
        })
    }

    fn dispute(&self, event: Events) -> Result<LogBody, ChainError> {
        Ok(match event {
            Events::Closed(e) => LogBody::Closed {
                hub: our_address(e.hub),
                state: state(&e.state),
                closer: match closer(e.closer) {
                    Some(closer) => closer,
                    None => return self.strange("closer"),
                },
                credit_max: Amount::new(e.creditMax),
                deadline: e.deadline.as_limbs()[0],
            },
            Events::Challenged(e) => LogBody::Challenged {
                hub: our_address(e.hub),
                state: state(&e.state),
                penalized: e.penalized,
                challenger: our_address(e.challenger),
            },
            Events::CreditAdded(e) => LogBody::CreditAdded {
                hub: our_address(e.hub),
                channel_id: channel_id(e.channelId),
                credit_max: Amount::new(e.creditMax),
            },
            Events::Penalized(e) => LogBody::Penalized {
                hub: our_address(e.hub),
                channel_id: channel_id(e.channelId),
                bounty_to: our_address(e.bountyTo),
            },
            Events::EquivocationProved(e) => LogBody::EquivocationProved {
                hub: our_address(e.hub),
                channel_id: channel_id(e.channelId),
                epoch: e.epoch,
            },
            _ => return self.strange("dispute"),
        })
    }

    fn ending(&self, event: Events) -> Result<LogBody, ChainError> {
        Ok(match event {
            Events::Settled(e) => LogBody::Settled {
                hub: our_address(e.hub),
                channel_id: channel_id(e.channelId),
                epoch: e.epoch,
                paid: Ending {
                    agreed: false,
                    version: e.version.as_limbs()[0],
                    penalized: e.penalized,
                    user_pay: self.units("userPay", e.userPay)?,
                    user_bonus: self.units("userBonus", e.userBonus)?,
                    bounty: self.units("bounty", e.bounty)?,
                    bounty_to: our_address(e.bountyTo),
                    lock_reserve: self.units("lockReserve", e.lockReserve)?,
                    owed: self.units("owed", e.owed)?,
                    pay_at: e.payAt.as_limbs()[0],
                },
            },
            Events::CoopSettled(e) => LogBody::Settled {
                hub: our_address(e.hub),
                channel_id: channel_id(e.channelId),
                epoch: e.epoch,
                paid: Ending {
                    agreed: true,
                    version: 0,
                    penalized: false,
                    user_pay: self.units("userPay", e.userPay + e.owed)?,
                    user_bonus: Amount::ZERO,
                    bounty: Amount::ZERO,
                    bounty_to: Address::ZERO,
                    lock_reserve: Amount::ZERO,
                    owed: self.units("owed", e.owed)?,
                    pay_at: 0,
                },
            },
            _ => return self.strange("settlement"),
        })
    }

    fn payout(&self, event: Events) -> Result<LogBody, ChainError> {
        Ok(match event {
            Events::DelayedForfeited(e) => LogBody::DelayedForfeited {
                hub: our_address(e.hub),
                channel_id: channel_id(e.channelId),
                epoch: e.epoch,
                amount: self.units("late payout", e.amount)?,
                bounty: self.units("bounty", e.bounty)?,
                bounty_to: our_address(e.bountyTo),
            },
            Events::DelayedPaid(e) => LogBody::DelayedPaid {
                hub: our_address(e.hub),
                channel_id: channel_id(e.channelId),
                epoch: e.epoch,
                to: our_address(e.to),
                amount: self.units("late payout", e.amount)?,
            },
            Events::Bounced(e) => LogBody::Bounced {
                hub: our_address(e.hub),
                channel_id: channel_id(e.channelId),
                epoch: e.epoch,
                amount: self.units("owed", e.amount)?,
            },
            Events::OwedPaid(e) => LogBody::OwedPaid {
                hub: our_address(e.hub),
                channel_id: channel_id(e.channelId),
                epoch: e.epoch,
                amount: self.units("owed", e.amount)?,
                left: self.units("owed", e.left)?,
            },
            Events::Unlocked(e) => LogBody::Unlocked {
                hub: our_address(e.hub),
                channel_id: channel_id(e.channelId),
                epoch: e.epoch,
                resolved: (0..256).filter(|place| e.resolved.bit(*place)).collect(),
                user_pay: self.units("userPay", e.userPay)?,
                owed: self.units("owed", e.owed)?,
                reserve: self.units("reserve", e.reserve)?,
                short: self.units("short", e.short)?,
            },
            Events::ChequeCashed(e) => LogBody::ChequeCashed {
                channel_id: channel_id(e.channelId),
                epoch: e.epoch,
                beneficiary: our_address(e.beneficiary),
                index: usize::try_from(e.index).unwrap_or(usize::MAX),
                amount: self.units("cheque", e.amount)?,
                reserve: self.units("reserve", e.reserve)?,
                short: self.units("short", e.short)?,
            },
            _ => return self.strange("payout"),
        })
    }
}
