//! Events and filters for property tests, of so few words that they often match.

use eddyline::{Event, Filter, FilterBuilder, Predicate};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

/// Strings that break what is put together carelessly.
const STRINGS: [&str; 10] = [
    "b-1",
    "b-2",
    "O'Reilly",
    "say \"b-1\"",
    "back\\slash",
    "{\"BookID\": \"b-1\"}",
    "$1",
    "%s; DROP TABLE events --",
    "📚 Bücher\u{7f}\n",
    "\u{fffd}\u{10ffff}",
];

/// The same few numbers in several spellings, and some that no float holds.
const NUMBERS: [&str; 12] = [
    "0",
    "-0",
    "0.0",
    "1",
    "1.0",
    "1e0",
    "10",
    "1e1",
    "-2.50",
    "-25e-1",
    "12345678901234567890123",
    "1.2345678901234567890123e22",
];

const KEYS: [&str; 5] = ["BookID", "ReaderID", "a\"b", "O'Reilly", "ü.\\"];

const TYPES: [&str; 5] = ["BookCopyLentToReader", "ReaderRegistered", "Type'\"\\", "{A,B}", "📚"];

/// A JSON value as text: a scalar, or an object of a few, one in another.
fn value(arrays: bool, empties: bool) -> BoxedStrategy<String> {
    let quoted = |text: &str| Value::from(text).to_string();
    let mut strings: Vec<_> = STRINGS.iter().map(|text| quoted(text)).collect();
    if empties {
        strings.push(quoted(""));
    }
    let scalar = prop_oneof![
        4 => select(strings),
        3 => select(NUMBERS.to_vec()).prop_map(str::to_owned),
        1 => select(vec!["true", "false", "null"]).prop_map(str::to_owned),
    ];
    scalar
        .prop_recursive(2, 6, 2, move |inner| {
            let nested = object(inner.clone(), usize::from(!empties)..3, empties);
            match arrays {
                true => {
                    let array = prop::collection::vec(inner, 0..3)
                        .prop_map(|values| format!("[{}]", values.join(",")));
                    prop_oneof![3 => nested, 1 => array].boxed()
                }
                false => nested,
            }
        })
        .boxed()
}

/// A JSON object as text; with repeated keys, of which the last counts.
fn object(
    value: impl Strategy<Value = String> + 'static,
    fields: std::ops::Range<usize>,
    empties: bool,
) -> BoxedStrategy<String> {
    let mut keys = KEYS.to_vec();
    if empties {
        keys.push("");
    }
    prop::collection::vec((select(keys), value), fields)
        .prop_map(|fields| {
            let fields: Vec<_> = fields
                .iter()
                .map(|(key, value)| format!("{} : {value}", Value::from(*key)))
                .collect();
            format!("{{{}}}", fields.join(" ,"))
        })
        .boxed()
}

pub fn event_type() -> impl Strategy<Value = String> {
    select(TYPES.to_vec()).prop_map(str::to_owned)
}

pub fn event() -> impl Strategy<Value = Event> {
    (event_type(), object(value(true, true), 0..4, true))
        .prop_map(|(event_type, payload)| Event::from_json(event_type, payload).unwrap())
}

fn predicate() -> impl Strategy<Value = Predicate> {
    (select(KEYS.to_vec()), value(false, false)).prop_map(|(key, value)| {
        let value: Box<serde_json::value::RawValue> = serde_json::from_str(&value).unwrap();
        Predicate::new(key, value)
    })
}

/// An item of a filter, as it can be given to a builder more than once.
#[derive(Clone, Debug)]
pub struct Item {
    pub types: Vec<String>,
    pub any_of: Vec<Predicate>,
    pub all_of: Vec<Predicate>,
}

impl Item {
    pub fn builder(&self) -> FilterBuilder {
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
}

pub fn item() -> impl Strategy<Value = Item> {
    (
        prop::collection::vec(event_type(), 0..3),
        prop::collection::vec(predicate(), 0..3),
        prop::collection::vec(predicate(), 0..2),
    )
        .prop_map(|(types, any_of, all_of)| Item { types, any_of, all_of })
        .prop_filter("names nothing, or excludes itself", |item| item.builder().build().is_ok())
}

pub fn items() -> impl Strategy<Value = Vec<Item>> {
    prop::collection::vec(item(), 1..4)
}

/// Joins items to a filter.
pub fn join(items: &[Item]) -> Filter {
    let builders = items.iter().map(Item::builder);
    builders.reduce(FilterBuilder::or).unwrap().build().unwrap()
}

pub fn filter() -> impl Strategy<Value = Filter> {
    prop_oneof![
        12 => items().prop_map(|items| join(&items)),
        1 => Just(Filter::everything()),
    ]
}
