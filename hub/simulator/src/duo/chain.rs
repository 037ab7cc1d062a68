//! The contract around one channel, with blocks, finality and the contract bugs of N9.

use hub_core::dispute::answer::{Closing, Late};
use hub_core::dispute::{
    Call, Channel, CoSigned, Dispute, Evidence, Hub, Key, Payment, Refusal, Registry, ShownCredit,
    WithdrawOrder,
};
use hub_core::lock::Lock;
use hub_core::party::{Answer, ChainView, Posted, Signed};
use hub_core::settlement::{ChainTotals, Closer, FundingMode};
use hub_core::types::Withdraw;
use hub_core::{Address, Amount, ChannelParams, Hash32};

/// Seconds between blocks.
const BLOCK_SECS: u64 = 10;
/// Blocks on top of a final one.
const FINALITY: usize = 2;

/// A contract that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// As it is.
    Ours,
    /// A version two above the posted one penalizes, whatever it was derived from.
    TwoAbove,
    /// Nothing but a `Revoke` penalizes.
    RevokeOnly,
    /// Evidence is compared with the state that stands, not with the posted one.
    ComparesCurrent,
    /// The first proof ends the dispute.
    PenaltyFinal,
    /// Anybody may resolve a metered lock before its expiry.
    MeteredEarly,
}

/// What the chain looked like at a block.
#[derive(Debug, Clone, Copy)]
struct Block {
    executed: Amount,
    deposits: Amount,
    time: u64,
}

/// The chain.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The hub's account.
    pub hub: Hub,
    /// The channel.
    pub channel: Channel,
    /// Preimages and meters shown.
    pub registry: Registry,
    /// Time of the newest block.
    pub now: u64,
    /// All that was paid out.
    pub paid: Vec<Payment>,
    /// All that was paid in, vault and bond included.
    pub put_in: u128,
    preimages: Vec<(Hash32, u64)>,
    blocks: Vec<Block>,
    rule: Rule,
}

impl Chain {
    /// A channel that nobody has touched, of a hub with funds and bond.
    pub fn new(
        params: ChannelParams,
        channel: Channel,
        funds: u128,
        bond: u128,
        rule: Rule,
    ) -> Self {
        let hub = Hub {
            address: params.hub,
            contract: Address([0xcc; 20]),
            signers: vec![params.hub_signer],
            mode: FundingMode::Vault,
            operator_pays: false,
            min_challenge_period: 1,
            max_challenge_period: 1_000_000,
            penalty_cap: params.penalty_cap,
            funds: Amount::new(funds),
            bond: Amount::new(bond),
            owed: Amount::ZERO,
            paused: false,
        };
        let mut chain = Self {
            hub,
            channel,
            registry: Registry::default(),
            now: 1_000,
            paid: Vec::new(),
            put_in: funds + bond,
            preimages: Vec::new(),
            blocks: Vec::new(),
            rule,
        };
        for _ in 0..=FINALITY {
            chain.block(1);
        }
        chain
    }

    /// Lets so many blocks pass.
    pub fn block(&mut self, blocks: u64) {
        for _ in 0..blocks {
            self.now += BLOCK_SECS;
            self.blocks.push(Block {
                executed: self.channel.withdrawn,
                deposits: self.channel.deposited,
                time: self.now,
            });
        }
    }

    /// What a side sees: totals as of the newest final block, a close as soon as it is there.
    pub fn view(&self) -> ChainView {
        let newest = self.blocks.len().saturating_sub(1 + FINALITY);
        let block = self.blocks[newest];
        let registry = self.preimages.iter().filter(|(_, at)| *at <= block.time);
        ChainView {
            epoch: self.channel.epoch,
            executed: block.executed,
            deposits: block.deposits,
            closing: self.channel.dispute.is_some(),
            time: block.time,
            registry: registry.copied().collect(),
        }
    }

    /// Pays in for the channel.
    pub fn deposit(&mut self, amount: u128) {
        if self
            .channel
            .deposit(&mut self.hub, Amount::new(amount))
            .is_ok()
        {
            self.put_in += amount;
        }
    }

    /// Executes a payout that both sides signed.
    pub fn execute(&mut self, order: Withdraw) -> bool {
        let shown = WithdrawOrder {
            order,
            hub: Some(Key::Hub),
            user: Key::User,
        };
        let call = self.call(order.to);
        let payment = self.channel.withdraw(&mut self.hub, &shown, call);
        self.paid.extend(payment.ok());
        payment.is_ok()
    }

    fn call(&self, sender: Address) -> Call {
        Call {
            sender,
            now: self.now,
        }
    }

    /// Posts a state as its sender's close.
    pub fn close(&mut self, posted: &Posted, sender: Address) -> Result<(), Refusal> {
        let credit = posted.credit.map(|(cumulative, _)| ShownCredit {
            cumulative,
            signed_by: Key::Hub,
        });
        let call = self.call(sender);
        let state = shown(&posted.signed);
        self.channel.close(&self.hub, &state, None, credit, call)
    }

    /// What the chain counts in this epoch, with the credit that a dispute shows.
    pub fn totals(&self, dispute: &Dispute) -> ChainTotals {
        ChainTotals {
            withdrawn: self.channel.withdrawn,
            deposited: self.channel.deposited,
            credit_max: dispute.credit_max,
        }
    }

    /// The running dispute as a tower reads it.
    pub fn closing(&self) -> Option<Closing> {
        let dispute = self.channel.dispute?;
        Some(Closing {
            dispute,
            late: None,
            totals: self.totals(&dispute),
            now: self.now,
        })
    }

