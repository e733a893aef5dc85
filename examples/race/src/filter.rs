//! Filters in a serializable form, for the metadata of events and for messages between processes.

use eddyline::Filter;
use eddyline::filter::FilterBuilder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A filter as data. Each protocol converts it to a filter of its own, and the checker matches
/// events against it directly.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(transparent)]
pub struct FilterSpec {
    /// The items, joined by OR.
    pub items: Vec<ItemSpec>,
}

/// A filter item: any of the types AND any of some predicates AND all of others. An empty list
/// matches every event.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct ItemSpec {
    /// The event types, joined by OR.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Predicates on top-level keys, joined by OR.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<(String, Value)>,
    /// Predicates on top-level keys, joined by AND.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all_of: Vec<(String, Value)>,
}

impl FilterSpec {
    /// Returns the filter that every event matches.
    pub fn everything() -> Self {
        ItemSpec::default().into()
    }

    /// Converts it to a filter of the store.
    pub fn to_filter(&self) -> Result<Filter, eddyline::Error> {
        if *self == Self::everything() {
            return Ok(Filter::everything());
        }
        let items = self.items.iter().map(ItemSpec::to_builder);
        items.reduce(FilterBuilder::or).unwrap_or_default().build()
    }

    /// Returns whether an event matches. This code shares nothing with the store's.
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
        let holds = |(key, value): &(String, Value)| {
            payload.get(key).is_some_and(|found| contains(found, value))
        };
        (self.types.is_empty() || self.types.iter().any(|one| one == event_type))
            && (self.any_of.is_empty() || self.any_of.iter().any(holds))
            && self.all_of.iter().all(holds)
    }
}

/// Returns whether a JSON value contains another, as PostgreSQL's `@>` does.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(key, value)| whole.get(key).is_some_and(|found| contains(found, value))),
        (Value::Array(whole), Value::Array(part)) => {
            part.iter().all(|value| whole.iter().any(|found| contains(found, value)))
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
    fn matches_the_same_events_as_the_store_s_filter() {
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
    fn survives_serialization() {
        for spec in specs() {
            let text = serde_json::to_string(&spec).unwrap();

            assert_eq!(serde_json::from_str::<FilterSpec>(&text).unwrap(), spec);
        }
    }

    #[test]
    fn a_filter_without_items_is_invalid() {
        let empty = FilterSpec { items: Vec::new() };

        assert!(empty.to_filter().is_err());
        assert!(!empty.matches("BookCopyLentToReader", &json!({})));
    }
}
