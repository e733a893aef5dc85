//! Query plans of reads: their indexes, and plans that a prepared statement keeps.

use eddyline::{
    AppendCondition, Bookmark, Causality, Event, Filter, Query, ReadOnly, ReadWrite,
    SequenceNumber, Store,
};
use serde_json::json;

use crate::support::{Log, lent, loans_of, log_that_runs, run_after_appends, wait_until};

/// Connects a store with one connection, so that its prepared statements are always reused.
async fn store(log: &Log) -> Store<ReadWrite> {
    Store::<ReadWrite>::connect(log.config().max_connections(1)).await.unwrap()
}

async fn append(store: &Store<ReadWrite>, events: impl IntoIterator<Item = Event>) {
    store.append(events, AppendCondition::none()).await.unwrap();
}

/// Waits until the server has counted `at_least` scans of the index on the payload, and returns the
/// count.
async fn index_reads(log: &Log, at_least: i64) -> i64 {
    let sql = log.sql().await;
    let reads = format!(
        "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = '{}_payload_idx'",
        log.name
    );
    let reads = async || sql.query_one(&reads, &[]).await.unwrap().get::<_, i64>(0);
    wait_until(async || reads().await >= at_least).await;
    reads().await
}

/// Keeps the server from reading the log by itself: to collect statistics, and to summarize the
/// index on the time, which reads a part of the table like a query.
async fn stop_maintenance(log: &Log) {
    let name = &log.name;
    let stop = format!(
        "ALTER TABLE {name} SET (autovacuum_enabled = off);
         ALTER INDEX {name}_occurred_at_idx SET (autosummarize = off)"
    );
    log.sql().await.batch_execute(&stop).await.unwrap();
}

/// Returns how many events sequential scans have read.
async fn table_reads(log: &Log) -> i64 {
    let reads =
        format!("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = '{}'", log.name);
    log.sql().await.query_one(&reads, &[]).await.unwrap().get(0)
}

/// Returns how many entries of the primary key, and how many of the other indexes, were read.
async fn entries_read(log: &Log) -> (i64, i64) {
    let read = format!(
        "SELECT sum(idx_tup_read) FILTER (WHERE indisprimary)::bigint,
             sum(idx_tup_read) FILTER (WHERE NOT indisprimary)::bigint
         FROM pg_stat_user_indexes JOIN pg_index USING (indexrelid) WHERE relname = '{}'",
        log.name
    );
    let read = log.sql().await.query_one(&read, &[]).await.unwrap();
    (read.get(0), read.get(1))
}

/// The statement is planned while the log is empty, small or not analyzed, and the plan is kept.
#[tokio::test]
async fn a_boundary_is_read_by_its_index_as_the_log_grows() {
    let log = Log::isolated().await;
    let sql = log.sql().await;
    stop_maintenance(&log).await;
    let store = store(&log).await;
    let newest = Query::new(&loans_of("b-1")).newest_first().limit(1);

    let mut found = vec![store.query(&loans_of("b-1")).await.unwrap().events().len()];
    for events in [1, 100, 20_000] {
        append(&store, (0..events).map(|n| lent(&format!("b-{n}"), "r-1"))).await;
        for _ in 0..10 {
            found.push(store.query(&loans_of("b-1")).await.unwrap().events().len());
            found.push(store.query(newest.clone()).await.unwrap().events().len());
        }
        if events == 100 {
            sql.batch_execute(&format!("ANALYZE {}", log.name)).await.unwrap();
        }
    }
    // The server counts the reads of a connection when the connection ends, at the latest.
    drop(store);

    assert!(index_reads(&log, 61).await >= 61);
    assert_eq!(table_reads(&log).await, 0);
    assert_eq!(found.last(), Some(&1));
}

/// One tag, and two tags that are each in many events.
#[tokio::test]
async fn tags_are_read_by_the_same_index() {
    let log = Log::isolated().await;
    stop_maintenance(&log).await;
    let store = store(&log).await;
    let subscribed = |n: usize| {
        let tags = [format!("course:c{}", n % 40), format!("student:s{}", n % 51)];
        Event::new("StudentSubscribed", &json!({ "tags": tags })).unwrap()
    };
    append(&store, (0..4_080).map(subscribed)).await;
    let tagged = |tags: &[&str]| Filter::all_of([("tags", tags)]).build().unwrap();

    let mut found = Vec::new();
    for _ in 0..10 {
        for tags in [&["course:c7"][..], &["course:c7", "student:s7"], &["course:c40"]] {
            found.push(store.query(&tagged(tags)).await.unwrap().events().len());
        }
    }
    // The server counts the reads of a connection when the connection ends, at the latest.
    drop(store);

    assert!(index_reads(&log, 30).await >= 30);
    assert_eq!(table_reads(&log).await, 0);
    assert_eq!(found[..3], [102, 2, 0]);
}

