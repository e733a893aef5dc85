//! Observations of servers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use console::Stop;
use eddyline::{Error, Filter};
use futures_util::{TryStreamExt, stream};
use load::faults::CheckedScript;
use load::observer::Observer;
use load::servers::{Preparations, ServerSettings, Servers};
use local_postgres::Cluster;
use tokio_postgres::NoTls;

use crate::support::{Fixture, append, lent, settings};

const INTERVAL: Duration = Duration::from_millis(50);

/// Waits until the observer has taken a sample of a replica that began after this call.
async fn wait_for_sample(fixture: &Fixture) {
    let replica = fixture.servers.sql().pop().unwrap();
    let client = replica.connect("test", Duration::from_secs(60)).await.unwrap();
    let text = "SELECT max(query_start)::text FROM pg_stat_activity
         WHERE application_name = 'load observer'";
    let mut last = String::new();
    let mut changes = 0;
    // A sample has three statements.
    while changes < 8 {
        let begun: Option<String> = client.query_one(text, &[]).await.unwrap().get(0);
        if let Some(begun) = begun.filter(|begun| *begun != last) {
            (last, changes) = (begun, changes + 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_replica_lags_and_one_of_an_idle_primary_does_not() {
    let fixture = Fixture::start(1, &[]).await;
    let replica = fixture.servers.embedded().unwrap().server(1);
    let append_and_see = async || {
        let appended = append(&fixture, 1).await;
        fixture.stores.reader.at_least(appended.last()).head().await
    };
    append_and_see().await.unwrap();
    let observer = Observer::start(&fixture.servers, INTERVAL).await;
    let start = observer.started();
    let now = || start.elapsed().as_secs_f64();

    wait_for_sample(&fixture).await;
    let idle = now();
    replica.pause_replay().await.unwrap();
    append_and_see().await.unwrap_err();
    let appended = now();
    wait_for_sample(&fixture).await;
    let resuming = now();
    replica.resume_replay().await.unwrap();
    append_and_see().await.unwrap();
    let resumed = now();
    wait_for_sample(&fixture).await;

    let observations = observer.finish().await;
    let samples = &observations.servers[1].samples;
    let lags = |from: f64, until: f64| {
        let within = samples.iter().filter(move |sample| sample.at > from && sample.at < until);
        within.filter_map(|sample| Some((sample.at, sample.lag_ms?))).collect::<Vec<_>>()
    };
    for (from, until) in [(0.0, idle), (resumed, f64::MAX)] {
        let lags = lags(from, until);
        assert!(!lags.is_empty() && lags.iter().all(|(_, lag)| *lag == 0.0), "{lags:?}");
    }
    // A sample that began before the end of the pause may have asked the replica after it.
    let paused = lags(appended, resuming);
    let (_, first) = paused.split_last().unwrap();
    assert!(!first.is_empty(), "{paused:?}");
    for (at, lag) in first {
        assert!(*lag >= (at - appended) * 1e3 && *lag > 0.0, "{paused:?}");
    }
    assert!(observations.servers[0].samples.iter().all(|sample| sample.lag_ms.is_none()));
    assert!(observations.not_observed.is_empty(), "{:?}", observations.not_observed);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_batches_are_counted_as_they_were_made() {
    const READS: u64 = 150;
    let fixture = Fixture::start(1, &[]).await;
    let (writer, reader) = (&fixture.stores.writer, &fixture.stores.reader);
    let seed = (0..7).map(|_| Ok::<_, Error>(lent()));
    writer.import(stream::iter(seed)).await.unwrap();
    let observer = Observer::start(&fixture.servers, INTERVAL).await;

    for events in [1, 3, 3] {
        append(&fixture, events).await;
    }
    let lendings = Filter::types(["BookCopyLentToReader"]).build().unwrap();
    for _ in 0..READS / 2 {
        reader.query(&lendings).await.unwrap();
        reader.stream(&lendings).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
    }
    let boundary = Filter::any_of([("BookID", "b-1")]).build().unwrap();
    writer.query(&boundary).await.unwrap();

    let observations = observer.finish().await;
    let [primary, replica] = &observations.servers[..] else { panic!("{observations:?}") };
    assert_eq!((primary.reads, primary.query_reads), (Some(1), Some(0)), "{observations:?}");
    assert_eq!((replica.reads, replica.query_reads), (Some(READS), Some(READS)));
    let rates = replica.samples.iter().filter_map(|sample| sample.reads_per_second);
    assert!(rates.sum::<f64>() > 0.0);
    let batches = observations.batches.unwrap();
    assert_eq!((batches.transactions, batches.events), (3, 7));
    assert_eq!(batches.sizes.into_iter().collect::<Vec<_>>(), [(1, 1), (3, 2)]);
    assert!(!primary.version.is_empty() && primary.cpu_seconds.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_may_not_see_is_listed() {
    let cluster = Cluster::builder().fsync(false).start().await.unwrap();
    let owner = cluster.primary().url("postgres");
    let (sql, connection) = tokio_postgres::connect(&owner, NoTls).await.unwrap();
    tokio::spawn(connection);
    let role = "CREATE ROLE librarian LOGIN; GRANT CREATE ON SCHEMA public TO librarian";
    sql.batch_execute(role).await.unwrap();
    let url = owner.replace("postgres@", "librarian@");
    let settings =
        ServerSettings { primary: Some(url.clone()), replica_addresses: vec![url], ..settings(0) };
    let servers = Servers::open(&settings, &Preparations::default()).await.unwrap();
    let stores = servers.connect().await.unwrap();
    let fixture = Fixture { servers, stores, script: CheckedScript::default() };
    let observer = Observer::start(&fixture.servers, INTERVAL).await;
    append(&fixture, 2).await;
    fixture.stores.reader.query(Filter::everything()).await.unwrap();

    let observations = observer.finish().await;

    let texts = observations.not_observed.join("; ");
    assert!(texts.contains("primary: its role sees only its own"), "{texts}");
    assert!(texts.contains("since pg_stat_statements cannot be read"), "{texts}");
    let primary = &observations.servers[0];
    assert!(primary.reads.is_some() && primary.query_reads.is_none(), "{primary:?}");
    assert_eq!(observations.batches.unwrap().sizes.into_iter().collect::<Vec<_>>(), [(2, 1)]);
    assert_eq!(fixture.direct(Instant::now(), &Stop::default()).await, []);
    fixture.assert_holds(&BTreeMap::new(), 1).await;
}
