//! Stores that end, that have the same name, or that outlive the provider of metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use eddyline::{AppendCondition, Filter, ReadOnly, ReadWrite, Store};
use futures_util::future::join_all;

use super::{COUNT, MAX, PENDING, READS, USE_TIME, branch, connections, end, hold, point};
use crate::support::{Log, Observer, lent, wait_until};

#[tokio::test]
async fn the_series_of_a_store_end_with_it() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = branch(log.config(), &observer).await;
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    let stream = hold(&store).await;
    let all = [COUNT, MAX, PENDING, "eventstore.append.queue"];
    let series = || all.map(|name| observer.values(name, "store=branch"));
    let before = series();

    drop(store);
    // The task that appends ends on its own. The stream still has a connection.
    wait_until(async || observer.values(MAX, "store=branch").len() == 1).await;
    let streaming = connections(&observer, READS);
    end(stream).await;

    assert_eq!(before.map(|values| values.len()), [4, 2, 2, 1]);
    assert_eq!(streaming, [Some(0.0), Some(1.0)]);
    wait_until(async || series().iter().all(BTreeMap::is_empty)).await;
    assert_eq!(point(&observer, USE_TIME, READS).count, 1);
}

#[tokio::test]
async fn stores_of_one_name_are_added_up_and_others_are_not() {
    let (log, observer) = (Log::new().await, Observer::new());
    let telemetry = observer.telemetry();
    let open = async |name: &str| {
        let config = log.config().name(name).max_connections(5).telemetry(telemetry.clone());
        Store::<ReadWrite>::connect(config).await.unwrap()
    };
    let stores = [open("branch").await, open("branch").await, open("archive").await];

    let streams = join_all([0, 1, 1, 2].map(|store| hold(&stores[store]))).await;
    let counts = [READS, "store=archive pool=primary"].map(|pool| connections(&observer, pool));
    let limits = [READS, "store=archive pool=primary"].map(|pool| observer.value(MAX, pool));
    let [first, second, other] = stores;
    drop(streams);
    drop((second, other));
    wait_until(async || observer.value(MAX, READS) == Some(5.0)).await;

    assert_eq!(counts, [[Some(0.0), Some(3.0)], [Some(0.0), Some(1.0)]]);
    assert_eq!(limits, [Some(10.0), Some(5.0)]);
    wait_until(async || observer.values(MAX, "store=archive").is_empty()).await;
    drop(first);
}

#[tokio::test]
async fn a_provider_that_is_shut_down_changes_no_operation() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = branch(log.config().max_connections(1), &observer).await;
    let stream = hold(&store).await;

    observer.meters.shutdown().unwrap();
    end(stream).await;
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    let history = store.query(Filter::everything()).await.unwrap();
    let late = branch(log.config(), &observer).await;

    assert_eq!(history.events().len(), 1);
    assert_eq!(late.head().await.unwrap(), history.position());
}

/// Metrics are collected by another thread, at any time of the life of a store.
#[tokio::test(flavor = "multi_thread")]
async fn stores_come_and_go_while_metrics_are_collected() {
    let (log, observer) = (Log::new().await, Observer::new());
    log.reader().await;
    let is_over = AtomicBool::new(false);

    std::thread::scope(|threads| {
        let collector = threads.spawn(|| {
            let mut collected = 0;
            while !is_over.load(Ordering::Relaxed) {
                observer.meters.force_flush().unwrap();
                observer.metrics.reset();
                collected += 1;
            }
            collected
        });
        let live = async {
            for _ in 0..10 {
                let store = branch(log.config(), &observer).await;
                let config = log.replica_config().telemetry(observer.telemetry());
                let reader = Store::<ReadOnly>::connect(config).await.unwrap();
                let appends = (0..8).map(|_| {
                    let store = store.clone();
                    tokio::spawn(async move {
                        store.append([lent("b-1", "r-1")], AppendCondition::none()).await
                    })
                });
                let appends: Vec<_> = appends.collect();
                reader.head().await.unwrap();
                drop((store, reader));
                for append in appends {
                    append.await.unwrap().unwrap();
                }
            }
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(live));
        is_over.store(true, Ordering::Relaxed);
        assert!(collector.join().unwrap() > 0);
    });

    wait_until(async || observer.points(MAX).is_empty()).await;
}
