use std::fmt;

use serde::{Deserialize, Serialize};

/// Names an event's place in its log.
///
/// Numbers are given in commit order: whoever has seen a number can already see every event below
/// it, on the primary and on every replica. They ascend, they may skip, and they are never reused.
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
