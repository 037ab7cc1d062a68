//! What the contract's logs say about one close, and what is to be done about it. No I/O.

use super::copy::Copy;
use chain::LogBody;
use chain::record::advance;
use hub_core::settlement::Closer;
use hub_core::{ChannelId, Epoch};

/// A close and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dispute {
    /// As the contract has it, or had it at the end.
    pub record: hub_core::dispute::Dispute,
    /// How it ended, once it did.
    pub ended: Option<Ended>,
}

/// The end of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// When the closer's own payout is due; 0: nothing waits.
    pub pay_at: u64,
    /// Whether that payout is gone: paid, or forfeited.
    pub gone: bool,
}

/// What can be done about a dispute. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
pub enum Step {
    /// A newer state in the place of the posted one.
    Challenge = 1,
    /// The closer had moved past what it posted.
    Penalize = 2,
    /// The window is over.
    Settle = 3,
    /// What the closer waited for.
    Claim = 4,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Challenge, Self::Penalize, Self::Settle, Self::Claim];

    /// For metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Challenge => "challenge",
            Self::Penalize => "penalize",
            Self::Settle => "settle",
            Self::Claim => "claim",
        }
    }
}

/// The channel of a log that is about a dispute or what it pays.
pub fn channel_of(log: &LogBody) -> Option<ChannelId> {
    match log {
        LogBody::Closed { .. }
        | LogBody::Challenged { .. }
        | LogBody::CreditAdded { .. }
        | LogBody::Penalized { .. }
        | LogBody::Settled { .. }
        | LogBody::DelayedPaid { .. }
        | LogBody::DelayedForfeited { .. } => log.channel_id(),
        _ => None,
    }
}

/// Reads the dispute of one epoch from a channel's logs in the order of the chain; nothing when
/// there is no close among them (any more).
pub fn read<'a>(
    channel: ChannelId,
    epoch: Epoch,
    logs: impl IntoIterator<Item = &'a LogBody>,
) -> Option<Dispute> {
    let mut running = None;
    let mut dispute: Option<Dispute> = None;
    for log in logs {
        running = advance(running, channel, log);
        if let Some(record) = running.filter(|record| record.state.epoch == epoch) {
            dispute = Some(Dispute {
                record,
                ended: None,
            });
        }
        let Some(dispute) = &mut dispute else {
            continue;
        };
        match log {
            LogBody::Settled {
                epoch: of, paid, ..
            } if *of == epoch => {
                dispute.ended = Some(Ended {
                    pay_at: paid.pay_at,
                    gone: paid.pay_at == 0,
                });
            }
            LogBody::DelayedPaid { epoch: of, .. }
            | LogBody::DelayedForfeited { epoch: of, .. }
                if *of == epoch =>
            {
                if let Some(ended) = &mut dispute.ended {
                    ended.gone = true;
                }
            }
            _ => {}
        }
    }
    dispute
}

impl Dispute {
    /// Whether nothing can be done any more.
    pub fn is_over(&self) -> bool {
        self.ended.is_some_and(|ended| ended.gone)
    }

    /// Whether the copy shows that the closer had moved past what it posted: it signed a state
    /// derived from a later one.
    fn is_evidence(&self, copy: &Copy) -> bool {
        self.record.closer != Closer::Exit && copy.state.ack_version > self.record.closed_version
    }

    /// What is to be done now, by the time of the newest block, Unix seconds.
    pub fn next(&self, copy: Option<&Copy>, now: u64) -> Option<Step> {
        let evidence = copy.is_some_and(|copy| self.is_evidence(copy));
        let evidence = evidence && self.record.penalized.is_none();
        if let Some(ended) = self.ended {
            if ended.gone {
                return None;
            }
            // Only what a user still waits for can be forfeited late.
            if evidence && self.record.closer == Closer::User {
                return Some(Step::Penalize);
            }
            return (now >= ended.pay_at).then_some(Step::Claim);
        }
        if now > self.record.deadline {
            return Some(Step::Settle);
        }
        if copy.is_some_and(|copy| copy.state.version > self.record.state.version) {
            return Some(Step::Challenge);
        }
        evidence.then_some(Step::Penalize)
    }
}

#[cfg(test)]
mod tests {
    use super::super::copy::Seal;
    use super::*;
    use chain::Ending;
    use hub_core::{Address, Amount, Hash32, Signature, State, Version};

    const CHANNEL: ChannelId = ChannelId([1; 32]);
    const HUB: Address = Address([2; 20]);

    fn state(version: Version, ack_version: Version) -> State {
        State {
            version,
            ack_version,
            ..State::null(CHANNEL, 0, Amount::new(100))
        }
    }

    fn copy(version: Version, ack_version: Version) -> Copy {
        Copy {
            state: state(version, ack_version),
            leaf: 0,
            siblings: Vec::new(),
            seal: Seal {
                batch_id: 1,
                root: Hash32::ZERO,
                prev_root: Hash32::ZERO,
                depth: 1,
                hub_signature: Signature([0; 65]),
                user_signature: Signature([0; 65]),
            },
        }
    }

