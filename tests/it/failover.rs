//! Promotions: a read-write store with several hosts follows the promoted server, and leaves a
//! former primary that still takes writes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use eddyline::{
    AppendCondition, Config, Decision, Error, Event, Filter, ReadOnly, ReadWrite, ReplicaState,
    RetryPolicy, Role, Schema, SequenceNumber, Store,
};
use futures_util::future::join_all;
use local_postgres::{Cluster, Server};
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;
use tokio::task::block_in_place;

use crate::support::{FOREVER, connect, lent, loans_of, promptly, wait_until};

/// A primary with standbys, which the store knows by the address of all of them.
struct Servers {
    cluster: Cluster,
}

impl Servers {
    /// Starts the servers and creates the log `events`.
    async fn start(standbys: usize) -> Self {
        let cluster = Cluster::builder()
            .standbys(standbys)
            .fsync(false)
            .setting("wal_retrieve_retry_interval", "100ms")
            .start()
            .await
            .unwrap();
        let servers = Self { cluster };
        Schema::new(&servers.config()).migrate().await.unwrap();
        servers.cluster.wait_for_replay().await.unwrap();
        servers
    }

    fn primary(&self) -> &Server {
        self.cluster.primary()
    }

    fn standby(&self) -> &Server {
        &self.cluster.standbys()[0]
    }

    /// A configuration with all hosts, the old primary first, and without limits that a test
    /// reaches.
    fn config(&self) -> Config {
        let hosts: Vec<_> =
            self.cluster.servers().map(|one| format!("127.0.0.1:{}", one.port())).collect();
        let url = format!("postgres://postgres@{}/postgres", hosts.join(","));
        Config::new(&url).unwrap().watch_interval(Duration::from_millis(50)).retry(patient())
    }

    async fn store(&self) -> Store<ReadWrite> {
        Store::<ReadWrite>::connect(self.config()).await.unwrap()
    }

    /// Makes the primary's commits wait for the new primary, which waits for no other.
    async fn make_synchronous(&self) {
        self.standby().set("synchronous_standby_names", "").await.unwrap();
        self.primary().set("synchronous_standby_names", self.standby().name()).await.unwrap();
        let sql = connect(&self.primary().url("postgres")).await;
        let state = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        wait_until(async || sql.query_one(state, &[]).await.unwrap().get::<_, i64>(0) == 1).await;
    }
}

/// A retry policy with which only a final error ends a call.
fn patient() -> RetryPolicy {
    let policy = RetryPolicy::builder().attempts(1_000).no_budget();
    policy.attempt_timeout(FOREVER).deadline(FOREVER).build().unwrap()
}

async fn append(store: &Store<ReadWrite>, event: Event) -> SequenceNumber {
    promptly(store.append([event], AppendCondition::none())).await.unwrap().last()
}

/// Appends until an event arrives at a server, so that the store has seen its promotion.
async fn append_until_stored_at(store: &Store<ReadWrite>, server: &Server) {
    let before = books(server).await.len();
    wait_until(async || {
        append(store, lent("b-probe", "r-1")).await;
        books(server).await.len() > before
    })
    .await;
}

/// Returns the book of each event on a server.
async fn books(server: &Server) -> BTreeMap<u64, String> {
    let sql = connect(&server.url("postgres")).await;
    let text = "SELECT sequence_number, payload ->> 'BookID' FROM events";
    let rows = sql.query(text, &[]).await.unwrap();
    rows.iter().map(|row| (row.get::<_, i64>(0) as u64, row.get(1))).collect()
}

async fn is_standby(server: &Server) -> bool {
    let sql = connect(&server.url("postgres")).await;
    sql.query_one("SELECT pg_is_in_recovery()", &[]).await.unwrap().get(0)
}

/// Returns how many connections a server has, of those whose application has this name.
async fn connections(server: &Server, application: &str) -> i64 {
    let sql = connect(&server.url("postgres")).await;
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    sql.query_one(count, &[&application]).await.unwrap().get(0)
}

const POOLED: &str = "eddyline primary";
const WATCHER: &str = "eddyline primary watcher";