/// The server evaluates the bounds of a read before it scans anything but the end of the primary
/// key.
#[tokio::test]
async fn a_read_scans_no_events_if_the_log_has_not_reached_its_position() {
    let log = Log::isolated().await;
    stop_maintenance(&log).await;
    let store = store(&log).await;
    append(&store, (0..3_000).map(|n| lent(&format!("b-{}", n % 100), "r-1"))).await;
    let newest = lent("b-lost", "r-1");
    let missing = store.append([newest.clone()], AppendCondition::none()).await.unwrap();
    let delete = format!(
        "SET eddyline.allow_changes = on; DELETE FROM {} WHERE sequence_number = {}",
        log.name,
        missing.last()
    );
    log.sql().await.batch_execute(&delete).await.unwrap();
    let (boundary, everything) = (loans_of("b-1"), Filter::everything());
    let one_type = Filter::types(["BookCopyLentToReader"]).build().unwrap();

    for bound in [missing.bookmark(), Bookmark::from(SequenceNumber::new(1_000_000))] {
        let causality = Causality::new();
        causality.raise(bound);
        let bound = store.with_causality(&causality);
        for filter in [&boundary, &everything, &one_type] {
            let query = Query::new(filter);
            assert!(bound.query(query.clone()).await.is_err());
            assert!(bound.query(query.clone().limit(5)).await.is_err());
            assert!(bound.query(query.clone().newest_first().limit(5)).await.is_err());
            assert!(bound.query(query.clone().after(SequenceNumber::new(7))).await.is_err());
            assert!(bound.stream(query).await.is_err());
        }
        assert!(bound.event(newest.id()).await.is_err());
    }
    let unbound = store.query(&boundary).await.unwrap();
    // The server counts the reads of a connection when the connection ends, at the latest.
    drop(store);

    assert_eq!(unbound.events().len(), 30);
    wait_until(async || entries_read(&log).await.1 >= 30).await;
    let (of_primary_key, others) = entries_read(&log).await;
    assert_eq!((others, table_reads(&log).await), (30, 0));
    assert!(of_primary_key < 3_000, "{of_primary_key}");
}

#[tokio::test]
async fn a_boundary_of_many_events_is_read_completely() {
    let log = Log::new().await;
    let store = store(&log).await;
    let lent_often = (0..1_500).map(|_| lent("b-1", "r-1"));
    append(&store, lent_often.chain([lent("b-2", "r-1")])).await;
    let last = store.head().await.unwrap();
    let limited = Query::new(&loans_of("b-1")).newest_first().limit(3);

    for _ in 0..3 {
        let many = store.query(&loans_of("b-1")).await.unwrap();
        let few = store.query(&loans_of("b-2")).await.unwrap();
        let newest = store.query(limited.clone()).await.unwrap();

        assert_eq!((many.events().len(), many.position()), (1_500, last));
        assert_eq!((few.events().len(), few.position()), (1, last));
        assert_eq!((newest.events().len(), newest.position()), (3, last));
    }
}

/// The number of events found by the payload is limited before types and times are checked.
#[tokio::test]
async fn a_boundary_of_about_a_thousand_events_is_read_completely() {
    let log = Log::new().await;
    let store = store(&log).await;
    let added =
        |n: usize| Event::new(format!("Type{}", n % 2), &json!({ "BookID": "b-1" })).unwrap();
    append(&store, (0..999).map(added)).await;
    let one_type = Filter::types(["Type1"]).any_of([("BookID", "b-1")]).build().unwrap();

    for events in 1_000..1_003 {
        append(&store, [added(events)]).await;
        let all = store.query(Filter::any_of([("BookID", "b-1")]).build().unwrap()).await.unwrap();
        let some = store.query(&one_type).await.unwrap();

        assert_eq!(all.events().len(), events);
        assert_eq!(some.position(), all.position());
        let of_type = all.events().iter().filter(|event| event.event_type() == "Type1").count();
        assert_eq!(some.events().len(), of_type);
    }
}

/// A pooler deallocates prepared statements with `DISCARD ALL`.
#[tokio::test]
async fn deallocated_statements_are_prepared_again() {
    let log = Log::new().await;
    run_after_appends(&log.sql().await, &log.name, "EXECUTE 'DEALLOCATE ALL';").await;
    let store = store(&log).await;

    store.query(&loans_of("b-1")).await.unwrap();
    store.query(Filter::everything()).await.unwrap();
    append(&store, [lent("b-1", "r-1")]).await;

    let boundary = store.query(&loans_of("b-1")).await.unwrap();
    let all = store.query(Filter::everything()).await.unwrap();
    assert_eq!((boundary.events().len(), all.events().len()), (1, 1));
}

#[tokio::test]
async fn a_read_succeeds_after_a_column_changes_its_type() {
    let log = Log::isolated().await;
    let sql = log.sql().await;
    let name = log_that_runs(
        &sql,
        "RETURN QUERY SELECT bigint '1', gen_random_uuid(), now(), now(),
             'BookCopyLentToReader', jsonb '{}', jsonb '{}';",
    )
    .await;
    let config = log.config().log(&name).max_connections(1);
    let store = Store::<ReadOnly>::connect(config).await.unwrap();
    store.query(Filter::everything()).await.unwrap();

    sql.batch_execute(&format!(
        "DROP VIEW {name};
         CREATE VIEW {name} AS SELECT sequence_number, event_id, occurred_at, recorded_at,
             event_type::varchar AS event_type, payload, metadata FROM {name}_events()"
    ))
    .await
    .unwrap();

    let history = store.query(Filter::everything()).await.unwrap();
    assert_eq!(history.events()[0].event_type(), "BookCopyLentToReader");
}

/// The queries have more shapes than the connection caches statements for. One shape is queried all
/// the time.
#[tokio::test]
async fn a_connection_answers_more_shapes_than_it_caches_statements() {
    let log = Log::new().await;
    let store = store(&log).await;
    append(&store, [lent("b-1", "r-1")]).await;
    let shape = |items: usize| {
        let item = |n: usize| Filter::types([format!("Type{n}")]).any_of([("BookID", n)]);
        (1..items).fold(item(0), |filter, n| filter.or(item(n))).build().unwrap()
    };
    let limited = |filter: &Filter| Query::new(filter).limit(9);

    for items in 1..40 {
        let shape = shape(items);
        for query in [Query::new(&shape), limited(&shape), limited(&shape).newest_first()] {
            store.query(query).await.unwrap();
            assert_eq!(store.query(&loans_of("b-1")).await.unwrap().events().len(), 1);
        }
    }
}
