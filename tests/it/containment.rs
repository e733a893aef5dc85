//! Predicates match payloads as the containment operator of `jsonb`, `@>`, does.

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

/// A predicate on an array matches exactly if PostgreSQL says that the payload contains the array.
#[test]
fn predicates_match_as_the_server_does() {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Runtime::new().unwrap());
    let sql = runtime.block_on(async {
        crate::support::connect(&cluster().await.primary().url("postgres")).await
    });
    let contains = "SELECT payload::jsonb @> predicate::jsonb
        FROM ROWS FROM (unnest($1::text[]), unnest($2::text[])) WITH ORDINALITY
            AS pair (payload, predicate, number)
        ORDER BY number";
    let pairs = vec((small_value(true), small_value(false)), 100);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) };
    TestRunner::new(config)
        .run(&pairs, |pairs| {
            let object = |value: &String| format!("{{\"k\":{value}}}");
            let payload: Vec<_> = pairs.iter().map(|(payload, _)| object(payload)).collect();
            let predicate: Vec<_> = pairs.iter().map(|(_, predicate)| object(predicate)).collect();

            let rows = runtime.block_on(sql.query(contains, &[&payload, &predicate])).unwrap();

            for ((payload, predicate), row) in pairs.iter().zip(rows) {
                let filter = filter(predicate);
                let matches = filter.matches(&event(payload));
                prop_assert_eq!(matches, row.get::<_, bool>(0), "{} @> {}", payload, predicate);
            }
            Ok(())
        })
        .unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Two predicates have the same canonical form exactly if each array contains the other.
    #[test]
    fn equivalent_predicates_have_one_canonical_form(
        one in small_value(false),
        other in small_value(false),
    ) {
        let (first, second) = (filter(&one), filter(&other));

        let same_meaning = first.matches(&event(&other)) && second.matches(&event(&one));

        prop_assert_eq!(first.canonical() == second.canonical(), same_meaning);
        prop_assert_eq!(first == second, same_meaning);
        prop_assert!(first.matches(&event(&one)));
    }

    /// Order and repetition of elements do not matter, and neither do elements that others contain.
    #[test]
    fn order_and_repetition_of_elements_do_not_matter(
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

    /// Two arrays that must both be contained equal one array with the elements of both.
    #[test]
    fn two_arrays_equal_one_with_the_elements_of_both(
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
fn predicates_match_as_the_postgresql_manual_says() {
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
        // In PostgreSQL an array contains a scalar only at the top level of a value.
        ("[\"x\", \"y\"]", "\"x\"", false),
        ("\"x\"", "[\"x\"]", false),
        ("{\"a\": 1}", "[{\"a\": 1}]", false),
        ("[1.0]", "[1]", true),
        ("[]", "[null]", false),
    ];
    for (payload, predicate, expected) in cases {
        assert_eq!(
            filter(predicate).matches(&event(payload)),
            expected,
            "{payload} @> {predicate}"
        );
    }
}

#[test]
fn values_that_would_widen_the_filter_are_refused() {
    for value in [json!([]), json!([[]]), json!([{}]), json!([""]), json!({ "a": [] })] {
        let refused = Filter::all_of([("tags", value.clone())]).build();

        assert!(matches!(refused, Err(Error::InvalidFilter { .. })), "{value}");
    }
}

#[test]
fn an_array_and_another_value_for_one_key_are_refused() {
    for other in [json!("course:c1"), json!({ "course": "c1" })] {
        let both = Filter::all_of([("tags", json!(["course:c1"])), ("tags", other)]);

        assert!(matches!(both.build(), Err(Error::InvalidFilter { .. })));
    }
}

#[test]
fn elements_of_arrays_count_towards_the_value_limit_of_a_filter() {
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
async fn a_query_finds_events_by_their_tags() {
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
