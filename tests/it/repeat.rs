//! Repeated appends: appends of events that are already in the log.

use std::future::IntoFuture;

use eddyline::{AppendCondition, Error, Event, Filter, ReadWrite, SequenceNumber, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config as ProptestConfig, TestRunner};

use crate::support::{Log, Observer, lent, loans_of, refusal, returned, series};

async fn events_in(store: &Store<ReadWrite>) -> usize {
    store.query(Filter::everything()).await.unwrap().events().len()
}

#[tokio::test]
async fn a_repeat_returns_the_original_positions_under_any_condition() {
    let log = Log::new().await;
    let (store, other) = (log.writer().await, log.writer().await);
    let history = store.query(loans_of("b-1")).await.unwrap();
    let conditions = [
        AppendCondition::none(),
        AppendCondition::no_match(loans_of("b-2")),
        AppendCondition::no_match(Filter::everything()),
        AppendCondition::no_match_after(loans_of("b-3"), SequenceNumber::ZERO),
        AppendCondition::no_match_after(loans_of("b-3"), SequenceNumber::new(1_000_000)),
        history.condition(),
    ];
    let events = [lent("b-1", "r-1"), returned("b-1", "r-1")];
    let first = store.append(events.clone(), history.condition()).await.unwrap();
    store.append([lent("b-1", "r-2")], AppendCondition::none()).await.unwrap();

    for condition in conditions {
        let repeated = other.append(events.clone(), condition.clone()).await.unwrap();

        assert!(repeated.is_repeat(), "{condition:?}");
        assert_eq!((repeated.first(), repeated.last()), (first.first(), first.last()));
    }
    assert!(!first.is_repeat());
    assert_eq!(events_in(&store).await, 3);
}

