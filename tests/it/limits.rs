//! Invalid and extreme input is refused with a reason, or stored and found again.

use std::iter::repeat_n;

use eddyline::limits::{MAX_APPEND_BYTES, MAX_APPEND_EVENTS};
use eddyline::{AppendCondition, Error, Event, Filter, Query, ReadWrite, SequenceNumber, Store};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{Log, lent};

fn event(payload: impl Into<String>) -> Event {
    Event::from_json("BookCopyAddedToCirculation", payload).unwrap()
}

/// Appends events without a condition and returns their positions.
async fn append(store: &Store<ReadWrite>, events: Vec<Event>) -> eddyline::Appended {
    store.append(events, AppendCondition::none()).await.unwrap()
}

/// Appends events that the store refuses, and returns the reason.
async fn reason(store: &Store<ReadWrite>, events: impl IntoIterator<Item = Event>) -> String {
    match store.append(events, AppendCondition::none()).await {
        Err(Error::InvalidAppend { reason }) => reason.into_owned(),
        outcome => panic!("{outcome:?}"),
    }
}

#[tokio::test]
async fn an_append_that_is_empty_or_too_large_is_refused() {
    let log = Log::new().await;
    let store = log.writer().await;
    let megabyte = event(format!(r#"{{"Title":"{}"}}"#, "x".repeat(1 << 20)));
    let too_many = repeat_n(event("{}"), MAX_APPEND_EVENTS + 1);
    let too_large = repeat_n(megabyte, MAX_APPEND_BYTES >> 20);
    let twice = event("{}");

    assert!(reason(&store, []).await.contains("no event"));
    assert!(reason(&store, [twice.clone(), event("{}"), twice]).await.contains("same id"));
    assert!(reason(&store, too_many).await.contains("100001 events, the most are 100000"));
    assert!(reason(&store, too_large).await.contains("bytes of JSON, the most are 268435456"));

    assert_eq!(store.head().await.unwrap(), SequenceNumber::ZERO);
}

#[tokio::test]
async fn five_thousand_events_of_one_append_are_stored_in_order() {
    let log = Log::new().await;
    let store = log.writer().await;
    let events: Vec<_> = (0..5_000).map(|book| lent(&format!("b-{book}"), "r-1")).collect();
    let ids: Vec<_> = events.iter().map(Event::id).collect();

    let appended = append(&store, events).await;

    assert_eq!(appended.last().value() - appended.first().value(), 4_999);
    let stored = store.query(Filter::everything()).await.unwrap();
    assert_eq!(stored.events().iter().map(|event| event.id()).collect::<Vec<_>>(), ids);
}

#[tokio::test]
async fn a_payload_of_ten_megabytes_is_read_back() {
    let log = Log::new().await;
    let store = log.writer().await;
    let chapters: Vec<_> = (0..10).map(|_| "A book. \u{1f4d6} ".repeat(1 << 16)).collect();
    let payload = json!({ "Chapters": chapters });

    append(&store, vec![Event::new("BookCopyAddedToCirculation", &payload).unwrap()]).await;

    let history = store.query(Filter::everything()).await.unwrap();
    assert!(history.events()[0].payload_json().len() > 8 << 20);
    assert!(history.events()[0].payload::<Value>().unwrap() == payload);
}

/// `gin_fuzzy_search_limit` can make a GIN index return a random subset of about that size.
#[tokio::test]
async fn gin_fuzzy_search_limit_hides_no_event() {
    let log = Log::isolated().await;
    let sql = log.sql().await;
    log.set("gin_fuzzy_search_limit = 10").await;
    let store = log.writer().await;
    let book = |n: usize| if n.is_multiple_of(10) { "b-1" } else { "b-2" };
    append(&store, (0..20_000).map(|n| lent(book(n), "r-1")).collect()).await;
    sql.batch_execute(&format!("ANALYZE {}", log.name)).await.unwrap();

    let found = store.query(Filter::any_of([("BookID", "b-1")]).build().unwrap()).await.unwrap();

    assert_eq!(found.events().len(), 2_000);
}

/// Returns a filter of a thousand items, no two of which can be merged.
fn large_filter() -> Filter {
    let item = |n: usize| Filter::types([format!("Type{n}")]).any_of([("BookID", n)]);
    (1..1_000).fold(item(0), |filter, n| filter.or(item(n))).build().unwrap()
}

#[tokio::test]
async fn a_filter_of_a_thousand_items_finds_its_events() {
    let log = Log::new().await;
    let store = log.writer().await;
    let filter = large_filter();
    let events: Vec<_> = [(0, 0), (7, 7), (7, 8), (999, 999), (1_000, 1_000), (500, 500)]
        .map(|(n, book)| Event::new(format!("Type{n}"), &json!({ "BookID": book })).unwrap())
        .into();
    let matching = events.iter().filter(|event| filter.matches(event));
    let matching: Vec<_> = matching.map(Event::id).collect();
    append(&store, events).await;

    let found = store.query(&filter).await.unwrap();
    let newest = store.query(Query::new(&filter).newest_first().limit(1)).await.unwrap();

    assert_eq!(matching.len(), 4);
    assert_eq!(found.events().iter().map(|event| event.id()).collect::<Vec<_>>(), matching);
    assert_eq!(newest.events()[0].id(), matching[3]);
}

/// Each `any_of` predicate is combined with all `all_of` predicates, so that the values multiply.
#[test]
fn a_filter_whose_alternatives_have_too_many_values_in_total_is_refused() {
    let many = |key: &'static str, count: usize| (0..count).map(move |n| (format!("{key}{n}"), n));
    let combined = |all: usize, any: usize| {
        Filter::all_of(many("a", all)).any_of(many("b", any)).build().map(drop)
    };

    combined(10, 9_000).unwrap();
    let error = combined(5_000, 5_000).unwrap_err();

    assert!(matches!(error, Error::InvalidFilter { .. }), "{error:?}");
    assert!(error.to_string().contains("all_of"), "{error}");
}

#[tokio::test]
async fn a_filter_of_a_thousand_items_works_as_a_condition() {
    let log = Log::new().await;
    let store = log.writer().await;
    let filter = large_filter();
    let of = |n: usize, book: usize| {
        [Event::new(format!("Type{n}"), &json!({ "BookID": book })).unwrap()]
    };

    let condition = store.query(&filter).await.unwrap().condition();
    store.append(of(998, 999), AppendCondition::none()).await.unwrap();
    let accepted = store.append(of(999, 999), condition.clone()).await;
    let refused = store.append(of(1, 1), condition).await;

    let last = accepted.unwrap().last();
    let Err(Error::Conflict { position, event_type, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((position, event_type.as_str()), (last, "Type999"));
}

/// Text that would do harm if it were not a bound parameter, or that a layer might encode
/// differently.
const TEXTS: [&str; 16] = [
    "'",
    "\"",
    "\\",
    "\\'",
    "\\\\\"",
    "'; DROP TABLE events; --",
    "$1",
    "{}",
    "{\"BookID\": 1}",
    "[\"a\", null]",
    "%",
    "\n\t\r\u{8}\u{c}\u{1}\u{7f}",
    "\\u0041",
    "Ф\u{e9}e\u{301}\u{feff}\u{ffff}",
    "\u{1f4da}\u{10ffff}",
    " ",
];

#[tokio::test]
async fn text_with_special_characters_is_found_exactly() {
    let log = Log::new().await;
    let store = log.writer().await;
    let made = |text: &str| Event::new(text, &json!({ text: text, "BookID": text })).unwrap();
    let events: Vec<_> = TEXTS.into_iter().map(made).collect();
    append(&store, events.clone()).await;

    for (text, event) in TEXTS.into_iter().zip(&events) {
        for filter in [
            Filter::types([text]),
            Filter::any_of([("BookID", text)]),
            Filter::any_of([(text, text)]),
            Filter::types([text]).all_of([("BookID", text), (text, text)]),
        ] {
            let filter = filter.build().unwrap();
            let found = store.query(&filter).await.unwrap();

            let ids: Vec<_> = found.events().iter().map(|event| event.id()).collect();
            assert_eq!(ids, [event.id()], "{text:?}");
            assert_eq!(found.events()[0].event_type(), text);
            assert_eq!(found.events()[0].payload::<Value>().unwrap()["BookID"], text);
            let condition = AppendCondition::no_match(filter);
            let refused = store.append([lent("b-1", "r-1")], condition).await;
            assert!(matches!(refused, Err(Error::Conflict { .. })), "{text:?}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn the_longest_event_type_is_stored() {
    let log = Log::new().await;
    let store = log.writer().await;
    let longest = "é".repeat(127) + "x";

    append(&store, vec![Event::from_json(&*longest, "{}").unwrap()]).await;

    let found = store.query(Filter::types([&*longest]).build().unwrap()).await.unwrap();
    assert_eq!(found.events()[0].event_type(), longest);
}

#[tokio::test]
async fn numbers_at_the_limits_of_numeric_are_stored() {
    let log = Log::new().await;
    let store = log.writer().await;
    let nines = "9".repeat(131_072);
    let fraction = "9".repeat(16_383);
    for number in [
        "1e131071",
        "-1e131071",
        "9.9e131071",
        "1e-16383",
        "-1.5e-16382",
        "0e131071",
        "0e-16383",
        "-0.0",
        "1e400",
        "123456789012345678901234567890.123456789",
        "18446744073709551616",
        &nines,
        &format!("0.{fraction}"),
        &format!("{nines}.{fraction}"),
        &format!("{}e-16383", &fraction),
    ] {
        let outcome =
            store.append([event(format!(r#"{{"Pages":{number}}}"#))], AppendCondition::none());

        let outcome = outcome.await;
        assert!(outcome.is_ok(), "{}: {outcome:?}", &number[..number.len().min(40)]);
    }
    assert_eq!(store.query(Filter::everything()).await.unwrap().events().len(), 15);
}

#[tokio::test]
async fn the_deepest_nesting_is_stored() {
    let log = Log::new().await;
    let store = log.writer().await;
    let objects = format!("{}1{}", r#"{"a":"#.repeat(127), "}".repeat(127));
    let arrays = format!(r#"{{"a":{}1{}}}"#, "[".repeat(126), "]".repeat(126));

    append(&store, vec![event(&*objects), event(&*arrays)]).await;

    let history = store.query(Filter::everything()).await.unwrap();
    for (stored, given) in history.events().iter().zip([objects, arrays]) {
        assert_eq!(
            stored.payload::<Value>().unwrap(),
            serde_json::from_str::<Value>(&given).unwrap()
        );
    }
}

#[tokio::test]
async fn the_last_of_duplicate_keys_is_stored() {
    let log = Log::new().await;
    let store = log.writer().await;

    append(&store, vec![event(r#"{"BookID":1,"A":{"b":1,"b":2},"BookID":2}"#)]).await;

    let history = store.query(Filter::everything()).await.unwrap();
    assert_eq!(history.events()[0].payload_json(), r#"{"A": {"b": 2}, "BookID": 2}"#);
}

#[tokio::test]
async fn every_valid_time_of_an_event_is_stored() {
    let log = Log::new().await;
    let store = log.writer().await;
    for time in [
        Timestamp::constant(-210_866_803_200, 0),
        Timestamp::UNIX_EPOCH,
        "0001-01-01T00:00:00Z".parse().unwrap(),
        "9999-12-30T21:59:59.999999999Z".parse().unwrap(),
        Timestamp::MAX,
    ] {
        let Ok(event) = lent("b-1", "r-1").with_occurred_at(time) else { continue };
        let position = append(&store, vec![event.clone()]).await.first();

        let after = SequenceNumber::new(position.value() - 1);
        let history = store.query(Query::new(&Filter::everything()).after(after)).await;

        let history = history.unwrap_or_else(|error| panic!("{time}: {error:?}"));
        assert_eq!(history.events()[0].occurred_at(), event.occurred_at());
    }
}

#[tokio::test]
async fn every_valid_period_of_a_filter_is_searched() {
    let log = Log::new().await;
    let store = log.writer().await;
    let first = lent("b-1", "r-1").with_occurred_at(Timestamp::constant(-210_866_803_200, 0));
    let last = lent("b-1", "r-1").with_occurred_at("9999-12-30T21:59:59Z".parse().unwrap());
    append(&store, vec![first.unwrap(), last.unwrap()]).await;
    for (from, until, found) in [
        (Timestamp::MIN, Timestamp::MAX, 2),
        (Timestamp::MIN, Timestamp::MIN, 0),
        (Timestamp::MAX, Timestamp::MAX, 0),
        (Timestamp::MIN, Timestamp::UNIX_EPOCH, 1),
        (Timestamp::UNIX_EPOCH, Timestamp::MAX, 1),
    ] {
        let filter = Filter::everything().occurred(from..=until).unwrap();

        let history = store.query(&filter).await;

        let history = history.unwrap_or_else(|error| panic!("{from} {until}: {error:?}"));
        assert_eq!(history.events().len(), found, "{from} {until}");
    }
}

#[tokio::test]
async fn a_condition_at_any_position_above_the_head_is_refused() {
    let log = Log::new().await;
    let store = log.writer().await;
    let last = append(&store, vec![lent("b-1", "r-1")]).await.last();
    for position in [last.value() + 1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
        let above_head = SequenceNumber::new(position);
        let condition = AppendCondition::no_match_after(Filter::everything(), above_head);

        let refused = store.append([lent("b-1", "r-1")], condition).await;

        let Err(Error::PositionAhead { position, head }) = refused else { panic!("{refused:?}") };
        assert_eq!((position, head), (above_head, last));
    }
    assert_eq!(store.head().await.unwrap(), last);
}

#[tokio::test]
async fn a_query_with_any_bounds_returns_a_position_within_the_log() {
    let log = Log::new().await;
    let store = log.writer().await;
    let events = (0..3).map(|_| lent("b-1", "r-1")).collect();
    let last = append(&store, events).await.last();
    let filters = [Filter::everything(), Filter::any_of([("BookID", "b-1")]).build().unwrap()];
    for filter in &filters {
        let (all, maximum) = (Query::new(filter), SequenceNumber::new(u64::MAX));
        for (query, found) in [
            (all.clone().after(SequenceNumber::ZERO), 3),
            (all.clone().after(maximum), 0),
            (all.clone().after(SequenceNumber::new(i64::MAX as u64)), 0),
            (all.clone().up_to(SequenceNumber::ZERO), 0),
            (all.clone().up_to(maximum), 3),
            (all.clone().after(last).up_to(SequenceNumber::new(1)), 0),
            (all.clone().limit(0), 0),
            (all.clone().limit(0).newest_first(), 0),
            (all.clone().after(maximum).limit(0), 0),
            (all.clone().after(maximum).up_to(maximum).limit(0).newest_first(), 0),
            (all.clone().limit(u32::MAX), 3),
            (all.clone().after(maximum).limit(u32::MAX), 0),
        ] {
            let history = store.query(query.clone()).await.unwrap();
            let mut stream = store.stream(query.clone()).await.unwrap();
            let streamed: Vec<_> = (&mut stream).try_collect().await.unwrap();

            assert_eq!((history.events().len(), streamed.len()), (found, found), "{query:?}");
            assert!(history.position() <= last, "{query:?}: {:?}", history.position());
            assert_eq!(stream.position(), Some(history.position()), "{query:?}");
        }
    }
}

/// Events that the limit cut off break the condition of the history.
#[tokio::test]
async fn the_condition_of_a_query_with_limit_zero_is_broken_by_any_match() {
    let log = Log::new().await;
    let store = log.writer().await;
    append(&store, vec![lent("b-1", "r-1")]).await;
    let history = store.query(Query::new(&Filter::everything()).limit(0)).await.unwrap();

    let refused = store.append([lent("b-1", "r-2")], history.condition()).await;

    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
}
