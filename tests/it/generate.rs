//! Strategies for events and filters of property tests. Their vocabulary is so small that filters
//! often match.

use eddyline::filter::FilterBuilder;
use eddyline::{Event, Filter, Predicate};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

/// Strings that break SQL or JSON which is put together without quoting.
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

/// A few numbers in several spellings, and some that no float represents exactly.
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

/// Generates a JSON value as text: a scalar, or small objects and arrays that are nested. With
/// `empties` it may contain empty strings, objects and arrays: payloads may, predicates must not.
fn value(empties: bool) -> BoxedStrategy<String> {
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
            let least = usize::from(!empties);
            let array = array(inner.clone(), least..4);
            prop_oneof![3 => object(inner, least..3, empties), 2 => array]
        })
        .boxed()
}

/// Generates a JSON array as text.
fn array(
    value: impl Strategy<Value = String> + 'static,
    elements: std::ops::Range<usize>,
) -> impl Strategy<Value = String> {
    prop::collection::vec(value, elements).prop_map(|values| format!("[{}]", values.join(" , ")))
}

/// Generates a JSON value of up to three levels. Its vocabulary is so small that one value often
/// contains another.
pub fn small_value(empties: bool) -> BoxedStrategy<String> {
    let least = usize::from(!empties);
    let scalar = select(vec!["1", "1.0", "2", "null", "true", "\"x\"", "\"\\u0078\"", "\"y\""]);
    scalar
        .prop_map(str::to_owned)
        .prop_recursive(3, 12, 3, move |inner| {
            let field = (select(vec!["a", "b", "\\u0061"]), inner.clone());
            let object = prop::collection::vec(field, least..3).prop_map(|fields| {
                let fields: Vec<_> =
                    fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", fields.join(","))
            });
            prop_oneof![2 => object, 3 => array(inner, least..4)]
        })
        .boxed()
}

/// Generates a JSON object as text. Keys may repeat; the last one counts.
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
    let fields = object(value(true), 0..4, true);
    (event_type(), fields, proptest::option::of(small_value(true))).prop_map(
        |(event_type, fields, tags)| {
            let payload = match tags {
                Some(tags) if fields == "{}" => format!("{{\"tags\":{tags}}}"),
                Some(tags) => format!("{{\"tags\":{tags},{}", &fields[1..]),
                None => fields,
            };
            Event::from_json(event_type, payload).unwrap()
        },
    )
}

fn predicate() -> impl Strategy<Value = Predicate> {
    let any = (select(KEYS.to_vec()), value(false));
    let tags = (Just("tags"), small_value(false));
    prop_oneof![2 => any, 1 => tags].prop_map(|(key, value)| {
        let value: Box<serde_json::value::RawValue> = serde_json::from_str(&value).unwrap();
        Predicate::new(key, value)
    })
}

/// A filter item that can be added to builders repeatedly.
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
        .prop_filter("the item is empty or contradicts itself", |item| {
            item.builder().build().is_ok()
        })
}

pub fn items() -> impl Strategy<Value = Vec<Item>> {
    prop::collection::vec(item(), 1..4)
}

/// Returns a filter that has the items as alternatives.
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
