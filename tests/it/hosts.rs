//! How a store finds the right server among several hosts and addresses, some of which are silent.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use eddyline::{
    AppendCondition, Class, Config, Error, Filter, ReadOnly, ReadWrite, RetryPolicy, Schema, Store,
};
use local_postgres::Cluster;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::{Fragile, Log, cluster, connect, lent, wait_until};

/// Accepts connections and says nothing, for as long as it lives.
struct Mute(TcpListener);

impl Mute {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }
}

/// Returns an address of several hosts of this machine.
fn address(ports: &[u16]) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("postgres://postgres@{}/library", hosts.join(","))
}

/// Listens, and accepts nothing: its queue is full, so that a packet which asks for a connection is
/// dropped.
struct Deaf {
    listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Deaf {
    async fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap().into_std().unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(connected) = timeout(QUICKLY, TcpStream::connect(address)).await {
            queue.push(connected.unwrap());
        }
        Self { listener, _queue: queue }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }
}

/// Longer than a machine takes that has room in its queue.
const QUICKLY: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_host_that_accepts_and_says_nothing_does_not_hide_the_primary_behind_it() {
    let (log, mute) = (Log::new().await, Mute::new());
    let primary = cluster().await.primary().port();
    let timeout = Duration::from_secs(3);
    for options in ["", "?sslmode=disable", "?sslmode=prefer"] {
        let url = address(&[mute.port(), primary]) + options;
        let config = Config::new(&url).unwrap().log(&log.name).connect_timeout(timeout);

        let store = Store::<ReadWrite>::connect(config).await.unwrap();

        store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    }
}

#[tokio::test]
async fn a_host_that_does_not_accept_does_not_hide_the_primary_behind_it() {
    let (log, deaf) = (Log::new().await, Deaf::new().await);
    let primary = cluster().await.primary().port();
    let url = address(&[deaf.port(), primary]);
    let config = Config::new(&url).unwrap().log(&log.name).connect_timeout(Duration::from_secs(3));

    let store = Store::<ReadWrite>::connect(config).await.unwrap();

    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
}

/// With one limit for all hosts, the second one is asked by no attempt, however often it is made.
#[tokio::test]
async fn each_of_several_silent_hosts_has_a_time_of_its_own() {
    let (log, mutes) = (Log::new().await, [Mute::new(), Mute::new()]);
    let primary = cluster().await.primary().port();
    let url = address(&[mutes[0].port(), mutes[1].port(), primary]);
    let timeout = Duration::from_secs(2);
    let config = Config::new(&url).unwrap().log(&log.name).connect_timeout(timeout);
    let started = Instant::now();

    Store::<ReadWrite>::connect(config).await.unwrap();

    assert!(started.elapsed() >= 2 * timeout, "a host was given up early");
}

/// The time of a caller may be shorter than that of a silent host.
#[tokio::test]
async fn a_caller_that_waits_for_less_than_a_silent_host_takes_finds_the_primary() {
    let (log, mute) = (Log::new().await, Mute::new());
    let primary = cluster().await.primary().port();
    let url = address(&[mute.port(), primary]);
    let config = Config::new(&url)
        .unwrap()
        .log(&log.name)
        .connect_timeout(Duration::from_secs(6))
        .acquire_timeout(Duration::from_secs(4));
    let store = Store::<ReadWrite>::connect(config).await.unwrap();

    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    store.head().await.unwrap();
}

/// The first connection shows which host is silent; the others do not wait for it again.
#[tokio::test]
async fn a_host_that_failed_is_asked_last_until_it_answers() {
    let (log, mute) = (Log::new().await, Mute::new());
    let primary = cluster().await.primary().port();
    let url = address(&[mute.port(), primary]);
    let config = Config::new(&url).unwrap().log(&log.name).max_connections(4);
    let config = config.connect_timeout(Duration::from_secs(3));
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    mute.0.set_nonblocking(true).unwrap();
    while mute.0.accept().is_ok() {}

    let streams = (0..4).map(|_| store.stream(Filter::everything()));
    let streams = futures_util::future::join_all(streams).await;

    assert!(streams.iter().all(Result::is_ok));
    assert!(mute.0.accept().is_err(), "the silent host was asked again");
}

#[tokio::test]
async fn several_addresses_of_one_host_are_told_apart_by_who_takes_writes() {
    let log = Log::new().await;
    log.reader().await;
    let (primary, replica) = (cluster().await.primary(), &cluster().await.standbys()[0]);
    let ports = format!("{},{}", replica.port(), primary.port());
    for hosts in [
        "hostaddr=127.0.0.1,127.0.0.1".to_owned(),
        "host=localhost,localhost hostaddr=127.0.0.1,127.0.0.1".to_owned(),
        "host=localhost,localhost".to_owned(),
    ] {
        let url = format!("{hosts} port={ports} user=postgres dbname=library");
        let config = Config::new(&url).unwrap().log(&log.name);

        let store = Store::<ReadWrite>::connect(config).await.unwrap();

        store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    }
}

