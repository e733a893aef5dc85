//! Round trips of the values in events, with and without the database.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use eddyline::{AppendCondition, Error, Event, Filter, Query, ReadWrite, Store};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::support::Log;

const EDGES: [f64; 14] = [
    0.0,
    -0.0,
    0.1,
    1e16,
    1e23,
    9_007_199_254_740_993.0,
    1_234_567_890_123_456_800.0,
    18_446_744_073_709_551_616.0,
    f64::EPSILON,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    5e-324,
    2.225_073_858_507_201e-308,
];

/// Generates any finite `f64` from its bits.
fn float() -> impl Strategy<Value = f64> {
    let any =
        any::<u64>().prop_map(f64::from_bits).prop_filter("not finite", |one| one.is_finite());
    prop_oneof![8 => any, 1 => select(EDGES.to_vec()), 1 => -1e4..1e4]
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Measured {
    double: f64,
    single: f32,
    integers: (i64, u64),
    wide: (i128, u128),
    nested: BTreeMap<String, Vec<Option<f64>>>,
}

fn measured() -> impl Strategy<Value = Measured> {
    let single =
        any::<u32>().prop_map(f32::from_bits).prop_filter("not finite", |one| one.is_finite());
    let nested = vec(proptest::option::of(float()), 0..3);
    (float(), single, any::<(i64, u64)>(), any::<(i128, u128)>(), nested).prop_map(
        |(double, single, integers, wide, nested)| {
            let nested = BTreeMap::from([("values".to_owned(), nested)]);
            Measured { double, single, integers, wide, nested }
        },
    )
}

async fn through_the_log(store: &Store<ReadWrite>, events: Vec<Event>) -> Vec<Event> {
    let before = store.head().await.unwrap();
    store.append(events, AppendCondition::none()).await.unwrap();
    let history = store.query(Query::new(&Filter::everything()).after(before)).await.unwrap();
    history.events().iter().map(|event| event.event().clone()).collect()
}

/// Every accepted number is read back equal, from payload and metadata, with and without the
/// database.
#[test]
fn numbers_are_read_back_unchanged() {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Runtime::new().unwrap());
    let store = runtime.block_on(async { Log::new().await.writer().await });
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) };
    TestRunner::new(config)
        .run(&vec(measured(), 50), |values| {
            let event =
                |value| Event::new("Measured", value).unwrap().with_metadata(value).unwrap();
            let events: Vec<_> = values.iter().map(event).collect();

            let stored = runtime.block_on(through_the_log(&store, events.clone()));

            for (value, event) in values.iter().chain(&values).zip(events.iter().chain(&stored)) {
                prop_assert_eq!(&event.payload::<Measured>().unwrap(), value);
                prop_assert_eq!(&event.metadata::<Measured>().unwrap(), value);
            }
            Ok(())
        })
        .unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// The JSON text of a float is read back bit for bit.
    #[test]
    fn floats_are_read_back_bit_for_bit(value in float()) {
        let event = Event::new("Measured", &json!({ "value": value })).unwrap();

        let payload = event.payload::<BTreeMap<String, f64>>().unwrap();

        prop_assert_eq!(payload["value"].to_bits(), value.to_bits());
    }
}

/// A predicate on a float matches the event with this float, in any notation of the number.
#[tokio::test]
async fn a_float_is_found_by_its_value() {
    let log = Log::new().await;
    let store = log.writer().await;
    let events = EDGES.map(|value| Event::new("Measured", &json!({ "value": value })).unwrap());
    store.append(events.clone(), AppendCondition::none()).await.unwrap();

    for (value, event) in EDGES.iter().zip(&events) {
        let filter = Filter::any_of([("value", value)]).build().unwrap();
        let found = store.query(&filter).await.unwrap();

        assert!(filter.matches(event));
        assert!(found.events().iter().any(|found| found.id() == event.id()), "{value}");
    }
}

#[derive(Serialize)]
enum Shape {
    Newtype(f64),
    Struct { value: f32 },
    Tuple(u8, f64),
}

/// Asserts that payload, metadata and predicate all refuse a value.
fn assert_refused_everywhere<T: Serialize>(value: T) {
    let fields = BTreeMap::from([("value", &value)]);
    let event = Event::from_json("Measured", "{}").unwrap();

    for (field, refused) in
        [("payload", Event::new("Measured", &fields)), ("metadata", event.with_metadata(&fields))]
    {
        let Err(Error::InvalidEvent { field: found, reason }) = refused else {
            panic!("{field} was accepted: {refused:?}");
        };
        assert_eq!(found, field);
        assert!(reason.contains("NaN or an infinity"), "{reason}");
    }
    let Err(Error::InvalidFilter { reason }) = Filter::any_of([("value", &value)]).build() else {
        panic!("the predicate was accepted");
    };
    assert!(reason.contains("NaN or an infinity"), "{reason}");
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    for value in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_refused_everywhere(value);
        assert_refused_everywhere(value as f32);
        assert_refused_everywhere(Some(value));
        assert_refused_everywhere(vec![1.0, value]);
        assert_refused_everywhere((Option::<u8>::None, value));
        assert_refused_everywhere(BTreeMap::from([("inner", [value])]));
    }
    for shape in [
        Shape::Newtype(f64::NAN),
        Shape::Struct { value: f32::INFINITY },
        Shape::Tuple(1, f64::NEG_INFINITY),
    ] {
        assert_refused_everywhere(shape);
    }
}

#[test]
fn intended_nulls_are_accepted() {
    fn round<T: DeserializeOwned + PartialEq + Serialize + std::fmt::Debug>(value: T) {
        let event = Event::new("Measured", &value).unwrap();
        assert_eq!(event.payload::<T>().unwrap(), value);
    }
    round(json!({ "none": null, "text": "null", "list": [null, 1.5] }));
    round(BTreeMap::from([("none".to_owned(), Option::<f64>::None)]));
    round(BTreeMap::from([(7_u8, (Option::<u8>::None, 'n', 1.5_f32))]));
    round(BTreeMap::from([("unit".to_owned(), ())]));
}
