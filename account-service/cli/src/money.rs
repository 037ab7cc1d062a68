//! Amounts as people read them.

use hub_core::Amount;

/// An amount of minor units in whole tokens, with at least two decimals and no more than needed.
pub fn tokens(amount: Amount, decimals: u8) -> String {
    let digits = format!("{:0>width$}", amount, width = usize::from(decimals) + 1);
    let (whole, part) = digits.split_at(digits.len() - usize::from(decimals));
    let part = part.trim_end_matches('0');
    format!("{}.{part:0<2}", grouped(whole))
}

/// Digits with a comma before each third from the right.
pub fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with commas.
pub fn count(number: usize) -> String {
    grouped(&number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_units_are_shown_as_tokens_without_losing_a_digit() {
        let shown = |units: u128| tokens(Amount::new(units), 18);
        assert_eq!(shown(0), "0.00");
        assert_eq!(shown(1), "0.000000000000000001");
        assert_eq!(shown(12_500_000_000_000_000_000), "12.50");
        assert_eq!(shown(1_234_567 * 10u128.pow(18)), "1,234,567.00");
        assert_eq!(tokens(Amount::new(1250), 0), "1,250.00");
        assert_eq!(count(999), "999");
        assert_eq!(count(1000), "1,000");
    }
}
