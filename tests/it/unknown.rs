//! Appends whose answer does not come.

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
    Log, asleep, cancel_after_commits, cluster, lent, loans_of, run_after_appends,
    wait_for_lock_waiter, wait_until,
};

/// A store that reaches its log through a proxy.
struct Line {
    log: Log,
    proxy: Proxy,
    config: Config,
    store: Store<ReadWrite>,
}

impl Line {
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
        // From here on its two connections are made, and statements are prepared on them.
        store.head().await.unwrap();
        for condition in [AppendCondition::none(), AppendCondition::no_match(unrelated())] {
            store.append([lent("b-0", "r-0")], condition).await.unwrap();
        }
        Self { log, proxy, config, store }
    }

    /// Returns how often an event is in the log.
    async fn count(&self, id: Uuid) -> usize {
        self.places(&[id]).await.len()
    }

    /// Returns how often a book was lent.
    async fn loans(&self, book: &str) -> usize {
        self.store.query(loans_of(book)).await.unwrap().events().len()
    }

    /// Returns where events are in the log, as anybody sees it.
    async fn places(&self, ids: &[Uuid]) -> Vec<SequenceNumber> {
        let text = format!(
            "SELECT sequence_number FROM {} WHERE event_id = ANY ($1) ORDER BY sequence_number",
            self.log.name
        );
        let rows = self.log.sql().await.query(&text, &[&ids]).await.unwrap();
        rows.iter().map(|row| SequenceNumber::new(row.get::<_, i64>(0) as u64)).collect()
    }

    /// Waits until events are in the log while a fault holds the answer back, then ends the
    /// connection. Returns where they are.
    async fn lose_answer(&self, fault: &Fault, ids: &[Uuid]) -> Vec<SequenceNumber> {
        fault.struck().await;
        wait_until(async || !self.places(ids).await.is_empty()).await;
        let places = self.places(ids).await;
        fault.cut(Ending::Reset);
        places
    }

    /// Lets go what a fault holds back though its client is gone, and waits until the server has
    /// done with it: the store has a connection that reads and one that appends, each beside them
    /// is a lost one.
    async fn arrive_late(&self, fault: &Fault) {
        fault.hang_up(Ending::Close);
        fault.release();
        self.is_alone().await;
    }

    /// Waits until the store's connections are the only ones.
    async fn is_alone(&self) {
        let sql = self.log.sql().await;
        let sessions = "SELECT FROM pg_stat_activity WHERE application_name = $1";
        wait_until(async || sql.query(sessions, &[&self.log.name]).await.unwrap().len() <= 3).await;
    }
}

/// A filter that no event of these tests matches, so that none breaks a condition on it.
fn unrelated() -> Filter {
    Filter::types(["ReaderRegistered"]).build().unwrap()
}

/// Attempts that are short, and far from being so short that the time for the lock, which is a power
/// of two, is another one: its statement would not be prepared.
fn impatient() -> RetryPolicyBuilder {
    RetryPolicy::builder().attempt_timeout(Duration::from_millis(550))
}

#[tokio::test]
async fn is_stored_once_where_the_lost_try_arrives_after_the_next_one() {
    let line = Line::new(impatient()).await;
    for condition in [AppendCondition::none(), AppendCondition::no_match(unrelated())] {
        let event = lent("b-1", "r-1");
        let fault = line.proxy.inflict(Direction::ToServer, 0, Action::Stall);

        let appended = line.store.append([event.clone()], condition).await.unwrap();

        assert!(fault.has_struck());
        assert!(!appended.is_repeat());
        line.arrive_late(&fault).await;
        assert_eq!(line.count(event.id()).await, 1);
        let history = line.store.query(Filter::everything()).await.unwrap();
        let stored = history.events().iter().find(|stored| stored.id() == event.id()).unwrap();
        assert_eq!(stored.sequence_number(), appended.first());
    }
}

