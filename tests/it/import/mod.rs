//! Imports of many events in chunks.

mod contention;
mod interrupted;

use std::future::IntoFuture;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use eddyline::import::{ImportError, Imported};
use eddyline::{
    AppendCondition, Config, Error, Event, Filter, ReadWrite, SequenceNumber, SequencedEvent, Store,
};
use fault_proxy::Proxy;
use futures_util::{StreamExt, stream};
use proptest::prelude::*;
use proptest::test_runner::{Config as ProptestConfig, TestRunner};
use serde_json::Value;
use uuid::Uuid;

use crate::support::{Log, Observer, cluster, lent, series};

fn loans(count: usize) -> Vec<Event> {
    (0..count).map(|book| lent(&format!("b-{book}"), "r-1")).collect()
}

fn ids(events: &[Event]) -> Vec<Uuid> {
    events.iter().map(Event::id).collect()
}

/// Returns the log's events in order.
async fn all(store: &Store<ReadWrite>) -> Vec<SequencedEvent> {
    store.query(Filter::everything()).await.unwrap().into_events()
}

async fn stored_ids(store: &Store<ReadWrite>) -> Vec<Uuid> {
    all(store).await.iter().map(|event| event.id()).collect()
}

/// Returns the progress of an import of which a chunk could not be stored, that chunk, and the
/// error.
fn store_failure<E: std::fmt::Debug>(
    result: Result<Imported, ImportError<E>>,
) -> (Imported, std::ops::Range<u64>, Error) {
    match result {
        Err(ImportError::Store { so_far, chunk, source }) => (so_far, chunk, source),
        other => panic!("{other:?}"),
    }
}

/// Starts a proxy in front of a log's server, and connects a store with one connection through it.
async fn connect_through_proxy(log: &Log) -> (Proxy, Store<ReadWrite>) {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, cluster().await.primary().port()));
    let proxy = Proxy::start(server).await.unwrap();
    let url = log.primary_url();
    let (_, database) = url.rsplit_once('/').unwrap();
    let url = format!("postgres://postgres@{}/{database}", proxy.address());
    let config = Config::new(&url).unwrap().log(&log.name).max_connections(1);
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    // This prepares the statements.
    store.import(stream::iter(loans(1))).await.unwrap();
    (proxy, store)
}

#[tokio::test]
async fn an_import_keeps_the_order_of_its_stream_with_any_chunk_size() {
    let log = Log::new().await;
    let store = log.writer().await;
    let mut expected = Vec::new();
    for chunk in [1, 2, 3, 7, 20, 1_000] {
        let events = loans(20);
        expected.extend(ids(&events));

        let imported = store.import(stream::iter(events.clone())).chunk(chunk).await.unwrap();

        let stored = all(&store).await;
        let stored = &stored[stored.len() - 20..];
        assert_eq!((imported.read(), imported.stored(), imported.skipped()), (20, 20, 0));
        assert_eq!(imported.first(), Some(stored[0].sequence_number()));
        assert_eq!(imported.last(), Some(stored[19].sequence_number()));
        assert_eq!(imported.position(), stored[19].sequence_number());
        for (event, stored) in events.iter().zip(stored) {
            assert_eq!(stored.event_type(), event.event_type());
            assert_eq!(stored.occurred_at(), event.occurred_at());
            assert_eq!(stored.payload::<Value>().unwrap(), event.payload::<Value>().unwrap());
            assert_eq!(stored.metadata_json(), event.metadata_json());
        }
    }
    assert_eq!(stored_ids(&store).await, expected);
}

#[tokio::test]
async fn an_import_of_no_events_stores_nothing() {
    let log = Log::new().await;
    let store = log.writer().await;

    let imported = store.import(stream::empty::<Event>()).await.unwrap();

    assert_eq!(imported, Imported::default());
    assert_eq!(imported.position(), SequenceNumber::ZERO);
}

