//! A payload that is taken is an object which decodes, and which a filter can look into.

#![no_main]

use eddyline::{Event, Filter};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(event) = Event::from_json("BookCopyLentToReader", text) else { return };
    let filter = Filter::any_of([("BookID", "b-1")]).build().expect("a filter");
    filter.matches(&event);
    // Numbers may be such that no float holds; all else must decode.
    if let Err(fault) = serde_json::from_str::<serde_json::Value>(text) {
        assert!(fault.to_string().contains("number out of range"), "{fault}");
    }
});
