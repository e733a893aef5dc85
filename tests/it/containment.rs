//! What a predicate demands of a payload, beside what `jsonb`'s `@>` answers.

use std::sync::OnceLock;

use eddyline::{Error, Event, Filter, Predicate};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::runtime::Runtime;

use crate::generate::small_value;
use crate::support::{Log, cluster};

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn filter(value: &str) -> Filter {
    Filter::all_of([Predicate::new("k", raw(value))]).build().unwrap()
}

fn event(value: &str) -> Event {
    Event::from_json("Tagged", format!("{{\"k\":{value}}}")).unwrap()
}

/// A predicate on an array is met exactly when PostgreSQL says that the payload contains it.
#[test]
fn is_what_the_server_says() {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Runtime::new().unwrap());
    let sql = runtime.block_on(async {
        crate::support::connect(&cluster().await.primary().url("postgres")).await
    });
    let contains = "SELECT given::jsonb @> demanded::jsonb
        FROM ROWS FROM (unnest($1::text[]), unnest($2::text[])) WITH ORDINALITY
            AS pair (given, demanded, place)
        ORDER BY place";
    let pairs = vec((small_value(true), small_value(false)), 100);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) };
    TestRunner::new(config)
        .run(&pairs, |pairs| {
            let object = |value: &String| format!("{{\"k\":{value}}}");
            let given: Vec<_> = pairs.iter().map(|(given, _)| object(given)).collect();
            let demanded: Vec<_> = pairs.iter().map(|(_, demanded)| object(demanded)).collect();

            let rows = runtime.block_on(sql.query(contains, &[&given, &demanded])).unwrap();

            for ((given, demanded), row) in pairs.iter().zip(rows) {
                let filter = filter(demanded);
                let matches = filter.matches(&event(given));
                prop_assert_eq!(matches, row.get::<_, bool>(0), "{} @> {}", given, demanded);
            }
            Ok(())
        })
        .unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Two predicates have one canonical form exactly when each one's array contains the other's.
    #[test]
    fn is_canonical(one in small_value(false), other in small_value(false)) {
        let (first, second) = (filter(&one), filter(&other));

        let same_meaning = first.matches(&event(&other)) && second.matches(&event(&one));

        prop_assert_eq!(first.canonical() == second.canonical(), same_meaning);
        prop_assert_eq!(first == second, same_meaning);
        prop_assert!(first.matches(&event(&one)));
    }

    /// Neither order nor repetition of elements counts, nor elements that others contain.
    #[test]
    fn is_free_of_order_and_repetition(
        elements in vec(small_value(false), 1..4),
        again in any::<prop::sample::Index>(),
    ) {
        let array = |elements: &[String]| format!("[{}]", elements.join(","));
        let mut rearranged: Vec<_> = elements.iter().rev().cloned().collect();
        rearranged.push(again.get(&elements).clone());

        prop_assert_eq!(filter(&array(&elements)), filter(&array(&rearranged)));
        prop_assert_eq!(
            filter(&format!("[{}]", array(&elements))),
            filter(&format!("[{},{}]", array(&elements[..1]), array(&elements)))
        );
    }

    /// Two arrays that must both be contained are one that has the elements of both.
    #[test]
    fn of_two_arrays_is_the_containment_of_both(
        one in vec(small_value(false), 1..3),
        other in vec(small_value(false), 1..3),
    ) {
        let array = |elements: &[String]| raw(&format!("[{}]", elements.join(",")));
        let both = [one.as_slice(), other.as_slice()].concat();

        let apart = Filter::all_of([("k", array(&one)), ("k", array(&other))]).build().unwrap();
        let together = Filter::all_of([("k", array(&both))]).build().unwrap();

        prop_assert_eq!(apart, together);
    }
}

#[test]
fn knows_the_cases_of_the_manual() {
    let cases = [
        ("[1, 2, 3]", "[1, 3]", true),
        ("[1, 2, 3]", "[3, 1]", true),
        ("[1, 2, 3]", "[1, 2, 2]", true),
        ("[1, 2, [1, 3]]", "[1, 3]", false),
        ("[1, 2, [1, 3]]", "[[1, 3]]", true),
        ("[1, 2, [1, 3]]", "[[3]]", true),
        ("[[1], [3]]", "[[1, 3]]", false),
        ("[{\"a\": 1, \"b\": 2}, {\"c\": 3}]", "[{\"b\": 2}]", true),
        ("[{\"a\": 1}, {\"b\": 2}]", "[{\"a\": 1, \"b\": 2}]", false),
        // Only at the top level of a value does an array contain a scalar.
        ("[\"x\", \"y\"]", "\"x\"", false),
        ("\"x\"", "[\"x\"]", false),
        ("{\"a\": 1}", "[{\"a\": 1}]", false),
        ("[1.0]", "[1]", true),
        ("[]", "[null]", false),
    ];
    for (given, demanded, expected) in cases {
        assert_eq!(filter(demanded).matches(&event(given)), expected, "{given} @> {demanded}");
    }
}

#[test]
fn refuses_values_that_would_widen_the_filter() {
    for value in [json!([]), json!([[]]), json!([{}]), json!([""]), json!({ "a": [] })] {
        let refused = Filter::all_of([("tags", value.clone())]).build();

        assert!(matches!(refused, Err(Error::InvalidFilter { .. })), "{value}");
    }
}

#[test]
fn refuses_arrays_and_values_that_exclude_each_other() {
    for other in [json!("course:c1"), json!({ "course": "c1" })] {
        let both = Filter::all_of([("tags", json!(["course:c1"])), ("tags", other)]);

        assert!(matches!(both.build(), Err(Error::InvalidFilter { .. })));
    }
}

#[test]
fn counts_the_values_of_arrays_against_the_most_of_a_filter() {
    let tags = |count: usize| (0..count).map(|n| format!("t{n}")).collect::<Vec<_>>();

    assert!(Filter::all_of([("tags", tags(9_990))]).build().is_ok());
    for refused in [
        Filter::all_of([("tags", tags(10_001))]),
        Filter::all_of([("tags", tags(6_000)), ("labels", tags(6_000))]),
    ] {
        assert!(matches!(refused.build(), Err(Error::InvalidFilter { .. })));
    }
}

#[tokio::test]
async fn finds_events_by_their_tags() {
    let log = Log::new().await;
    let store = log.writer().await;
    let subscribed = |course: &str, student: &str| {
        let tags = [format!("course:{course}"), format!("student:{student}")];
        Event::new("StudentSubscribed", &json!({ "tags": tags })).unwrap()
    };
    let events = [subscribed("c1", "s1"), subscribed("c1", "s2"), subscribed("c2", "s1")];
    store.append(events, eddyline::AppendCondition::none()).await.unwrap();

    for (tags, found) in [
        (vec!["course:c1"], 2),
        (vec!["student:s1"], 2),
        (vec!["student:s1", "course:c1"], 1),
        (vec!["course:c3"], 0),
    ] {
        let filter = Filter::all_of([("tags", &tags)]).build().unwrap();
        let history = store.query(&filter).await.unwrap();

        assert_eq!(history.events().len(), found, "{tags:?}");
        let condition = eddyline::AppendCondition::no_match(filter);
        let appended = store.append([subscribed("c9", "s9")], condition).await;
        assert_eq!(appended.is_err(), found > 0, "{tags:?}");
    }
}
