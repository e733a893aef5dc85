//! Appends whose reply is lost or late.

use std::error::Error as _;
use std::future::IntoFuture;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use eddyline::retry::RetryPolicyBuilder;
use eddyline::{
    AppendCondition, Class, Config, Error, Event, Filter, ReadWrite, RetryPolicy, SequenceNumber,
    Store,
};
use fault_proxy::{Action, Direction, Ending, Fault, Proxy};
use uuid::Uuid;

use crate::support::{
    Log, cancel_after_commits, cluster, lent, loans_of, run_after_appends, sleeping_backend,
    wait_for_lock_waiter, wait_until,
};

/// A log, and a store that is connected to it through a proxy.
struct ProxiedLog {
    log: Log,
    proxy: Proxy,
    config: Config,
    store: Store<ReadWrite>,
}

impl ProxiedLog {
    async fn new(policy: RetryPolicyBuilder) -> Self {
        let log = Log::new().await;
        let port = cluster().await.primary().port();
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let proxy = Proxy::start(server).await.unwrap();
        let url = log.primary_url();
        let (_, database) = url.rsplit_once('/').unwrap();
        let url = format!(
            "postgres://postgres@{}/{database}?application_name={}",
            proxy.address(),
            log.name
        );
        let config = Config::new(&url).unwrap().log(&log.name).max_connections(1);
        let policy = policy.base_delay(Duration::from_millis(1)).build().unwrap();
        let config = config.retry(policy);
        let store = Store::<ReadWrite>::connect(config.clone()).await.unwrap();
        // This opens both connections of the store and prepares its statements on them.
        store.head().await.unwrap();
        for condition in [AppendCondition::none(), AppendCondition::no_match(unrelated())] {
            store.append([lent("b-0", "r-0")], condition).await.unwrap();
        }
        Self { log, proxy, config, store }
    }

    /// Counts the events with an id in the log.
    async fn count(&self, id: Uuid) -> usize {
        self.positions(&[id]).await.len()
    }

    /// Counts the loans of a book in the log.
    async fn loans(&self, book: &str) -> usize {
        self.store.query(loans_of(book)).await.unwrap().events().len()
    }

    /// Returns the positions of events in the log, read over a connection without the proxy.
    async fn positions(&self, ids: &[Uuid]) -> Vec<SequenceNumber> {
        let text = format!(
            "SELECT sequence_number FROM {} WHERE event_id = ANY ($1) ORDER BY sequence_number",
            self.log.name
        );
        let rows = self.log.sql().await.query(&text, &[&ids]).await.unwrap();
        rows.iter().map(|row| SequenceNumber::new(row.get::<_, i64>(0) as u64)).collect()
    }

    /// Waits until events are in the log while a fault holds the reply back, then ends the
    /// connection. Returns the positions of the events.
    async fn lose_reply(&self, fault: &Fault, ids: &[Uuid]) -> Vec<SequenceNumber> {
        fault.triggered().await;
        wait_until(async || !self.positions(ids).await.is_empty()).await;
        let positions = self.positions(ids).await;
        fault.cut(Ending::Reset);
        positions
    }

    /// Disconnects the client, delivers the bytes that the fault holds back to the server, and
    /// waits until the server has processed them.
    async fn deliver_late(&self, fault: &Fault) {
        fault.disconnect_client(Ending::Close);
        fault.release();
        self.wait_for_lost_sessions_to_end().await;
    }

    /// Waits until at most three sessions are left, which are those of the store. Further sessions
    /// belong to lost connections.
    async fn wait_for_lost_sessions_to_end(&self) {
        let sql = self.log.sql().await;
        let sessions = "SELECT FROM pg_stat_activity WHERE application_name = $1";
        wait_until(async || sql.query(sessions, &[&self.log.name]).await.unwrap().len() <= 3).await;
    }
}

/// Returns a filter that no event of these tests matches, so that its conditions hold.
fn unrelated() -> Filter {
    Filter::types(["ReaderRegistered"]).build().unwrap()
}

/// Returns a policy with short attempts.
fn short_attempts() -> RetryPolicyBuilder {
    RetryPolicy::builder().attempt_timeout(Duration::from_millis(550))
}

/// Returns a policy whose attempts leave time for something else to happen within one.
fn long_attempts() -> RetryPolicyBuilder {
    RetryPolicy::builder().attempt_timeout(Duration::from_secs(4))
}

