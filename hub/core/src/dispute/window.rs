//! Posting a state and answering it.

use super::refusal::require_signed;
use super::{Call, Channel, CoSigned, Dispute, Hub, Intent, Key, Refusal, ShownCredit, Side};
use crate::settlement::Closer;
use crate::{Amount, State};

impl Channel {
    /// Posts a state and starts the window. The closer is who signed the intent, else the sender.
    pub fn close(
        &mut self,
        hub: &Hub,
        posted: &CoSigned,
        intent: Option<Intent>,
        credit: Option<ShownCredit>,
        call: Call,
    ) -> Result<(), Refusal> {
        self.require_valid(hub)?;
        self.require_open()?;
        self.require_postable(posted)?;
        let credit_max = match credit {
            Some(credit) => {
                require_signed(credit.signed_by, Side::Hub)?;
                credit.cumulative
            }
            None => Amount::ZERO,
        };
        let closer = self.closer_of(intent, call)?;

        self.dispute = Some(Dispute {
            state: posted.state,
            closed_version: posted.state.version,
            credit_max,
            penalized: None,
            closer,
            deadline: call.now + u64::from(self.params.challenge_period),
        });
        Ok(())
    }

    /// Replaces the posted state by a newer one; shows, too, whether the closer had moved on.
    pub fn challenge(&mut self, newer: &CoSigned, call: Call) -> Result<(), Refusal> {
        let mut next = *self.require_window(call.now)?;
        if newer.state.version <= next.state.version {
            return Err(Refusal::NotNewer {
                current: Amount::new(u128::from(next.state.version)),
                offered: Amount::new(u128::from(newer.state.version)),
            });
        }
        self.require_postable(newer)?;
        let forfeits = next.closer != Closer::Exit && newer.state.ack_version > next.closed_version;

        next.state = newer.state;
        if forfeits && next.penalized.is_none() {
            next.penalized = Some(call.sender);
        }
        self.dispute = Some(next);
        Ok(())
    }

    /// Shows a newer credit of the hub.
    pub fn add_credit(&mut self, credit: ShownCredit, call: Call) -> Result<(), Refusal> {
        let mut next = *self.require_window(call.now)?;
        require_signed(credit.signed_by, Side::Hub)?;
        if credit.cumulative <= next.credit_max {
            return Err(Refusal::NotNewer {
                current: next.credit_max,
                offered: credit.cumulative,
            });
        }

        next.credit_max = credit.cumulative;
        self.dispute = Some(next);
        Ok(())
    }

    pub(super) fn require_dispute(&self) -> Result<&Dispute, Refusal> {
        self.dispute
            .as_ref()
            .ok_or(Refusal::WrongStatus { closing: false })
    }

    pub(super) fn require_window(&self, now: u64) -> Result<&Dispute, Refusal> {
        let dispute = self.require_dispute()?;
        if now > dispute.deadline {
            return Err(Refusal::DeadlinePassed {
                deadline: dispute.deadline,
            });
        }
        Ok(dispute)
    }

    pub(super) fn require_ours(&self, state: &State, epoch: u32) -> Result<(), Refusal> {
        if state.channel_id != self.id {
            return Err(Refusal::WrongChannel {
                found: state.channel_id,
            });
        }
        if state.epoch != epoch {
            return Err(Refusal::WrongEpoch {
                expected: epoch,
                found: state.epoch,
            });
        }
        Ok(())
    }

    /// Of this channel and epoch, summing to capacity, and null or attested by both sides.
    fn require_postable(&self, posted: &CoSigned) -> Result<(), Refusal> {
        let state = &posted.state;
        self.require_ours(state, self.epoch)?;
        let sum = state.total().unwrap_or(Amount::MAX);
        if sum != self.params.capacity {
            return Err(Refusal::SumMismatch {
                sum,
                capacity: self.params.capacity,
            });
        }
        if state.version == 0 {
            let null = State::null(self.id, self.epoch, self.params.capacity);
            return if *state == null {
                Ok(())
            } else {
                Err(Refusal::NotNullState)
            };
        }
        if posted.hub != Key::Hub {
            return Err(Refusal::BadAttestation { side: Side::Hub });
        }
        if posted.user != Key::User {
            return Err(Refusal::BadAttestation { side: Side::User });
        }
        Ok(())
    }

    /// Who consented to the close: never a mere argument, else anybody could make a victim
    /// forfeit.
    fn closer_of(&self, intent: Option<Intent>, call: Call) -> Result<Closer, Refusal> {
        let params = &self.params;
        if let Some(intent) = intent {
            if call.now > intent.valid_until {
                return Err(Refusal::IntentExpired {
                    valid_until: intent.valid_until,
                });
            }
            return match intent.signed_by {
                Key::Hub => Ok(Closer::Hub),
                Key::User => Ok(Closer::User),
                Key::Stranger => Err(Refusal::BadSignature),
            };
        }
        match call.sender {
            sender if sender == params.hub_signer => Ok(Closer::Hub),
            sender if sender == params.user_signer => Ok(Closer::User),
            sender if sender == params.user && params.custodial => Ok(Closer::Exit),
            sender if sender == params.user => Ok(Closer::User),
            sender => Err(Refusal::NotAParty { sender }),
        }
    }
}
