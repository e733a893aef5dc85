//! Servers that must not be read from: other logs, other histories, and the same server twice.

use std::net::SocketAddr;
use std::time::Duration;

use eddyline::{
    AppendCondition, Config, Error, Fallback, Filter, ReadOnly, ReadWrite, ReplicaState, Role,
    Schema, SequenceNumber, Store,
};
use fault_proxy::Proxy;
use local_postgres::{Cluster, Server};
use tokio::time::timeout;

use super::states;
use crate::replica::{of, read};
use crate::support::{Log, Observer, cluster, cluster_with_log, connect, lent, wait_until};

async fn wait_for(store: &Store<ReadOnly>, name: &str, state: ReplicaState) {
    wait_until(async || states(store).contains(&(name.to_owned(), state))).await;
}

#[tokio::test]
async fn another_log_of_the_same_name_is_refused() {
    let (log, other) = (Log::new().await, Log::isolated().await);
    let database = other.primary_url();
    let impostor = Config::new(&database).unwrap().log(&log.name);
    Schema::new(&impostor).migrate().await.unwrap();
    cluster().await.wait_for_replay().await.unwrap();
    let config = log.replica_config().replica(&database).unwrap();

    let refused = Store::<ReadOnly>::connect(config).await.unwrap_err();
    let reader = log.reader().await;
    let added = reader.add_replica(&database).await.unwrap_err();

    for error in [refused, added] {
        let Error::OtherLog { expected, found, .. } = &error else { panic!("{error:?}") };
        assert_ne!(expected, found);
        let text = error.to_string();
        assert!(
            text.contains(&expected.to_string()) && text.contains(&found.to_string()),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_server_on_which_the_log_was_created_anew_is_left_out() {
    let log = Log::new().await;
    let observer = Observer::new();
    let config = log.config().telemetry(observer.telemetry());
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();
    read(&reader, 1).await;

    let name = &log.name;
    let drop = format!("DROP TABLE {name}; DELETE FROM eddyline_schema WHERE log = '{name}'");
    log.sql().await.batch_execute(&drop).await.unwrap();
    Schema::new(&log.config()).migrate().await.unwrap();
    wait_for(&reader, "replica-0", ReplicaState::OtherLog).await;
    let error = reader.head().await.unwrap_err();

    let Error::NoReplica { replicas } = &error else { panic!("{error:?}") };
    assert_eq!(replicas[0].state, ReplicaState::OtherLog);
    let faults = observer.counted("eventstore.replica.faults");
    assert_eq!(faults.get("reason=other_log server=replica-0"), Some(&1), "{faults:?}");
}

#[tokio::test]
async fn a_server_under_two_names_is_read_from_under_one() {
    let log = Log::new().await;
    log.reader().await;
    let address = log.replica_url();
    let address = address.split('@').nth(1).and_then(|rest| rest.split('/').next()).unwrap();
    let proxy = Proxy::start(address.parse::<SocketAddr>().unwrap()).await.unwrap();
    let url = format!("postgres://postgres@{}/library", proxy.address());
    let config = Config::new(&url).unwrap().replica(&log.replica_url()).unwrap().log(&log.name);
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();

    wait_for(&reader, "replica-1", ReplicaState::Duplicate).await;
    wait_until(async || read(&reader, 10).await == of([("replica-0", 10)])).await;
    proxy.freeze();
    wait_until(async || read(&reader, 10).await == of([("replica-1", 10)])).await;
    proxy.thaw();
}

/// A primary with two standbys, of which the first is promoted while the others go on.
struct Split {
    cluster: Cluster,
}

impl Split {
    async fn new() -> Self {
        let split = Self { cluster: cluster_with_log(2).await };
        append(&split.config(split.old())).await;
        split.cluster.wait_for_replay().await.unwrap();
        split
    }

    fn old(&self) -> &Server {
        self.cluster.primary()
    }

    fn promoted(&self) -> &Server {
        &self.cluster.standbys()[0]
    }

    fn other(&self) -> &Server {
        &self.cluster.standbys()[1]
    }

    fn config(&self, server: &Server) -> Config {
        Config::new(&server.url("postgres")).unwrap()
    }

    fn all(&self) -> Config {
        let config = self.config(self.old()).replica(&self.promoted().url("postgres")).unwrap();
        config.replica(&self.other().url("postgres")).unwrap()
    }
}

async fn append(config: &Config) -> SequenceNumber {
    let writer = Store::<ReadWrite>::connect(config.clone()).await.unwrap();
    writer.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap().last()
}

#[tokio::test]
async fn servers_with_events_that_a_failover_lost_are_left_out() {
    let split = Split::new().await;
    let observer = Observer::new();
    let config = split.all().telemetry(observer.telemetry());
    let before = Store::<ReadOnly>::connect(config).await.unwrap();
    wait_until(async || before.replicas().iter().all(|replica| replica.role.is_some())).await;

    split.promoted().promote().await.unwrap();
    append(&split.config(split.old())).await;
    split.other().catch_up_with(split.old()).await.unwrap();
    let new = append(&split.config(split.promoted())).await;

    // It was a replica for this store, so it is not read from as a primary.
    wait_for(&before, "replica-0", ReplicaState::Diverged).await;
    wait_for(&before, "replica-1", ReplicaState::Promoted).await;
    wait_for(&before, "replica-2", ReplicaState::Diverged).await;
    let error = before.head().await.unwrap_err();
    assert!(matches!(error, Error::NoReplica { .. }), "{error:?}");
    let faults = observer.counted("eventstore.replica.faults");
    assert_eq!(faults.values().sum::<u64>(), 3, "{faults:?}");

    let after = Store::<ReadOnly>::connect(split.all()).await.unwrap();
    wait_for(&after, "replica-0", ReplicaState::Diverged).await;
    wait_for(&after, "replica-2", ReplicaState::Diverged).await;
    assert_eq!(read(&after, 10).await, of([("replica-1", 10)]));
    assert_eq!(after.at_least(new).head().await.unwrap(), new);
}

#[tokio::test]
async fn a_promoted_replica_is_read_from_no_more_and_the_others_are() {
    let split = Split::new().await;
    let config = split.config(split.promoted());
    let config = config.replica(&split.other().url("postgres")).unwrap();
    // The watchers are idle, so that a read finds out.
    let config = config.watch_interval(Duration::from_secs(3_600));
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();
    wait_until(async || reader.replicas().iter().all(|replica| replica.role.is_some())).await;

    split.promoted().promote().await.unwrap();
    let has_noticed = async || {
        let history = reader.query(Filter::everything()).await.unwrap();
        assert_eq!(history.served_by(), "replica-1");
        states(&reader)[0].1 == ReplicaState::Promoted
    };
    wait_until(has_noticed).await;

    assert_eq!(reader.replicas()[0].role, Some(Role::Primary));
}

/// The old primary goes on alone. A read that may not be stale must not take its head for that of
/// the log.
#[tokio::test]
async fn a_bound_on_the_staleness_follows_a_promotion() {
    let split = Split::new().await;
    let addresses = [split.old(), split.promoted()]
        .map(|server| format!("{}:{}", server.host(), server.port()));
    let primary = format!("postgres://postgres@{}/postgres", addresses.join(","));
    let config = split.config(split.other()).primary(&primary, Fallback::Never).unwrap();
    let config = config.replica_timeout(Duration::from_secs(30));
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();
    let fresh = reader.max_staleness(Duration::ZERO).unwrap();
    fresh.head().await.unwrap();

    split.promoted().promote().await.unwrap();
    split.other().follow(split.promoted()).await.unwrap();
    let config = split.config(split.promoted());
    append(&config).await;
    split.other().catch_up_with(split.promoted()).await.unwrap();
    // The reader has noticed once its replica has shown it the new epoch.
    wait_until(async || reader.replicas()[0].position >= Some(SequenceNumber::new(2))).await;

    // The replica has more events than the old primary, and fewer than the promoted server.
    split.other().pause_replay().await.unwrap();
    append(&config).await;
    let early = timeout(Duration::from_millis(500), fresh.head()).await;
    assert!(early.is_err(), "{early:?}");
    split.other().resume_replay().await.unwrap();
    for _ in 0..5 {
        let last = append(&config).await;
        assert!(fresh.head().await.unwrap() >= last);
    }
    let sql = connect(&split.old().url("postgres")).await;
    let log = "SELECT count(*) FROM events";
    assert_eq!(sql.query_one(log, &[]).await.unwrap().get::<_, i64>(0), 1);
}
