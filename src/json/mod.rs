//! The limits of PostgreSQL's `jsonb`, and its equality of numbers.

mod finite;

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;

/// The deepest nesting that serde_json decodes.
const MAX_DEPTH: usize = 127;
/// The most digits of a `numeric` before the decimal point: PostgreSQL's manual, table 8.2.
const MAX_INTEGER_DIGITS: i64 = 131_072;
/// The most digits of a `numeric` after the decimal point.
const MAX_FRACTION_DIGITS: i64 = 16_383;

/// Serializes a value to JSON, or returns why that is impossible.
pub(crate) fn to_text(value: &impl Serialize) -> Result<String, String> {
    let text =
        serde_json::to_string(value).map_err(|fault| format!("cannot be serialized: {fault}"))?;
    if text.contains("null") && !finite::is_finite(value) {
        return Err(
            "holds NaN or an infinity, which JSON cannot represent: leave the field out, or use a \
                    string"
                .to_owned(),
        );
    }
    Ok(text)
}

/// Checks that a text is one JSON object that `jsonb` can store. Returns why it is not.
pub(crate) fn check_object(text: &str) -> Result<(), Cow<'static, str>> {
    let value: &RawValue = serde_json::from_str(text)
        .map_err(|fault| Cow::from(format!("is not valid JSON: {fault}")))?;
    if !value.get().starts_with('{') {
        return Err("is not a JSON object".into());
    }
    check_limits(value.get(), 0)
}

/// Checks that a text is one JSON value that `jsonb` can store as a field of an object. Returns why
/// it is not.
pub(crate) fn check_field(text: &str) -> Result<(), Cow<'static, str>> {
    let value: &RawValue = serde_json::from_str(text)
        .map_err(|fault| Cow::from(format!("is not valid JSON: {fault}")))?;
    check_limits(value.get(), 1)
}

/// Checks valid JSON for everything that `jsonb` refuses: the character U+0000, half of a surrogate
/// pair, and numbers out of range. Checks as well that the nesting, below `depth` outer levels, is
/// not too deep for serde_json.
fn check_limits(json: &str, mut depth: usize) -> Result<(), Cow<'static, str>> {
    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let token = match byte {
            b'"' => check_string(&bytes[at..])?,
            b'-' | b'0'..=b'9' => {
                let length = number_length(&bytes[at..]);
                Decimal::parse(&json[at..at + length])
                    .ok_or("holds a number out of PostgreSQL's range")?;
                length
            }
            _ => 1,
        };
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(format!("is nested deeper than {MAX_DEPTH} levels").into());
        }
        at += token;
    }
    Ok(())
}

/// Checks the string literal at the start of the bytes and returns its length.
fn check_string(bytes: &[u8]) -> Result<usize, Cow<'static, str>> {
    let mut at = 1;
    let mut high_surrogate = false;
    while bytes[at] != b'"' {
        let unit = match (bytes[at], bytes[at + 1]) {
            (b'\\', b'u') => Some(code_unit(&bytes[at + 2..at + 6])),
            _ => None,
        };
        if unit == Some(0) {
            return Err("holds the character U+0000, which PostgreSQL cannot store".into());
        }
        let low_surrogate = unit.is_some_and(|unit| (0xdc00..0xe000).contains(&unit));
        if low_surrogate != high_surrogate {
            return Err("holds half of a surrogate pair".into());
        }
        high_surrogate = unit.is_some_and(|unit| (0xd800..0xdc00).contains(&unit));
        at += match (bytes[at], unit) {
            (_, Some(_)) => 6,
            (b'\\', None) => 2,
            _ => 1,
        };
    }
    if high_surrogate {
        return Err("holds half of a surrogate pair".into());
    }
    Ok(at + 1)
}

fn code_unit(hex: &[u8]) -> u32 {
    hex.iter().fold(0, |unit, &digit| unit * 16 + (digit as char).to_digit(16).unwrap_or(0))
}

fn number_length(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
        .count()
}

/// The value of a JSON number. Two numbers are equal if they are equal as `numeric`, in any
/// notation.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Decimal {
    negative: bool,
    /// The significant digits, without zeros at either end. Empty for zero.
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// Parses a JSON number. Returns `None` if it is out of the range of `numeric`.
    pub(crate) fn parse(number: &str) -> Option<Self> {
        let (negative, number) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number),
        };
        let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent: i64 = exponent.parse::<i32>().ok()?.into();
        let scale = i64::try_from(fraction.len()).ok()? - exponent;
        let integer_digits = i64::try_from(integer.len()).ok()? + exponent;
        if scale > MAX_FRACTION_DIGITS || integer_digits > MAX_INTEGER_DIGITS {
            return None;
        }

        let digits = [integer, fraction].concat();
        let significant = digits.trim_end_matches('0');
        let trailing = i64::try_from(digits.len() - significant.len()).ok()?;
        let significant = significant.trim_start_matches('0');
        if significant.is_empty() {
            return Some(Self { negative: false, digits: String::new(), exponent: 0 });
        }
        Some(Self { negative, digits: significant.to_owned(), exponent: trailing - scale })
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        match (self.digits.as_str(), self.exponent) {
            ("", _) => f.write_str("0"),
            (digits, 0) => write!(f, "{sign}{digits}"),
            (digits, exponent) => write!(f, "{sign}{digits}e{exponent}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_json_that_jsonb_cannot_store() {
        for json in [
            "",
            "null",
            "[]",
            r#""BookID""#,
            r#"{"a":1} x"#,
            r#"{"a":"\u0000"}"#,
            r#"{"\u0000":1}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\udc00"}"#,
            r#"{"a":"\ud800\ud800"}"#,
            r#"{"a":"\ud800x\udc00"}"#,
            r#"{"a":1e131072}"#,
            r#"{"a":1e-16384}"#,
            r#"{"a":1e99999999999999999999}"#,
        ] {
            assert!(check_object(json).is_err(), "{json}");
        }
    }

    #[test]
    fn accepts_json_that_jsonb_can_store() {
        for json in [
            "{}",
            " { \"a\" : [ 1 , -2.5e3 , true , null ] } ",
            r#"{"a":"\\u0000"}"#,
            r#"{"a":"\ud83d\udcda \" \\ 📚"}"#,
            r#"{"a":1e131071,"b":1e-16383}"#,
            r#"{"":""}"#,
        ] {
            assert_eq!(check_object(json), Ok(()), "{json}");
        }
    }

    #[test]
    fn refuses_nesting_that_serde_json_cannot_decode() {
        let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));

        assert_eq!(check_object(&nested(MAX_DEPTH)), Ok(()));
        assert!(serde_json::from_str::<serde_json::Value>(&nested(MAX_DEPTH)).is_ok());
        assert!(check_object(&nested(MAX_DEPTH + 1)).is_err());
    }

    #[test]
    fn numbers_are_equal_by_value() {
        for spellings in [
            &["0", "-0", "0.00", "0e7"][..],
            &["10", "1e1", "10.0", "1.0E+1", "100e-1"],
            &["-0.5", "-5e-1", "-0.50"],
        ] {
            let values: Vec<_> = spellings.iter().map(|text| Decimal::parse(text)).collect();
            assert!(values.iter().all(|value| value.is_some() && *value == values[0]));
        }
        assert_ne!(Decimal::parse("1"), Decimal::parse("10"));
        assert_ne!(Decimal::parse("1"), Decimal::parse("-1"));
    }
}