#[tokio::test]
async fn a_read_only_store_reads_from_the_kind_of_server_that_its_address_asks_for() {
    let log = Log::new().await;
    log.reader().await;
    let (primary, replica) =
        (cluster().await.primary().port(), cluster().await.standbys()[0].port());
    for (demand, expected) in [
        ("primary", Some(primary)),
        ("read-write", Some(primary)),
        ("standby", Some(replica)),
        ("read-only", Some(replica)),
        ("prefer-standby", Some(replica)),
    ] {
        for ports in [[primary, replica], [replica, primary], [primary; 2], [replica; 2]] {
            let url = format!("{}?target_session_attrs={demand}", address(&ports));
            let config = Config::new(&url).unwrap().log(&log.name);

            let connected = Store::<ReadOnly>::connect(config.retry(RetryPolicy::never())).await;

            let is_there = expected.is_some_and(|port| ports.contains(&port));
            assert_eq!(
                connected.is_ok(),
                is_there || demand == "prefer-standby",
                "{demand} {ports:?}: {connected:?}"
            );
            if let Err(error) = connected {
                assert!(matches!(error, Error::UnsuitableServer { .. }), "{error:?}");
                assert_eq!(error.class(), Class::Transient, "{error:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_read_write_store_refuses_an_address_that_asks_for_a_standby() {
    let log = Log::new().await;
    for demand in ["standby", "prefer-standby", "read-only"] {
        let url = format!("{}?target_session_attrs={demand}", log.primary_url());
        let config = Config::new(&url).unwrap().log(&log.name);

        let refused = Store::<ReadWrite>::connect(config).await;

        assert!(matches!(refused, Err(Error::InvalidConfig { .. })), "{demand}: {refused:?}");
    }
}

/// The old primary stands still and its port still accepts connections.
#[tokio::test]
async fn a_store_follows_a_promotion_away_from_a_primary_that_stands_still() {
    let fragile = Fragile::new().await;
    let log = Log::new().await;
    let (frozen, primary) = (fragile.cluster.primary(), cluster().await.primary());
    frozen.sigstop().unwrap();
    let url = address(&[frozen.port(), primary.port()]);
    let timeout = Duration::from_secs(1);
    let config = Config::new(&url).unwrap().log(&log.name).connect_timeout(timeout);

    let store = Store::<ReadWrite>::connect(config).await;

    frozen.sigcont().unwrap();
    store.unwrap().append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
}

/// Which host an error is about, and what the others said.
#[tokio::test]
async fn an_error_names_each_host_and_what_is_in_its_way() {
    let mutes = [Mute::new(), Mute::new()];
    let closed = Mute::new().port();
    let url = address(&[mutes[0].port(), closed, mutes[1].port()]);
    let timeout = Duration::from_millis(300);
    let config = Config::new(&url).unwrap().connect_timeout(timeout);

    let error = Store::<ReadWrite>::connect(config).await.unwrap_err().to_string();

    for port in [mutes[0].port(), closed, mutes[1].port()] {
        assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
    }
    assert_eq!(error.matches("did not answer within 300ms").count(), 2, "{error}");
    assert!(error.contains(&format!("nothing listens on port {closed}")), "{error}");
}

/// The primary stands still, and its port accepts connections; its standby is promoted.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_use_follows_a_promotion_away_from_a_primary_that_stands_still() {
    let cluster = Cluster::builder().standbys(1).fsync(false).start().await.unwrap();
    let (old, new) = (cluster.primary(), &cluster.standbys()[0]);
    let url = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}", old.port(), new.port());
    let policy = RetryPolicy::builder().attempt_timeout(Duration::from_secs(2));
    let config = Config::new(&url)
        .unwrap()
        .connect_timeout(Duration::from_secs(1))
        .retry(policy.deadline(Duration::from_secs(60)).build().unwrap());
    Schema::new(&config).migrate().await.unwrap();
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    cluster.wait_for_replay().await.unwrap();
    let sql = connect(&old.url("postgres")).await;
    old.sigstop().unwrap();
    // Sessions that are open go on by themselves.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    sql.execute(end, &[]).await.unwrap();
    wait_until(async || sql.query(end, &[]).await.unwrap().is_empty()).await;
    new.promote().await.unwrap();

    let writes = (0..8).map(|book| {
        let store = &store;
        async move {
            let event = lent(&format!("b-{book}"), "r-2");
            store.append([event], AppendCondition::none()).await
        }
    });
    let outcomes = futures_util::future::join_all(writes).await;
    let read = store.query(Filter::everything()).await;

    old.sigcont().unwrap();
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(read.unwrap().events().len(), 9);
}
