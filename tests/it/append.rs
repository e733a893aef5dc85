//! Appends with and without conditions.

use std::time::Duration;

use eddyline::{
    AppendCondition, Error, Event, Filter, Query, ReadWrite, RetryPolicy, SequenceNumber, Store,
};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::json;

use crate::support::{Log, lent, loans_of, returned};

#[tokio::test]
async fn an_append_stores_events_in_order_and_returns_their_positions() {
    let log = Log::new().await;
    let store = log.writer().await;
    let events = [lent("b-1", "r-1"), returned("b-1", "r-1"), lent("b-1", "r-2")];

    let appended = store.append(events.clone(), AppendCondition::none()).await.unwrap();

    let history = store.query(Filter::everything()).await.unwrap();
    let stored: Vec<_> = history.events().iter().map(|event| event.id()).collect();
    assert_eq!(stored, events.iter().map(|event| event.id()).collect::<Vec<_>>());
    assert_eq!(history.events()[0].sequence_number(), appended.first());
    assert_eq!(history.events()[2].sequence_number(), appended.last());
    assert_eq!(history.position(), appended.last());
}

#[tokio::test]
async fn an_append_conflicts_when_a_matching_event_arrives_first() {
    let log = Log::new().await;
    let store = log.writer().await;
    let history = store.query(loans_of("b-1")).await.unwrap();
    let first = store.append([lent("b-1", "r-1")], history.condition()).await.unwrap();

    let refused = store.append([lent("b-1", "r-2")], history.condition()).await;

    let Err(Error::Conflict { after, position, event_type }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(after, SequenceNumber::ZERO);
    assert_eq!(position, first.first());
    assert_eq!(event_type, "BookCopyLentToReader");
    assert_eq!(store.head().await.unwrap(), first.last());
}

#[tokio::test]
async fn an_append_succeeds_when_the_event_that_arrives_first_does_not_match() {
    let log = Log::new().await;
    let store = log.writer().await;
    let history = store.query(loans_of("b-1")).await.unwrap();
    store.append([lent("b-2", "r-1")], AppendCondition::none()).await.unwrap();

    let appended = store.append([lent("b-1", "r-1")], history.condition()).await;

    assert!(appended.is_ok(), "{appended:?}");
}

#[tokio::test]
async fn a_refused_append_stores_none_of_its_events() {
    let log = Log::new().await;
    let store = log.writer().await;
    let condition = AppendCondition::no_match(loans_of("b-1"));
    store.append([lent("b-1", "r-1")], condition.clone()).await.unwrap();
    let before = store.head().await.unwrap();

    let refused = store.append([lent("b-2", "r-1"), lent("b-3", "r-1")], condition).await;

    assert!(refused.is_err_and(|error| error.is_conflict()));
    assert_eq!(store.head().await.unwrap(), before);
}

#[tokio::test]
async fn a_condition_on_a_period_is_broken_only_by_events_within_it() {
    let log = Log::new().await;
    let store = log.writer().await;
    let time = |time: &str| time.parse::<Timestamp>().unwrap();
    let january = time("2026-01-01T00:00:00Z")..=time("2026-01-31T23:59:59Z");
    let history = store.query(loans_of("b-1").occurred(january).unwrap()).await.unwrap();
    let at = |when| lent("b-1", "r-1").with_occurred_at(time(when)).unwrap();

    store.append([at("2026-02-01T00:00:00Z")], AppendCondition::none()).await.unwrap();
    let accepted = store.append([at("2026-01-31T23:59:59Z")], history.condition()).await;
    let refused = store.append([at("2026-01-15T12:00:00Z")], history.condition()).await;

    assert!(accepted.is_ok(), "{accepted:?}");
    assert!(refused.is_err_and(|error| error.is_conflict()));
}

/// Counts the events of a boundary, appends an event that carries the count, and repeats this.
async fn count_and_append(store: &Store<ReadWrite>, book: &str, times: usize) {
    for _ in 0..times {
        let history = store.query(loans_of(book)).await.unwrap();
        let counted = json!({ "BookID": book, "Seen": history.events().len() });
        let event = Event::new("BookCopyLentToReader", &counted).unwrap();
        match store.append([event], history.condition()).await {
            Err(error) if !error.is_conflict() => panic!("{error:?}"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_decisions_never_miss_an_event() {
    let log = Log::new().await;
    let (first, second) = (log.writer().await, log.writer().await);
    let decisions = (0..12).map(|number| {
        let store = if number % 2 == 0 { &first } else { &second };
        count_and_append(store, ["b-1", "b-2"][number / 2 % 2], 25)
    });
    let unconditional = async {
        for _ in 0..60 {
            let event =
                Event::new("BookCopyReturnedByReader", &json!({ "BookID": "b-1" })).unwrap();
            first.append([event], AppendCondition::none()).await.unwrap();
        }
    };

    tokio::join!(join_all(decisions), unconditional);

    for book in ["b-1", "b-2"] {
        let history = first.query(Query::new(&loans_of(book))).await.unwrap();
        for (before, event) in history.events().iter().enumerate() {
            let seen = event.payload::<serde_json::Value>().unwrap()["Seen"].as_u64();
            assert!(
                seen.is_none_or(|seen| seen == before as u64),
                "{event:?} is not the {before}th"
            );
        }
        assert!(history.events().len() > 25);
    }
}

#[tokio::test]
async fn a_lock_timeout_names_the_session_that_holds_the_lock() {
    let log = Log::new().await;
    let config = log.config().lock_timeout(Duration::from_millis(50));
    let store = Store::<ReadWrite>::connect(config.retry(RetryPolicy::never())).await.unwrap();
    let holder = log.sql().await;
    let name = format!("holder of {}", log.name);
    holder.batch_execute(&format!("SET application_name = '{name}'")).await.unwrap();
    holder.batch_execute(&format!("BEGIN; {}", log.insert("b-1"))).await.unwrap();

    let refused = store.append([lent("b-2", "r-1")], AppendCondition::none()).await.unwrap_err();

    assert_eq!(refused.sqlstate().unwrap().as_str(), "55P03");
    assert!(refused.is_timeout() && refused.is_transient());
    let cause = std::error::Error::source(&refused).unwrap().to_string();
    assert!(cause.contains(&name) && cause.contains("idle in transaction"), "{cause}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    store.append([lent("b-2", "r-1")], AppendCondition::none()).await.unwrap();
}
