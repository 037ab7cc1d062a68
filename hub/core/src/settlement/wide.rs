//! Signed sums of totals: wider than any of their parts.

use crate::Amount;

/// A signed integer of 192 bits in two's complement: sums of a few 128-bit amounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wide {
    high: i64,
    low: u128,
}

impl From<Amount> for Wide {
    fn from(amount: Amount) -> Self {
        Self {
            high: 0,
            low: amount.units(),
        }
    }
}

impl Wide {
    pub(super) fn plus(self, amount: Amount) -> Self {
        let (low, carry) = self.low.overflowing_add(amount.units());
        Self {
            high: self.high + i64::from(carry),
            low,
        }
    }

    pub(super) fn minus(self, amount: Amount) -> Self {
        let (low, borrow) = self.low.overflowing_sub(amount.units());
        Self {
            high: self.high - i64::from(borrow),
            low,
        }
    }

    /// Nothing when negative, else whether it is at most `limit`.
    pub(super) fn within(self, limit: Amount) -> Option<bool> {
        (self.high >= 0).then(|| self.high == 0 && self.low <= limit.units())
    }

    /// The lower 128 bits: the value itself when it lies within an amount.
    pub(super) fn low(self) -> Amount {
        Amount::new(self.low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_pass_both_ends_of_128_bits_and_come_back() {
        let seven = Wide::from(Amount::new(7));
        let below = seven.minus(Amount::MAX).minus(Amount::MAX);
        assert_eq!(below.within(Amount::MAX), None);
        assert_eq!(below.plus(Amount::MAX).plus(Amount::MAX), seven);
        let above = seven.plus(Amount::MAX).plus(Amount::MAX);
        assert_eq!(above.within(Amount::MAX), Some(false));
        assert_eq!(above.minus(Amount::MAX).minus(Amount::MAX), seven);
        assert_eq!(seven.within(Amount::new(7)), Some(true));
        assert_eq!(seven.within(Amount::new(6)), Some(false));
        assert_eq!(seven.minus(Amount::new(8)).within(Amount::MAX), None);
    }
}
