//! Property tests that `Filter::matches` and the server select the same events.

use std::sync::OnceLock;

use eddyline::{AppendCondition, Error, Event, Filter, Query, ReadWrite, SequenceNumber, Store};
use jiff::{SignedDuration, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::runtime::Runtime;

use crate::generate;
use crate::support::Log;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

/// Checks a property against a store with a log of its own.
fn check<S: Strategy>(
    cases: u32,
    strategy: S,
    property: impl AsyncFn(&Store<ReadWrite>, S::Value) -> Result<(), TestCaseError>,
) {
    let store = runtime().block_on(async { Log::new().await.writer().await });
    check_on(&store, cases, strategy, property);
}

/// Checks a property against a store.
fn check_on<S: Strategy>(
    store: &Store<ReadWrite>,
    cases: u32,
    strategy: S,
    property: impl AsyncFn(&Store<ReadWrite>, S::Value) -> Result<(), TestCaseError>,
) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    TestRunner::new(config)
        .run(&strategy, |value| runtime().block_on(property(store, value)))
        .unwrap();
}

fn ids<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<uuid::Uuid> {
    events.into_iter().map(Event::id).collect()
}

/// `Filter::matches` and the server select the same events.
#[test]
fn filter_matches_selects_the_same_events_as_the_server() {
    let strategy = (vec(generate::event(), 1..12), vec(generate::filter(), 1..8));
    check(150, strategy, async |store, (events, filters)| {
        let before = store.head().await.unwrap();
        store.append(events.clone(), AppendCondition::none()).await.unwrap();

        for filter in &filters {
            let read = store.query(Query::new(filter).after(before)).await.unwrap();

            let matching = events.iter().filter(|event| filter.matches(event));
            let found = read.events().iter().map(|event| event.event());
            prop_assert_eq!(ids(found), ids(matching), "{}", filter.canonical());
        }
        Ok(())
    });
}

/// An event read back matches the same filters as the event that was appended.
#[test]
fn an_event_matches_the_same_filters_before_and_after_storage() {
    let strategy = (generate::event(), vec(generate::filter(), 1..8));
    check(100, strategy, async |store, (event, filters)| {
        let before = store.head().await.unwrap();
        store.append([event.clone()], AppendCondition::none()).await.unwrap();

        let read = store.query(Query::new(&Filter::everything()).after(before)).await.unwrap();

        for filter in filters {
            prop_assert_eq!(filter.matches(&event), filter.matches(read.events()[0].event()));
        }
        Ok(())
    });
}

/// Appends the events through `writer`. Checks that `store` then answers an append with a conflict
/// exactly if a query finds a matching event, and that the conflict names the first of them.
async fn check_conflicts(
    writer: &Store<ReadWrite>,
    store: &Store<ReadWrite>,
    after: SequenceNumber,
    events: &[Event],
    filters: &[Filter],
) -> Result<(), TestCaseError> {
    let first = writer.append(events.to_vec(), AppendCondition::none()).await.unwrap().first();
    for filter in filters {
        let condition = AppendCondition::no_match_after(filter.clone(), after);
        let probe = Event::from_json("Probe", "{}").unwrap();

        let answer = store.append([probe], condition).await;

        let broken = store.query(Query::new(filter).after(after).limit(1)).await.unwrap();
        match (answer, broken.events().first()) {
            (Err(Error::Conflict { position, event_type, .. }), Some(breaking)) => {
                prop_assert_eq!(position, breaking.sequence_number());
                prop_assert_eq!(event_type, breaking.event_type());
            }
            // The filter may match the probe itself.
            (Ok(appended), found) => {
                prop_assert!(found.is_none_or(|found| found.sequence_number() >= appended.first()));
                prop_assert!(!events.iter().any(|event| filter.matches(event)));
            }
            (answer, found) => prop_assert!(false, "{answer:?} although the query found {found:?}"),
        }
    }
    prop_assert!(first > after);
    Ok(())
}

/// An append is refused exactly if an event was stored that its filter matches.
#[test]
fn recent_conditions_conflict_exactly_if_an_event_matches() {
    let strategy = (vec(generate::event(), 1..8), vec(generate::filter(), 1..5));
    check(100, strategy, async |store, (events, filters)| {
        let after = store.head().await.unwrap();
        check_conflicts(store, store, after, &events, &filters).await
    });
}

/// As above, but another store appends the events, so that the server validates the conditions.
#[test]
fn conditions_validated_by_the_server_conflict_exactly_if_an_event_matches() {
    let (writer, store) = runtime().block_on(async {
        let log = Log::new().await;
        (log.writer().await, log.writer().await)
    });
    let strategy = (vec(generate::event(), 1..8), vec(generate::filter(), 1..5));
    check_on(&store, 100, strategy, async |store, (events, filters)| {
        let after = store.head().await.unwrap();
        check_conflicts(&writer, store, after, &events, &filters).await
    });
}