/// Appends an event for a book of its own each time, every other client by a decision, until the
/// goal is reached. Returns the position of each event.
async fn append_continually(
    store: &Store<ReadWrite>,
    client: usize,
    count: &watch::Sender<usize>,
    goal: &watch::Sender<usize>,
) -> Vec<(SequenceNumber, String)> {
    let mut stored = Vec::new();
    while *count.borrow() < *goal.borrow() {
        let book = format!("b-{client}-{}", stored.len());
        let event = lent(&book, "r-1");
        let position = match client % 2 {
            0 => append(store, event).await,
            _ => {
                let decided = store.decide(loans_of(&book), |history| {
                    assert!(history.events().is_empty());
                    Ok::<_, Error>(Decision::append([event.clone()]))
                });
                promptly(decided).await.unwrap().position()
            }
        };
        stored.push((position, book));
        count.send_modify(|count| *count += 1);
    }
    stored
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_under_load_loses_and_repeats_nothing() {
    let servers = Servers::start(1).await;
    servers.make_synchronous().await;
    let store = servers.store().await;
    let (count, goal) = (watch::Sender::new(0), watch::Sender::new(usize::MAX));
    let clients = (0..32).map(|client| append_continually(&store, client, &count, &goal));
    let fail_over = async {
        count.subscribe().wait_for(|count| *count > 200).await.unwrap();
        servers.primary().kill().await.unwrap();
        servers.standby().promote().await.unwrap();
        goal.send_replace(*count.borrow() + 200);
    };

    let (stored, ()) = tokio::join!(join_all(clients), fail_over);

    let acknowledged: BTreeMap<_, _> = stored.into_iter().flatten().collect();
    let acknowledged: BTreeMap<_, _> =
        acknowledged.into_iter().map(|(position, book)| (position.value(), book)).collect();
    assert_eq!(books(servers.standby()).await, acknowledged);
}

/// The old primary still takes writes, as if only its connection to the standby was cut.
#[tokio::test]
async fn an_isolated_old_primary_gets_nothing_once_the_new_one_was_seen() {
    let servers = Servers::start(1).await;
    let (old, new) = (servers.primary(), servers.standby());
    let store = servers.store().await;
    append(&store, lent("b-1", "r-1")).await;
    servers.cluster.wait_for_replay().await.unwrap();
    new.promote().await.unwrap();
    append_until_stored_at(&store, new).await;
    let (at_old, at_new) = (books(old).await, books(new).await.len());

    for number in 0..10 {
        append(&store, lent(&format!("b-{number}"), "r-2")).await;
    }
    let decided = store.decide(loans_of("b-1"), |history| {
        assert_eq!(history.events().len(), 2);
        Ok::<_, Error>(Decision::append([lent("b-1", "r-3")]))
    });
    let decided = promptly(decided).await.unwrap();
    let history = promptly(store.query(loans_of("b-1"))).await.unwrap();
    let import = store.import(futures_util::stream::iter([lent("b-11", "r-2")]));
    promptly(import.into_future()).await.unwrap();

    assert_eq!(books(old).await, at_old);
    assert_eq!(books(new).await.len(), at_new + 12);
    assert_eq!((history.events().len(), history.position()), (3, decided.position()));
    wait_until(async || connections(old, POOLED).await == 0).await;
    assert_eq!(connections(old, WATCHER).await, 1);
}

/// The commit waits for a standby that never confirms, until the connection is given up.
#[tokio::test]
async fn an_append_in_flight_on_an_isolated_primary_is_stored_by_the_new_one() {
    let servers = Servers::start(1).await;
    let (old, new) = (servers.primary(), servers.standby());
    let store = servers.store().await;
    append(&store, lent("b-1", "r-1")).await;
    servers.cluster.wait_for_replay().await.unwrap();
    old.set("synchronous_standby_names", "nobody").await.unwrap();
    let sql = connect(&old.url("postgres")).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    // The setting reaches the session a moment later.
    let appending = async {
        let mut appended = 1;
        while is_standby(new).await {
            append(&store, lent("b-1", "r-2")).await;
            appended += 1;
        }
        appended
    };
    let promotion = async {
        wait_until(async || sql.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) > 0).await;
        servers.cluster.wait_for_replay().await.unwrap();
        new.promote().await.unwrap();
    };

    let (appended, ()) = tokio::join!(appending, promotion);

    assert_eq!(books(new).await.len(), appended);
}

/// No timeout of the store ends the calls that the old primary does not answer.
#[tokio::test]
async fn calls_leave_a_primary_that_stands_still_for_the_new_one() {
    let servers = Servers::start(1).await;
    let (old, new) = (servers.primary(), servers.standby());
    let config = servers.config().acquire_timeout(FOREVER).connect_timeout(FOREVER);
    let store = Store::<ReadWrite>::connect(config.statement_timeout(FOREVER)).await.unwrap();
    append(&store, lent("b-1", "r-1")).await;
    servers.cluster.wait_for_replay().await.unwrap();
    old.freeze().await.unwrap();

    let (last, head, promoted) = tokio::join!(
        append(&store, lent("b-1", "r-2")),
        // It needs a new connection.
        promptly(store.head()),
        new.promote(),
    );

    old.thaw().unwrap();
    promoted.unwrap();
    assert!(head.unwrap() <= last);
    assert_eq!(books(new).await.len(), 2);
}

