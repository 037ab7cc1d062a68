//! The next step of an exit. Pure: what is held and what the chain says in, one step out. Nothing
//! is remembered between two steps, so that an exit goes on wherever it was left.

use super::look::Sight;
use crate::dispute::material::Material;
use crate::dispute::trade;
use chain::Evidence;
use chain::calls::claims::{SignedCheque, SignedMeter};
use chain::calls::dispute::SignedCredit;
use hub_core::dispute::Dispute;
use hub_core::dispute::answer::{self, Closing, Guard, Move};
use hub_core::lock::{Lock, LockKind};
use hub_core::settlement::{self, ChainTotals};
use hub_core::{Address, Amount, ChannelParams, Hash32};

/// What a key is to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A party that closes for the hub.
    Hub,
    /// A party that closes for the user: custody key, or the customer's own.
    User,
    /// The payout address of a custodial channel: its close is an exit and never forfeits.
    Exit,
    /// Nobody: may do all that anybody may, but not close.
    Stranger,
}

impl Role {
    /// The role of a key, in the contract's order.
    pub fn of(params: &ChannelParams, key: Address) -> Self {
        if key == params.hub_signer {
            Self::Hub
        } else if key == params.user_signer || (key == params.user && !params.custodial) {
            Self::User
        } else if key == params.user {
            Self::Exit
        } else {
            Self::Stranger
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Hub => "the hub's signer: its close is a party's and can forfeit",
            Self::User => "the user's signer: its close is a party's and can forfeit",
            Self::Exit => "the payout address: its close is an exit and never forfeits",
            Self::Stranger => "no party: it may do what anybody may, but not close",
        }
    }

    fn is_party(self) -> bool {
        matches!(self, Self::Hub | Self::User)
    }

    /// Whose money it is about.
    fn guard(self) -> Guard {
        match self {
            Self::Hub => Guard::Hub,
            Self::User | Self::Exit | Self::Stranger => Guard::User,
        }
    }
}

/// What was allowed on the command line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Leave {
    /// Go on although the chain has a newer state than the file.
    pub accept_newer: bool,
    /// Post as a party although the file says that it was not the newest state.
    pub old_state: bool,
}

/// Something to send.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Make preimages known.
    Register(Vec<Hash32>),
    /// Show what a buyer confirmed.
    ShowMeter(SignedMeter),
    /// Post the held state.
    Close,
    /// Answer with the held state.
    Challenge,
    /// Show the credit.
    AddCredit(SignedCredit),
    /// Show that the closer had given up what it posted.
    Penalize(Evidence),
    /// End the epoch.
    Settle,
    /// Have a cheque paid out of the cover lock at this place.
    Cash(usize, SignedCheque),
    /// Resolve locks.
    Unlock,
    /// Have the late payout paid.
    ClaimDelayed,
    /// Have paid what the hub owes.
    PayOwed,
    /// Have paid again what could not be delivered.
    Reclaim,
}

impl Step {
    /// For people and programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Register(_) => "register preimages",
            Self::ShowMeter(_) => "show the meter",
            Self::Close => "close",
            Self::Challenge => "challenge",
            Self::AddCredit(_) => "add credit",
            Self::Penalize(_) => "penalize",
            Self::Settle => "settle",
            Self::Cash(..) => "cash a cheque",
            Self::Unlock => "unlock",
            Self::ClaimDelayed => "claim the late payout",
            Self::PayOwed => "have paid what is owed",
            Self::Reclaim => "claim what could not be delivered",
        }
    }
}

/// What is next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// This can be sent now.
    Do(Step),
    /// Nothing before this time (Unix seconds of a block), if it is known.
    Wait {
        /// The time.
        until: Option<u64>,
        /// What is waited for.
        what: &'static str,
    },
    /// Nothing is left to do.
    Done,
    /// It must not go on: why, and what to do.
    Refuse(String),
}