/// The second condition is one that the append breaks by itself.
#[tokio::test]
async fn is_found_where_only_the_answer_was_lost() {
    let line = Line::new(RetryPolicy::builder()).await;
    for filter in [None, Some(Filter::everything())] {
        let condition = async || match &filter {
            Some(filter) => line.store.query(filter).await.unwrap().condition(),
            None => AppendCondition::none(),
        };
        // Its statement is prepared then, so that no answer is needed before all of it is sent.
        line.store.append([lent("b-0", "r-0")], condition().await).await.unwrap();
        let condition = condition().await;
        let events = [lent("b-1", "r-1"), lent("b-2", "r-1")];
        let ids = events.each_ref().map(Event::id);
        let fault = line.proxy.inflict(Direction::ToClient, 0, Action::Stall);

        let append = line.store.append(events, condition);
        let (appended, stored) = tokio::join!(append, line.lose_answer(&fault, &ids));

        let appended = appended.unwrap();
        assert_eq!(stored, [appended.first(), appended.last()]);
        assert_eq!(line.places(&ids).await, stored);
    }
}

#[tokio::test]
async fn is_a_conflict_that_stays_one_where_another_came_before_the_next_try() {
    let line = Line::new(impatient()).await;
    let other = line.log.writer().await;
    // It has but one attempt's time for the append that matters.
    other.append([lent("b-0", "r-0")], AppendCondition::none()).await.unwrap();
    let history = line.store.query(Filter::everything()).await.unwrap();
    let event = lent("b-1", "r-1");
    let fault = line.proxy.inflict(Direction::ToServer, 0, Action::Stall);

    let (refused, _) =
        tokio::join!(line.store.append([event.clone()], history.condition()), async {
            fault.struck().await;
            other.append([lent("b-2", "r-1")], AppendCondition::none()).await.unwrap()
        });

    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    line.arrive_late(&fault).await;
    assert_eq!(line.count(event.id()).await, 0);
}

#[tokio::test]
async fn stays_unknown_at_the_deadline_where_the_server_cannot_be_reached_again() {
    let policy = impatient().deadline(Duration::from_secs(2));
    let Line { log, proxy, store, .. } = Line::new(policy).await;
    let event = lent("b-1", "r-1");
    let fault = proxy.inflict(Direction::ToServer, 0, Action::Stall);

    let (unknown, ()) =
        tokio::join!(store.append([event.clone()], AppendCondition::none()), async {
            fault.struck().await;
            drop(proxy);
        });

    let Err(error) = unknown else { panic!("{unknown:?}") };
    assert_eq!(error.class(), Class::OutcomeUnknown);
    let Error::OutcomeUnknown { event_ids, .. } = error else { panic!("{error:?}") };
    assert_eq!(event_ids, [event.id()]);
    drop(log);
}

/// The second try, which is the last one of the policy, has no connection in its time.
#[tokio::test]
async fn is_asked_about_to_the_deadline_however_few_attempts_there_are() {
    let policy = impatient().attempts(2).max_delay(Duration::from_secs(60));
    let line = Line::new(policy.deadline(Duration::from_secs(8))).await;
    let event = lent("b-1", "r-1");
    let first = line.proxy.inflict(Direction::ToClient, 0, Action::Cut(Ending::Reset));

    let append = line.store.append([event.clone()], AppendCondition::none());
    let silence = async {
        first.struck().await;
        let silence = Action::Delay(Duration::from_secs(1));
        let second = line.proxy.inflict(Direction::ToClient, 0, silence);
        second.struck().await;
    };
    let (appended, ()) = tokio::join!(append, silence);

    appended.unwrap();
    assert_eq!(line.count(event.id()).await, 1);
}

#[tokio::test]
async fn is_told_as_it_is_where_nothing_is_to_be_tried_again() {
    let line = Line::new(RetryPolicy::builder()).await;
    let store = line.store.with_retry_policy(RetryPolicy::never());
    // With other limits its statements are others.
    store.append([lent("b-0", "r-0")], AppendCondition::none()).await.unwrap();
    let event = lent("b-1", "r-1");
    let ids = [event.id()];
    let fault = line.proxy.inflict(Direction::ToClient, 0, Action::Stall);

    let append = store.append([event.clone()], AppendCondition::none());
    let (unknown, stored) = tokio::join!(append, line.lose_answer(&fault, &ids));

    assert!(unknown.is_err_and(|error| error.is_outcome_unknown()));
    // The same again, later, tells.
    let appended = store.append([event], AppendCondition::none()).await.unwrap();
    assert!(appended.is_repeat());
    assert_eq!(stored, [appended.first()]);
    assert_eq!(line.places(&ids).await, stored);
}