#[tokio::test]
async fn an_append_is_stored_once_if_the_lost_attempt_arrives_after_the_retry() {
    let proxied = ProxiedLog::new(short_attempts()).await;
    for condition in [AppendCondition::none(), AppendCondition::no_match(unrelated())] {
        let event = lent("b-1", "r-1");
        let fault = proxied.proxy.inject(Direction::ToServer, 0, Action::Stall);

        let appended = proxied.store.append([event.clone()], condition).await.unwrap();

        assert!(fault.has_triggered());
        assert!(!appended.is_repeat());
        proxied.deliver_late(&fault).await;
        assert_eq!(proxied.count(event.id()).await, 1);
        let history = proxied.store.query(Filter::everything()).await.unwrap();
        let stored = history.events().iter().find(|stored| stored.id() == event.id()).unwrap();
        assert_eq!(stored.sequence_number(), appended.first());
    }
}

/// The events of the append break the second condition.
#[tokio::test]
async fn an_append_is_found_if_only_its_reply_was_lost() {
    let proxied = ProxiedLog::new(RetryPolicy::builder()).await;
    for filter in [None, Some(Filter::everything())] {
        let condition = async || match &filter {
            Some(filter) => proxied.store.query(filter).await.unwrap().condition(),
            None => AppendCondition::none(),
        };
        // This prepares the statement, so that the append below is sent without waiting for a
        // reply.
        proxied.store.append([lent("b-0", "r-0")], condition().await).await.unwrap();
        let condition = condition().await;
        let events = [lent("b-1", "r-1"), lent("b-2", "r-1")];
        let ids = events.each_ref().map(Event::id);
        let fault = proxied.proxy.inject(Direction::ToClient, 0, Action::Stall);

        let append = proxied.store.append(events, condition);
        let (appended, stored) = tokio::join!(append, proxied.lose_reply(&fault, &ids));

        let appended = appended.unwrap();
        assert_eq!(stored, [appended.first(), appended.last()]);
        assert_eq!(proxied.positions(&ids).await, stored);
    }
}

#[tokio::test]
async fn a_conflict_of_the_retry_is_final_if_another_append_came_first() {
    let proxied = ProxiedLog::new(long_attempts()).await;
    let other = proxied.log.writer().await;
    // The append below has only the time of one attempt.
    other.append([lent("b-0", "r-0")], AppendCondition::none()).await.unwrap();
    let history = proxied.store.query(Filter::everything()).await.unwrap();
    let event = lent("b-1", "r-1");
    let fault = proxied.proxy.inject(Direction::ToServer, 0, Action::Stall);

    let (refused, _) =
        tokio::join!(proxied.store.append([event.clone()], history.condition()), async {
            fault.triggered().await;
            other.append([lent("b-2", "r-1")], AppendCondition::none()).await.unwrap()
        });

    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    proxied.deliver_late(&fault).await;
    assert_eq!(proxied.count(event.id()).await, 0);
}

#[tokio::test]
async fn the_outcome_is_unknown_at_the_deadline_if_the_server_is_unreachable() {
    let policy = short_attempts().deadline(Duration::from_secs(2));
    let ProxiedLog { log, proxy, store, .. } = ProxiedLog::new(policy).await;
    let event = lent("b-1", "r-1");
    let fault = proxy.inject(Direction::ToServer, 0, Action::Stall);

    let (unknown, ()) =
        tokio::join!(store.append([event.clone()], AppendCondition::none()), async {
            fault.triggered().await;
            drop(proxy);
        });

    let Err(error) = unknown else { panic!("{unknown:?}") };
    assert_eq!(error.class(), Class::OutcomeUnknown);
    let Error::OutcomeUnknown { event_ids, .. } = error else { panic!("{error:?}") };
    assert_eq!(event_ids, [event.id()]);
    drop(log);
}

/// The second attempt, the last one of the policy, gets no connection in time.
#[tokio::test]
async fn an_unknown_outcome_is_searched_for_until_the_deadline_beyond_the_last_attempt() {
    let policy = short_attempts().attempts(2).max_delay(Duration::from_secs(60));
    let proxied = ProxiedLog::new(policy.deadline(Duration::from_secs(8))).await;
    let event = lent("b-1", "r-1");
    let first = proxied.proxy.inject(Direction::ToClient, 0, Action::Cut(Ending::Reset));

    let append = proxied.store.append([event.clone()], AppendCondition::none());
    let silence = async {
        first.triggered().await;
        let silence = Action::Delay(Duration::from_secs(1));
        let second = proxied.proxy.inject(Direction::ToClient, 0, silence);
        second.triggered().await;
    };
    let (appended, ()) = tokio::join!(append, silence);

    appended.unwrap();
    assert_eq!(proxied.count(event.id()).await, 1);
}

