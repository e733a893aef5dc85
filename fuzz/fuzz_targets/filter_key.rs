//! Filters have the same key if, and only if, they match the same events.

#![no_main]

use eddyline_fuzz::{Item, filter, witnesses};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|pair: (Vec<Item>, Vec<Item>)| {
    let (Some(one), Some(other)) = (filter(&pair.0), filter(&pair.1)) else { return };
    let events: Vec<_> = witnesses(&one).into_iter().chain(witnesses(&other)).collect();
    let are_equivalent = events.iter().all(|event| one.matches(event) == other.matches(event));
    assert_eq!(one.key() == other.key(), are_equivalent, "{one:?} {other:?}");
});