#[tokio::test]
async fn an_invalid_chunk_size_is_refused_before_the_source_is_read() {
    let log = Log::new().await;
    let store = log.writer().await;
    for chunk in [0, eddyline::limits::MAX_APPEND_EVENTS + 1] {
        let source = stream::iter(loans(1)).inspect(|_| panic!("the source was read"));

        let (so_far, _, error) = store_failure(store.import(source).chunk(chunk).await);

        assert!(matches!(error, Error::InvalidConfig { setting: "chunk", .. }), "{error:?}");
        assert_eq!(so_far, Imported::default());
    }
}

#[tokio::test]
async fn an_import_skips_events_that_are_in_the_log() {
    let log = Log::new().await;
    let store = log.writer().await;
    let events = loans(9);
    let picks = [7, 2, 3];
    for pick in picks {
        store.append([events[pick].clone()], AppendCondition::none()).await.unwrap();
    }

    let imported = store.import(stream::iter(events.clone())).chunk(4).await.unwrap();
    let again = store.import(stream::iter(events.clone())).chunk(5).await.unwrap();

    let order = [7, 2, 3, 0, 1, 4, 5, 6, 8];
    assert_eq!(stored_ids(&store).await, order.map(|index| events[index].id()));
    assert_eq!((imported.read(), imported.stored(), imported.skipped()), (9, 6, 3));
    assert_eq!((again.read(), again.stored(), again.skipped()), (9, 0, 9));
    assert_eq!((again.first(), again.last()), (None, None));
    assert_eq!(again.position(), imported.position());
}

#[tokio::test]
async fn an_event_that_its_stream_repeats_is_stored_once() {
    let log = Log::new().await;
    let store = log.writer().await;
    let events = loans(5);
    let order = [0, 1, 1, 2, 0, 3, 3, 4, 1];
    for chunk in [1, 2, 3, 100] {
        let events: Vec<_> = match chunk {
            1 => events.clone(),
            _ => loans(5),
        };
        let source = order.map(|index| events[index].clone());

        let imported = store.import(stream::iter(source)).chunk(chunk).await.unwrap();

        assert_eq!((imported.read(), imported.stored(), imported.skipped()), (9, 5, 4));
        let stored = stored_ids(&store).await;
        assert_eq!(stored[stored.len() - 5..], ids(&events));
    }
}

/// The two events are in one chunk or in two.
#[tokio::test]
async fn an_id_that_its_stream_repeats_with_other_contents_is_refused() {
    let log = Log::new().await;
    let store = log.writer().await;
    for chunk in [1, 2, 3, 100] {
        let mut events = loans(3);
        let duplicate = lent("b-other", "r-2").with_id(events[0].id()).unwrap();
        events.insert(2, duplicate);
        let import = store.import(stream::iter(events.clone())).chunk(chunk).into_future();

        let failed = import.await.unwrap_err();

        let Error::DuplicateEvent { event_id, .. } = Error::from(failed) else { panic!("{chunk}") };
        assert_eq!(event_id, events[0].id());
        let stored = stored_ids(&store).await;
        assert_eq!(stored[stored.len() - 2..], ids(&events[..2]), "{chunk}");
    }
}

