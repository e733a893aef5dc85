//! The primary as the last resort.

use std::cell::Cell;
use std::time::Duration;

use eddyline::{Config, Error, Fallback, Filter, ReadOnly, Role, Store};

use crate::replica::append;
use crate::support::{Observer, Replicated, connect, named, series, wait_until};

struct Setting {
    reader: Store<ReadOnly>,
    observer: Observer,
    application: String,
}

async fn connect_with(replicated: &Replicated, fallback: Fallback) -> Setting {
    let (primary, application) = named(&replicated.cluster.primary().url("postgres"));
    let observer = Observer::new();
    let config = replicated.replica_config().primary(&primary, fallback).unwrap();
    let config = config.replica_timeout(Duration::from_millis(200));
    let reader = Store::<ReadOnly>::connect(config.telemetry(observer.telemetry())).await.unwrap();
    Setting { reader, observer, application }
}

impl Setting {
    /// Waits until a replica answers a read that needs no position.
    async fn wait_for_replica(&self) {
        wait_until(async || {
            let history = self.reader.query(Filter::everything()).await.unwrap();
            history.served_by().role() == Role::Replica
        })
        .await;
    }

    fn fallbacks(&self) -> Vec<u64> {
        self.observer.counter("eventstore.replica.fallbacks").into_values().collect()
    }

    /// Returns the number of sessions for reads on the primary. The pool keeps each of them.
    async fn sessions(&self, replicated: &Replicated) -> i64 {
        let sql = connect(&replicated.cluster.primary().url("postgres")).await;
        let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
        sql.query_one(count, &[&self.application]).await.unwrap().get(0)
    }
}

async fn stop(replicated: &Replicated) {
    for replica in replicated.cluster.standbys() {
        replica.stop().await.unwrap();
    }
}

async fn start(replicated: &Replicated) {
    for replica in replicated.cluster.standbys() {
        replica.start().await.unwrap();
    }
}

#[tokio::test]
async fn a_store_that_only_knows_the_primary_never_reads_from_it() {
    let replicated = Replicated::new().await;
    let setting = connect_with(&replicated, Fallback::Never).await;
    let writer = replicated.writer().await;
    replicated.pause_replay().await;
    let last = append(&writer, "b-1").await;

    let behind = setting.reader.at_least(last).head().await;
    replicated.resume_replay().await;
    stop(&replicated).await;
    let unreachable = setting.reader.head().await;
    start(&replicated).await;

    assert!(matches!(behind, Err(Error::ReplicaBehind { .. })), "{behind:?}");
    assert!(unreachable.is_err(), "{unreachable:?}");
    assert_eq!(setting.sessions(&replicated).await, 0);
}

#[tokio::test]
async fn the_primary_answers_while_no_replica_can_be_reached() {
    let replicated = Replicated::new().await;
    let setting = connect_with(&replicated, Fallback::WhenUnreachable).await;
    let writer = replicated.writer().await;
    replicated.pause_replay().await;
    let last = append(&writer, "b-1").await;

    // Replicas that answer late, on a busy machine, are unreachable for a moment.
    wait_until(async || {
        let behind = setting.reader.at_least(last).head().await;
        matches!(behind, Err(Error::ReplicaBehind { .. }))
    })
    .await;
    let late: u64 = setting.fallbacks().iter().sum();
    assert_eq!(setting.sessions(&replicated).await > 0, late > 0);

    replicated.resume_replay().await;
    stop(&replicated).await;
    for _ in 0..5 {
        let history = setting.reader.at_least(last).query(Filter::everything()).await.unwrap();
        let server = history.served_by();
        assert_eq!((server.name(), server.role()), ("primary", Role::Primary));
        assert_eq!(history.position(), last);
    }
    let history = setting.reader.query(Filter::everything()).await.unwrap();
    assert_eq!(history.served_by(), "primary");
    start(&replicated).await;

    let expected = series([("reason=behind", 0), ("reason=unreachable", 6 + late)]);
    assert_eq!(setting.observer.counter("eventstore.replica.fallbacks"), expected);
    setting.wait_for_replica().await;
}

#[tokio::test]
async fn the_primary_answers_a_read_at_a_position_that_no_replica_reaches_in_time() {
    let replicated = Replicated::new().await;
    let setting = connect_with(&replicated, Fallback::WhenBehind).await;
    let writer = replicated.writer().await;
    replicated.pause_replay().await;
    let last = append(&writer, "b-1").await;

    let answers = Cell::new(0);
    // Replicas that answer late, on a busy machine, are unreachable for a moment.
    wait_until(async || {
        let history = setting.reader.at_least(last).query(Filter::everything()).await.unwrap();
        assert_eq!((history.served_by().name(), history.position()), ("primary", last));
        answers.set(answers.get() + 1);
        assert_eq!(setting.fallbacks().iter().sum::<u64>(), answers.get());
        setting.observer.counter("eventstore.replica.fallbacks")["reason=behind"] > 0
    })
    .await;
    let beyond = setting.reader.at_least(last.next()).head().await;
    assert!(matches!(beyond, Err(Error::ReplicaBehind { .. })), "{beyond:?}");
    setting.wait_for_replica().await;
    replicated.resume_replay().await;
}

#[tokio::test]
async fn a_primary_among_the_replicas_is_visible_by_its_role() {
    let replicated = Replicated::new().await;
    let primary = replicated.cluster.primary().url("postgres");
    let config = Config::new(&primary).unwrap().log(&replicated.log);
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();

    let history = reader.query(Filter::everything()).await.unwrap();

    let server = history.served_by();
    assert_eq!((server.name(), server.role()), ("replica-0", Role::Primary));
    wait_until(async || reader.replicas()[0].role == Some(Role::Primary)).await;
}
