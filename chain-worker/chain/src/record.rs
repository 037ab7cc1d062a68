//! What the contract keeps of a dispute and of a settled lock list. It keeps hashes only; the
//! content is rebuilt from its logs.

use crate::bindings::HubChannels;
use crate::convert::{address, hash, our_hash, uint48};
use crate::log::LogBody;
use alloy::primitives::{U256, keccak256};
use alloy::sol_types::SolValue as _;
use hub_core::dispute::answer::Late;
use hub_core::dispute::{Dispute, LockList};
use hub_core::lock::{Lock, locks_hash};
use hub_core::{Address, Amount, ChannelId, Epoch, Hash32, Typed as _};

/// A dispute with its hash as the contract has it.
pub fn dispute_hash(dispute: &Dispute) -> Hash32 {
    our_hash(keccak256(evm_dispute(dispute).abi_encode()))
}

pub(crate) fn evm_dispute(dispute: &Dispute) -> HubChannels::Dispute {
    HubChannels::Dispute {
        stateHash: hash(dispute.state.hash_struct()),
        version: uint48(dispute.state.version),
        closedVersion: uint48(dispute.closed_version),
        creditMax: dispute.credit_max.units(),
        penalized: dispute.penalized.is_some(),
        bountyTo: address(dispute.penalized.unwrap_or(Address::ZERO)),
    }
}

/// The hash under which the contract keeps a settled lock list.
pub fn lock_list_hash(list: &LockList) -> Hash32 {
    let words = (
        hash(list.hash),
        U256::from(list.reserve.units()),
        U256::from(list.short.units()),
    );
    our_hash(keccak256(words.abi_encode()))
}

/// Follows one channel's logs, in their order, to the dispute that runs after them. Logs of other
/// channels are passed over; nothing runs before a close and after a settlement.
pub fn advance(running: Option<Dispute>, id: ChannelId, log: &LogBody) -> Option<Dispute> {
    if log.channel_id() != Some(id) {
        return running;
    }
    match log {
        LogBody::Closed {
            state,
            closer,
            credit_max,
            deadline,
            ..
        } => Some(Dispute {
            state: *state,
            closed_version: state.version,
            credit_max: *credit_max,
            penalized: None,
            closer: *closer,
            deadline: *deadline,
        }),
        LogBody::Challenged {
            state,
            penalized,
            challenger,
            ..
        } => running.map(|dispute| Dispute {
            state: *state,
            penalized: penalized.then_some(*challenger).or(dispute.penalized),
            ..dispute
        }),
        LogBody::CreditAdded { credit_max, .. } => running.map(|dispute| Dispute {
            credit_max: *credit_max,
            ..dispute
        }),
        LogBody::Penalized { bounty_to, .. } => running.map(|dispute| Dispute {
            penalized: Some(*bounty_to),
            ..dispute
        }),
        LogBody::Settled { .. } => None,
        _ => running,
    }
}

/// A close and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// As the contract has it, or had it at the end.
    pub dispute: Dispute,
    /// Once the epoch has ended: the closer's own payout.
    pub late: Option<Late>,
}

impl Close {
    /// Whether nothing can be done any more.
    pub fn is_over(&self) -> bool {
        self.late.is_some_and(|late| late.gone)
    }
}

/// Reads the close of one epoch from a channel's logs in the order of the chain; nothing when
/// there is no close among them (any more).
pub fn close_of<'a>(
    channel: ChannelId,
    epoch: Epoch,
    logs: impl IntoIterator<Item = &'a LogBody>,
) -> Option<Close> {
    let mut running = None;
    let mut close: Option<Close> = None;
    for log in logs {
        running = advance(running, channel, log);
        if let Some(dispute) = running.filter(|dispute| dispute.state.epoch == epoch) {
            close = Some(Close {
                dispute,
                late: None,
            });
        }
        let Some(close) = close.as_mut().filter(|_| log.channel_id() == Some(channel)) else {
            continue;
        };
        match log {
            LogBody::Settled {
                epoch: of, paid, ..
            } if *of == epoch => {
                close.late = Some(Late {
                    due_at: paid.pay_at,
                    gone: paid.pay_at == 0,
                });
            }
            LogBody::DelayedPaid { epoch: of, .. }
            | LogBody::DelayedForfeited { epoch: of, .. }
                if *of == epoch =>
            {
                if let Some(late) = &mut close.late {
                    late.gone = true;
                }
            }
            _ => {}
        }
    }
    close
}

/// A settled lock list and the locks in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledLocks {
    /// The locks that stay, in order.
    pub locks: Vec<Lock>,
    /// Their hash, and what there is for them.
    pub list: LockList,
}

impl SettledLocks {
    /// The list of an epoch as settlement left it. `locks` are those of the settled state.
    pub fn new(locks: Vec<Lock>, reserve: Amount) -> Self {
        let wanted = Amount::sum(locks.iter().map(|lock| lock.amount)).unwrap_or(Amount::MAX);
        let list = LockList {
            hash: locks_hash(&locks),
            reserve,
            short: wanted.less(reserve),
        };
        Self { locks, list }
    }

    /// Follows the logs after the settlement of this channel and epoch.
    pub fn advance(self, id: ChannelId, epoch: Epoch, log: &LogBody) -> Self {
        match log {
            LogBody::Unlocked {
                channel_id,
                epoch: of,
                resolved,
                reserve,
                short,
                ..
            } if (*channel_id, *of) == (id, epoch) => {
                let rest = self.locks.into_iter().enumerate();
                let rest = rest.filter(|(place, _)| !resolved.contains(place));
                Self::kept(rest.map(|(_, lock)| lock).collect(), *reserve, *short)
            }
            LogBody::ChequeCashed {
                channel_id,
                epoch: of,
                index,
                amount,
                reserve,
                short,
                ..
            } if (*channel_id, *of) == (id, epoch) => {
                let mut locks = self.locks;
                if let Some(lock) = locks.get_mut(*index) {
                    lock.amount = lock.amount.less(*amount);
                }
                Self::kept(locks, *reserve, *short)
            }
            _ => self,
        }
    }

    fn kept(locks: Vec<Lock>, reserve: Amount, short: Amount) -> Self {
        let list = LockList {
            hash: locks_hash(&locks),
            reserve,
            short,
        };
        Self { locks, list }
    }
}
