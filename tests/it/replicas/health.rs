//! Servers that freeze, end and come back.

use std::cell::Cell;
use std::time::Duration;

use eddyline::{Config, Filter, ReadOnly, Replica, Store};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use tokio::net::TcpListener;

use super::{is_up, unlimited};
use crate::replica::{append, of, read};
use crate::support::{Log, Replicated, connect, log_that_runs, named, next, promptly, wait_until};

/// The reads have no time limit, so each one that waited for the frozen server would never end.
#[tokio::test]
async fn reads_on_a_frozen_server_are_answered_by_another_one() {
    let replicated = Replicated::new().await;
    let reader = Store::<ReadOnly>::connect(unlimited(replicated.replica_config())).await.unwrap();
    let frozen = &replicated.cluster.standbys()[0];
    wait_until(async || read(&reader, 2).await == of([("replica-0", 1), ("replica-1", 1)])).await;

    frozen.freeze().await.unwrap();
    let during = promptly(join_all((0..40).map(|_| read(&reader, 1)))).await;
    let after = read(&reader, 20).await;
    let state = is_up(&reader, "replica-0");
    frozen.thaw().unwrap();

    assert!(during.iter().all(|answers| *answers == of([("replica-1", 1)])), "{during:?}");
    assert_eq!(after, of([("replica-1", 20)]));
    assert!(!state);
    wait_until(async || read(&reader, 4).await.contains_key("replica-0")).await;
}

/// The server freezes while it works on the read.
#[tokio::test]
async fn a_read_in_flight_on_a_server_that_freezes_is_asked_again() {
    let replicated = Replicated::new().await;
    let [first, _] = replicated.cluster.standbys() else { panic!("two replicas") };
    let primary = connect(&replicated.cluster.primary().url("postgres")).await;
    let sleep =
        format!("IF inet_server_port() = {} THEN PERFORM pg_sleep(600); END IF;", first.port());
    let slow = log_that_runs(&primary, &sleep).await;
    replicated.cluster.wait_for_replay().await.unwrap();
    let (url, application) = named(&first.url("postgres"));
    let second = replicated.cluster.standbys()[1].url("postgres");
    let config = Config::new(&url).unwrap().replica(&second).unwrap().log(slow);
    let reader = Store::<ReadOnly>::connect(unlimited(config)).await.unwrap();

    // Read until one of the reads is given to the first replica, which does not answer it.
    let is_frozen = Cell::new(false);
    let reads = async {
        let mut all = Vec::new();
        while !is_frozen.get() {
            all.extend(join_all((0..4).map(|_| reader.query(Filter::everything()))).await);
        }
        all
    };
    let freeze = async {
        let sql = connect(&first.url("postgres")).await;
        let sleeping = "SELECT FROM pg_stat_activity
            WHERE application_name = $1 AND wait_event = 'PgSleep'";
        wait_until(async || !sql.query(sleeping, &[&application]).await.unwrap().is_empty()).await;
        first.freeze().await.unwrap();
        is_frozen.set(true);
    };
    let (reads, ()) = promptly(async { tokio::join!(reads, freeze) }).await;
    first.thaw().unwrap();

    for read in reads {
        assert_eq!(read.unwrap().served_by(), "replica-1");
    }
}

/// The watcher of the server is answered, so the read goes on.
#[tokio::test]
async fn a_slow_read_is_not_asked_again() {
    let log = Log::new().await;
    let sql = log.sql().await;
    let slow = log_that_runs(&sql, "PERFORM pg_sleep(0.3);").await;
    log.reader().await;
    let spare = log.primary_url();
    let config = Config::new(&log.replica_url()).unwrap();
    let spare = Replica::new(&spare).unwrap().weight(0.0);
    let config = unlimited(config.replica(spare).unwrap().log(slow));
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();

    // On a busy machine the watcher's statement may be as slow as the read.
    wait_until(async || read(&reader, 1).await == of([("replica-0", 1)])).await;
}

#[tokio::test]
async fn bounded_reads_leave_a_frozen_server() {
    let replicated = Replicated::new().await;
    let writer = replicated.writer().await;
    let reader = Store::<ReadOnly>::connect(unlimited(replicated.replica_config())).await.unwrap();
    let before = append(&writer, "b-1").await;
    read(&reader.at_least(before), 4).await;
    let frozen = &replicated.cluster.standbys()[0];

    frozen.freeze().await.unwrap();
    let last = append(&writer, "b-2").await;
    let at_least = reader.at_least(last);
    let answers = promptly(join_all((0..20).map(|_| read(&at_least, 1)))).await;
    frozen.thaw().unwrap();

    assert!(answers.iter().all(|answers| *answers == of([("replica-1", 1)])), "{answers:?}");
}

#[tokio::test]
async fn a_server_that_accepts_connections_and_never_answers_is_left_out() {
    let log = Log::new().await;
    log.reader().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://postgres@{}/library", silent.local_addr().unwrap());
    let config = Config::new(&url).unwrap().replica(&log.replica_url()).unwrap().log(&log.name);
    let config = unlimited(config).connect_timeout(Duration::from_millis(200));

    let reader = Store::<ReadOnly>::connect(config).await.unwrap();

    assert_eq!(read(&reader, 10).await, of([("replica-1", 10)]));
    assert!(!is_up(&reader, "replica-0"));
}

#[tokio::test]
async fn a_store_leaves_no_connection_behind() {
    let log = Log::new().await;
    log.reader().await;
    let name = format!("branch_{}", next());
    let config = Config::new(&format!("{}?application_name={name}", log.replica_url())).unwrap();
    let reader = Store::<ReadOnly>::connect(config.log(&log.name)).await.unwrap();
    let sql = connect(&log.replica_url()).await;
    let sessions = async || {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE $1 || '%'";
        sql.query_one(count, &[&name]).await.unwrap().get::<_, i64>(0)
    };

    reader.query(Filter::everything()).await.unwrap();
    let events = reader.stream(Filter::everything()).await.unwrap();
    let open = sessions().await;
    drop(reader);

    // One for the watcher and one for reads.
    assert_eq!(open, 2);
    assert!(events.try_collect::<Vec<_>>().await.unwrap().is_empty());
    wait_until(async || sessions().await == 0).await;
}
