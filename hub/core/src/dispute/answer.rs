//! What to do about a close. One decision for everybody who answers one: the worker's tower, a
//! third party's, the exit tool and a [`crate::party::Party`].

use super::{Dispute, Side};
use crate::settlement::{self, ChainTotals, Closer};
use crate::{Amount, State, Version};
use std::str::FromStr;

/// Whose money is guarded. Nothing that [`next`] names makes the guarded side forfeit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// The hub's.
    Hub,
    /// The user's.
    User,
    /// Nobody's in particular: every stale close is answered, and every cheater punished.
    Both,
}

impl Guard {
    /// Whether a closer is on the guarded side.
    pub fn covers(self, closer: Closer) -> bool {
        match self {
            Self::Hub => closer == Closer::Hub,
            Self::User => closer != Closer::Hub,
            Self::Both => false,
        }
    }
}

impl From<Side> for Guard {
    fn from(side: Side) -> Self {
        match side {
            Side::Hub => Self::Hub,
            Side::User => Self::User,
        }
    }
}

/// A word that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected user, hub or both, not {0:?}")]
pub struct UnknownGuard(String);

impl FromStr for Guard {
    type Err = UnknownGuard;

    fn from_str(word: &str) -> Result<Self, UnknownGuard> {
        match word {
            "hub" => Ok(Self::Hub),
            "user" => Ok(Self::User),
            "both" => Ok(Self::Both),
            other => Err(UnknownGuard(other.to_owned())),
        }
    }
}

/// A close and what the chain says of it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// As the contract has it, or had it when the epoch ended.
    pub dispute: Dispute,
    /// Once the epoch has ended: what became of the closer's own payout.
    pub late: Option<Late>,
    /// What the chain counts in this epoch; the credit is the dispute's own.
    pub totals: ChainTotals,
    /// Time of the newest block, Unix seconds.
    pub now: u64,
}

/// The closer's own payout after the end of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// When it is due, Unix seconds; 0: nothing waits.
    pub due_at: u64,
    /// Whether it is gone: paid, or forfeited.
    pub gone: bool,
}

/// What is held against a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The newest state with both signatures.
    pub state: State,
    /// The hub's newest credit, in minor units.
    pub credit: Amount,
    /// What the hub is known to have given up.
    pub hub: GivenUp,
    /// What the user is known to have given up.
    pub user: GivenUp,
}

/// What a signer has said of its own earlier states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GivenUp {
    /// Highest `ackVersion` of a state that it signed: everything below is given up.
    pub base: Version,
    /// The newest version that it revoked.
    pub revoked: Option<Version>,
}

impl Held {
    /// A state with both signatures and nothing else.
    pub fn new(state: State) -> Self {
        let given_up = GivenUp {
            base: state.ack_version,
            revoked: None,
        };
        Self {
            state,
            credit: Amount::ZERO,
            hub: given_up,
            user: given_up,
        }
    }
}

/// Something to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// The held state in the place of the posted one.
    Challenge,
    /// The held credit.
    AddCredit,
    /// The closer had given up what it posted.
    Penalize(Proof),
    /// The window is over.
    Settle,
    /// What the closer waited for.
    Claim,
}

/// What shows that a closer had given up what it posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Its `Revoke`.
    Revoke,
    /// The state with the highest `ackVersion` that it signed.
    State,
}

/// What whoever guards a side is to do now, if anything. Done, it is not asked for again, so
/// asking until there is nothing ends after four moves at most.
pub fn next(closing: &Closing, held: Option<&Held>, guard: Guard) -> Option<Move> {
    let (dispute, now) = (&closing.dispute, closing.now);
    let held = held.filter(|held| held.state.epoch == dispute.state.epoch);
    let proof = held.filter(|_| !guard.covers(dispute.closer));
    let proof = proof.and_then(|held| proof_against(dispute, held));
    if let Some(late) = closing.late {
        // Only what a user still waits for can be forfeited late.
        let punish = proof.filter(|_| dispute.closer == Closer::User);
        let claim = (now >= late.due_at).then_some(Move::Claim);
        return punish.map(Move::Penalize).or(claim).filter(|_| !late.gone);
    }
    if now > dispute.deadline {
        return Some(Move::Settle);
    }
    let held = held?;
    if held.state.version > dispute.state.version && wants(closing, held, guard) {
        return Some(Move::Challenge);
    }
    let shown = dispute.credit_max.max(dispute.state.credited);
    if guard != Guard::Hub && held.credit > shown {
        return Some(Move::AddCredit);
    }
    proof.map(Move::Penalize)
}

