//! Events that tell filters apart; the fuzz targets use this file too.

use eddyline::{Event, Filter};
use serde_json::value::RawValue;

/// A canonical form, decoded; its numbers may be such that no float holds.
#[derive(serde::Deserialize)]
struct Canonical {
    items: Vec<Alternative>,
}

#[derive(serde::Deserialize)]
struct Alternative {
    types: Option<Vec<String>>,
    payload: Option<Vec<Box<RawValue>>>,
}

/// Returns, for each alternative of a filter, an event that has what it demands and nothing else.
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
