//! How many allocations a read takes, beside those of the driver.

use eddyline::{AppendCondition, Filter, Query, ReadWrite, Store};
use futures_util::TryStreamExt;

use crate::support::{Log, lent};

/// Counts the allocations of reading so many events, on a runtime whose tasks all run here.
fn allocations(
    runtime: &tokio::runtime::Runtime,
    store: &Store<ReadWrite>,
    events: u32,
) -> (u64, u64) {
    let newest = Query::new(&Filter::everything()).newest_first().limit(events);
    // The first of each kind prepares its statement.
    let mut counted = (0, 0);
    for _ in 0..2 {
        let query = newest.clone();
        let read = allocation_counter::measure(|| {
            let history = runtime.block_on(store.query(query)).unwrap();
            assert_eq!(history.events().len(), events as usize);
        });
        let query = newest.clone();
        let streamed = allocation_counter::measure(|| {
            let stream = runtime.block_on(store.stream(query)).unwrap();
            let count = stream.try_fold(0, async |count, _| Ok(count + 1));
            assert_eq!(runtime.block_on(count).unwrap(), events);
        });
        counted = (read.count_total, streamed.count_total);
    }
    counted
}

/// One for what the driver keeps of its row, one for the event's texts; what else there is grows with
/// the size of what arrives at once, not with the number of events.
#[test]
fn an_event_that_is_read_takes_two() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(async {
        let log = Log::new().await;
        let store = log.writer().await;
        let events: Vec<_> = (0..3_000).map(|n| lent(&format!("b-{n}"), "r-1")).collect();
        store.append(events, AppendCondition::none()).await.unwrap();
        store
    });

    let (few, few_streamed) = allocations(&runtime, &store, 1_000);
    let (many, many_streamed) = allocations(&runtime, &store, 3_000);

    let per_event = |few: u64, many: u64| (many - few) as f64 / 2_000.0;
    assert!((2.0..2.2).contains(&per_event(few, many)), "{few} {many}");
    let streamed = per_event(few_streamed, many_streamed);
    assert!((2.0..2.2).contains(&streamed), "{few_streamed} {many_streamed}");
}
