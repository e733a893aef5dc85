//! Filters generated from the bytes of a fuzzer.

use std::collections::BTreeMap;

use eddyline::filter::FilterBuilder;
use eddyline::{Filter, Predicate};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use serde::Serialize;

#[path = "../../tests/it/distinguishing_events.rs"]
mod distinguishing_events;

pub use distinguishing_events::witnesses;

/// An item of a filter with arbitrary types and predicates.
#[derive(Arbitrary, Debug)]
pub struct Item {
    pub types: Vec<String>,
    pub any_of: Vec<(String, Value)>,
    pub all_of: Vec<(String, Value)>,
}

/// An arbitrary value of a predicate.
#[derive(Arbitrary, Debug, Serialize)]
#[serde(untagged)]
pub enum Value {
    Array(Vec<Value>),
    Bool(bool),
    Float(f64),
    Integer(i64),
    Null,
    Object(BTreeMap<String, Value>),
    String(String),
}

/// Builds a filter of the items. Returns `None` if they are not valid.
pub fn filter(items: &[Item]) -> Option<Filter> {
    let builders = items.iter().map(|item| {
        let mut builder = FilterBuilder::default();
        if !item.types.is_empty() {
            builder = builder.types(&item.types);
        }
        if !item.any_of.is_empty() {
            builder = builder.any_of(predicates(&item.any_of));
        }
        if !item.all_of.is_empty() {
            builder = builder.all_of(predicates(&item.all_of));
        }
        builder
    });
    builders.reduce(FilterBuilder::or)?.build().ok()
}

fn predicates(pairs: &[(String, Value)]) -> impl Iterator<Item = Predicate> {
    pairs.iter().map(|(key, value)| Predicate::new(key, value))
}
