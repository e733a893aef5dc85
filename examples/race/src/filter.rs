//! Filters in a form that travels: in an event's metadata, and between processes.

use eddyline::Filter;
use eddyline::filter::FilterBuilder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A filter as data, from which every protocol makes its own and the checker matches by itself.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(transparent)]
pub struct FilterSpec {
    /// Joined by OR.
    pub items: Vec<ItemSpec>,
}

/// Event types AND any of some predicates AND all of others; an empty list demands nothing.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct ItemSpec {
    /// The event types.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Top-level key and value, of which one must be held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<(String, Value)>,
    /// Top-level key and value, of which every one must be held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all_of: Vec<(String, Value)>,
}

impl FilterSpec {
    /// Makes the one that every event matches.
    pub fn everything() -> Self {
        ItemSpec::default().into()
    }

    /// Makes the store's filter of it.
    pub fn to_filter(&self) -> Result<Filter, eddyline::Error> {
        if *self == Self::everything() {
            return Ok(Filter::everything());
        }
        let items = self.items.iter().map(ItemSpec::to_builder);
        items.reduce(FilterBuilder::or).unwrap_or_default().build()
    }

    /// Returns whether an event matches, by code that shares nothing with the store's.
    pub fn matches(&self, event_type: &str, payload: &Value) -> bool {
        self.items.iter().any(|item| item.matches(event_type, payload))
    }
}

impl From<ItemSpec> for FilterSpec {
    fn from(item: ItemSpec) -> Self {
        Self { items: vec![item] }
    }
}

impl ItemSpec {
    fn to_builder(&self) -> FilterBuilder {
        let mut builder = FilterBuilder::default();
        if !self.types.is_empty() {
            builder = builder.types(self.types.clone());
        }
        if !self.any_of.is_empty() {
            builder = builder.any_of(self.any_of.clone());
        }
        if !self.all_of.is_empty() {
            builder = builder.all_of(self.all_of.clone());
        }
        builder
    }

    fn matches(&self, event_type: &str, payload: &Value) -> bool {
        let held = |(key, value): &(String, Value)| {
            payload.get(key).is_some_and(|found| holds(found, value))
        };
        (self.types.is_empty() || self.types.iter().any(|one| one == event_type))
            && (self.any_of.is_empty() || self.any_of.iter().any(held))
            && self.all_of.iter().all(held)
    }
}

/// Returns whether an object or an array holds every part of another, or a scalar equals another.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|found| holds(found, value)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            part.iter().all(|value| whole.iter().any(|found| holds(found, value)))
        }
        (whole, part) => whole == part,
    }
}

#[cfg(test)]
mod tests {
    use eddyline::Event;
    use serde_json::json;

    use super::*;

    fn specs() -> Vec<FilterSpec> {
        let lent = ItemSpec {
            types: vec!["BookCopyLentToReader".into()],
            any_of: vec![("BookID".into(), json!("b")), ("ReaderID".into(), json!("r"))],
            ..ItemSpec::default()
        };
        let shelf = ItemSpec {
            all_of: vec![
                ("Shelf".into(), json!({"Branch": "x"})),
                ("Reserved".into(), json!(true)),
            ],
            ..ItemSpec::default()
        };
        let several = FilterSpec { items: vec![lent.clone(), shelf.clone()] };
        let tags = ItemSpec {
            all_of: vec![("Tags".into(), json!(["book:b", "reader:r"]))],
            ..ItemSpec::default()
        };
        vec![lent.into(), shelf.into(), tags.into(), several, FilterSpec::everything()]
    }

    #[test]
    fn matches_what_the_store_says_that_it_matches() {
        let payloads = [
            json!({}),
            json!({"BookID": "b"}),
            json!({"BookID": "c", "ReaderID": "r"}),
            json!({"Shelf": {"Branch": "x", "Level": 2}, "Reserved": true}),
            json!({"Shelf": {"Branch": "x"}, "Reserved": false}),
            json!({"Shelf": {"Level": 2}, "Reserved": true}),
            json!({"Shelf": "x", "Reserved": true, "ReaderID": "r"}),
            json!({"Tags": ["reader:r", "shelf:s", "book:b"]}),
            json!({"Tags": ["reader:r", "shelf:s"]}),
            json!({"Tags": []}),
        ];
        for spec in specs() {
            let filter = spec.to_filter().unwrap();
            for event_type in ["BookCopyLentToReader", "ReaderRegistered"] {
                for payload in &payloads {
                    let event = Event::new(event_type, payload).unwrap();
                    let expected = filter.matches(&event);

                    assert_eq!(spec.matches(event_type, payload), expected, "{payload}");
                }
            }
        }
    }

    #[test]
    fn travels_unchanged() {
        for spec in specs() {
            let text = serde_json::to_string(&spec).unwrap();

            assert_eq!(serde_json::from_str::<FilterSpec>(&text).unwrap(), spec);
        }
    }

    #[test]
    fn an_empty_one_is_no_filter() {
        let empty = FilterSpec { items: Vec::new() };

        assert!(empty.to_filter().is_err());
        assert!(!empty.matches("BookCopyLentToReader", &json!({})));
    }
}
