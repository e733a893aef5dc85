//! A store finds a suitable server among several hosts and addresses, although some do not answer.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use eddyline::{
    AppendCondition, Class, Config, Error, Filter, ReadOnly, ReadWrite, RetryPolicy, Schema, Store,
};
use local_postgres::Cluster;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::{Fragile, Log, closed_port, cluster, connect, lent, wait_until};

/// A server that accepts connections and never answers.
struct SilentServer(TcpListener);

impl SilentServer {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }
}

/// Returns an address with several hosts, all of them local ports.
fn address(ports: &[u16]) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("postgres://postgres@{}/library", hosts.join(","))
}

/// A port that listens and accepts nothing: its backlog is full, so that the kernel drops each SYN
/// packet.
struct FullBacklog {
    listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl FullBacklog {
    async fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap().into_std().unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(connected) = timeout(CONNECT_TIME, TcpStream::connect(address)).await {
            queue.push(connected.unwrap());
        }
        Self { listener, _queue: queue }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }
}

/// A time in which a connection to a port whose backlog has a free slot is made.
const CONNECT_TIME: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_host_that_accepts_but_never_answers_does_not_hide_the_primary() {
    let (log, silent) = (Log::new().await, SilentServer::new());
    let primary = cluster().await.primary().port();
    let timeout = Duration::from_secs(3);
    for options in ["", "?sslmode=disable", "?sslmode=prefer"] {
        let url = address(&[silent.port(), primary]) + options;
        let config = Config::new(&url).unwrap().log(&log.name).connect_timeout(timeout);

        let store = Store::<ReadWrite>::connect(config).await.unwrap();

        store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    }
}

#[tokio::test]
async fn a_host_that_does_not_accept_does_not_hide_the_primary() {
    let (log, full_backlog) = (Log::new().await, FullBacklog::new().await);
    let primary = cluster().await.primary().port();
    let url = address(&[full_backlog.port(), primary]);
    let config = Config::new(&url).unwrap().log(&log.name).connect_timeout(Duration::from_secs(3));

    let store = Store::<ReadWrite>::connect(config).await.unwrap();

    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
}

/// With one timeout for all hosts, no attempt would reach the second host.
#[tokio::test]
async fn each_silent_host_has_a_connect_timeout_of_its_own() {
    let (log, silent) = (Log::new().await, [SilentServer::new(), SilentServer::new()]);
    let primary = cluster().await.primary().port();
    let url = address(&[silent[0].port(), silent[1].port(), primary]);
    let timeout = Duration::from_secs(2);
    let config = Config::new(&url).unwrap().log(&log.name).connect_timeout(timeout);
    let started = Instant::now();

    Store::<ReadWrite>::connect(config).await.unwrap();

    assert!(started.elapsed() >= 2 * timeout, "the store gave up a host too early");
}

/// `acquire_timeout` may be shorter than the `connect_timeout` that passes at a silent host.
#[tokio::test]
async fn a_store_with_a_short_acquire_timeout_finds_the_primary_after_a_silent_host() {
    let (log, silent) = (Log::new().await, SilentServer::new());
    let primary = cluster().await.primary().port();
    let url = address(&[silent.port(), primary]);
    let config = Config::new(&url)
        .unwrap()
        .log(&log.name)
        .connect_timeout(Duration::from_secs(6))
        .acquire_timeout(Duration::from_secs(4));
    let store = Store::<ReadWrite>::connect(config).await.unwrap();

    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    store.head().await.unwrap();
}

/// The first connection finds out which host is silent. Later connections do not wait for it again.
#[tokio::test]
async fn a_host_that_failed_is_tried_last_until_it_answers() {
    let (log, silent) = (Log::new().await, SilentServer::new());
    let primary = cluster().await.primary().port();
    let url = address(&[silent.port(), primary]);
    let config = Config::new(&url).unwrap().log(&log.name).max_connections(4);
    let config = config.connect_timeout(Duration::from_secs(3));
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    silent.0.set_nonblocking(true).unwrap();
    while silent.0.accept().is_ok() {}

    let streams = (0..4).map(|_| store.stream(Filter::everything()));
    let streams = futures_util::future::join_all(streams).await;

    assert!(streams.iter().all(Result::is_ok));
    assert!(silent.0.accept().is_err(), "the store connected to the silent host again");
}

#[tokio::test]
async fn a_store_finds_the_primary_among_several_addresses_of_one_host() {
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
async fn a_read_only_store_obeys_target_session_attrs() {
    let log = Log::new().await;
    log.reader().await;
    let (primary, replica) =
        (cluster().await.primary().port(), cluster().await.standbys()[0].port());
    for (attribute, expected) in [
        ("primary", Some(primary)),
        ("read-write", Some(primary)),
        ("standby", Some(replica)),
        ("read-only", Some(replica)),
        ("prefer-standby", Some(replica)),
    ] {
        for ports in [[primary, replica], [replica, primary], [primary; 2], [replica; 2]] {
            let url = format!("{}?target_session_attrs={attribute}", address(&ports));
            let config = Config::new(&url).unwrap().log(&log.name);

            let connected = Store::<ReadOnly>::connect(config.retry(RetryPolicy::never())).await;

            let is_listed = expected.is_some_and(|port| ports.contains(&port));
            assert_eq!(
                connected.is_ok(),
                is_listed || attribute == "prefer-standby",
                "{attribute} {ports:?}: {connected:?}"
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
    for attribute in ["standby", "prefer-standby", "read-only"] {
        let url = format!("{}?target_session_attrs={attribute}", log.primary_url());
        let config = Config::new(&url).unwrap().log(&log.name);

        let refused = Store::<ReadWrite>::connect(config).await;

        assert!(matches!(refused, Err(Error::InvalidConfig { .. })), "{attribute}: {refused:?}");
    }
}

/// The old primary is suspended, and its port still accepts connections.
#[tokio::test]
async fn a_store_connects_to_the_new_primary_while_the_old_one_is_suspended() {
    let fragile = Fragile::new().await;
    let log = Log::new().await;
    let (suspended, primary) = (fragile.cluster.primary(), cluster().await.primary());
    suspended.sigstop().unwrap();
    let url = address(&[suspended.port(), primary.port()]);
    let timeout = Duration::from_secs(1);
    let config = Config::new(&url).unwrap().log(&log.name).connect_timeout(timeout);

    let store = Store::<ReadWrite>::connect(config).await;

    suspended.sigcont().unwrap();
    store.unwrap().append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
}

#[tokio::test]
async fn an_error_names_each_host_and_its_failure() {
    let silent = [SilentServer::new(), SilentServer::new()];
    let closed = closed_port();
    let url = address(&[silent[0].port(), closed, silent[1].port()]);
    let timeout = Duration::from_millis(300);
    let config = Config::new(&url).unwrap().connect_timeout(timeout);

    let error = Store::<ReadWrite>::connect(config).await.unwrap_err().to_string();

    for port in [silent[0].port(), closed, silent[1].port()] {
        assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
    }
    assert_eq!(error.matches("did not answer within 300ms").count(), 2, "{error}");
    assert!(error.contains(&format!("nothing listens on port {closed}")), "{error}");
}

/// The primary is suspended while its port still accepts connections, and its standby is promoted.
#[tokio::test(flavor = "multi_thread")]
async fn a_connected_store_moves_to_the_new_primary_while_the_old_one_is_suspended() {
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
    // SIGSTOP suspends the postmaster only: the backends of open sessions keep running.
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