/// Decides.
pub fn next(held: &Material, role: Role, sight: &Sight, leave: Leave) -> Next {
    let epoch = held.state().epoch;
    if epoch > sight.view.epoch {
        return Next::Refuse(format!(
            "the proof is of epoch {epoch}, the chain is in epoch {}: the node is behind, or it \
             is another chain; ask a synchronized node",
            sight.view.epoch
        ));
    }
    let shown = register(held, role, sight).or_else(|| show_meter(held, role, sight));
    if let Some(step) = shown {
        return Next::Do(step);
    }
    if epoch < sight.view.epoch {
        return after(held, role, sight);
    }
    if !sight.view.closing {
        return open(held, role, sight, leave);
    }
    match &sight.dispute {
        Some(dispute) => closing(held, role, sight, dispute, leave),
        None => Next::Refuse(
            "the channel is closing, but the node shows no logs of it: ask a node that keeps logs"
                .into(),
        ),
    }
}

/// Whether a lock can still be resolved: the epoch runs, or the lock is left in its list.
fn waits(held: &Material, sight: &Sight, condition: Hash32) -> bool {
    let over = held.state().epoch < sight.view.epoch;
    match &sight.list {
        Some(list) if over => list.locks.iter().any(|lock| lock.condition == condition),
        _ => !over,
    }
}

/// A meter that raises what is recorded of a lock that the side receives.
fn show_meter(held: &Material, role: Role, sight: &Sight) -> Option<Step> {
    let over = held.state().epoch < sight.view.epoch;
    if role == Role::Stranger && !sight.view.closing && !over {
        return None;
    }
    let raises = |meter: &&SignedMeter| {
        let order = trade::order(meter);
        let ours = |lock: &&Lock| {
            lock.kind == LockKind::Metered
                && lock.condition == order
                && lock.user_pays == (role == Role::Hub)
        };
        let lock = held.locks.iter().find(ours);
        lock.is_some_and(|lock| meter.delivered.min(lock.total) > sight.evidence(lock))
            && waits(held, sight, order)
    };
    held.meters
        .iter()
        .find(raises)
        .copied()
        .map(Step::ShowMeter)
}

/// A cheque that is not paid, of a cover lock that still has something.
fn cash(held: &Material, sight: &Sight) -> Option<Step> {
    let list = sight.list.as_ref()?;
    held.cheques.iter().find_map(|cheque| {
        let book = trade::book(cheque);
        let covers = |lock: &Lock| {
            lock.kind == LockKind::Cover && lock.condition == book && !lock.amount.is_zero()
        };
        let place = list.locks.iter().position(covers)?;
        let had = sight.cashed.get(&(book, cheque.beneficiary));
        let is_due = cheque.cumulative > had.copied().unwrap_or_default();
        is_due.then_some(Step::Cash(place, *cheque))
    })
}

/// Preimages whose time is not over, as long as they can bring the side something.
fn register(held: &Material, role: Role, sight: &Sight) -> Option<Step> {
    let over = held.state().epoch < sight.view.epoch;
    let releasable = held.releasable(role != Role::Hub).into_iter();
    let preimages: Vec<_> = releasable
        .filter(|(lock, _)| sight.evidence(lock) == 0 && sight.now() < lock.expiry)
        .filter(|(lock, _)| waits(held, sight, lock.condition))
        .map(|(_, preimage)| preimage)
        .collect();
    let may_go_on = role != Role::Stranger || sight.view.closing || over;
    (!preimages.is_empty() && may_go_on).then_some(Step::Register(preimages))
}

fn open(held: &Material, role: Role, sight: &Sight, leave: Leave) -> Next {
    let params = &held.params;
    if role == Role::Stranger {
        return Next::Refuse(format!(
            "this key can't close the channel: use the key of the payout address {}, of the \
             user's signer {}, or of the hub's signer {}",
            params.user.checksummed(),
            params.user_signer.checksummed(),
            params.hub_signer.checksummed()
        ));
    }
    if !sight.signer_known || sight.hub.mode.is_none() {
        return Next::Refuse(format!(
            "the contract does not know {} as a signer of hub {}: the channel is not enforceable \
             there; is this the right contract?",
            params.hub_signer.checksummed(),
            params.hub.checksummed()
        ));
    }
    let own = match role {
        Role::Hub => params.hub_signer,
        _ => params.user_signer,
    };
    let version = held.state().version;
    let given_up = held
        .revoked_by(own)
        .is_some_and(|revoke| revoke.version >= version);
    if role.is_party() && given_up {
        return Next::Refuse(format!(
            "version {version} was revoked by this key: posting it forfeits; use the newest proof"
        ));
    }
    if role.is_party() && !held.newest && !leave.old_state {
        return Next::Refuse(format!(
            "the file says that version {version} was not the newest state: a party that posts an \
             old one forfeits; fetch the newest proof, or say --old-state if there is none newer \
             that both sides signed"
        ));
    }
    if role != Role::Hub && due(held, sight).is_zero() && held.state().locks_hash == Hash32::ZERO {
        return Next::Refuse(
            "nothing is due to the user on this channel: a close would pay nothing".into(),
        );
    }
    Next::Do(Step::Close)
}

