//! What is paid after an epoch has ended.

use crate::abi::{Value, address, hash, uint};
use crate::bug::Bug;
use crate::shown;
use crate::twin::{Step, Twin};
use hub_core::dispute::ShownCheque;
use hub_core::lock::Lock;
use hub_core::trade::{Book, Cheque, Meter, Order};
use hub_core::{Address, Amount, Hash32};

impl Twin {
    /// The late payout of a closer.
    pub fn claim_delayed(&mut self, at: usize, epoch: u32, sender: Address) -> Step {
        let now = self.chain.now;
        let paid = self.model(at, |hub, channel, _| {
            let payment = channel.claim_delayed(hub, epoch, now)?;
            Ok(payment.into_iter().collect())
        });
        let arguments = [shown::params(&self.channels[at].params), uint(epoch)];
        let answer = self.chain.call(sender, "claimDelayed", &arguments);
        self.agree(
            &format!("claimDelayed {at} epoch {epoch}"),
            at,
            paid,
            answer,
            None,
        )
    }

    /// What the funds could not pay before.
    pub fn pay_owed(&mut self, at: usize, epoch: u32, sender: Address) -> Step {
        let paid = self.model(at, |hub, channel, _| {
            Ok(vec![channel.pay_owed(hub, epoch)?])
        });
        let arguments = [shown::params(&self.channels[at].params), uint(epoch)];
        let answer = self.chain.call(sender, "payOwed", &arguments);
        self.agree(
            &format!("payOwed {at} epoch {epoch}"),
            at,
            paid,
            answer,
            None,
        )
    }

    /// A preimage becomes known.
    pub fn register_preimage(&mut self, preimage: Hash32, sender: Address) -> Result<(), String> {
        self.registry.register_preimage(preimage, self.chain.now);
        let arguments = [Value::List(vec![hash(preimage)])];
        let answer = self.chain.call(sender, "registerPreimages", &arguments);
        answer.map_err(|data| format!("a preimage is refused: {}", hex::encode(data)))?;
        let known = hub_core::sha256(&preimage.0);
        let view = self.chain.view("preimageTime", &[hash(known)]);
        let (model, contract) = (
            u128::from(self.registry.preimage_time(known)),
            crate::abi::word(&view, 0),
        );
        if model == contract {
            return Ok(());
        }
        Err(format!(
            "preimage known since {model} in the model, {contract} in the contract"
        ))
    }

    /// Granules of an order are shown.
    pub fn show_meter(&mut self, order: &Order, delivered: u64, signed: bool) -> Step {
        let meter = Meter {
            order_id: order.id(),
            delivered,
        };
        let signer = if signed {
            &self.keys.trader
        } else {
            &self.keys.stranger
        };
        let signature = signer.sign(&self.chain.domain(), &meter);
        let arguments = [Value::Tuple(vec![
            address(order.signer),
            hash(order.terms),
            uint(delivered),
            shown::signature(signature),
        ])];
        let shown = self.registry.show_meter(order.id(), delivered, signed);
        let sender = self.keys.stranger.address();
        let answer = self.chain.call(sender, "showMeter", &arguments);
        // The refusal names the order where others name a channel.
        let id = hub_core::ChannelId(order.id().0);
        let what = format!("showMeter {delivered}");
        self.agree_on_evidence(&what, id, shown, answer)
    }

    /// A payout of a lock list.
    pub fn unlock(&mut self, at: usize, epoch: u32, locks: &[Lock], sender: Address) -> Unlocked {
        let mut call = self.by(sender);
        let list = self.channels[at]
            .ended
            .get(&epoch)
            .and_then(|ended| ended.locks);
        let (reserve, short) = list.map_or((Amount::ZERO, Amount::ZERO), |list| {
            (list.reserve, list.short)
        });
        let arguments = [
            shown::params(&self.channels[at].params),
            uint(epoch),
            lock_list(locks, reserve, short),
        ];
        if self.bug == Some(Bug::LockOneSecondLate) {
            call.now -= 1;
        }
        let unlocked = self.model(at, |hub, channel, registry| {
            channel.unlock(hub, epoch, locks, registry, call)
        });
        let answer = self.chain.call(sender, "unlock", &arguments);
        let rest = unlocked.as_ref().ok().map(|(rest, _)| rest.clone());
        let paid = unlocked.map(|(_, payment)| payment.into_iter().collect());
        let what = format!("unlock {at} epoch {epoch}");
        self.agree(&what, at, paid, answer, None)?;
        Ok(rest)
    }

    /// A cheque of a cover lock.
    pub fn cash(
        &mut self,
        at: usize,
        epoch: u32,
        locks: &[Lock],
        place: usize,
        cheque: (&Book, &Cheque, bool),
    ) -> Unlocked {
        let (book, cheque, is_signed) = cheque;
        let list = self.channels[at]
            .ended
            .get(&epoch)
            .and_then(|ended| ended.locks);
        let (reserve, short) = list.map_or((Amount::ZERO, Amount::ZERO), |list| {
            (list.reserve, list.short)
        });
        let signer = if is_signed {
            &self.keys.trader
        } else {
            &self.keys.stranger
        };
        let signature = signer.sign(&self.chain.domain(), cheque);
        let arguments = [
            shown::params(&self.channels[at].params),
            uint(epoch),
            lock_list(locks, reserve, short),
            uint(place as u128),
            Value::Tuple(vec![
                address(book.signer),
                hash(book.terms),
                address(cheque.beneficiary),
                uint(cheque.cumulative.units()),
                shown::signature(signature),
            ]),
        ];
        let shown = ShownCheque {
            place,
            book: book.id(),
            beneficiary: cheque.beneficiary,
            cumulative: cheque.cumulative,
            is_signed,
        };
        let cashed = self.model(at, |hub, channel, registry| {
            channel.cash_cheque(hub, epoch, locks, &shown, registry)
        });
        let sender = self.keys.stranger.address();
        let answer = self.chain.call(sender, "cashCheque", &arguments);
        let rest = cashed.as_ref().ok().map(|(rest, _)| rest.clone());
        let paid = cashed.map(|(_, payment)| vec![payment]);
        let what = format!("cashCheque {at} {}", cheque.cumulative);
        self.agree(&what, at, paid, answer, None)?;
        Ok(rest)
    }
}

/// The locks that stay when a payout was accepted; or how the two sides differ.
pub type Unlocked = Result<Option<Vec<Lock>>, String>;

fn lock_list(locks: &[Lock], reserve: Amount, short: Amount) -> Value {
    Value::Tuple(vec![
        shown::locks(locks),
        uint(reserve.units()),
        uint(short.units()),
    ])
}