/// Whether the newer state is to be posted. The other side's posts always are replaced by it; one
/// of the guarded side only where that costs it nothing: its counterparty answers, too.
fn wants(closing: &Closing, held: &Held, guard: Guard) -> bool {
    let dispute = &closing.dispute;
    if !guard.covers(dispute.closer) {
        return true;
    }
    let totals = ChainTotals {
        credit_max: dispute.credit_max,
        ..closing.totals
    };
    let due = |state| {
        let dues = settlement::dues(state, &totals);
        match dispute.closer {
            Closer::Hub => dues.hub_due,
            Closer::User | Closer::Exit => dues.user_due,
        }
    };
    !forfeits(dispute, held) && due(&held.state) >= due(&dispute.state)
}

/// Whether posting the held state makes the closer forfeit.
fn forfeits(dispute: &Dispute, held: &Held) -> bool {
    dispute.closer != Closer::Exit
        && dispute.penalized.is_none()
        && held.state.ack_version > dispute.closed_version
}

fn proof_against(dispute: &Dispute, held: &Held) -> Option<Proof> {
    let said = match dispute.closer {
        Closer::Exit => return None,
        Closer::Hub => held.hub,
        Closer::User => held.user,
    };
    if dispute.penalized.is_some() {
        return None;
    }
    let posted = dispute.closed_version;
    if said.revoked.is_some_and(|version| version >= posted) {
        return Some(Proof::Revoke);
    }
    (said.base > posted).then_some(Proof::State)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, ChannelId};

    const DEADLINE: u64 = 100;

    /// The user has 10 for each version.
    fn state(version: Version) -> State {
        let user_balance = Amount::new(10 * u128::from(version));
        State {
            version,
            ack_version: version.saturating_sub(1),
            hub_balance: Amount::new(1_000).less(user_balance),
            user_balance,
            ..State::null(ChannelId([1; 32]), 0, Amount::new(1_000))
        }
    }

    fn closing(closer: Closer, posted: Version) -> Closing {
        Closing {
            dispute: Dispute {
                state: state(posted),
                closed_version: posted,
                credit_max: Amount::ZERO,
                penalized: None,
                closer,
                deadline: DEADLINE,
            },
            late: None,
            totals: ChainTotals::default(),
            now: 50,
        }
    }

    fn ended(closer: Closer, posted: Version, now: u64) -> Closing {
        let late = Late {
            due_at: 200,
            gone: false,
        };
        Closing {
            late: Some(late),
            now,
            ..closing(closer, posted)
        }
    }

    const GUARDS: [Guard; 3] = [Guard::Hub, Guard::User, Guard::Both];
    const PUNISH: Option<Move> = Some(Move::Penalize(Proof::State));

    #[test]
    fn a_stale_close_of_the_other_side_is_challenged_until_the_deadline_and_settled_after_it() {
        for (closer, guard) in [
            (Closer::Hub, Guard::User),
            (Closer::User, Guard::Hub),
            (Closer::Exit, Guard::Hub),
            (Closer::Hub, Guard::Both),
            (Closer::User, Guard::Both),
        ] {
            let held = Held::new(state(7));
            let mut closing = closing(closer, 3);
            closing.now = DEADLINE;
            assert_eq!(next(&closing, Some(&held), guard), Some(Move::Challenge));
            assert_eq!(next(&closing, None, guard), None);
            closing.now = DEADLINE + 1;
            assert_eq!(next(&closing, Some(&held), guard), Some(Move::Settle));
            assert_eq!(next(&closing, None, guard), Some(Move::Settle));
        }
    }

    #[test]
    fn answering_ones_own_side_is_left_out_where_it_would_forfeit_or_pay_less() {
        let held = Held::new(state(7));
        for (closer, guard) in [(Closer::User, Guard::User), (Closer::Hub, Guard::Hub)] {
            assert_eq!(next(&closing(closer, 3), Some(&held), guard), None);
            let mut punished = closing(closer, 6);
            punished.dispute.closed_version = 3;
            assert_eq!(next(&punished, Some(&held), guard), None, "no proof either");
        }
        // Its base may be posted, and the newer state is better for the user alone.
        let base = |closer| closing(closer, 6);
        let user = next(&base(Closer::User), Some(&held), Guard::User);
        assert_eq!(user, Some(Move::Challenge));
        assert_eq!(next(&base(Closer::Hub), Some(&held), Guard::Hub), None);
        // An exit never forfeits.
        let exit = next(&closing(Closer::Exit, 3), Some(&held), Guard::User);
        assert_eq!(exit, Some(Move::Challenge));
    }

    #[test]
    fn a_half_answer_is_answered_again_and_a_punished_closer_left_alone() {
        let held = Held::new(state(7));
        let mut closing = closing(Closer::User, 3);
        closing.dispute.state = state(4);
        assert_eq!(
            next(&closing, Some(&held), Guard::Hub),
            Some(Move::Challenge)
        );
        closing.dispute.state = state(7);
        assert_eq!(next(&closing, Some(&held), Guard::Hub), PUNISH);
        closing.dispute.penalized = Some(Address([9; 20]));
        assert_eq!(next(&closing, Some(&held), Guard::Hub), None);
    }

    #[test]
    fn an_exit_and_the_base_of_the_newest_state_never_forfeit() {
        let held = Held::new(state(7));
        for (closer, posted) in [(Closer::Exit, 3), (Closer::User, 6), (Closer::Hub, 6)] {
            let mut closing = closing(closer, posted);
            closing.dispute.state = state(7);
            for guard in GUARDS {
                assert_eq!(next(&closing, Some(&held), guard), None);
            }
        }
    }

    #[test]
    fn a_revocation_is_proof_where_the_base_is_none() {
        let mut held = Held::new(state(7));
        held.user.revoked = Some(6);
        let mut closing = closing(Closer::User, 6);
        closing.dispute.state = state(7);
        let punish = Some(Move::Penalize(Proof::Revoke));
        assert_eq!(next(&closing, Some(&held), Guard::Hub), punish);
        assert_eq!(next(&closing, Some(&held), Guard::User), None);
        held.user.revoked = Some(5);
        assert_eq!(next(&closing, Some(&held), Guard::Hub), None);
    }

    #[test]
    fn a_credit_is_shown_for_the_user_where_it_is_above_what_is_shown_or_folded() {
        let mut held = Held::new(state(7));
        held.credit = Amount::new(5);
        let mut closing = closing(Closer::Hub, 7);
        assert_eq!(
            next(&closing, Some(&held), Guard::User),
            Some(Move::AddCredit)
        );
        assert_eq!(next(&closing, Some(&held), Guard::Hub), None);
        closing.dispute.state.credited = Amount::new(5);
        assert_eq!(next(&closing, Some(&held), Guard::User), None);
        closing.dispute.state.credited = Amount::ZERO;
        closing.dispute.credit_max = Amount::new(5);
        assert_eq!(next(&closing, Some(&held), Guard::User), None);
    }

    #[test]
    fn a_late_payout_is_forfeited_by_the_other_side_while_it_waits_and_else_claimed_when_due() {
        let held = Held::new(state(7));
        for now in [150, 250] {
            for guard in [Guard::Hub, Guard::Both] {
                let cheated = ended(Closer::User, 3, now);
                assert_eq!(next(&cheated, Some(&held), guard), PUNISH);
            }
        }
        let claim = Some(Move::Claim);
        for guard in GUARDS {
            for (closer, posted) in [(Closer::User, 7), (Closer::Hub, 3)] {
                let late = |now| next(&ended(closer, posted, now), Some(&held), guard);
                assert_eq!((late(199), late(200)), (None, claim));
            }
            let mut gone = ended(Closer::User, 3, 250);
            gone.late = Some(Late {
                due_at: 200,
                gone: true,
            });
            assert_eq!(next(&gone, Some(&held), guard), None);
        }
        let own = ended(Closer::User, 3, 250);
        assert_eq!(next(&own, Some(&held), Guard::User), claim);
    }

    #[test]
    fn what_is_held_of_another_epoch_is_no_answer() {
        let mut held = Held::new(state(7));
        held.state.epoch = 1;
        held.credit = Amount::new(5);
        assert_eq!(
            next(&closing(Closer::Hub, 3), Some(&held), Guard::User),
            None
        );
        let late = ended(Closer::User, 3, 150);
        assert_eq!(next(&late, Some(&held), Guard::Hub), None);
    }

    #[test]
    fn a_guard_is_named_by_one_of_three_words() {
        let named: Vec<_> = ["hub", "user", "both"].map(Guard::from_str).into();
        assert_eq!(named, GUARDS.map(Ok));
        for word in ["", "Hub", "all"] {
            assert!(Guard::from_str(word).is_err(), "{word}");
        }
    }
}
