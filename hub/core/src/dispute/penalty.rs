//! Punishing a closer that had given up what it posted, and a hub that signed twice.

use super::hub::pays_held;
use super::refusal::require_signed;
use super::{Call, Channel, Evidence, Hub, Key, Payment, Refusal, Side};
use crate::settlement::{Closer, fraction};
use crate::{Amount, ChannelParams, Epoch, State, Typed, Version};

impl Channel {
    /// Shows that the closer of an epoch had given up what it posted: within the window, or, when
    /// a user closed, until its late payout is gone. Late, what it waits for and what it is still
    /// owed stay the hub's, less the bounty; what locks left owed is not forfeited.
    pub fn penalize(
        &mut self,
        hub: &mut Hub,
        epoch: Epoch,
        evidence: &Evidence,
        call: Call,
    ) -> Result<Vec<Payment>, Refusal> {
        if epoch != self.epoch {
            return self.penalize_late(hub, epoch, evidence, call);
        }
        let mut next = *self.require_window(call.now)?;
        if next.penalized.is_some() {
            return Err(Refusal::AlreadyPenalized);
        }
        self.require_revoked(epoch, next.closer, next.closed_version, evidence)?;

        next.penalized = Some(call.sender);
        self.dispute = Some(next);
        Ok(Vec::new())
    }

    fn penalize_late(
        &mut self,
        hub: &mut Hub,
        epoch: Epoch,
        evidence: &Evidence,
        call: Call,
    ) -> Result<Vec<Payment>, Refusal> {
        let ended = self.ended.get(&epoch).copied().unwrap_or_default();
        let Some(late) = ended.delayed.filter(|late| late.closer == Closer::User) else {
            return Err(Refusal::NothingToPay);
        };
        self.require_revoked(epoch, Closer::User, late.closed_version, evidence)?;
        let bounty = share(late.amount, &self.params);

        hub.give_back(late.amount.less(bounty));
        hub.owed = hub.owed.less(ended.owed);
        let ended = self.ended.entry(epoch).or_default();
        ended.delayed = None;
        ended.owed = Amount::ZERO;
        Ok(hub.pays(call.sender, bounty).into_iter().collect())
    }

    /// The closer's own signature shows that it had left `closed_version` behind.
    fn require_revoked(
        &self,
        epoch: Epoch,
        closer: Closer,
        closed_version: Version,
        evidence: &Evidence,
    ) -> Result<(), Refusal> {
        let not_revoked = Err(Refusal::NotRevoked { closed_version });
        let side = match closer {
            Closer::Hub => Side::Hub,
            Closer::User => Side::User,
            Closer::Exit => return not_revoked,
        };
        match *evidence {
            Evidence::Revoke { version, .. } if version < closed_version => not_revoked,
            Evidence::Revoke { signed_by, .. } => require_signed(signed_by, side),
            Evidence::State { state, signed_by } => {
                self.require_ours(&state, epoch)?;
                if state.ack_version <= closed_version {
                    return not_revoked;
                }
                if signed_by != Key::from(side) {
                    return Err(Refusal::BadAttestation { side });
                }
                Ok(())
            }
        }
    }

    /// Two states of one version, both signed by the hub, different: costs the hub its penalty
    /// limit, to the user less the sender's bounty. Once per channel and epoch.
    pub fn prove_equivocation(
        &mut self,
        hub: &mut Hub,
        first: (&State, Key),
        second: (&State, Key),
        call: Call,
    ) -> Result<Vec<Payment>, Refusal> {
        self.require_valid(hub)?;
        let (one, other) = (first.0, second.0);
        let conflicting = one.channel_id == self.id
            && other.channel_id == self.id
            && one.epoch == other.epoch
            && one.version == other.version
            && one.version != 0
            && one.hash_struct() != other.hash_struct();
        if !conflicting || self.equivocated.contains(&one.epoch) {
            return Err(Refusal::NoEquivocation);
        }
        if first.1 != Key::Hub || second.1 != Key::Hub {
            return Err(Refusal::BadAttestation { side: Side::Hub });
        }
        let forfeit = hub.penalty_limit(&self.params);
        let bounty = share(forfeit, &self.params);

        self.equivocated.insert(one.epoch);
        hub.bond = hub.bond.less(forfeit);
        let to_user = pays_held(self.params.user, forfeit.less(bounty));
        let to_sender = pays_held(call.sender, bounty);
        Ok(to_user.into_iter().chain(to_sender).collect())
    }
}

/// The bounty on a forfeit.
fn share(forfeit: Amount, params: &ChannelParams) -> Amount {
    fraction(forfeit, u64::from(params.bounty_bps), 10_000)
}
