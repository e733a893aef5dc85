//! An accepted payload is an object that decodes, and a filter on any of its fields matches it.

#![no_main]

use std::collections::BTreeMap;

use eddyline::{Event, Filter};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

fuzz_target!(|text: &str| {
    let Ok(event) = Event::from_json("BookCopyLentToReader", text) else { return };
    let fields: BTreeMap<String, Box<RawValue>> = event.payload().expect("an object");
    for field in fields {
        // Empty keys, strings, objects and arrays are not valid predicates.
        let Ok(filter) = Filter::any_of([field]).build() else { continue };
        assert!(filter.matches(&event), "{}", filter.canonical());
    }
    // A number may exceed the range of floats. Everything else must decode.
    if let Err(error) = serde_json::from_str::<serde_json::Value>(text) {
        assert!(error.to_string().contains("number out of range"), "{error}");
    }
});
