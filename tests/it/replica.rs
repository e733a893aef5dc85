//! Reads on replicas: positions, waiting for replay, and failover to another replica.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use eddyline::{
    AppendCondition, Config, Error, Event, Filter, Query, ReadOnly, ReadWrite, ReplicaState,
    RetryPolicy, SequenceNumber, Store,
};
use fault_proxy::{Direction, Proxy};
use futures_util::TryStreamExt;

use crate::support::{
    FOREVER, Fragile, Log, Replicated, connect, lent, loans_of, next, promptly, run_on_reads,
    unreachable_url, wait_until,
};

pub async fn append(store: &Store<ReadWrite>, book: &str) -> SequenceNumber {
    store.append([lent(book, "r-1")], AppendCondition::none()).await.unwrap().last()
}

/// Queries `times` times and returns how often each server answered.
pub async fn read(store: &Store<ReadOnly>, times: usize) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for _ in 0..times {
        let history = promptly(store.query(Filter::everything())).await.unwrap();
        *answers.entry(history.served_by().to_string()).or_default() += 1;
    }
    answers
}

/// Connects to the replicas with timeouts for connections that no test reaches.
pub async fn patient_reader(config: Config) -> Store<ReadOnly> {
    let config = config.acquire_timeout(FOREVER).connect_timeout(FOREVER);
    Store::<ReadOnly>::connect(config).await.unwrap()
}

pub fn of<const N: usize>(answers: [(&str, usize); N]) -> BTreeMap<String, usize> {
    answers.map(|(server, count)| (server.to_owned(), count)).into()
}

