//! Series that are visible before there is anything to count. A rate ignores the first value of a
//! counter, so counters have to start at zero.

use std::collections::BTreeSet;
use std::time::Duration;

use eddyline::telemetry::{INSTRUMENTS, InstrumentKind};
use eddyline::{AppendCondition, Config, Decision, Error, ReadOnly, RetryPolicy, Store};

use super::{connect, hold};
use crate::support::{Log, Observer, lent, loans_of, unreachable_url};

/// The counters of the catalog, with how many series a read-write store, a read-only store with two
/// replicas, or both announce.
const COUNTERS: [(&str, usize); 9] = [
    // 5 outcomes of 6 operations, and of 3 operations on each of 2 replicas.
    ("eventstore.operation.outcomes", 5 * (6 + 2 * 3)),
    // Read and appended at the primary, and read at 2 replicas.
    ("eventstore.events", 2 + 2),
    // 8 scopes of a read-write store.
    ("eventstore.conflicts", 8),
    ("eventstore.decide.escalations", 8),
    // 10 classes of 6 operations; those of 3 operations of the other store have its name.
    ("eventstore.errors", 10 * (6 + 3)),
    ("eventstore.replica.faults", 5 * 2),
    ("eventstore.replica.waits", 2),
    // 4 reasons and 6 attempts of 8 scopes, and of 5 scopes of a read-only store.
    ("eventstore.retry.attempts", 4 * 6 * (8 + 5)),
    ("eventstore.retry.outcomes", 7 * (8 + 5)),
];

#[tokio::test]
async fn known_series_are_exported_as_zero_before_any_operation() {
    let (log, observer) = (Log::new().await, Observer::new());
    log.reader().await;
    let replicas = Config::new(&unreachable_url()).unwrap().replica(&log.replica_url()).unwrap();
    let config = replicas.log(&log.name).name("reader").telemetry(observer.telemetry());

    Store::<ReadOnly>::connect(config).await.unwrap();
    connect(log.config().name("writer"), &observer).await;

    for (name, announced) in COUNTERS {
        assert!(observer.counted(name).is_empty(), "{name}: {:?}", observer.counted(name));
        let series = observer.series_of(name);
        assert_eq!(series.len(), announced, "{name}: {series:#?}");
        let stores = ["store=reader", "store=writer"];
        assert!(series.iter().all(|one| stores.iter().any(|store| one.contains(store))));
    }
}

/// Histograms can only be announced if they are bound to their attributes.
#[tokio::test]
async fn bound_histograms_are_exported_with_a_count_of_zero() {
    let (log, observer) = (Log::new().await, Observer::new());
    connect(log.config(), &observer).await;

    for (name, announced) in [
        ("eventstore.operation.duration", 5 * 6),
        ("eventstore.phase.duration", 3 * 5 + 3 * 4),
        ("eventstore.retry.delay", 8),
        ("eventstore.decide.rounds", 8),
        ("eventstore.decide.events", 8),
    ] {
        let series = observer.series_of(name);
        let expected = if cfg!(feature = "bound-instruments") { announced } else { 0 };
        assert_eq!(series.len(), expected, "{name}: {series:#?}");
    }
}

/// An SDK keeps 2,000 series of an instrument, and mixes all others with those of other stores.
#[tokio::test]
async fn the_scopes_of_a_store_beyond_48_are_counted_together() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = connect(log.config(), &observer).await;
    let names = (0..60).map(|n| -> &'static str { Box::leak(format!("Scope{n}").into()) });

    for name in names {
        store.with_scope(name).retry(async || Ok::<_, Error>(())).await.into_result().unwrap();
    }

    // The store has 8 scopes of its own.
    let outcomes = observer.counted("eventstore.retry.outcomes");
    assert_eq!(outcomes.len(), 48 - 8 + 1);
    assert_eq!(outcomes["outcome=first_try scope=Scope39"], 1);
    assert_eq!(outcomes["outcome=first_try scope=other"], 20);
}

/// Stores are told apart by their name in each metric but those of handlers, which have no store.
#[tokio::test]
async fn every_value_of_a_store_has_its_name() {
    let (log, observer) = (Log::new().await, Observer::new());
    let policy = RetryPolicy::builder().attempts(2).build().unwrap();
    let config = log.config().name("branch").lock_timeout(Duration::from_millis(50));
    let store = connect(config.retry(policy), &observer).await;
    let lend = |_: &_| Ok::<_, Error>(Decision::append([lent("b-1", "r-1")]));
    store.decide(loans_of("b-1"), lend).await.unwrap();
    let _holder = hold(&log).await;
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap_err();

    for instrument in INSTRUMENTS.iter().filter(|one| one.attributes.contains(&"store")) {
        let (name, is_level) = (instrument.name, instrument.kind == InstrumentKind::UpDownCounter);
        let is_of_replicas = name.starts_with("eventstore.replica.");
        let series = if is_level || is_of_replicas {
            observer.points(name).into_keys().collect()
        } else {
            observer.series_of(name)
        };
        assert_eq!(series.is_empty(), is_of_replicas, "{name}");
        assert!(series.iter().all(|one| one.contains("store=branch")), "{name}: {series:?}");
    }
}

#[test]
fn the_catalog_names_each_instrument_once_and_fully() {
    let names: BTreeSet<_> = INSTRUMENTS.iter().map(|instrument| instrument.name).collect();
    assert_eq!(names.len(), INSTRUMENTS.len());
    for instrument in INSTRUMENTS {
        let name = instrument.name;
        assert!(!instrument.description.is_empty() && !instrument.unit.is_empty(), "{name}");
        assert!(!name.ends_with("total") && !name.ends_with("seconds"), "{name}");
        let is_histogram = instrument.kind == InstrumentKind::Histogram;
        assert_eq!(!instrument.boundaries.is_empty(), is_histogram, "{name}");
        assert!(instrument.boundaries.is_sorted(), "{name}");
    }
}