    /// A dispute that was settled, as a tower reads it while the closer waits.
    pub fn late(&self, dispute: Dispute) -> Option<Closing> {
        let ended = self.channel.ended.get(&dispute.state.epoch)?;
        let late = Late {
            due_at: ended.delayed?.due_at,
            gone: false,
        };
        Some(Closing {
            dispute,
            late: Some(late),
            totals: self.totals(&dispute),
            now: self.now,
        })
    }

    /// Sends an answer to a close. What the contract refuses has no effect.
    pub fn send(&mut self, answer: &Answer, closing: &Closing, sender: Address) {
        let call = self.call(sender);
        let (epoch, closer) = (closing.dispute.state.epoch, closing.dispute.closer);
        let key = match closer {
            Closer::Hub => Key::Hub,
            Closer::User => Key::User,
            Closer::Exit => Key::Stranger,
        };
        let before = self.channel.dispute;
        let penalized = before.is_some_and(|dispute| dispute.penalized.is_some());
        if penalized && self.rule == Rule::PenaltyFinal {
            return;
        }
        match answer {
            Answer::Challenge(newer) => {
                let _refused_is_no_effect = self.channel.challenge(&shown(newer), call);
            }
            Answer::PenalizeBySigned(signed) => {
                let state = signed.content.state;
                let signed_by = key;
                self.penalize(epoch, Evidence::State { state, signed_by }, call);
            }
            Answer::PenalizeByRevoke(version, _) => {
                let (version, signed_by) = (*version, key);
                self.penalize(epoch, Evidence::Revoke { version, signed_by }, call);
            }
            Answer::AddCredit(cumulative, _) => {
                let credit = ShownCredit {
                    cumulative: *cumulative,
                    signed_by: Key::Hub,
                };
                let _refused_is_no_effect = self.channel.add_credit(credit, call);
            }
        }
        self.break_rule(before, answer, sender);
    }

    fn penalize(&mut self, epoch: u32, evidence: Evidence, call: Call) {
        let paid = self.channel.penalize(&mut self.hub, epoch, &evidence, call);
        self.paid.extend(paid.unwrap_or_default());
    }

    /// Applies what a planted rule does differently to the dispute.
    fn break_rule(&mut self, before: Option<Dispute>, answer: &Answer, sender: Address) {
        let (Some(before), Some(mut after)) = (before, self.channel.dispute) else {
            return;
        };
        match (self.rule, answer) {
            (Rule::TwoAbove, Answer::Challenge(newer)) => {
                let above = newer.version() >= before.closed_version + 2;
                let party = after.closer != Closer::Exit;
                after.penalized = before.penalized.or((above && party).then_some(sender));
            }
            (Rule::RevokeOnly, Answer::Challenge(_) | Answer::PenalizeBySigned(_)) => {
                after.penalized = before.penalized;
            }
            (Rule::ComparesCurrent, Answer::Challenge(newer)) => {
                // The model compares with `closed_version`, so it is made to follow.
                after.closed_version = after.closed_version.max(newer.version());
            }
            _ => {}
        }
        self.channel.dispute = Some(after);
    }

    /// Makes a preimage known.
    pub fn register(&mut self, preimage: [u8; 32]) {
        let hash = hub_core::sha256(&preimage);
        self.registry.register_preimage(Hash32(preimage), self.now);
        if !self.preimages.iter().any(|(known, _)| *known == hash) {
            self.preimages.push((hash, self.now));
        }
    }

    /// Ends the epoch after the window.
    pub fn settle(&mut self) -> bool {
        let call = self.call(Address([0xee; 20]));
        let payments = self.channel.settle(&mut self.hub, call);
        self.paid.extend(payments.iter().flatten());
        payments.is_ok()
    }

    /// Pays the closer of an ended epoch when it is due.
    pub fn claim(&mut self, epoch: u32) {
        self.now += u64::from(self.channel.params.self_delay);
        if let Ok(payment) = self.channel.claim_delayed(&mut self.hub, epoch, self.now) {
            self.paid.extend(payment);
        }
    }

    /// Resolves a settled list as its sender; returns what stays.
    pub fn unlock(&mut self, epoch: u32, locks: &[Lock], sender: Address) -> Vec<Lock> {
        let mut call = self.call(sender);
        if self.rule == Rule::MeteredEarly {
            // Whoever asks is taken for the receiver.
            let user_pays = locks.iter().any(|lock| lock.user_pays);
            let params = &self.channel.params;
            call.sender = if user_pays {
                params.hub_signer
            } else {
                params.user
            };
        }
        let done = self
            .channel
            .unlock(&mut self.hub, epoch, locks, &self.registry, call);
        match done {
            Ok((rest, payment)) => {
                self.paid.extend(payment);
                rest
            }
            Err(_) => locks.to_vec(),
        }
    }

    /// Paid to an address so far, in minor units.
    pub fn paid_to(&self, address: Address) -> u128 {
        let mine = self.paid.iter().filter(|payment| payment.to == address);
        mine.map(|payment| payment.amount.units()).sum()
    }

    /// All tokens there are, in the contract and outside.
    pub fn total(&self) -> u128 {
        let paid: u128 = self.paid.iter().map(|payment| payment.amount.units()).sum();
        let ended = self.channel.ended.values().map(|ended| {
            let delayed = ended.delayed.map_or(0, |delayed| delayed.amount.units());
            delayed + ended.locks.map_or(0, |locks| locks.reserve.units())
        });
        let held = [self.hub.funds, self.hub.bond, self.channel.collateral];
        paid + ended.sum::<u128>() + held.map(Amount::units).iter().sum::<u128>()
    }
}

/// A state with the signatures it bears.
fn shown(signed: &Signed) -> CoSigned {
    CoSigned {
        state: signed.content.state,
        hub: signed.by_hub.as_ref().map_or(Key::Stranger, |_| Key::Hub),
        user: signed.by_user.as_ref().map_or(Key::Stranger, |_| Key::User),
    }
}