#[tokio::test]
async fn a_store_that_connects_to_two_primaries_uses_the_promoted_one() {
    let servers = Servers::start(1).await;
    servers.standby().promote().await.unwrap();

    let store = servers.store().await;
    append(&store, lent("b-1", "r-1")).await;

    assert_eq!(
        (books(servers.primary()).await.len(), books(servers.standby()).await.len()),
        (0, 1)
    );
}

#[tokio::test]
async fn a_former_primary_is_refused_whenever_it_comes_back() {
    let servers = Servers::start(1).await;
    let (old, new) = (servers.primary(), servers.standby());
    let store = servers.store().await;
    append(&store, lent("b-1", "r-1")).await;
    servers.cluster.wait_for_replay().await.unwrap();
    old.kill().await.unwrap();
    new.promote().await.unwrap();
    append(&store, lent("b-2", "r-1")).await;
    old.start().await.unwrap();
    append(&store, lent("b-3", "r-1")).await;
    new.stop_immediately().await.unwrap();
    let policy = RetryPolicy::builder().attempts(1).attempt_timeout(Duration::from_millis(300));
    let single = store.with_retry_policy(policy.build().unwrap());
    let refused = RefCell::new(String::new());
    let (reason, closed) = (
        "it is a former primary: its timeline is 1, and that of the promoted one is 2",
        format!("nothing listens on port {}", new.port()),
    );
    // At first an append may be sent over the connection that the server closes.
    wait_until(async || {
        let append = single.append([lent("b-4", "r-1")], AppendCondition::none());
        refused.replace(append.await.unwrap_err().to_string());
        refused.borrow().contains(reason) && refused.borrow().contains(&closed)
    })
    .await;
    // Once the new primary is back, the store goes on.
    let (appended, started) =
        tokio::join!(append(&store, lent("b-5", "r-1")), async { new.start().await });

    started.unwrap();
    assert_eq!(books(old).await.len(), 1);
    assert_eq!(books(new).await.get(&appended.value()).map(|book| &**book), Some("b-5"));
}

#[tokio::test]
async fn a_store_follows_one_promotion_after_the_other() {
    let servers = Servers::start(1).await;
    let (one, other) = (servers.primary(), servers.standby());
    let store = servers.store().await;
    append(&store, lent("b-1", "r-1")).await;
    servers.cluster.wait_for_replay().await.unwrap();
    for (old, new) in [(one, other), (other, one)] {
        new.promote().await.unwrap();

        append_until_stored_at(&store, new).await;

        old.rebuild(new).await.unwrap();
    }
    let history = promptly(store.query(Filter::everything())).await.unwrap();
    assert_eq!(history.events().len(), books(one).await.len());
}

/// The standby lacks the newest event when it is promoted, and gives its position to another.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_lost_events_refuses_their_positions() {
    let servers = Servers::start(1).await;
    let (old, new) = (servers.primary(), servers.standby());
    let store = servers.store().await;
    append(&store, lent("b-1", "r-1")).await;
    servers.cluster.wait_for_replay().await.unwrap();
    let kept = store.query(loans_of("b-1")).await.unwrap();
    new.stop_streaming().await.unwrap();
    let last = append(&store, lent("b-1", "r-2")).await;
    let lost = store.query(loans_of("b-9")).await.unwrap();
    let fail_over = async {
        old.kill().await.unwrap();
        new.promote().await.unwrap();
        while append(&store, lent("b-2", "r-1")).await < last {}
    };

    // The failover happens between the read and the append of the decision.
    let fail_over = Cell::new(Some(fail_over));
    let decided = store.decide(loans_of("b-1"), |history| {
        if let Some(fail_over) = fail_over.take() {
            assert_eq!(history.events().len(), 2);
            block_in_place(|| Handle::current().block_on(fail_over));
        }
        let reader = format!("r-{}", history.events().len());
        Ok::<_, Error>(Decision::append([lent("b-1", &reader)]))
    });
    let decided = promptly(decided).await.unwrap();
    let refused = store.append([lent("b-9", "r-3")], lost.condition());
    let refused = promptly(refused).await.unwrap_err();
    let conflict = store.append([lent("b-1", "r-3")], kept.condition());
    let conflict = promptly(conflict).await.unwrap_err();

    let readers = connect(&new.url("postgres")).await;
    let text = "SELECT count(*) FROM events WHERE payload ->> 'ReaderID' = 'r-1'
        AND payload ->> 'BookID' = 'b-1'";
    assert_eq!(readers.query_one(text, &[]).await.unwrap().get::<_, i64>(0), 2);
    assert_eq!(decided.attempts(), 2);
    assert!(matches!(refused, Error::PositionLost { .. }), "{refused:?}");
    let position = decided.position();
    assert!(
        matches!(conflict, Error::Conflict { position: found, .. } if found == position),
        "{conflict:?}"
    );
}

