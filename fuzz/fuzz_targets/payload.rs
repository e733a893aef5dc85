//! A payload that is taken is an object which decodes, and which holds each of its own fields.

#![no_main]

use std::collections::BTreeMap;

use eddyline::{Event, Filter};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

fuzz_target!(|text: &str| {
    let Ok(event) = Event::from_json("BookCopyLentToReader", text) else { return };
    let fields: BTreeMap<String, Box<RawValue>> = event.payload().expect("an object");
    for field in fields {
        // Empty keys, strings, objects and arrays are no predicates.
        let Ok(filter) = Filter::any_of([field]).build() else { continue };
        assert!(filter.matches(&event), "{}", filter.canonical());
    }
    // Numbers may be such that no float holds; all else must decode.
    if let Err(fault) = serde_json::from_str::<serde_json::Value>(text) {
        assert!(fault.to_string().contains("number out of range"), "{fault}");
    }
});
