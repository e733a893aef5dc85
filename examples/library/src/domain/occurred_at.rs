use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize, Serializer};

/// The time of an event: UTC, in whole microseconds.
///
/// The log stores microseconds. A finer time would change when it is stored, and a decision could
/// depend on the difference.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(from = "Timestamp")]
pub struct OccurredAt(Timestamp);

impl OccurredAt {
    /// Returns the current time.
    pub fn now() -> Self {
        Timestamp::now().into()
    }

    /// Returns the point in time.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl From<Timestamp> for OccurredAt {
    /// Rounds down to microseconds, as the log does, also for times before 1970.
    fn from(time: Timestamp) -> Self {
        let finer = time.as_nanosecond().rem_euclid(1_000);
        let finer = SignedDuration::from_nanos(i64::try_from(finer).unwrap_or_default());
        Self(time.checked_sub(finer).expect("the earliest time has whole microseconds"))
    }
}

/// Writes RFC 3339 with six fractional digits, so that equal times have equal texts.
impl fmt::Display for OccurredAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.0)
    }
}

impl Serialize for OccurredAt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> OccurredAt {
        text.parse::<Timestamp>().unwrap().into()
    }

    #[test]
    fn is_written_in_utc_with_six_digits() {
        for (given, written) in [
            ("2026-03-01T10:00:00Z", "2026-03-01T10:00:00.000000Z"),
            ("2026-03-01T10:00:00.5+01:00", "2026-03-01T09:00:00.500000Z"),
            ("2026-03-01T10:00:00.123456789Z", "2026-03-01T10:00:00.123456Z"),
            ("1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(serde_json::to_value(time(given)).unwrap(), serde_json::json!(written));
        }
    }

    #[test]
    fn serialization_keeps_the_time() {
        let now = OccurredAt::now();

        let stored = serde_json::to_string(&now).unwrap();

        assert_eq!(serde_json::from_str::<OccurredAt>(&stored).unwrap(), now);
    }
}