/// As above, but after so many events that a search before the append validates the conditions.
#[test]
fn stale_conditions_conflict_exactly_if_an_event_matches() {
    let strategy = (vec(generate::event(), 1..8), vec(generate::filter(), 1..5));
    check(40, strategy, async |store, (events, filters)| {
        let after = store.head().await.unwrap();
        let filler = (0..1_100).map(|_| Event::from_json("Filler", "{}").unwrap());
        store.append(filler, AppendCondition::none()).await.unwrap();
        check_conflicts(store, store, after, &events, &filters).await
    });
}

/// Any string can be an event type, a key or a value. It is read back unchanged, and a filter that
/// names it finds its event and no other.
#[test]
fn any_string_is_read_back_and_found() {
    let text = "[^\0]{1,40}";
    let strategy = (text, text, "[^\0]{0,40}");
    check(150, strategy, async |store, (event_type, key, value)| {
        let event_type: String = event_type.chars().take(60).collect();
        let payload = serde_json::Map::from_iter([(key.clone(), value.clone().into())]);
        let other = Event::from_json("Other", "{\"other\":true}").unwrap();
        let event = Event::new(event_type.clone(), &payload).unwrap();
        let before = store.head().await.unwrap();
        store.append([other.clone(), event.clone()], AppendCondition::none()).await.unwrap();

        let read = store.query(Query::new(&Filter::everything()).after(before)).await.unwrap();
        let stored = &read.events()[1];
        prop_assert_eq!(stored.event_type(), &event_type);
        prop_assert_eq!(stored.payload::<serde_json::Map<_, _>>().unwrap(), payload);

        let mut filters = vec![Filter::types([event_type.clone()]).build().unwrap()];
        if !value.is_empty() {
            filters.push(Filter::any_of([(key, value)]).build().unwrap());
        }
        for filter in filters {
            let found = store.query(Query::new(&filter).after(before)).await.unwrap();
            let matching = [&other, &event].into_iter().filter(|event| filter.matches(event));
            prop_assert_eq!(ids(found.events().iter().map(|event| event.event())), ids(matching));
            prop_assert!(filter.matches(&event));
        }
        Ok(())
    });
}

/// `Filter::matches` and the server treat time bounds alike; both ends are inclusive.
#[test]
fn time_bounds_select_the_same_events_as_the_server() {
    let base: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let strategy = (vec(0_i64..6, 1..8), 0_i64..6_000, 0_i64..6_000);
    check(80, strategy, async |store, (times, from, length)| {
        let at = |micros: i64| base.saturating_add(SignedDuration::from_micros(micros)).unwrap();
        let nanos = |nanos: i64| base.saturating_add(SignedDuration::from_nanos(nanos)).unwrap();
        let event = |micros| {
            Event::from_json("ReaderRegistered", "{}")
                .unwrap()
                .with_occurred_at(at(micros))
                .unwrap()
        };
        let events: Vec<_> = times.into_iter().map(event).collect();
        let before = store.head().await.unwrap();
        store.append(events.clone(), AppendCondition::none()).await.unwrap();
        let (from, until) = (nanos(from), nanos(from + length));

        let everything = Filter::everything();
        for filter in [
            everything.occurred(from..=until).unwrap(),
            everything.occurred(from..).unwrap(),
            everything.occurred(..=until).unwrap(),
        ] {
            let read = store.query(Query::new(&filter).after(before)).await.unwrap();
            let matching = events.iter().filter(|event| filter.matches(event));
            prop_assert_eq!(ids(read.events().iter().map(|event| event.event())), ids(matching));
        }
        Ok(())
    });
}

/// A period that begins or ends at the time of an event matches the event.
#[test]
fn an_event_matches_periods_that_begin_or_end_at_its_time() {
    let seconds = prop_oneof![-5_000_000_000_i64..5_000_000_000, -3_i64..3];
    check(150, (seconds, 0_i32..1_000_000_000), async |store, (seconds, nanoseconds)| {
        let time = Timestamp::new(seconds, nanoseconds).unwrap();
        let event = Event::from_json("ReaderRegistered", "{}").unwrap();
        let event = event.with_occurred_at(time).unwrap();
        let before = store.head().await.unwrap();
        store.append([event.clone()], AppendCondition::none()).await.unwrap();

        let everything = Filter::everything();
        for filter in [
            everything.occurred(time..).unwrap(),
            everything.occurred(..=time).unwrap(),
            everything.occurred(time..=time).unwrap(),
        ] {
            prop_assert!(filter.matches(&event));
            let read = store.query(Query::new(&filter).after(before)).await.unwrap();
            prop_assert_eq!(read.events().len(), 1);
            let condition = AppendCondition::no_match_after(filter, before);
            let again = event.clone().with_id(uuid::Uuid::now_v7()).unwrap();
            let refused = store.append([again], condition).await.unwrap_err();
            prop_assert!(refused.is_conflict());
        }
        Ok(())
    });
}
