use std::fmt;

use serde::Serialize;

use super::containment::Containment;
use super::node::Node;

/// A demand that a payload holds a value under a top-level key.
///
/// The value is one of these:
///
/// - A JSON string, number, boolean or null, which the payload's value must equal. Numbers are
///   compared by value: 1 equals 1.0.
/// - An object. The payload's object must hold every part of it (`{"Address": {"City": "Graz"}}`).
/// - An array. The payload's array must contain every element of it, in any order and among any
///   others. An element that is an object or an array is contained if the payload's array has an
///   element that holds every part of it. Repetition does not count. A payload that has a scalar
///   under the key has no array there, and does not match.
///
/// This is what `payload @> predicate` means in PostgreSQL. Tags are an array of strings:
///
/// ```
/// use eddyline::{Event, Filter};
///
/// let tags = ["course:c1", "student:s1", "term:2026"];
/// let event = Event::new("StudentSubscribed", &serde_json::json!({ "tags": tags }))?;
///
/// let filter = Filter::all_of([("tags", ["student:s1", "course:c1"])]).build()?;
/// assert!(filter.matches(&event));
/// # Ok::<(), eddyline::Error>(())
/// ```
#[derive(Clone)]
pub struct Predicate {
    containment: Result<Containment, String>,
}

impl Predicate {
    /// Demands the value under the key.
    pub fn new(key: impl Into<String>, value: impl Serialize) -> Self {
        let key = key.into();
        let containment = Node::from_value(&value)
            .and_then(|node| Containment::new(key.clone(), node))
            .map_err(|reason| format!("predicate {key:?} {reason}"));
        Self { containment }
    }

    /// Returns how many scalars are demanded.
    pub(super) fn scalars(&self) -> usize {
        self.containment.as_ref().map_or(1, Containment::scalars)
    }

    pub(super) fn into_containment(self) -> Result<Containment, String> {
        self.containment
    }
}

impl<K: Into<String>, V: Serialize> From<(K, V)> for Predicate {
    fn from((key, value): (K, V)) -> Self {
        Self::new(key, value)
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.containment {
            Ok(containment) => containment.fmt(f),
            Err(reason) => f.write_str(reason),
        }
    }
}
