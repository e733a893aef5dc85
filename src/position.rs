use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The position of an event in its log.
///
/// Positions are assigned in commit order: a read that sees a position sees every event below it,
/// on the primary and on every replica. They ascend, with gaps. A position is assigned again only
/// if its event is lost: in a failover to a standby that does not have it, in a restore, or in a
/// crash of a server that commits asynchronously. A [`Bookmark`](crate::Bookmark) is a position
/// that shows this.
///
/// ```
/// use eddyline::SequenceNumber;
///
/// let position: SequenceNumber = "42".parse()?;
/// assert_eq!(position, SequenceNumber::new(42));
/// assert!(position > SequenceNumber::ZERO);
/// # Ok::<(), std::num::ParseIntError>(())
/// ```
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(transparent)]
pub struct SequenceNumber(u64);

impl SequenceNumber {
    /// The position before the first event, which is the head of an empty log.
    pub const ZERO: Self = Self(0);

    /// Makes a position from a number that was stored or sent elsewhere.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// Returns the position before this one. [`ZERO`](Self::ZERO) stays as it is.
    ///
    /// Positions have gaps, so there need not be an event at it. In a condition or in
    /// [`Query::after`](crate::Query::after) it makes the event at this position count as new.
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

    /// Returns the position after this one. `u64::MAX` stays as it is.
    ///
    /// Positions have gaps, so the next event may have a higher one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Converts to PostgreSQL's `bigint`. No event lies above its range, so larger positions become
    /// its maximum.
    pub(crate) fn to_bigint(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// Converts from PostgreSQL's `bigint`. The schema assigns no position below 1.
    pub(crate) fn from_bigint(number: i64) -> Self {
        Self(u64::try_from(number).unwrap_or(0))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Parses the output of `Display`.
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
        /// A position is equal to its parsed text, and has neighbors on both sides.
        #[test]
        fn parses_what_it_displays(number in any::<u64>()) {
            let number = SequenceNumber::new(number);

            prop_assert_eq!(number.to_string().parse(), Ok(number));
            prop_assert!(number.previous() <= number && number <= number.next());
            prop_assert!(number == SequenceNumber::ZERO || number.previous().next() == number);
        }
    }

    #[test]
    fn refuses_text_that_is_not_a_number() {
        for text in ["", "-1", "7 ", "1.0", "18446744073709551616"] {
            assert!(text.parse::<SequenceNumber>().is_err(), "{text:?}");
        }
    }
}
