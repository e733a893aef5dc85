use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An event's position in its log.
///
/// Numbers are given in commit order: if a read sees a number, it sees every event below it, on the
/// primary and on every replica. Numbers ascend, and they may skip. A number is given again only if its
/// event is lost: in a failover to a standby that does not have it, in a restore, or in a crash of a server
/// that commits asynchronously.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(transparent)]
pub struct SequenceNumber(u64);

impl SequenceNumber {
    /// The place before the first event: the position of an empty log.
    pub const ZERO: Self = Self(0);

    /// Takes up a number that travelled outside of the program.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number itself.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// Returns the number before this one; before [`ZERO`](Self::ZERO) there is none, and it stays.
    ///
    /// Numbers may skip, so there need not be an event at it. As the position of a condition or of
    /// [`Query::after`](crate::Query::after) it lets the event at this number count as new.
    ///
    /// ```
    /// use eddyline::SequenceNumber;
    ///
    /// assert_eq!(SequenceNumber::new(7).previous(), SequenceNumber::new(6));
    /// assert_eq!(SequenceNumber::ZERO.previous(), SequenceNumber::ZERO);
    /// ```
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// Returns the number after this one; after `u64::MAX` there is none, and it stays.
    ///
    /// Numbers may skip, so the next event need not have it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Converts to PostgreSQL's `bigint`. No event lies above its range, so what is larger may
    /// as well stand at its end.
    pub(crate) fn to_bigint(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// Converts from PostgreSQL's `bigint`; the schema gives out no number below one.
    pub(crate) fn from_bigint(number: i64) -> Self {
        Self(u64::try_from(number).unwrap_or(0))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads what `Display` writes.
impl FromStr for SequenceNumber {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

impl From<u64> for SequenceNumber {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl From<SequenceNumber> for u64 {
    fn from(number: SequenceNumber) -> Self {
        number.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A number is read back from its text, and has its neighbours on both sides.
        #[test]
        fn comes_back_from_its_text(number in any::<u64>()) {
            let number = SequenceNumber::new(number);

            prop_assert_eq!(number.to_string().parse(), Ok(number));
            prop_assert!(number.previous() <= number && number <= number.next());
            prop_assert!(number == SequenceNumber::ZERO || number.previous().next() == number);
        }
    }

    #[test]
    fn refuses_text_that_is_no_number() {
        for text in ["", "-1", "7 ", "1.0", "18446744073709551616"] {
            assert!(text.parse::<SequenceNumber>().is_err(), "{text:?}");
        }
    }
}
