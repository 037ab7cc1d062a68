//! What the worker can do about a close. No I/O.

use chain::LogBody;
use hub_core::ChannelId;
use hub_core::dispute::answer::Move;

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

    /// What is named, if the worker can do it: its copies hold no credits.
    pub fn of(named: Move) -> Option<Self> {
        match named {
            Move::Challenge => Some(Self::Challenge),
            Move::Penalize(_) => Some(Self::Penalize),
            Move::Settle => Some(Self::Settle),
            Move::Claim => Some(Self::Claim),
            Move::AddCredit => None,
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use chain::Ending;
    use chain::record::close_of;
    use hub_core::dispute::answer::{Closing, Guard, Held, next};
    use hub_core::settlement::{ChainTotals, Closer};
    use hub_core::{Address, Amount, State, Version};

    const CHANNEL: ChannelId = ChannelId([1; 32]);
    const HUB: Address = Address([2; 20]);

    fn state(version: Version) -> State {
        State {
            version,
            ack_version: version.saturating_sub(1),
            ..State::null(CHANNEL, 0, Amount::new(100))
        }
    }

    fn closed(version: Version, closer: Closer) -> LogBody {
        LogBody::Closed {
            hub: HUB,
            state: state(version),
            closer,
            credit_max: Amount::ZERO,
            deadline: 100,
        }
    }

    fn challenged(version: Version, penalized: bool) -> LogBody {
        LogBody::Challenged {
            hub: HUB,
            state: state(version),
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

    /// What a worker that guards the hub and has copied version 7 does about these logs.
    fn step(logs: &[LogBody], now: u64) -> Option<Step> {
        let close = close_of(CHANNEL, 0, logs)?;
        let closing = Closing {
            dispute: close.dispute,
            late: close.late,
            totals: ChainTotals::default(),
            now,
        };
        next(&closing, Some(&Held::new(state(7))), Guard::Hub).and_then(Step::of)
    }

    #[test]
    fn a_half_answer_of_somebody_else_is_answered_again_and_ours_is_not_repeated() {
        let half = [closed(3, Closer::User), challenged(4, false)];
        assert_eq!(step(&half, 50), Some(Step::Challenge));
        let whole = [closed(3, Closer::User), challenged(7, true)];
        assert_eq!(step(&whole, 50), None);
        let unpunished = [closed(3, Closer::User), challenged(7, false)];
        assert_eq!(step(&unpunished, 50), Some(Step::Penalize));
        assert_eq!(step(&whole, 101), Some(Step::Settle));
    }

    #[test]
    fn a_challenge_whose_block_is_orphaned_is_due_again_and_so_is_nothing_without_its_close() {
        let logs = [closed(3, Closer::User), challenged(7, true)];
        assert_eq!(step(&logs, 50), None);
        assert_eq!(step(&logs[..1], 50), Some(Step::Challenge));
        assert_eq!(step(&[], 50), None);
    }

    #[test]
    fn the_operators_own_stale_close_is_not_made_to_forfeit() {
        for version in [3, 6] {
            assert_eq!(
                step(&[closed(version, Closer::Hub)], 50).is_some(),
                version == 6
            );
        }
        let forfeited = [closed(3, Closer::Hub), challenged(4, true)];
        assert_eq!(
            step(&forfeited, 50),
            Some(Step::Challenge),
            "nothing more to lose"
        );
    }

    #[test]
    fn a_late_payout_is_forfeited_while_it_waits_and_claimed_when_it_is_due() {
        let cheated = [closed(3, Closer::User), settled(200)];
        assert_eq!(step(&cheated, 150), Some(Step::Penalize));
        let honest = [closed(7, Closer::User), settled(200)];
        assert_eq!(step(&honest, 199), None);
        assert_eq!(step(&honest, 200), Some(Step::Claim));
        for gone in [
            LogBody::DelayedPaid {
                hub: HUB,
                channel_id: CHANNEL,
                epoch: 0,
                to: HUB,
                amount: Amount::new(1),
            },
            LogBody::DelayedForfeited {
                hub: HUB,
                channel_id: CHANNEL,
                epoch: 0,
                amount: Amount::new(1),
                bounty: Amount::ZERO,
                bounty_to: HUB,
            },
        ] {
            let logs = [closed(3, Closer::User), settled(200), gone];
            assert_eq!(step(&logs, 250), None);
            assert!(close_of(CHANNEL, 0, &logs).unwrap().is_over());
        }
        let at_once = [closed(7, Closer::Exit), settled(0)];
        assert!(close_of(CHANNEL, 0, &at_once).unwrap().is_over());
    }

    #[test]
    fn another_epoch_is_another_dispute() {
        let mut logs = vec![closed(3, Closer::User), settled(0)];
        assert!(close_of(CHANNEL, 0, &logs).unwrap().is_over());
        assert_eq!(close_of(CHANNEL, 1, &logs), None);
        logs.push(LogBody::Closed {
            hub: HUB,
            state: State {
                epoch: 1,
                ..state(2)
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
        let penalized = |epoch| close_of(CHANNEL, epoch, &logs).unwrap().dispute.penalized;
        assert_eq!((penalized(0), penalized(1)), (None, Some(HUB)));
    }
}
