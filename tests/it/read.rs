//! Queries, streams and reads of single events.

use eddyline::{AppendCondition, Event, Filter, Query, ReadWrite, SequenceNumber, Store};
use futures_util::TryStreamExt;

use crate::support::{Log, lent, returned, wait_until};

fn numbers(events: &[eddyline::SequencedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.sequence_number().value()).collect()
}

#[tokio::test]
async fn an_empty_log_has_position_zero() {
    let log = Log::new().await;
    let store = log.writer().await;

    let history = store.query(Filter::everything()).await.unwrap();

    assert!(history.events().is_empty());
    assert_eq!(history.position(), SequenceNumber::ZERO);
    assert_eq!(store.head().await.unwrap(), SequenceNumber::ZERO);
}

#[tokio::test]
async fn the_position_of_a_history_is_the_head_even_if_the_last_event_does_not_match() {
    let log = Log::new().await;
    let store = log.writer().await;
    let events = [lent("b-1", "r-1"), lent("b-2", "r-1")];
    let last = store.append(events, AppendCondition::none()).await.unwrap().last();

    let history = store.query(Filter::any_of([("BookID", "b-1")]).build().unwrap()).await.unwrap();

    assert_eq!(history.events().len(), 1);
    assert_eq!(history.position(), last);
}

#[tokio::test]
async fn a_query_applies_its_options() {
    let log = Log::new().await;
    let store = log.writer().await;
    let events =
        (0..10).map(|i| if i % 2 == 0 { lent("b-1", "r-1") } else { returned("b-1", "r-1") });
    let first = store.append(events, AppendCondition::none()).await.unwrap().first().value();
    let at = |offset: u64| SequenceNumber::new(first + offset);
    let filters = [
        Filter::types(["BookCopyLentToReader"]).build().unwrap(),
        Filter::types(["BookCopyLentToReader"]).any_of([("BookID", "b-1")]).build().unwrap(),
    ];

    for filter in &filters {
        let all = Query::new(filter);
        let cases = [
            (all.clone(), vec![0, 2, 4, 6, 8], 9),
            (all.clone().after(at(2)), vec![4, 6, 8], 9),
            (all.clone().up_to(at(5)), vec![0, 2, 4], 5),
            (all.clone().limit(2), vec![0, 2], 2),
            (all.clone().limit(5), vec![0, 2, 4, 6, 8], 8),
            (all.clone().limit(6), vec![0, 2, 4, 6, 8], 9),
            (all.clone().newest_first(), vec![8, 6, 4, 2, 0], 9),
            (all.clone().newest_first().limit(2), vec![8, 6], 9),
            (all.clone().after(at(0)).up_to(at(7)).limit(2), vec![2, 4], 4),
            (all.clone().after(at(0)).up_to(at(7)).newest_first().limit(1), vec![6], 7),
            (all.clone().after(at(9)), vec![], 9),
        ];
        for (query, offsets, position) in cases {
            let expected: Vec<_> = offsets.iter().map(|offset| first + offset).collect();

            let history = store.query(query.clone()).await.unwrap();
            let mut stream = store.stream(query.clone()).await.unwrap();
            let streamed: Vec<_> = (&mut stream).try_collect().await.unwrap();

            assert_eq!(numbers(history.events()), expected, "{query:?}");
            assert_eq!(history.position(), at(position), "{query:?}");
            assert_eq!(numbers(&streamed), expected, "{query:?}");
            assert_eq!(stream.position(), Some(at(position)), "{query:?}");
        }
    }
}

