use std::fmt;

use serde::Serialize;

use super::containment::{Containment, check_text};
use super::node::Node;

/// A value that an event's payload must have under a top-level key.
///
/// The value is one of these:
///
/// - A JSON string, number, boolean or null. The payload's value must equal it. Numbers are
///   compared by value: 1 equals 1.0.
/// - An object. The payload's object must contain each of its fields (`{"City": "Graz"}`).
/// - An array. The payload's array must contain each of its elements, in any order and among any
///   others. An array contains an element that is an object or an array if one of its own elements
///   contains it. Repetition does not count. A scalar in the payload is not an array and does not
///   match.
///
/// These are the rules of `payload @> predicate` in PostgreSQL.
///
/// A pair of a key and a value converts to a predicate, so that a list of pairs with values of one
/// type needs no call of [`new`](Self::new). A list of predicates with values of different types:
///
/// ```
/// use eddyline::{Event, Filter, Predicate};
/// use serde_json::json;
///
/// let event = Event::new(
///     "BookCopyAdded",
///     &json!({
///         "BookID": "b-7",
///         "Pages": 320,
///         "IsReserved": false,
///         "WithdrawnAt": null,
///         "Shelf": { "Branch": "north", "Row": 4 },
///         "Tags": ["poetry", "signed", "gift"],
///     }),
/// )?;
///
/// let filter = Filter::all_of([
///     Predicate::new("BookID", "b-7"),
///     Predicate::new("Pages", 320),
///     Predicate::new("IsReserved", false),
///     Predicate::new("WithdrawnAt", None::<&str>),
///     Predicate::new("Shelf", json!({ "Branch": "north" })),
///     Predicate::new("Tags", ["signed", "poetry"]),
/// ])
/// .build()?;
/// assert!(filter.matches(&event));
///
/// // Values of the type `serde_json::Value` can be mixed in a list of pairs.
/// let same = Filter::all_of([
///     ("BookID", json!("b-7")),
///     ("Pages", json!(320.0)),
///     ("IsReserved", json!(false)),
///     ("WithdrawnAt", json!(null)),
///     ("Shelf", json!({ "Branch": "north" })),
///     ("Tags", json!(["poetry", "signed"])),
/// ])
/// .build()?;
/// assert_eq!(same, filter);
/// # Ok::<(), eddyline::Error>(())
/// ```
#[derive(Clone)]
pub struct Predicate {
    containment: Result<Containment, String>,
}

impl Predicate {
    /// Makes a predicate: the payload must have the value under the key.
    ///
    /// An invalid key or value is reported by
    /// [`FilterBuilder::build`](super::FilterBuilder::build).
    ///
    /// ```
    /// use eddyline::{Filter, Predicate};
    ///
    /// let filter = Filter::any_of([Predicate::new("ReaderID", "r-1")]).build()?;
    ///
    /// let refused = Filter::any_of([Predicate::new("ReaderID", "")]).build().unwrap_err();
    /// assert!(refused.to_string().ends_with(r#"predicate "ReaderID" has an empty string"#));
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn new(key: impl Into<String>, value: impl Serialize) -> Self {
        let key = key.into();
        let containment = Node::from_value(&value)
            .and_then(|node| check_text("key", &key).map(|()| node))
            .map_err(|reason| format!("predicate {key:?} {reason}"))
            .map(|node| Containment::of_field(key, node));
        Self { containment }
    }

    /// Returns the number of scalars in the value.
    pub(super) fn scalar_count(&self) -> usize {
        self.containment.as_ref().map_or(1, Containment::scalar_count)
    }

    pub(super) fn into_containment(self) -> Result<Containment, String> {
        self.containment
    }
}

impl<K: Into<String>, V: Serialize> From<(K, V)> for Predicate {
    /// Makes the predicate of a key and a value, as [`Predicate::new`] does.
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