/// The connection that is made in place of a lost one stands still as well, for good.
#[tokio::test]
async fn is_tried_on_a_third_connection_where_the_second_stands_still() {
    let line = Line::new(impatient().deadline(Duration::from_secs(10))).await;
    let other = Store::<ReadWrite>::connect(line.config.clone()).await.unwrap();
    line.is_alone().await;
    let before = line.proxy.passed(Direction::ToServer);
    other.head().await.unwrap();
    drop(other);
    line.is_alone().await;
    let used = line.proxy.passed(Direction::ToServer) - before;
    let event = lent("b-1", "r-1");
    let first = line.proxy.inflict(Direction::ToServer, 0, Action::Stall);
    // It has logged in by then, and is about to be used.
    let second = line.proxy.inflict(Direction::ToServer, used - 60, Action::Stall);

    line.store.append([event.clone()], AppendCondition::none()).await.unwrap();

    assert!(first.has_struck() && second.has_struck());
    assert_eq!(line.count(event.id()).await, 1);
}

#[tokio::test]
async fn is_known_where_the_lock_is_not_had_in_the_time_that_an_attempt_has() {
    let policy = RetryPolicy::builder().attempts(2).attempt_timeout(Duration::from_secs(1));
    let line = Line::new(policy).await;
    let holder = line.log.sql().await;
    holder.batch_execute(&format!("BEGIN; {}", line.log.insert("b-held"))).await.unwrap();

    let refused = line.store.append([lent("b-1", "r-1")], AppendCondition::none()).await;

    let error = refused.unwrap_err();
    assert_eq!(error.sqlstate().map(|state| state.as_str()), Some("55P03"), "{error:?}");
    assert!(error.source().unwrap().to_string().contains("held by"), "{error:?}");
}

/// All of the call arrives, but not the end of the request. The call commits before it is answered, so
/// that the log's lock waits for no byte.
#[tokio::test]
async fn does_not_stop_the_log_where_half_of_it_arrives() {
    let line = Line::new(RetryPolicy::builder()).await;
    let hasty = line.log.config().lock_timeout(Duration::from_secs(1));
    let other = Store::<ReadWrite>::connect(hasty.retry(RetryPolicy::never())).await.unwrap();
    let lengths = {
        let before = line.proxy.passed(Direction::ToServer);
        line.store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
        line.proxy.passed(Direction::ToServer) - before
    };
    let event = lent("b-1", "r-1");
    let fault = line.proxy.inflict(Direction::ToServer, lengths - 3, Action::Stall);

    let (appended, followed) =
        tokio::join!(line.store.append([event.clone()], AppendCondition::none()), async {
            fault.struck().await;
            other.append([lent("b-2", "r-1")], AppendCondition::none()).await
        });

    followed.unwrap();
    appended.unwrap();
    line.arrive_late(&fault).await;
    assert_eq!(line.count(event.id()).await, 1);
}

/// A large append may take the time of its call, and without a deadline that of an attempt.
#[tokio::test]
async fn is_no_reason_to_wait_without_end() {
    let policy = RetryPolicy::builder().attempts(1).attempt_timeout(Duration::from_secs(1));
    let line = Line::new(policy.no_deadline()).await;
    let note = serde_json::json!({ "BookID": "b-1", "Note": "x".repeat(200_000) });
    let large = || Event::new("BookCopyLentToReader", &note).unwrap();
    let import = async || {
        let import = line.store.import(futures_util::stream::iter([large()])).into_future();
        import.await.map(drop).map_err(Error::from)
    };
    import().await.unwrap();
    let append = async || line.store.append([large()], AppendCondition::none()).await.map(drop);
    append().await.unwrap();
    for way in ["append", "import"] {
        let _fault = line.proxy.inflict(Direction::ToServer, 100_000, Action::Freeze);
        let ended = async {
            match way {
                "append" => append().await,
                _ => import().await,
            }
        };

        let failed = tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap();

        assert!(matches!(failed, Err(Error::TimedOut { .. })), "{way}: {failed:?}");
    }
}