/// Contents are compared as `jsonb` values, so the formatting of the JSON does not matter.
#[tokio::test]
async fn an_append_of_a_stored_id_with_other_contents_is_refused() {
    let log = Log::new().await;
    let store = log.writer().await;
    let id = "123e4567-e89b-12d3-a456-426614174000".parse().unwrap();
    let time: jiff::Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
    let event = |event_type: &str, payload: &str, by: &str, time| {
        let event = Event::from_json(event_type, payload).unwrap().with_id(id).unwrap();
        let event = event.with_metadata(&serde_json::json!({ "By": by })).unwrap();
        event.with_occurred_at(time).unwrap()
    };
    let (lent, payload) = ("BookCopyLentToReader", r#"{"BookID":"b-1","Copies":1}"#);
    let first = event(lent, payload, "r-1", time);
    let first = store.append([first], AppendCondition::none()).await.unwrap();
    let same = event(lent, r#"{ "Copies": 1.0, "BookID": "b-1" }"#, "r-1", time);
    let others = [
        event("BookCopyReturnedByReader", payload, "r-1", time),
        event(lent, r#"{"BookID":"b-1","Copies":2}"#, "r-1", time),
        event(lent, payload, "r-2", time),
        event(lent, payload, "r-1", time + std::time::Duration::from_micros(1)),
    ];

    let repeated = store.append([same], AppendCondition::none()).await.unwrap();

    assert!(repeated.is_repeat());
    for other in others {
        for condition in [AppendCondition::none(), AppendCondition::no_match(Filter::everything())]
        {
            let refused = store.append([other.clone()], condition).await;

            let Err(Error::DuplicateEvent { event_id, position }) = refused else {
                panic!("{other:?}: {refused:?}")
            };
            assert_eq!((event_id, position), (id, first.first()));
        }
        let import = store.import(futures_util::stream::iter([other])).into_future();
        let refused = Error::from(import.await.unwrap_err());
        assert!(matches!(refused, Error::DuplicateEvent { .. }), "{refused:?}");
    }
    assert_eq!(events_in(&store).await, 1);
}

#[tokio::test]
async fn a_repeat_is_recognized_although_an_earlier_event_breaks_its_condition() {
    let log = Log::new().await;
    let store = log.writer().await;
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    let event = lent("b-2", "r-1");
    store.append([event.clone()], AppendCondition::none()).await.unwrap();

    let repeated = store.append([event], AppendCondition::no_match(loans_of("b-1"))).await;

    assert!(repeated.unwrap().is_repeat());
    assert_eq!(events_in(&store).await, 2);
}

#[tokio::test]
async fn an_append_of_stored_and_new_events_is_refused() {
    let log = Log::new().await;
    let store = log.writer().await;
    let event = lent("b-1", "r-1");
    let stored = store.append([event.clone()], AppendCondition::none()).await.unwrap();
    let conditions = [AppendCondition::none(), AppendCondition::no_match(Filter::everything())];

    for condition in conditions {
        let refused = store.append([lent("b-2", "r-1"), event.clone()], condition).await;

        let Err(Error::DuplicateEvent { event_id, position }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((event_id, position), (event.id(), stored.first()));
    }
    assert_eq!(events_in(&store).await, 1);
}

#[tokio::test]
async fn the_server_refuses_an_insert_of_a_stored_id() {
    let log = Log::new().await;
    let event = lent("b-1", "r-1");
    log.writer().await.append([event.clone()], AppendCondition::none()).await.unwrap();

    let insert = log.insert("b-2").replace("gen_random_uuid()", &format!("'{}'", event.id()));
    let outcome = log.sql().await.batch_execute(&insert).await;

    assert_eq!(refusal(outcome), "23505");
}

#[tokio::test]
async fn a_refused_append_conflicts_again_when_repeated() {
    let log = Log::new().await;
    let store = log.writer().await;
    let history = store.query(loans_of("b-1")).await.unwrap();
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    let events = [lent("b-1", "r-2")];

    for _ in 0..2 {
        let refused = store.append(events.clone(), history.condition()).await;

        assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn repeated_appends_count_their_events_once() {
    let (log, observer) = (Log::new().await, Observer::new());
    let config = log.config().telemetry(observer.telemetry());
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let events = [lent("b-1", "r-1"), lent("b-2", "r-1")];

    for _ in 0..3 {
        store.append(events.clone(), AppendCondition::none()).await.unwrap();
    }

    let counted = observer.counted("eventstore.events");
    assert_eq!(counted, series([("direction=appended server=primary", 2)]));
}

/// For any appends that share ids, each id is stored once and every answer is correct.
#[tokio::test(flavor = "multi_thread")]
async fn overlapping_appends_store_each_id_once() {
    let log = Log::new().await;
    let store = log.writer().await;
    let runtime = tokio::runtime::Handle::current();
    let appends = prop::collection::vec(prop::collection::vec(0..6usize, 1..4), 1..8);

    let checked = tokio::task::spawn_blocking(move || {
        let config = ProptestConfig { cases: 60, failure_persistence: None, ..<_>::default() };
        TestRunner::new(config).run(&appends, |appends| {
            let events: Vec<Event> = (0..6).map(|book| lent(&format!("b-{book}"), "r")).collect();
            runtime.block_on(async {
                let mut expected = Vec::new();
                for picks in appends {
                    let mut picks = picks;
                    picks.sort_unstable();
                    picks.dedup();
                    let known = picks.iter().filter(|pick| expected.contains(*pick)).count();
                    let append = picks.iter().map(|pick| events[*pick].clone());
                    let answer = store.append(append, AppendCondition::none()).await;
                    match (known, answer) {
                        (0, Ok(answer)) => {
                            prop_assert!(!answer.is_repeat());
                            expected.extend(picks);
                        }
                        (known, Ok(answer)) if known == picks.len() => {
                            prop_assert!(answer.is_repeat());
                        }
                        (_, Err(Error::DuplicateEvent { event_id, .. })) => {
                            prop_assert!(known > 0 && known < picks.len());
                            prop_assert!(picks.iter().any(|pick| events[*pick].id() == event_id));
                        }
                        (known, answer) => prop_assert!(false, "{known} known: {answer:?}"),
                    }
                }
                let history = store.query(Filter::everything()).await.unwrap();
                for (index, event) in events.iter().enumerate() {
                    let stored = history.events().iter().filter(|one| one.id() == event.id());
                    prop_assert_eq!(stored.count(), usize::from(expected.contains(&index)));
                }
                Ok(())
            })
        })
    });

    checked.await.unwrap().unwrap();
}