#[tokio::test]
async fn an_event_is_read_as_it_was_appended() {
    let log = Log::new().await;
    let store = log.writer().await;
    let event = Event::from_json("ReaderRegistered", r#"{"Name":"Ada","Loans":[1,2.5,null]}"#)
        .unwrap()
        .with_occurred_at("1815-12-10T12:00:00.123456Z".parse().unwrap())
        .unwrap()
        .with_metadata(&serde_json::json!({ "CausationID": "c-1" }))
        .unwrap();
    let appended = store.append([event.clone()], AppendCondition::none()).await.unwrap();

    let history = store.query(Filter::everything()).await.unwrap();

    let [stored] = history.events() else { panic!("{history:?}") };
    assert_eq!(stored.sequence_number(), appended.first());
    assert_eq!(stored.id(), event.id());
    assert_eq!(stored.event_type(), event.event_type());
    assert_eq!(stored.occurred_at(), event.occurred_at());
    let json = |event: &Event| event.payload::<serde_json::Value>().unwrap();
    assert_eq!(json(stored.event()), json(&event));
    let json = |event: &Event| event.metadata::<serde_json::Value>().unwrap();
    assert_eq!(json(stored.event()), json(&event));
}

#[tokio::test]
async fn a_stream_reads_one_snapshot() {
    let log = Log::new().await;
    let store = log.writer().await;
    let events: Vec<_> = (0..2_000).map(|book| lent(&format!("b-{book}"), "r-1")).collect();
    let last = store.append(events, AppendCondition::none()).await.unwrap().last();

    let mut stream = store.stream(Filter::everything()).await.unwrap();
    let first = stream.try_next().await.unwrap();
    store.append([lent("b-new", "r-1")], AppendCondition::none()).await.unwrap();
    let rest: Vec<_> = (&mut stream).try_collect().await.unwrap();

    assert!(first.is_some());
    assert_eq!(rest.len(), 1_999);
    assert_eq!(stream.position(), Some(last));
}

#[tokio::test]
async fn a_stream_has_no_position_before_its_end() {
    let log = Log::new().await;
    let store = log.writer().await;
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();

    let mut stream = store.stream(Filter::everything()).await.unwrap();

    assert_eq!(stream.position(), None);
    stream.try_next().await.unwrap();
    assert_eq!(stream.position(), None);
    assert!(stream.try_next().await.unwrap().is_none());
    assert!(stream.position().is_some());
    assert!(stream.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn an_event_is_found_by_its_id_on_primary_and_replica() {
    let log = Log::new().await;
    let store = log.writer().await;
    let events: Vec<_> = (0..3).map(|book| lent(&format!("b-{book}"), "r-1")).collect();
    let last = store.append(events.clone(), AppendCondition::none()).await.unwrap().last();
    let reader = log.reader().await.at_least(last);
    let pooled = log.config().pooler(eddyline::Pooler::Transaction);
    let pooled = Store::<ReadWrite>::connect(pooled).await.unwrap();

    for event in &events {
        let found = [
            store.event(event.id()).await.unwrap(),
            reader.event(event.id()).await.unwrap(),
            pooled.event(event.id()).await.unwrap(),
        ];
        let all = store.query(Filter::everything()).await.unwrap();
        let expected = all.events().iter().find(|one| one.id() == event.id());
        assert!(found.iter().all(|one| one.as_ref() == expected));
    }
    let unknown = eddyline::uuid::Uuid::now_v7();
    assert_eq!(store.event(unknown).await.unwrap(), None);
    assert_eq!(reader.event(unknown).await.unwrap(), None);
    assert_eq!(store.event(eddyline::uuid::Uuid::nil()).await.unwrap(), None);
}

#[tokio::test]
async fn a_read_by_id_uses_the_index_on_ids() {
    let log = Log::isolated().await;
    let store = Store::<ReadWrite>::connect(log.config().max_connections(1)).await.unwrap();
    let events: Vec<_> = (0..2_000).map(|book| lent(&format!("b-{book}"), "r-1")).collect();
    store.append(events.clone(), AppendCondition::none()).await.unwrap();
    let sql = log.sql().await;
    let reads = format!(
        "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelid =
             (SELECT conindid FROM pg_constraint WHERE conrelid = '{}'::regclass AND contype = 'u')",
        log.name
    );
    let reads = async || sql.query_one(&reads, &[]).await.unwrap().get::<_, i64>(0);

    for event in &events[..20] {
        assert_eq!(store.event(event.id()).await.unwrap().unwrap().id(), event.id());
    }
    // PostgreSQL 14 counts the last reads of a session when the session ends.
    drop(store);

    wait_until(async || reads().await >= 20).await;
}