/// What settlement gives the user now, locks and punishment apart, in minor units.
pub fn due(held: &Material, sight: &Sight) -> Amount {
    let state = match &sight.dispute {
        Some(dispute) if dispute.state.version > held.state().version => &dispute.state,
        _ => held.state(),
    };
    let shown = sight.dispute.map(|dispute| dispute.credit_max);
    let own = held.credit.map(|credit| credit.cumulative);
    let totals = settlement::ChainTotals {
        withdrawn: sight.view.withdrawn,
        deposited: sight.view.deposited,
        credit_max: shown.max(own).unwrap_or_default(),
    };
    settlement::dues(state, &totals).user_due
}

fn closing(held: &Material, role: Role, sight: &Sight, dispute: &Dispute, leave: Leave) -> Next {
    let closing = Closing {
        dispute: *dispute,
        late: None,
        totals: ChainTotals {
            withdrawn: sight.view.withdrawn,
            deposited: sight.view.deposited,
            credit_max: dispute.credit_max,
        },
        now: sight.now(),
    };
    let due = answer::next(&closing, Some(&held.against()), role.guard());
    if let Some(step) = due.and_then(|due| step(held, dispute, due)) {
        return Next::Do(step);
    }
    let (ours, posted) = (held.state().version, dispute.state.version);
    if posted > ours && !leave.accept_newer {
        return Next::Refuse(format!(
            "the chain has version {posted}, which is newer than version {ours} of the file: the \
             file can't change anything any more. Say --accept-newer to go on by the newer state, \
             or give the newest proof"
        ));
    }
    Next::Wait {
        until: Some(dispute.deadline + 1),
        what: "the end of the challenge window",
    }
}

fn step(held: &Material, dispute: &Dispute, due: Move) -> Option<Step> {
    Some(match due {
        Move::Challenge => Step::Challenge,
        Move::AddCredit => Step::AddCredit(held.credit?),
        Move::Penalize(proof) => Step::Penalize(held.evidence(dispute.closer, proof)?),
        Move::Settle => Step::Settle,
        Move::Claim => Step::ClaimDelayed,
    })
}

/// After the settlement.
fn after(held: &Material, role: Role, sight: &Sight) -> Next {
    // Before the rest of a cover that is past its expiry goes back.
    if let Some(step) = cash(held, sight) {
        return Next::Do(step);
    }
    let mut times = Vec::new();
    if let Some(list) = &sight.list {
        let asks = (matches!(role, Role::User | Role::Exit), role == Role::Hub);
        let now = sight.now();
        let resolved =
            settlement::resolve_list(&list.locks, |lock| sight.evidence(lock), now, asks);
        let ours = if role == Role::Hub {
            resolved.to_hub
        } else {
            resolved.to_user
        };
        if !ours.is_zero() {
            return Next::Do(Step::Unlock);
        }
        // What one's own side put up comes back when it expires.
        let back = resolved.rest.iter();
        let back = back.filter(|lock| lock.user_pays == (role != Role::Hub));
        times.extend(back.map(|lock| lock.expiry));
    }
    match sight.pending.delayed {
        Some((_, due_at, _)) if sight.now() >= due_at => return Next::Do(Step::ClaimDelayed),
        Some((_, due_at, _)) => times.push(due_at),
        None if !sight.pending.owed.is_zero() && !sight.hub.funds.is_zero() => {
            return Next::Do(Step::PayOwed);
        }
        None => {}
    }
    if !sight.reclaimable.is_zero() && held.params.user != Address::ZERO {
        return Next::Do(Step::Reclaim);
    }
    match times.into_iter().min() {
        Some(until) => Next::Wait {
            until: Some(until),
            what: "a payout that is due later",
        },
        None if !sight.pending.owed.is_zero() => Next::Wait {
            until: None,
            what: "funds of the hub: its vault is empty and it owes the user",
        },
        None => Next::Done,
    }
}