    fn closed(version: Version, closer: Closer) -> LogBody {
        LogBody::Closed {
            hub: HUB,
            state: state(version, version.saturating_sub(1)),
            closer,
            credit_max: Amount::ZERO,
            deadline: 100,
        }
    }

    fn challenged(version: Version, penalized: bool) -> LogBody {
        LogBody::Challenged {
            hub: HUB,
            state: state(version, version - 1),
            penalized,
            challenger: HUB,
        }
    }

    fn settled(pay_at: u64) -> LogBody {
        LogBody::Settled {
            hub: HUB,
            channel_id: CHANNEL,
            epoch: 0,
            paid: Ending {
                agreed: false,
                version: 1,
                penalized: false,
                user_pay: Amount::new(1),
                user_bonus: Amount::ZERO,
                bounty: Amount::ZERO,
                bounty_to: Address::ZERO,
                lock_reserve: Amount::ZERO,
                owed: Amount::ZERO,
                pay_at,
            },
        }
    }

    fn next(logs: &[LogBody], copy: Option<Copy>, now: u64) -> Option<Step> {
        read(CHANNEL, 0, logs).and_then(|dispute| dispute.next(copy.as_ref(), now))
    }

    #[test]
    fn a_stale_close_is_challenged_until_the_deadline_and_settled_after_it() {
        let logs = [closed(3, Closer::User)];
        assert_eq!(next(&logs, Some(copy(7, 6)), 100), Some(Step::Challenge));
        assert_eq!(next(&logs, Some(copy(7, 6)), 101), Some(Step::Settle));
        assert_eq!(next(&logs, Some(copy(3, 2)), 100), None);
        assert_eq!(next(&logs, None, 100), None);
        assert_eq!(next(&logs, None, 101), Some(Step::Settle));
    }

    #[test]
    fn a_half_answer_of_somebody_else_is_answered_again_and_ours_is_not_repeated() {
        let half = [closed(3, Closer::User), challenged(4, false)];
        assert_eq!(next(&half, Some(copy(7, 6)), 50), Some(Step::Challenge));
        let whole = [closed(3, Closer::User), challenged(7, true)];
        assert_eq!(next(&whole, Some(copy(7, 6)), 50), None);
        let unpunished = [closed(3, Closer::User), challenged(7, false)];
        assert_eq!(
            next(&unpunished, Some(copy(7, 6)), 50),
            Some(Step::Penalize)
        );
    }

    #[test]
    fn a_challenge_whose_block_is_orphaned_is_due_again_and_so_is_nothing_without_its_close() {
        let logs = [closed(3, Closer::User), challenged(7, true)];
        assert_eq!(next(&logs, Some(copy(7, 6)), 50), None);
        assert_eq!(
            next(&logs[..1], Some(copy(7, 6)), 50),
            Some(Step::Challenge)
        );
        assert_eq!(next(&[], Some(copy(7, 6)), 50), None);
    }

    #[test]
    fn an_exit_and_the_base_of_the_newest_state_never_forfeit() {
        let exit = [closed(3, Closer::Exit), challenged(7, false)];
        assert_eq!(next(&exit, Some(copy(7, 6)), 50), None);
        let base = [closed(6, Closer::User), challenged(7, false)];
        assert_eq!(next(&base, Some(copy(7, 6)), 50), None);
    }

    #[test]
    fn a_late_payout_is_forfeited_while_it_waits_and_claimed_when_it_is_due() {
        let cheated = [closed(3, Closer::User), settled(200)];
        assert_eq!(next(&cheated, Some(copy(7, 6)), 150), Some(Step::Penalize));
        assert_eq!(next(&cheated, Some(copy(7, 6)), 250), Some(Step::Penalize));
        let honest = [closed(7, Closer::User), settled(200)];
        assert_eq!(next(&honest, Some(copy(7, 6)), 199), None);
        assert_eq!(next(&honest, Some(copy(7, 6)), 200), Some(Step::Claim));
        let by_hub = [closed(3, Closer::Hub), settled(200)];
        assert_eq!(next(&by_hub, Some(copy(7, 6)), 250), Some(Step::Claim));
        let at_once = [closed(7, Closer::Exit), settled(0)];
        assert!(read(CHANNEL, 0, &at_once).unwrap().is_over());
    }

    #[test]
    fn another_epoch_is_another_dispute() {
        let mut logs = vec![closed(3, Closer::User), settled(0)];
        assert!(read(CHANNEL, 0, &logs).unwrap().is_over());
        assert_eq!(read(CHANNEL, 1, &logs), None);
        logs.push(LogBody::Closed {
            hub: HUB,
            state: State {
                epoch: 1,
                ..state(2, 1)
            },
            closer: Closer::Hub,
            credit_max: Amount::ZERO,
            deadline: 500,
        });
        logs.push(LogBody::Penalized {
            hub: HUB,
            channel_id: CHANNEL,
            bounty_to: HUB,
        });
        assert_eq!(read(CHANNEL, 0, &logs).unwrap().record.penalized, None);
        assert_eq!(read(CHANNEL, 1, &logs).unwrap().record.penalized, Some(HUB));
    }
}
