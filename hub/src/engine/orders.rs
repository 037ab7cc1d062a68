//! Withdrawal orders and their refunds (P5, P9, N2.5).

use hub_core::{Address, Amount, ChannelId, Epoch, OperationId};

/// A withdrawal order or a refund as it stands in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderEntry {
    /// The withdrawal order.
    pub order: OperationId,
    /// What the entry does.
    pub kind: OrderKind,
    /// The channel.
    pub channel: ChannelId,
    /// The channel's epoch.
    pub epoch: Epoch,
    /// How much.
    pub amount: Amount,
}

/// What an entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderKind {
    /// Takes the amount out of the balance, to be paid to this address.
    Withdraw(Address),
    /// Gives it back.
    Refund,
}

/// What is known of one withdrawal order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KnownOrder {
    /// The entry that is part of a committed batch.
    pub committed: Option<OrderEntry>,
    /// Whether a refund is part of a committed batch.
    pub refunded: bool,
    /// Whether a refund was ever signed for, whatever became of it.
    pub refund_signed: bool,
    /// The signed `Withdraw`.
    pub signed: Option<SignedWithdraw>,
}

/// What matters of a signed `Withdraw` for its refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedWithdraw {
    /// Last second at which it may be executed.
    pub valid_until: u64,
    /// Whether it was, at a final block.
    pub executed: bool,
}

impl KnownOrder {
    /// Why the order can't be taken out of a balance again, if so.
    pub fn forbids_withdraw(&self) -> Option<&'static str> {
        self.committed
            .is_some()
            .then_some("the order is part of a committed batch already")
    }

    /// Why this refund may not be signed, if so.
    pub fn forbids_refund(
        &self,
        refund: &OrderEntry,
        final_timestamp: u64,
    ) -> Option<&'static str> {
        let Some(order) = self.committed else {
            return Some("no committed batch has the order");
        };
        let same = order.channel == refund.channel
            && order.epoch == refund.epoch
            && order.amount == refund.amount;
        if !same {
            return Some("the order is of another channel, epoch or amount");
        }
        if self.refunded {
            return Some("the order is refunded already");
        }
        match self.signed {
            Some(SignedWithdraw { executed: true, .. }) => Some("the order was paid"),
            Some(signed) if signed.valid_until >= final_timestamp => {
                Some("the order may still be paid: no final block is past its validity")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: OrderKind) -> OrderEntry {
        OrderEntry {
            order: OperationId([1; 16]),
            kind,
            channel: ChannelId([2; 32]),
            epoch: 0,
            amount: Amount::new(10),
        }
    }

    #[test]
    fn only_an_order_that_cannot_be_paid_any_more_is_refunded_once_and_exactly() {
        let refund = entry(OrderKind::Refund);
        let ordered = KnownOrder {
            committed: Some(entry(OrderKind::Withdraw(Address::ZERO))),
            ..KnownOrder::default()
        };
        assert!(KnownOrder::default().forbids_refund(&refund, 0).is_some());
        assert_eq!(ordered.forbids_refund(&refund, 0), None);
        let other = OrderEntry {
            amount: Amount::new(11),
            ..refund
        };
        assert!(ordered.forbids_refund(&other, 0).is_some());
        let signed = |executed| KnownOrder {
            signed: Some(SignedWithdraw {
                valid_until: 50,
                executed,
            }),
            ..ordered
        };
        assert!(signed(false).forbids_refund(&refund, 50).is_some());
        assert_eq!(signed(false).forbids_refund(&refund, 51), None);
        assert!(signed(true).forbids_refund(&refund, 51).is_some());
        let twice = KnownOrder {
            refunded: true,
            ..ordered
        };
        assert!(twice.forbids_refund(&refund, 0).is_some());
    }
}
