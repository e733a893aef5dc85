//! Numbers as people read them.

/// Formats a number with a separator of thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a number with three significant digits, or all digits before the decimal point.
pub fn decimal(number: f64) -> String {
    match number.abs() {
        size if !size.is_finite() => "-".to_owned(),
        size if size >= 99.95 => {
            let sign = if number < 0.0 { "-" } else { "" };
            format!("{sign}{}", count(size.round() as u64))
        }
        size if size >= 9.995 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// Formats a share as a percentage.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A formatted number is the number, rounded.
        #[test]
        fn formatted_numbers_are_close(number in -1e9..1e9_f64, whole: u64) {
            let shown: f64 = decimal(number).replace(',', "").parse().unwrap();
            let counted: u64 = count(whole).replace(',', "").parse().unwrap();

            prop_assert!((shown - number).abs() <= (0.005 * number.abs()).max(0.005_001));
            prop_assert_eq!(counted, whole);
        }
    }

    #[test]
    fn counts_have_separators_of_thousands() {
        let counts = [0, 999, 1_000, 65_432, 1_234_567].map(count);

        assert_eq!(counts, ["0", "999", "1,000", "65,432", "1,234,567"]);
    }

    #[test]
    fn decimals_have_three_significant_digits() {
        let decimals = [0.0, 0.123, 9.994, 9.996, 99.94, 99.96, 1234.5, -1234.5].map(decimal);

        assert_eq!(decimals, ["0.00", "0.12", "9.99", "10.0", "99.9", "100", "1,235", "-1,235"]);
    }
}