/// The order of the keys in a payload does not matter.
#[tokio::test]
async fn an_event_in_two_json_spellings_is_stored_once() {
    let log = Log::new().await;
    let store = log.writer().await;
    let first = Event::from_json("BookCopyLentToReader", r#"{"a": 1, "b": 2}"#).unwrap();
    let second = Event::from_json("BookCopyLentToReader", r#"{"b": 2, "a": 1}"#).unwrap();
    let second = second.with_id(first.id()).unwrap();
    let second = second.with_occurred_at(first.occurred_at()).unwrap();

    let imported = store.import(stream::iter([first, second])).await.unwrap();

    assert_eq!((imported.read(), imported.stored(), imported.skipped()), (2, 1, 1));
}

#[tokio::test]
async fn progress_is_reported_after_each_chunk_and_ends_with_the_result() {
    let log = Log::new().await;
    let store = log.writer().await;
    let mut steps = Vec::new();

    let events = loans(10);
    let imported = store
        .import(stream::iter(events))
        .chunk(4)
        .on_progress(|so_far| steps.push(*so_far))
        .await
        .unwrap();

    let read: Vec<_> = steps.iter().map(Imported::read).collect();
    assert_eq!(read, [4, 8, 10]);
    assert!(steps.is_sorted_by(|one, next| one.position() < next.position()));
    assert!(steps.iter().all(|step| step.first() == imported.first()));
    assert_eq!(steps.last(), Some(&imported));
}

/// An import reads the chunk after the one that is being stored, and no further.
#[tokio::test]
async fn an_import_reads_at_most_one_chunk_ahead() {
    let log = Log::new().await;
    let store = log.writer().await;
    let read = AtomicU64::new(0);
    let source = stream::iter(loans(100)).inspect(|_| {
        read.fetch_add(1, Ordering::Relaxed);
    });

    let imported = store.import(source).chunk(10).on_progress(|so_far| {
        assert!(read.load(Ordering::Relaxed) <= so_far.read() + 10);
    });

    assert_eq!(imported.await.unwrap().stored(), 100);
}

#[tokio::test]
async fn metrics_count_an_import_as_one_operation_and_its_new_events() {
    let (log, observer) = (Log::new().await, Observer::new());
    let config = log.config().telemetry(observer.telemetry());
    let store = Store::<ReadWrite>::connect(config).await.unwrap();

    let events = loans(5);
    store.import(stream::iter(events.clone())).chunk(2).await.unwrap();
    // The log holds these already.
    store.import(stream::iter(events)).await.unwrap();
    let again = store.import(stream::iter(loans(2))).chunk(0).await;
    again.unwrap_err();

    assert_eq!(
        observer.counts(),
        [
            ("operation=import outcome=error server=primary".to_owned(), 1),
            ("operation=import outcome=success server=primary".to_owned(), 2)
        ]
        .into()
    );
    let counted = observer.counted("eventstore.events");
    assert_eq!(counted, series([("direction=appended server=primary", 5)]));
    let outcomes = observer.counted("eventstore.retry.outcomes");
    assert_eq!(outcomes, series([("outcome=first_try scope=import", 4)]));
}

/// After any imports, with any chunk sizes, events and failures of their sources, the log equals a
/// model that stores the same events one by one.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_equals_a_model_that_stores_one_event_at_a_time() {
    let log = Log::new().await;
    let store = log.writer().await;
    let runtime = tokio::runtime::Handle::current();
    let picks = prop::collection::vec(prop::option::weighted(0.95, 0..12usize), 0..20);
    let runs = prop::collection::vec((picks, 1..8usize, any::<bool>()), 1..5);

    let checked = tokio::task::spawn_blocking(move || {
        let config = ProptestConfig { cases: 80, failure_persistence: None, ..<_>::default() };
        TestRunner::new(config).run(&runs, |runs| {
            let events = loans(12);
            runtime.block_on(async {
                let before = all(&store).await.len();
                let mut model: Vec<Uuid> = Vec::new();
                for (picks, chunk, append) in runs {
                    let held = model.len();
                    let read = picks.iter().take_while(|pick| pick.is_some()).count();
                    for pick in picks.iter().take(read).flatten() {
                        if !model.contains(&events[*pick].id()) {
                            model.push(events[*pick].id());
                        }
                    }
                    let new = (model.len() - held) as u64;
                    let source = picks
                        .iter()
                        .map(|pick| pick.map(|pick| events[pick].clone()).ok_or("torn"));
                    let source: Vec<_> = source.collect();
                    let fails = read < source.len();
                    let so_far = match store.import(stream::iter(source)).chunk(chunk).await {
                        Ok(imported) if !fails => imported,
                        Err(ImportError::Source { so_far, .. }) if fails => so_far,
                        other => return Err(TestCaseError::fail(format!("{other:?}"))),
                    };
                    prop_assert_eq!((so_far.read(), so_far.stored()), (read as u64, new));
                    if append {
                        let other = lent("b-other", "r-2");
                        model.push(other.id());
                        store.append([other], AppendCondition::none()).await.unwrap();
                    }
                }
                prop_assert_eq!(&stored_ids(&store).await[before..], model);
                Ok(())
            })
        })
    });

    checked.await.unwrap().unwrap();
}