#[tokio::test]
async fn the_outcome_is_unknown_without_retries() {
    let proxied = ProxiedLog::new(RetryPolicy::builder()).await;
    let store = proxied.store.with_retry_policy(RetryPolicy::never());
    // This prepares the statements of appends with this policy.
    store.append([lent("b-0", "r-0")], AppendCondition::none()).await.unwrap();
    let event = lent("b-1", "r-1");
    let ids = [event.id()];
    let fault = proxied.proxy.inject(Direction::ToClient, 0, Action::Stall);

    let append = store.append([event.clone()], AppendCondition::none());
    let (unknown, stored) = tokio::join!(append, proxied.lose_reply(&fault, &ids));

    assert!(unknown.is_err_and(|error| error.is_outcome_unknown()));
    // Repeating the append finds its events.
    let appended = store.append([event], AppendCondition::none()).await.unwrap();
    assert!(appended.is_repeat());
    assert_eq!(stored, [appended.first()]);
    assert_eq!(proxied.positions(&ids).await, stored);
}

/// The connection that replaces the lost one stalls as well, permanently.
#[tokio::test]
async fn an_append_uses_a_third_connection_if_the_second_stalls() {
    let proxied = ProxiedLog::new(short_attempts().deadline(Duration::from_secs(10))).await;
    let other = Store::<ReadWrite>::connect(proxied.config.clone()).await.unwrap();
    proxied.wait_for_lost_sessions_to_end().await;
    let before = proxied.proxy.passed(Direction::ToServer);
    other.head().await.unwrap();
    drop(other);
    proxied.wait_for_lost_sessions_to_end().await;
    let used = proxied.proxy.passed(Direction::ToServer) - before;
    let event = lent("b-1", "r-1");
    let first = proxied.proxy.inject(Direction::ToServer, 0, Action::Stall);
    // The fault is triggered after the login, before the connection is used.
    let second = proxied.proxy.inject(Direction::ToServer, used - 60, Action::Stall);

    proxied.store.append([event.clone()], AppendCondition::none()).await.unwrap();

    assert!(first.has_triggered() && second.has_triggered());
    assert_eq!(proxied.count(event.id()).await, 1);
}

#[tokio::test]
async fn a_lock_timeout_within_the_attempt_is_a_known_outcome() {
    let proxied = ProxiedLog::new(long_attempts().attempts(2)).await;
    let holder = proxied.log.sql().await;
    holder.batch_execute(&format!("BEGIN; {}", proxied.log.insert("b-held"))).await.unwrap();

    let refused = proxied.store.append([lent("b-1", "r-1")], AppendCondition::none()).await;

    let error = refused.unwrap_err();
    assert_eq!(error.sqlstate().map(|state| state.as_str()), Some("55P03"), "{error:?}");
    assert!(error.source().unwrap().to_string().contains("held by"), "{error:?}");
}

/// The whole call arrives, but not the end of the request. The call commits before its reply, so
/// the lock is not held while the server waits for the missing bytes.
#[tokio::test]
async fn a_half_delivered_append_does_not_block_the_log() {
    let proxied = ProxiedLog::new(RetryPolicy::builder()).await;
    let other = proxied.log.config().retry(RetryPolicy::never());
    let other = Store::<ReadWrite>::connect(other).await.unwrap();
    let lengths = {
        let before = proxied.proxy.passed(Direction::ToServer);
        proxied.store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
        proxied.proxy.passed(Direction::ToServer) - before
    };
    let event = lent("b-1", "r-1");
    let fault = proxied.proxy.inject(Direction::ToServer, lengths - 3, Action::Stall);

    let (appended, followed) =
        tokio::join!(proxied.store.append([event.clone()], AppendCondition::none()), async {
            fault.triggered().await;
            other.append([lent("b-2", "r-1")], AppendCondition::none()).await
        });

    followed.unwrap();
    appended.unwrap();
    proxied.deliver_late(&fault).await;
    assert_eq!(proxied.count(event.id()).await, 1);
}

/// A large append may take until the deadline of its call or, without one, as long as an attempt.
#[tokio::test]
async fn a_frozen_large_append_or_import_times_out() {
    let policy = RetryPolicy::builder().attempts(1).attempt_timeout(Duration::from_secs(1));
    let proxied = ProxiedLog::new(policy.no_deadline()).await;
    let note = serde_json::json!({ "BookID": "b-1", "Note": "x".repeat(200_000) });
    let large = || Event::new("BookCopyLentToReader", &note).unwrap();
    let import = async || {
        let import = proxied.store.import(futures_util::stream::iter([large()])).into_future();
        import.await.map(drop).map_err(Error::from)
    };
    import().await.unwrap();
    let append = async || proxied.store.append([large()], AppendCondition::none()).await.map(drop);
    append().await.unwrap();
    for kind in ["append", "import"] {
        let _fault = proxied.proxy.inject(Direction::ToServer, 100_000, Action::Freeze);
        let ended = async {
            match kind {
                "append" => append().await,
                _ => import().await,
            }
        };

        let failed = tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap();

        assert!(matches!(failed, Err(Error::TimedOut { .. })), "{kind}: {failed:?}");
    }
}

