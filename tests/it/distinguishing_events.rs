//! Events that distinguish filters from each other. The fuzz targets use this file too.

use eddyline::{Event, Filter};
use serde_json::value::RawValue;

/// A decoded canonical form. `RawValue` keeps numbers that no float can represent.
#[derive(serde::Deserialize)]
struct Canonical {
    items: Vec<Alternative>,
}

#[derive(serde::Deserialize)]
struct Alternative {
    types: Option<Vec<String>>,
    payload: Option<Vec<Box<RawValue>>>,
}

/// Returns, for each alternative of a filter, an event that has exactly the required contents.
pub fn witnesses(filter: &Filter) -> Vec<Event> {
    let canonical: Canonical = serde_json::from_str(filter.canonical()).unwrap();
    let mut witnesses = Vec::new();
    for Alternative { types, payload } in canonical.items {
        let types = types.unwrap_or(vec!["a type of no filter".to_owned()]);
        let payload = payload.unwrap_or(vec![RawValue::from_string("{}".to_owned()).unwrap()]);
        for event_type in &types {
            witnesses.extend(payload.iter().map(|one| Event::new(event_type, one).unwrap()));
        }
    }
    witnesses
}
