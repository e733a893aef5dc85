//! A store that several runtimes use. Some of them end while they use it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use eddyline::{
    AppendCondition, Config, Error, Fallback, Filter, ReadOnly, ReadWrite, ReplicaState,
    ReplicaStatus, RetryPolicy, SequenceNumber, Store,
};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::support::{
    FOREVER, Log, Replicated, connect, end_sessions, lent, next, promptly, wait_until,
};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A proxy in front of a server. While it is closed, it accepts connections and passes nothing on.
struct Gate {
    port: u16,
    is_open: watch::Sender<bool>,
    arrivals: mpsc::Receiver<()>,
}

impl Gate {
    /// Starts a gate on the current runtime, which has to outlive it.
    async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_open, opening) = watch::channel(true);
        let (arrived, arrivals) = mpsc::channel();
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let (mut opening, arrived) = (opening.clone(), arrived.clone());
                let server = server.clone();
                tokio::spawn(async move {
                    let _ = arrived.send(());
                    let _ = opening.wait_for(|is_open| *is_open).await;
                    let mut server = TcpStream::connect(server).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { port, is_open, arrivals }
    }

    /// Ends a runtime while a call waits for a connection that is being opened.
    fn end_runtime_while_connecting(&self, call: impl Future) {
        self.is_open.send_replace(false);
        while self.arrivals.try_recv().is_ok() {}
        let ending = runtime();
        ending.block_on(async {
            let arrived = async {
                while self.arrivals.try_recv().is_err() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                _ = call => panic!("the call did not wait for a connection"),
                () = arrived => {}
            }
        });
        drop(ending);
        self.is_open.send_replace(true);
    }
}

/// A store behind a gate, connected on a runtime that lives as long as this.
struct Gated {
    gate: Gate,
    log: Log,
    store: Store<ReadWrite>,
    application: String,
    runtime_of_store: Runtime,
}

impl Gated {
    fn new(max_connections: u32) -> Self {
        let runtime_of_store =
            Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let application = format!("branch_{}", next());
        let (gate, log, store) = runtime_of_store.block_on(async {
            let log = Log::new().await;
            let url = log.primary_url();
            let (_, server) = url.split_once('@').unwrap();
            let (server, database) = server.split_once('/').unwrap();
            let gate = Gate::before(server.to_owned()).await;
            let port = gate.port;
            let url = format!(
                "postgres://postgres@127.0.0.1:{port}/{database}?application_name={application}"
            );
            let config = Config::new(&url)
                .unwrap()
                .log(&log.name)
                .max_connections(max_connections)
                .acquire_timeout(Duration::from_secs(20))
                .connect_timeout(Duration::from_secs(20))
                .retry(RetryPolicy::never());
            let store = Store::<ReadWrite>::connect(config).await.unwrap();
            (gate, log, store)
        });
        Self { gate, log, store, application, runtime_of_store }
    }

    /// Ends the session that the store has kept since it connected.
    async fn end_kept_session(&self) {
        let sql = self.log.sql().await;
        assert_eq!(end_sessions(&sql, &self.application).await, 1);
    }

    /// Asserts that the pool yields `max_connections` connections and no more.
    fn assert_capacity(&self, max_connections: usize) {
        self.runtime_of_store.block_on(async {
            let streams = (0..max_connections).map(|_| self.store.stream(Filter::everything()));
            let mut streams = join_all(streams).await;
            assert!(streams.iter().all(Result::is_ok), "fewer than max_connections");

            let mut one_more = std::pin::pin!(self.store.head());
            let sql = self.log.sql().await;
            let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
            let count = sql.query_one(count, &[&self.application]).await.unwrap();
            assert!(one_more.as_mut().now_or_never().is_none(), "more than max_connections");
            // Appends have up to four connections of their own.
            assert!(count.get::<_, i64>(0) <= max_connections as i64 + 4);
            streams.pop();
            one_more.await.unwrap();
        });
    }
}

/// Runs a test on a thread of its own.
fn on_own_thread(test: impl FnOnce() + Send + 'static) {
    thread::spawn(test).join().unwrap();
}

#[test]
fn a_runtime_that_ends_while_a_read_waits_for_a_connection_frees_its_slot() {
    on_own_thread(|| {
        // In each round the pool has only the connection of the connect check.
        for _ in 0..3 {
            let gated = Gated::new(2);
            gated.gate.end_runtime_while_connecting(gated.store.head());

            let read = runtime().block_on(gated.store.head());

            assert!(read.is_ok(), "{read:?}");
            gated.assert_capacity(2);
        }
    });
}

#[test]
fn a_runtime_that_ends_while_an_append_waits_for_a_connection_does_not_block_the_next_append() {
    on_own_thread(|| {
        let gated = Gated::new(1);
        let append = || gated.store.append([lent("b-1", "r-1")], AppendCondition::none());
        gated.runtime_of_store.block_on(gated.end_kept_session());
        for _ in 0..5 {
            // The first attempts may fail because the connection has ended.
            let appended = async { while append().await.is_err() {} };
            gated.gate.end_runtime_while_connecting(appended);

            let appended = runtime().block_on(append());

            assert!(appended.is_ok(), "{appended:?}");
        }
        let read =
            gated.runtime_of_store.block_on(gated.store.query(Filter::everything())).unwrap();
        assert_eq!(read.events().len(), 5);
    });
}