/// A backend that a lost attempt has left behind ends by itself. If the store terminated it, the
/// process id might belong to another client by then, or the backend might be waiting for a
/// standby, and terminating it would make unreplicated events visible.
#[tokio::test]
async fn an_attempt_that_timed_out_terminates_no_backend() {
    let proxied = ProxiedLog::new(long_attempts().attempts(1)).await;
    let (sql, key) = (proxied.log.sql().await, proxied.log.lock_key().await);
    run_after_appends(&sql, &proxied.log.name, "PERFORM pg_sleep(15);").await;

    let unknown = proxied.store.append([lent("b-1", "r-1")], AppendCondition::none()).await;

    assert!(unknown.as_ref().is_err_and(|error| error.is_outcome_unknown()), "{unknown:?}");
    let process = sleeping_backend(&sql, &proxied.log.name).await;
    // The store continues over other connections, to read and to wait for the lock.
    proxied.store.head().await.unwrap();
    let waiting = proxied.store.append([lent("b-2", "r-1")], AppendCondition::none());
    let (waited, ()) = tokio::join!(waiting, wait_for_lock_waiter(&sql, key));
    assert!(waited.is_err(), "{waited:?}");
    let sessions = "SELECT FROM pg_stat_activity WHERE pid = $1";
    assert_eq!(sql.query(sessions, &[&process]).await.unwrap().len(), 1);
    wait_until(async || proxied.loans("b-1").await == 1).await;
}

/// A cancel request may arrive between the commit and the end of the call.
#[tokio::test]
async fn an_error_after_the_commit_is_a_known_outcome() {
    let proxied = ProxiedLog::new(RetryPolicy::builder()).await;
    cancel_after_commits(&proxied.log.sql().await, &proxied.log.name).await;

    let (one, other) = tokio::join!(
        proxied.store.append([lent("b-1", "r-1")], AppendCondition::none()),
        proxied.store.append([lent("b-2", "r-1")], AppendCondition::none())
    );

    assert!(!one.unwrap().is_repeat());
    assert!(!other.unwrap().is_repeat());
    assert_eq!((proxied.loans("b-1").await, proxied.loans("b-2").await), (1, 1));
}

/// The lost attempt commits between the search for its events and the search for an event that
/// breaks its condition.
#[tokio::test]
async fn an_append_does_not_conflict_with_the_events_of_its_lost_attempt() {
    let proxied = ProxiedLog::new(RetryPolicy::builder()).await;
    let (holder, sql) = (proxied.log.sql().await, proxied.log.sql().await);
    let key = proxied.log.lock_key().await;
    let mut last = proxied.store.head().await.unwrap();
    let since = |head| AppendCondition::no_match_after(Filter::everything(), head);
    let mut length = 0;
    for _ in 0..2 {
        let before = proxied.proxy.passed(Direction::ToServer);
        last = proxied.store.append([lent("b-1", "r-1")], since(last)).await.unwrap().last();
        length = proxied.proxy.passed(Direction::ToServer) - before;
    }
    let event = lent("b-1", "r-1");
    let searched = "SELECT FROM pg_stat_activity WHERE application_name = $1 AND state = 'idle'
        AND query LIKE 'SELECT 0 AS part%UNION ALL%' AND query_start > $2::text::timestamptz";
    let now = sql.query_one("SELECT now()::text", &[]).await.unwrap().get::<_, String>(0);
    // The stream uses the only connection on which the condition could be searched for separately.
    let stream = proxied.store.stream(Filter::everything()).await.unwrap();
    holder.execute("SELECT pg_advisory_lock($1)", &[&key]).await.unwrap();
    let fault = proxied.proxy.inject(Direction::ToServer, length - 1, Action::Stall);

    let meanwhile = async {
        wait_for_lock_waiter(&sql, key).await;
        fault.disconnect_client(Ending::Reset);
        let name = &proxied.log.name;
        wait_until(async || !sql.query(searched, &[name, &now]).await.unwrap().is_empty()).await;
        holder.execute("SELECT pg_advisory_unlock($1)", &[&key]).await.unwrap();
        wait_until(async || proxied.count(event.id()).await == 1).await;
        drop(stream);
    };
    let (appended, ()) =
        tokio::join!(proxied.store.append([event.clone()], since(last)), meanwhile);

    assert!(!appended.unwrap().is_repeat());
    assert_eq!(proxied.count(event.id()).await, 1);
}