#[tokio::test]
async fn a_host_with_another_log_is_refused() {
    let (servers, other) = (Servers::start(0).await, Servers::start(0).await);
    let (port, other) = (servers.primary().port(), other.primary().port());
    let url = format!("postgres://postgres@127.0.0.1:{port},127.0.0.1:{other}/postgres");

    let refused = Store::<ReadWrite>::connect(Config::new(&url).unwrap()).await.unwrap_err();

    let Error::OtherLog { server, expected, found } = &refused else { panic!("{refused:?}") };
    assert!(server.contains(&other.to_string()) && expected != found, "{refused}");
}

#[tokio::test]
async fn a_store_with_one_host_has_no_watcher_and_stays_with_its_host() {
    let servers = Servers::start(1).await;
    let config = Config::new(&servers.primary().url("postgres")).unwrap();
    let store = Store::<ReadWrite>::connect(config.retry(patient())).await.unwrap();
    append(&store, lent("b-1", "r-1")).await;
    servers.standby().promote().await.unwrap();

    append(&store, lent("b-2", "r-1")).await;

    assert_eq!(books(servers.primary()).await.len(), 2);
    assert_eq!(connections(servers.primary(), WATCHER).await, 0);
}

#[tokio::test]
async fn the_watchers_end_with_the_store() {
    let servers = Servers::start(1).await;
    let store = servers.store().await;
    let both = [servers.primary(), servers.standby()];
    for server in both {
        wait_until(async || connections(server, WATCHER).await == 1).await;
    }
    let clone = store.clone();
    drop(store);
    append(&clone, lent("b-1", "r-1")).await;
    drop(clone);

    for server in both {
        wait_until(async || connections(server, WATCHER).await == 0).await;
        wait_until(async || connections(server, POOLED).await == 0).await;
    }
}

#[test]
fn a_promotion_is_noticed_on_another_runtime_than_the_store_was_connected_on() {
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let outer = runtime();
    let servers = outer.block_on(Servers::start(1));
    let store = runtime().block_on(async {
        let store = servers.store().await;
        append(&store, lent("b-1", "r-1")).await;
        servers.cluster.wait_for_replay().await.unwrap();
        store
    });
    outer.block_on(async {
        servers.standby().promote().await.unwrap();

        append_until_stored_at(&store, servers.standby()).await;
    });
}

#[tokio::test]
async fn a_read_only_store_goes_on_after_a_promotion() {
    let servers = Servers::start(2).await;
    let [new, other] = servers.cluster.standbys() else { panic!("two standbys") };
    let writer = servers.store().await;
    let config = Config::new(&servers.primary().url("postgres")).unwrap();
    let config = config.replica(&new.url("postgres")).unwrap();
    let config = config.replica(&other.url("postgres")).unwrap().replica_timeout(FOREVER);
    let config = config.watch_interval(Duration::from_millis(50));
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();
    wait_until(async || reader.replicas().iter().all(|replica| replica.role.is_some())).await;
    append(&writer, lent("b-1", "r-1")).await;
    servers.cluster.wait_for_replay().await.unwrap();
    servers.primary().kill().await.unwrap();
    new.promote().await.unwrap();
    other.follow(new).await.unwrap();

    let last = append(&writer, lent("b-2", "r-1")).await;
    let history = promptly(reader.at_least(last).query(Filter::everything())).await.unwrap();

    assert_eq!(history.events().len(), 2);
    assert_eq!(history.served_by(), "replica-2");
    let states = async || {
        let states = reader.replicas().into_iter();
        states.map(|one| (one.role, one.state)).collect::<Vec<_>>()
    };
    let expected = [
        (Some(Role::Primary), ReplicaState::Out),
        (Some(Role::Primary), ReplicaState::Promoted),
        (Some(Role::Replica), ReplicaState::Up),
    ];
    wait_until(async || states().await == expected).await;
    for _ in 0..10 {
        let history = promptly(reader.query(Filter::everything())).await.unwrap();
        assert_eq!(history.served_by(), "replica-2");
    }
}
