//! Limits of the allocations per operation.
//!
//! The figures include the PostgreSQL driver's: the runtime runs all tasks on the thread of the
//! test.

use eddyline::{AppendCondition, Event, Filter, Query, ReadWrite, Store};
use futures_util::TryStreamExt;
use tokio::runtime::Runtime;

use crate::support::{Log, lent, loans_of};

/// One allocation is the driver's copy of the row, the other one holds the texts of the event. All
/// others depend on the size of the packets and not on the number of events.
#[test]
fn each_event_of_a_read_takes_two_allocations() {
    let runtime = runtime();
    let store = writer(&runtime);
    let events = (0..3_000).map(|n| lent(&format!("b-{n}"), "r-1"));
    runtime.block_on(store.append(events, AppendCondition::none())).unwrap();

    let (few, few_streamed) = read_and_stream(&runtime, &store, 1_000);
    let (many, many_streamed) = read_and_stream(&runtime, &store, 3_000);

    let per_event = |few: u64, many: u64| (many - few) as f64 / 2_000.0;
    assert!((2.0..2.2).contains(&per_event(few, many)), "{few} {many}");
    let streamed = per_event(few_streamed, many_streamed);
    assert!((2.0..2.2).contains(&streamed), "{few_streamed} {many_streamed}");
}

#[test]
fn a_query_of_one_event_takes_at_most_30_allocations() {
    let runtime = runtime();
    let store = writer(&runtime);
    runtime.block_on(store.append([lent("b-7", "r-1")], AppendCondition::none())).unwrap();
    let filter = loans_of("b-7");

    let count = fewest(
        |_| (),
        |()| {
            let history = runtime.block_on(store.query(&filter)).unwrap();
            assert_eq!(history.events().len(), 1);
        },
    );

    assert!(count <= 30, "{count}");
}

#[test]
fn an_append_without_a_condition_takes_at_most_38_allocations() {
    let runtime = runtime();
    let store = writer(&runtime);

    let count = fewest(
        |n| lent(&format!("b-{n}"), "r-1"),
        |event| append(&runtime, &store, event, AppendCondition::none()),
    );

    assert!(count <= 38, "{count}");
}

#[test]
fn an_append_with_a_condition_takes_at_most_39_allocations() {
    let runtime = runtime();
    let store = writer(&runtime);

    let count = fewest(
        |n| {
            let book = format!("b-{n}");
            (lent(&book, "r-1"), AppendCondition::no_match(loans_of(&book)))
        },
        |(event, condition)| append(&runtime, &store, event, condition),
    );

    assert!(count <= 39, "{count}");
}

/// Another store appends before each append, so that the server validates the condition.
#[test]
fn an_append_whose_condition_the_server_validates_takes_at_most_64_allocations() {
    let runtime = runtime();
    let log = runtime.block_on(Log::new());
    let (store, other) = (runtime.block_on(log.writer()), runtime.block_on(log.writer()));

    let count = fewest(
        |n| {
            let book = format!("b-{n}");
            let foreign = || other.append([lent("b-other", "r-2")], AppendCondition::none());
            let last = runtime.block_on(foreign()).unwrap().last();
            runtime.block_on(foreign()).unwrap();
            (lent(&book, "r-1"), AppendCondition::no_match_after(loans_of(&book), last))
        },
        |(event, condition)| append(&runtime, &store, event, condition),
    );

    assert!(count <= 64, "{count}");
}

#[test]
fn building_a_filter_takes_at_most_24_allocations() {
    let count = fewest(
        |_| (),
        |()| {
            Filter::types(["BookCopyLentToReader", "BookCopyReturnedByReader"])
                .any_of([("BookID", "b-7"), ("ReaderID", "r-1")])
                .build()
                .unwrap()
        },
    );

    assert!(count <= 24, "{count}");
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn writer(runtime: &Runtime) -> Store<ReadWrite> {
    runtime.block_on(async { Log::new().await.writer().await })
}

fn append(runtime: &Runtime, store: &Store<ReadWrite>, event: Event, condition: AppendCondition) {
    runtime.block_on(store.append([event], condition)).unwrap();
}

/// Returns the fewest allocations of several calls, each with an input that is prepared before it.
/// The first calls prepare statements, and background tasks may run during any call.
fn fewest<I, T>(mut prepare: impl FnMut(u32) -> I, mut call: impl FnMut(I) -> T) -> u64 {
    let counts = (0..20).map(|n| {
        let input = prepare(n);
        let measured = allocation_counter::measure(|| {
            call(input);
        });
        measured.count_total
    });
    counts.min().unwrap()
}

/// Returns the allocations of a query and of a stream with this number of events.
fn read_and_stream(runtime: &Runtime, store: &Store<ReadWrite>, events: u32) -> (u64, u64) {
    let newest = Query::new(&Filter::everything()).newest_first().limit(events);
    let read = || {
        let history = runtime.block_on(store.query(newest.clone())).unwrap();
        assert_eq!(history.events().len(), events as usize);
    };
    let stream = || {
        let stream = runtime.block_on(store.stream(newest.clone())).unwrap();
        let count = stream.try_fold(0, async |count, _| Ok(count + 1));
        assert_eq!(runtime.block_on(count).unwrap(), events);
    };
    // The first calls prepare the statements.
    read();
    stream();
    let read = allocation_counter::measure(read).count_total;
    (read, allocation_counter::measure(stream).count_total)
}