#[tokio::test]
async fn a_read_at_the_position_of_an_append_sees_the_append() {
    let log = Log::new().await;
    let (writer, reader) = (log.writer().await, log.reader().await);
    for number in 0..50 {
        let book = format!("b-{number}");
        let filter = Filter::any_of([("BookID", &book)]).build().unwrap();

        let last = append(&writer, &book).await;
        let head = reader.at_least(last).head().await.unwrap();
        let history = reader.at_least(last).query(&filter).await.unwrap();

        assert!(head >= last);
        assert_eq!(history.events().len(), 1);
        assert!(history.position() >= last);
        assert_eq!(history.served_by(), "replica-0");
        let last = append(&writer, &book).await;
        let stream = reader.at_least(last).stream(&filter).await.unwrap();
        assert_eq!(stream.try_collect::<Vec<_>>().await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_read_at_a_position_that_no_replica_reaches_fails_with_the_position_reached() {
    let replicated = Replicated::new().await;
    let writer = replicated.writer().await;
    let before = append(&writer, "b-1").await;
    replicated.cluster.wait_for_replay().await.unwrap();
    let timeout = Duration::from_millis(200);
    let config = replicated.replica_config().replica_timeout(timeout);
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();
    replicated.pause_replay().await;
    let last = append(&writer, "b-2").await;

    let at_before = |name| (name, Some(before), ReplicaState::Up);
    // A replica whose watcher was answered late, on a busy machine, is left out for a moment.
    wait_until(async || {
        let started = Instant::now();
        let error = reader.at_least(last).query(Filter::everything()).await.unwrap_err();
        let elapsed = started.elapsed();

        let Error::ReplicaBehind { position, waited, ref replicas } = error else {
            panic!("{error:?}")
        };
        assert_eq!(position, last);
        assert!(waited >= timeout && waited <= elapsed, "{elapsed:?}");
        assert!(error.is_timeout());
        let reached = replicas.iter().map(|one| (one.name.as_str(), one.position, one.state));
        reached.eq([at_before("replica-0"), at_before("replica-1")])
    })
    .await;
    // A read without a position still succeeds.
    assert_eq!(reader.query(Filter::everything()).await.unwrap().position(), before);
    replicated.resume_replay().await;
    replicated.cluster.wait_for_replay().await.unwrap();
    let history = reader.at_least(last).query(Filter::everything()).await.unwrap();
    assert_eq!(history.position(), last);
}

#[tokio::test]
async fn a_read_waits_for_a_replica_to_catch_up() {
    let replicated = Replicated::new().await;
    let (writer, name) = (replicated.writer().await, format!("branch_{}", next()));
    let replica = replicated.cluster.standbys()[0].url("postgres");
    let config = Config::new(&format!("{replica}?application_name={name}")).unwrap();
    let config = config.log(&replicated.log).replica_timeout(Duration::from_secs(30));
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();
    replicated.pause_replay().await;
    let last = append(&writer, "b-1").await;

    let reader = reader.at_least(last);
    let read = reader.query(Filter::everything());
    let resume = async {
        let sql = connect(&replica).await;
        // The first start time may be that of preparing the statement.
        let starts_query = "SELECT query_start::text FROM pg_stat_activity
            WHERE application_name = $1 || ' watcher' AND query LIKE '%sequence_number%'";
        let starts = RefCell::new(BTreeSet::<String>::new());
        wait_until(async || {
            let seen = sql.query(starts_query, &[&name]).await.unwrap();
            starts.borrow_mut().extend(seen.iter().map(|row| row.get(0)));
            starts.borrow().len() > 3
        })
        .await;
        replicated.resume_replay().await;
    };
    let (history, ()) = tokio::join!(read, resume);

    assert_eq!(history.unwrap().position(), last);
}

#[tokio::test]
async fn a_read_at_a_position_goes_to_the_replica_that_has_reached_it() {
    let replicated = Replicated::new().await;
    let (writer, reader) = (replicated.writer().await, replicated.reader().await);
    replicated.cluster.standbys()[0].pause_replay().await.unwrap();
    let last = append(&writer, "b-1").await;
    replicated.cluster.standbys()[0].resume_replay().await.unwrap();
    replicated.cluster.wait_for_replay().await.unwrap();
    replicated.cluster.standbys()[0].pause_replay().await.unwrap();
    let last = append(&writer, "b-2").await.max(last);

    let answers = read(&reader.at_least(last), 20).await;

    assert_eq!(answers, of([("replica-1", 20)]));
}

#[tokio::test]
async fn reads_are_spread_over_the_replicas() {
    let replicated = Replicated::new().await;
    let reader = replicated.reader().await;

    let even = of([("replica-0", 5), ("replica-1", 5)]);
    // A replica that answers too slowly, on a busy machine, is left out for a moment.
    wait_until(async || {
        // Clones and handles with a position share the choice of their store.
        let first = read(&reader, 10).await;
        let second = read(&reader.clone(), 10).await;
        let third = read(&reader.at_least(SequenceNumber::ZERO), 10).await;
        [first, second, third] == [even.clone(), even.clone(), even.clone()]
    })
    .await;
}

#[tokio::test]
async fn reads_continue_without_a_failed_replica_and_use_it_again_after_its_restart() {
    let replicated = Replicated::new().await;
    replicated.reader().await;
    let reader = patient_reader(replicated.replica_config()).await;
    read(&reader, 4).await;
    for (index, killed) in [(0, false), (1, true)] {
        let replica = &replicated.cluster.standbys()[index];
        let (name, other) = (format!("replica-{index}"), format!("replica-{}", 1 - index));
        match killed {
            true => replica.kill().await.unwrap(),
            false => replica.stop().await.unwrap(),
        }
        // Backends may still answer for a moment after the postmaster was killed.
        wait_until(async || !read(&reader, 4).await.contains_key(&name)).await;

        let answers = read(&reader, 20).await;
        replica.start().await.unwrap();

        assert_eq!(answers, of([(&other, 20)]));
        wait_until(async || read(&reader, 4).await.contains_key(&name)).await;
    }
}

#[tokio::test]
async fn reads_fail_without_replicas_and_succeed_after_their_restart() {
    let replicated = Replicated::new().await;
    replicated.reader().await;
    let reader = patient_reader(replicated.replica_config()).await;
    read(&reader, 4).await;
    for replica in replicated.cluster.standbys() {
        replica.stop().await.unwrap();
    }

    for _ in 0..6 {
        let error = promptly(reader.query(Filter::everything())).await.unwrap_err();

        let is_unavailable =
            matches!(error, Error::Unreachable { .. } | Error::ConnectionLost { .. });
        assert!(is_unavailable, "{error:?}");
    }

    for replica in replicated.cluster.standbys() {
        replica.start().await.unwrap();
    }
    wait_until(async || reader.query(Filter::everything()).await.is_ok()).await;
}

#[tokio::test]
async fn a_store_connects_if_one_replica_answers() {
    let log = Log::new().await;
    log.reader().await;
    let replica = log.replica_url();
    for (urls, server) in [
        ([unreachable_url(), replica.clone()], "replica-1"),
        ([replica, unreachable_url()], "replica-0"),
    ] {
        let config = Config::new(&urls[0]).unwrap().replica(&urls[1]).unwrap().log(&log.name);

        let reader = Store::<ReadOnly>::connect(config).await.unwrap();

        assert_eq!(read(&reader, 4).await, of([(server, 4)]));
    }
    let config = Config::new(&unreachable_url()).unwrap().replica(&unreachable_url()).unwrap();
    let refused = Store::<ReadOnly>::connect(config).await;
    assert!(matches!(refused, Err(Error::Unreachable { .. })), "{refused:?}");
}

/// A failed replica is retried repeatedly, and no read waits for that.
#[tokio::test]
async fn a_failed_replica_delays_no_read() {
    let log = Log::new().await;
    log.reader().await;
    // The proxy resets every connection and counts them.
    let failing = Proxy::start(unreachable_address()).await.unwrap();
    let url = format!("postgres://postgres@{}/library", failing.address());
    let config = Config::new(&url).unwrap().replica(&log.replica_url()).unwrap();
    let reader = patient_reader(config.log(&log.name)).await;

    for _ in 0..2 {
        let accepted = failing.accepted();
        wait_until(async || {
            assert_eq!(read(&reader, 2).await, of([("replica-1", 2)]));
            failing.accepted() > accepted
        })
        .await;
    }
}

/// The replica may have been set up before the log, or configured by mistake.
#[tokio::test]
async fn reads_avoid_a_replica_without_the_log() {
    let log = Log::new().await;
    log.reader().await;
    let (replica, without_log) = without_log(&log).await;
    let config = Config::new(&without_log).unwrap().replica(&log.replica_url()).unwrap();
    let reader = Store::<ReadOnly>::connect(config.log(&log.name)).await.unwrap();

    // The replica is tried again after the time for which a failed server is skipped.
    for _ in 0..2 {
        let answered = replica.passed(Direction::ToClient);
        wait_until(async || {
            assert_eq!(read(&reader, 2).await, of([("replica-1", 2)]));
            replica.passed(Direction::ToClient) > answered
        })
        .await;
    }
}

/// Starts a proxy in front of the replica. Returns the proxy and the URL, through it, of a database
/// without the log.
async fn without_log(log: &Log) -> (Proxy, String) {
    let url = log.replica_url().replace("/library", "/postgres");
    let server = url.split('@').nth(1).and_then(|rest| rest.split('/').next()).unwrap();
    let proxy = Proxy::start(server.parse().unwrap()).await.unwrap();
    let url = url.replace(server, &proxy.address().to_string());
    (proxy, url)
}

fn unreachable_address() -> SocketAddr {
    let url = unreachable_url();
    url.split('@').nth(1).and_then(|rest| rest.split('/').next()).unwrap().parse().unwrap()
}

/// The log is a view that writes whenever it is read, so the server refuses each read.
#[tokio::test]
async fn the_server_refuses_writes_of_a_read_only_store() {
    let log = Log::new().await;
    let (sql, name) = (log.sql().await, &log.name);
    let writer = log.writer().await;
    let reader = Store::<ReadOnly>::connect(log.config()).await.unwrap();
    sql.batch_execute(&format!("CREATE TABLE {name}_readers (read_at timestamptz)")).await.unwrap();
    let body = format!(
        "INSERT INTO public.{name}_readers VALUES (now());
         RETURN QUERY SELECT bigint '1', gen_random_uuid(), now(), now(),
             'BookCopyLentToReader', jsonb '{{}}', jsonb '{{}}';"
    );
    run_on_reads(&sql, name, &body).await;
    let writes = format!("SELECT count(*) FROM {name}_readers");

    let errors = [
        reader.head().await.unwrap_err(),
        reader.query(Filter::everything()).await.unwrap_err(),
        reader.stream(Filter::everything()).await.unwrap_err(),
    ];

    for error in errors {
        assert_eq!(error.sqlstate().unwrap().as_str(), "25006", "{error:?}");
    }
    assert_eq!(sql.query_one(&writes, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert_eq!(writer.query(Filter::everything()).await.unwrap().events().len(), 1);
    assert!(sql.query_one(&writes, &[]).await.unwrap().get::<_, i64>(0) > 0);
}

/// A reader that continues from the position of its previous read gets every event: no event
/// becomes visible at or below a position that was returned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_tails_a_replica_misses_no_event() {
    let log = Log::new().await;
    let (writer, reader) = (log.writer().await, log.reader().await);
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..3 {
        let writer = writer.clone();
        writers.spawn(async move {
            for _ in 0..60 {
                append(&writer, &format!("b-{number}")).await;
            }
        });
        // These transactions stay open for a while, so that other commits could overtake them.
        let (sql, insert) = (log.sql().await, log.insert("b-foreign"));
        writers.spawn(async move {
            for _ in 0..20 {
                let insert = format!("BEGIN; {insert}; SELECT pg_sleep(0.002); COMMIT");
                sql.batch_execute(&insert).await.unwrap();
            }
        });
    }

    let everything = Filter::everything();
    let (mut seen, mut position) = (Vec::new(), SequenceNumber::ZERO);
    let mut tail = async |reader: &Store<ReadOnly>| {
        let history = reader.query(Query::new(&everything).after(position)).await.unwrap();
        position = history.position();
        seen.extend(history.into_events().iter().map(|event| event.sequence_number()));
    };
    while !writers.is_empty() {
        tail(&reader).await;
        while let Some(ended) = writers.try_join_next() {
            ended.unwrap();
        }
    }
    tail(&reader.at_least(writer.head().await.unwrap())).await;

    let all = writer.query(&everything).await.unwrap();
    let all: Vec<_> = all.events().iter().map(|event| event.sequence_number()).collect();
    assert_eq!(all.len(), 3 * 60 + 3 * 20);
    assert_eq!(seen, all);
}

/// The wait ends after the replica timeout, also if it is longer than the attempt timeout.
#[tokio::test]
async fn the_replica_timeout_applies_beyond_the_attempt_timeout() {
    let log = Log::new().await;
    log.writer().await.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    log.reader().await;
    let policy = RetryPolicy::builder().attempt_timeout(Duration::from_millis(200));
    let policy = policy.base_delay(Duration::from_millis(1)).build().unwrap();
    let config = log.replica_config().replica_timeout(Duration::from_millis(500)).retry(policy);
    let store = Store::<ReadOnly>::connect(config).await.unwrap();

    let refused = promptly(store.at_least(SequenceNumber::new(1_000_000)).head()).await;

    assert!(matches!(refused, Err(Error::ReplicaBehind { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_replica_that_fails_during_a_stream_is_skipped() {
    let fragile = Fragile::new().await;
    let writer = Store::<ReadWrite>::connect(fragile.config()).await.unwrap();
    let note = format!(r#"{{"Note":"{}"}}"#, "x".repeat(100_000));
    let large = || Event::from_json("BookCopyLentToReader", note.clone()).unwrap();
    // More than the socket buffers hold while the reader does not read.
    writer.append((0..200).map(|_| large()), AppendCondition::none()).await.unwrap();
    fragile.cluster.wait_for_replay().await.unwrap();
    let replica = fragile.cluster.standbys()[0].url("postgres");
    let config = Config::new(&replica).unwrap().replica(&fragile.primary_url()).unwrap();
    let store = Store::<ReadOnly>::connect(config.log(&fragile.log)).await.unwrap();

    let mut events = store.stream(Filter::everything()).await.unwrap();
    while events.served_by() != "replica-0" {
        events = store.stream(Filter::everything()).await.unwrap();
    }
    events.try_next().await.unwrap();
    let (sql, watcher) = (fragile.sql().await, connect(&replica).await);
    let lock = format!("BEGIN; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE; COMMIT", fragile.log);
    sql.batch_execute(&lock).await.unwrap();
    let locked = "SELECT pg_current_wal_flush_lsn()::text";
    let locked: String = sql.query_one(locked, &[]).await.unwrap().get(0);
    // The replay waits for the read, or has already canceled it.
    let conflicts = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn OR EXISTS
        (SELECT FROM pg_locks WHERE relation = $2::text::regclass AND NOT granted)";
    let conflicts =
        async || watcher.query_one(conflicts, &[&locked, &fragile.log]).await.unwrap().get(0);
    wait_until(conflicts).await;
    let error = events.try_for_each(async |_| Ok(())).await.unwrap_err();
    // Without the failure, the replica would get one of two reads.
    store.head().await.unwrap();
    let history = store.query(loans_of("b-1")).await.unwrap();

    assert_eq!(error.sqlstate().map(|state| state.as_str()), Some("40001"), "{error:?}");
    assert_eq!(history.served_by(), "replica-1");
}