/// Like a static store that several tests share: each has a runtime, and some end during a call.
#[test]
fn a_store_serves_runtimes_that_start_and_end() {
    on_own_thread(|| {
        let gated = Gated::new(3);
        let store = gated.store.with_retry_policy(RetryPolicy::default());
        let tests: Vec<_> = (0..8)
            .map(|test| {
                let store = store.clone();
                thread::spawn(move || {
                    for call in 0..6 {
                        let runtime = runtime();
                        let book = format!("b-{test}-{call}");
                        let (read, append) =
                            (store.head(), store.append([lent(&book, "r-1")], AppendCondition::none()));
                        if call % 2 == 0 {
                            // The runtime ends at any point of the calls.
                            let polls = async {
                                for _ in 0..test * 3 {
                                    tokio::task::yield_now().await;
                                }
                            };
                            runtime.block_on(async {
                                tokio::select! { _ = read => {}, _ = append => {}, () = polls => {} }
                            });
                            continue;
                        }
                        let outcomes = runtime.block_on(async { (read.await, append.await) });
                        assert!(outcomes.0.is_ok() && outcomes.1.is_ok(), "{outcomes:?}");
                    }
                })
            })
            .collect();
        for test in tests {
            test.join().unwrap();
        }
        gated.assert_capacity(3);
    });
}

/// A call that is dropped at any poll frees its slot in the pool.
#[test]
fn calls_that_are_dropped_at_any_poll_free_their_slots() {
    on_own_thread(|| {
        let gated = Gated::new(3);
        gated.runtime_of_store.block_on(async {
            for polls in 0..60 {
                let reads = join_all((0..5).map(|_| gated.store.head()));
                let enough = async {
                    for _ in 0..polls {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! { _ = reads => {}, () = enough => {} }
            }
        });
        gated.assert_capacity(3);
    });
}

/// The pool waits for connections that are being opened, not for failed ones.
#[test]
fn a_caller_stops_waiting_for_a_connection_that_is_never_opened() {
    on_own_thread(|| {
        let gated = Gated::new(1);
        gated.gate.end_runtime_while_connecting(gated.store.head());
        gated.gate.is_open.send_replace(false);
        let impatient = gated.runtime_of_store.block_on(async {
            tokio::time::timeout(Duration::from_millis(100), gated.store.head()).await
        });
        gated.gate.is_open.send_replace(true);

        let read: Result<_, Error> = runtime().block_on(gated.store.head());

        assert!(impatient.is_err());
        assert!(read.is_ok(), "{read:?}");
    });
}

/// Like a static store that several tests share, each with a runtime. The watchers run on that of
/// the test which has used the store first.
#[test]
fn a_read_only_store_outlives_the_runtime_of_its_watchers() {
    on_own_thread(|| {
        let outer = runtime();
        let replicated = outer.block_on(Replicated::new());
        let primary = replicated.cluster.primary().url("postgres");
        let config = replicated.replica_config().primary(&primary, Fallback::WhenBehind).unwrap();
        let config = config.replica_timeout(FOREVER).watch_interval(Duration::from_millis(50));
        let (writer, reader) = runtime().block_on(async {
            (replicated.writer().await, Store::<ReadOnly>::connect(config).await.unwrap())
        });
        let watchers = async || {
            let mut watchers = 0;
            for server in replicated.cluster.servers() {
                let sql = connect(&server.url("postgres")).await;
                let count = "SELECT FROM pg_stat_activity WHERE application_name LIKE '% watcher'";
                watchers += sql.query(count, &[]).await.unwrap().len();
            }
            watchers
        };

        for _ in 0..4 {
            outer.block_on(wait_until(async || watchers().await == 0));
            runtime().block_on(promptly(async {
                let once = reader.with_retry_policy(RetryPolicy::never()).head().await;
                assert!(once.is_ok() || once.as_ref().is_err_and(Error::is_transient), "{once:?}");
                let appended = writer.append([lent("b-1", "r-1")], AppendCondition::none());
                let last = appended.await.unwrap().last();
                assert!(reader.at_least(last).head().await.unwrap() >= last);
                let fresh = reader.max_staleness(Duration::ZERO).unwrap();
                assert!(fresh.query(Filter::everything()).await.unwrap().position() >= last);
                wait_until(async || watchers().await == 3).await;
                let is_up = |replica: &ReplicaStatus| replica.state == ReplicaState::Up;
                wait_until(async || reader.replicas().iter().all(is_up)).await;

                // The runtime ends while a read waits, and while a stream is open.
                let stream = reader.stream(Filter::everything()).await.unwrap();
                let waiting = reader.at_least(SequenceNumber::new(last.value() + 1_000));
                tokio::spawn(async move {
                    let _ = waiting.head().await;
                    drop(stream);
                });
                tokio::task::yield_now().await;
            }));
        }
    });
}