/// What an attempt has left at the server ends by itself. Its process may be another program's by the
/// time that the store could end it, or may be the last one that keeps unreplicated events invisible.
#[tokio::test]
async fn leaves_the_processes_of_the_server_alone() {
    let line = Line::new(impatient().attempts(1)).await;
    let (sql, key) = (line.log.sql().await, line.log.lock_key().await);
    run_after_appends(&sql, &line.log.name, "PERFORM pg_sleep(3);").await;

    let unknown = line.store.append([lent("b-1", "r-1")], AppendCondition::none()).await;

    assert!(unknown.as_ref().is_err_and(|error| error.is_outcome_unknown()), "{unknown:?}");
    let process = asleep(&sql, &line.log.name).await;
    // The store goes on over other connections, to read and to wait for the lock.
    line.store.head().await.unwrap();
    let waiting = line.store.append([lent("b-2", "r-1")], AppendCondition::none());
    let (waited, ()) = tokio::join!(waiting, wait_for_lock_waiter(&sql, key));
    assert!(waited.is_err(), "{waited:?}");
    let sessions = "SELECT FROM pg_stat_activity WHERE pid = $1";
    assert_eq!(sql.query(sessions, &[&process]).await.unwrap().len(), 1);
    wait_until(async || line.loans("b-1").await == 1).await;
}

/// A cancel may arrive between the commit and the end of the call.
#[tokio::test]
async fn is_known_if_the_server_answers_with_an_error_after_the_commit() {
    let line = Line::new(RetryPolicy::builder()).await;
    cancel_after_commits(&line.log.sql().await, &line.log.name).await;

    let (one, other) = tokio::join!(
        line.store.append([lent("b-1", "r-1")], AppendCondition::none()),
        line.store.append([lent("b-2", "r-1")], AppendCondition::none())
    );

    assert!(!one.unwrap().is_repeat());
    assert!(!other.unwrap().is_repeat());
    assert_eq!((line.loans("b-1").await, line.loans("b-2").await), (1, 1));
}

/// The lost try is accepted between the search for its events and that for what breaks its condition.
#[tokio::test]
async fn is_no_conflict_with_the_events_of_the_lost_try() {
    let line = Line::new(RetryPolicy::builder()).await;
    let (holder, sql) = (line.log.sql().await, line.log.sql().await);
    let key = line.log.lock_key().await;
    let mut last = line.store.head().await.unwrap();
    let since = |head| AppendCondition::no_match_after(Filter::everything(), head);
    let mut length = 0;
    for _ in 0..2 {
        let before = line.proxy.passed(Direction::ToServer);
        last = line.store.append([lent("b-1", "r-1")], since(last)).await.unwrap().last();
        length = line.proxy.passed(Direction::ToServer) - before;
    }
    let event = lent("b-1", "r-1");
    let searched = "SELECT FROM pg_stat_activity WHERE application_name = $1 AND state = 'idle'
        AND query LIKE 'SELECT 0 AS part%UNION ALL%' AND query_start > $2::text::timestamptz";
    let now = sql.query_one("SELECT now()::text", &[]).await.unwrap().get::<_, String>(0);
    // It has the only connection on which conditions are searched for that go alone.
    let stream = line.store.stream(Filter::everything()).await.unwrap();
    holder.execute("SELECT pg_advisory_lock($1)", &[&key]).await.unwrap();
    let fault = line.proxy.inflict(Direction::ToServer, length - 1, Action::Stall);

    let meanwhile = async {
        wait_for_lock_waiter(&sql, key).await;
        fault.hang_up(Ending::Reset);
        let name = &line.log.name;
        wait_until(async || !sql.query(searched, &[name, &now]).await.unwrap().is_empty()).await;
        holder.execute("SELECT pg_advisory_unlock($1)", &[&key]).await.unwrap();
        wait_until(async || line.count(event.id()).await == 1).await;
        drop(stream);
    };
    let (appended, ()) = tokio::join!(line.store.append([event.clone()], since(last)), meanwhile);

    assert!(!appended.unwrap().is_repeat());
    assert_eq!(line.count(event.id()).await, 1);
}
