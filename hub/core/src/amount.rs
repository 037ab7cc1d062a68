//! Money: integer minor units of one asset, checked operations only.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};

/// An amount of one asset in minor units (10^-18 of a token by default).
///
/// Balances fit the contract's `uint96`; cumulative totals fit `uint128`. There is no operator
/// that wraps or saturates: every sum and difference says what happens at its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(u128);

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a decimal integer without sign, leading zeros or blanks.
    #[error("write an amount as a string of digits in minor units, for example \"1250\"")]
    Syntax,
    /// More than the 78 digits a 256-bit integer can have.
    #[error("an amount has at most 78 digits")]
    TooLong,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest value of a `uint96`, the contract's type for a balance.
    pub const MAX_BALANCE: Self = Self((1 << 96) - 1);
    /// The largest representable amount; no balance reaches it.
    pub const MAX: Self = Self(u128::MAX);

    /// An amount of so many minor units.
    pub const fn new(units: u128) -> Self {
        Self(units)
    }

    /// Minor units.
    pub const fn units(self) -> u128 {
        self.0
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, or nothing when it does not fit.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or nothing when it would be negative.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The difference, or zero: only for "how much is left", never for a balance.
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Whether the contract can hold it as a balance.
    pub fn fits_balance(self) -> bool {
        self <= Self::MAX_BALANCE
    }

    /// Sum of many amounts, or nothing when it does not fit.
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts
            .into_iter()
            .try_fold(Self::ZERO, |sum, next| sum.checked_add(next))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    /// Accepts `0` or digits without a leading zero. A well-formed number that is larger than
    /// any balance becomes [`Amount::MAX`], so that it is refused for lack of funds or capacity
    /// and not as a mistake of form.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let digits = text.as_bytes();
        let leading_zero = digits.len() > 1 && digits[0] == b'0';
        if digits.is_empty() || leading_zero || !digits.iter().all(u8::is_ascii_digit) {
            return Err(AmountError::Syntax);
        }
        if digits.len() > 78 {
            return Err(AmountError::TooLong);
        }
        Ok(text.parse().map_or(Self::MAX, Self))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_digit_strings_are_amounts() {
        for text in [
            "", " 1", "1 ", "+1", "-1", "01", "00", "1.0", "1e3", "0x10", "NaN", "Infinity", "١",
            "１",
        ] {
            assert_eq!(text.parse::<Amount>(), Err(AmountError::Syntax), "{text:?}");
        }
        assert_eq!("0".parse(), Ok(Amount::ZERO));
        assert_eq!("1250".parse(), Ok(Amount::new(1250)));
        assert_eq!("9".repeat(79).parse::<Amount>(), Err(AmountError::TooLong));
        assert_eq!("9".repeat(78).parse(), Ok(Amount::MAX));
    }

    #[test]
    fn sums_and_differences_never_wrap() {
        assert_eq!(Amount::MAX.checked_add(Amount::new(1)), None);
        assert_eq!(Amount::ZERO.checked_sub(Amount::new(1)), None);
        assert_eq!(Amount::new(1).less(Amount::new(2)), Amount::ZERO);
    }

    #[test]
    fn json_numbers_are_refused() {
        assert!(serde_json::from_str::<Amount>("1250").is_err());
        assert_eq!(
            serde_json::from_str::<Amount>("\"7\"").unwrap(),
            Amount::new(7)
        );
    }
}
