//! Reads that wait for a position.

use std::collections::BTreeSet;
use std::time::Duration;

use eddyline::{AppendCondition, Config, Error, Event, Filter, ReadOnly, Store};
use fault_proxy::{Direction, Proxy};
use futures_util::future::join_all;

use super::{is_up, unlimited};
use crate::replica::append;
use crate::support::{Replicated, connect, next, promptly, wait_until};

/// Starts a proxy in front of the first replica. Returns it, and a configuration for it.
async fn proxied(replicated: &Replicated) -> (Proxy, Config) {
    let replica = &replicated.cluster.standbys()[0];
    let proxy = Proxy::start(([127, 0, 0, 1], replica.port()).into()).await.unwrap();
    let url = format!("postgres://postgres@{}/postgres", proxy.address());
    (proxy, Config::new(&url).unwrap().log(&replicated.log))
}

/// The watcher asks every 5 ms, however many reads wait.
#[tokio::test]
async fn a_thousand_waiting_reads_cost_no_statements() {
    let replicated = Replicated::new().await;
    let writer = replicated.writer().await;
    append(&writer, "b-1").await;
    replicated.cluster.wait_for_replay().await.unwrap();
    let (proxy, config) = proxied(&replicated).await;
    let config = config.replica_timeout(Duration::from_millis(500));
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();
    reader.head().await.unwrap();
    let before = proxy.passed(Direction::ToServer);
    reader.head().await.unwrap();
    let statement = proxy.passed(Direction::ToServer) - before;
    replicated.pause_replay().await;
    let last = append(&writer, "b-2").await;

    let before = proxy.passed(Direction::ToServer);
    let at_least = reader.at_least(last);
    let reads = join_all((0..1_000).map(|_| at_least.head())).await;
    let sent = proxy.passed(Direction::ToServer) - before;
    replicated.resume_replay().await;

    assert!(reads.iter().all(|read| matches!(read, Err(Error::ReplicaBehind { .. }))));
    assert!(sent < 1_000 * statement, "{sent} bytes, {statement} for a statement");
}

#[tokio::test]
async fn all_waiting_reads_are_woken_by_the_replay() {
    let replicated = Replicated::new().await;
    let writer = replicated.writer().await;
    let reader = Store::<ReadOnly>::connect(unlimited(replicated.replica_config())).await.unwrap();
    replicated.pause_replay().await;
    let (one, two) = (append(&writer, "b-1").await, append(&writer, "b-2").await);

    let reads = (0..200).map(|index| {
        let position = if index % 2 == 0 { one } else { two };
        let reader = reader.at_least(position);
        async move { reader.head().await.unwrap() >= position }
    });
    let (reads, ()) =
        promptly(async { tokio::join!(join_all(reads), replicated.resume_replay()) }).await;

    assert!(reads.into_iter().all(|has_reached| has_reached));
}

/// The server would have to send 2 MB of events that the read must not return.
#[tokio::test]
async fn a_server_that_is_behind_sends_no_events() {
    let replicated = Replicated::new().await;
    let writer = replicated.writer().await;
    let note = format!(r#"{{"BookID":"b-1","Note":"{}"}}"#, "x".repeat(1_000_000));
    let large = || Event::from_json("BookCopyLentToReader", note.clone()).unwrap();
    writer.append([large(), large()], AppendCondition::none()).await.unwrap();
    replicated.cluster.wait_for_replay().await.unwrap();
    let (proxy, config) = proxied(&replicated).await;
    let config = config.replica_timeout(Duration::from_millis(200));
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();
    replicated.pause_replay().await;
    let last = append(&writer, "b-2").await;

    let few = Filter::any_of([("BookID", "b-1")]).build().unwrap();
    for filter in [few, Filter::everything()] {
        let before = proxy.passed(Direction::ToClient);
        let read = reader.at_least(last).query(&filter).await;
        let received = proxy.passed(Direction::ToClient) - before;

        assert!(matches!(read, Err(Error::ReplicaBehind { .. })), "{read:?}");
        assert!(received < 1_000_000, "{received}");
        assert!(received > 0);
        let before = proxy.passed(Direction::ToClient);
        assert_eq!(reader.query(&filter).await.unwrap().events().len(), 2);
        assert!(proxy.passed(Direction::ToClient) - before > 2_000_000);
    }
    replicated.resume_replay().await;
}

/// A read waits without a snapshot, which would keep the primary from removing old rows with
/// `hot_standby_feedback`, and the replica from replaying their removal.
#[tokio::test]
async fn a_waiting_read_holds_no_snapshot() {
    let replicated = Replicated::new().await;
    let writer = replicated.writer().await;
    let replica = &replicated.cluster.standbys()[0];
    let name = format!("branch_{}", next());
    let url = format!("{}?application_name={name}", replica.url("postgres"));
    let config = unlimited(Config::new(&url).unwrap().log(&replicated.log));
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();
    reader.head().await.unwrap();
    replicated.pause_replay().await;
    let last = append(&writer, "b-1").await;

    let at_least = reader.at_least(last);
    let idle = async {
        let sql = connect(&replica.url("postgres")).await;
        // The watcher's statements are so short that a look at it finds none under way.
        let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1
            AND (backend_xmin IS NOT NULL OR xact_start IS NOT NULL)";
        let watched = "SELECT query_start::text FROM pg_stat_activity
            WHERE application_name = $1 || ' watcher'";
        let mut starts = BTreeSet::<String>::new();
        while starts.len() < 5 {
            starts.insert(sql.query_one(watched, &[&name]).await.unwrap().get(0));
            let is_waiting = starts.len() > 2;
            let open: i64 = sql.query_one(open, &[&name]).await.unwrap().get(0);
            assert!(!is_waiting || open == 0, "{open}");
        }
        replicated.resume_replay().await;
    };
    let (read, ()) = tokio::join!(at_least.head(), idle);

    assert_eq!(read.unwrap(), last);
}

#[tokio::test]
async fn the_error_names_every_replica_with_its_position() {
    let replicated = Replicated::new().await;
    let writer = replicated.writer().await;
    let config = replicated.replica_config().replica_timeout(Duration::from_millis(200));
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();
    let [first, second] = replicated.cluster.standbys() else { panic!("two replicas") };
    let before = append(&writer, "b-1").await;
    replicated.cluster.wait_for_replay().await.unwrap();
    first.pause_replay().await.unwrap();
    let last = append(&writer, "b-2").await;
    wait_until(async || reader.at_least(last).head().await.is_ok()).await;
    second.stop().await.unwrap();
    let beyond = last.next();

    // The reader finds out that the second one has ended.
    wait_until(async || !is_up(&reader, "replica-1")).await;
    let error = reader.at_least(beyond).head().await.unwrap_err();
    second.start().await.unwrap();
    first.resume_replay().await.unwrap();

    let Error::ReplicaBehind { position, ref replicas, .. } = error else { panic!("{error:?}") };
    assert_eq!(position, beyond);
    let [lagging, ended] = replicas.as_slice() else { panic!("{replicas:?}") };
    assert_eq!((lagging.position, lagging.behind), (Some(before), Some(1)));
    assert_eq!(ended.position, Some(last));
    let text = error.to_string();
    assert!(text.contains("replica-0") && text.contains("replica-1"), "{text}");
    assert!(text.contains("is left out"), "{text}");
}
