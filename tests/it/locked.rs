//! Decisions under the log's lock.

use std::error::Error as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use eddyline::retry::RetryPolicyBuilder;
use eddyline::{
    AppendCondition, Causality, Config, Decided, Decision, Error, Event, ReadWrite, RetryPolicy,
    Store,
};
use fault_proxy::{Action, Direction, Ending, Proxy};
use serde_json::json;
use tokio_postgres::Client;

use crate::support::{
    Log, cluster, lent, loans_of, named, wait, wait_at_least, wait_for_lock_waiters, wait_until,
};

/// A store with one connection, whose decisions lose one attempt to a conflict and then run under
/// the lock.
struct Fixture {
    log: Log,
    store: Store<ReadWrite>,
    other: Store<ReadWrite>,
    sql: Client,
    /// The application name of the store's sessions.
    name: String,
    /// The backend of the session that reads and decides.
    process: i32,
}

/// The error of a decision.
#[derive(Debug)]
enum Refusal {
    Closed,
    Store(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl Fixture {
    async fn new(policy: RetryPolicyBuilder) -> Self {
        let log = Log::new().await;
        let url = log.primary_url();
        Self::at(&url, log, policy).await
    }

    /// Connects to the log through a proxy.
    async fn behind_a_proxy(policy: RetryPolicyBuilder) -> (Self, Proxy) {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, cluster().await.primary().port()));
        let proxy = Proxy::start(server).await.unwrap();
        let log = Log::new().await;
        let url = log.primary_url().replace(&server.to_string(), &proxy.address().to_string());
        (Self::at(&url, log, policy).await, proxy)
    }

    /// Connects to the log at the given address.
    async fn at(url: &str, log: Log, policy: RetryPolicyBuilder) -> Self {
        let (url, name) = named(url);
        let policy = policy.base_delay(Duration::from_millis(1)).build().unwrap();
        let config = Config::new(&url).unwrap().log(&log.name).max_connections(1);
        let store = Store::<ReadWrite>::connect(config.retry(policy)).await.unwrap();
        let (other, sql) = (log.writer().await, log.sql().await);
        let mut fixture = Self { log, store, other, sql, name, process: 0 };
        // Connecting opened the session for appends. The first read opens another one.
        let appends = fixture.sessions().await;
        fixture.store.head().await.unwrap();
        let sessions = fixture.sessions().await;
        fixture.process = sessions.iter().find(|one| !appends.contains(one)).unwrap().0;
        fixture
    }

    /// Runs a decision about a book, and counts its attempts.
    async fn decide(
        &self,
        decide_attempt: impl Fn(u32) -> Result<Decision, Refusal>,
    ) -> (Result<Decided, Refusal>, u32) {
        let attempts = AtomicU32::new(0);
        let decide = |_: &_| decide_attempt(attempts.fetch_add(1, Ordering::Relaxed));
        let decided = self.store.decide(loans_of("b-1"), decide).await;
        (decided, attempts.into_inner())
    }

    /// Decides to lend the book after another store lent it, so that the decision conflicts.
    fn conflict(&self) -> Result<Decision, Refusal> {
        wait(self.other.append([lent("b-1", "r-0")], AppendCondition::none()))?;
        Ok(Decision::append([lent("b-1", "r-1")]))
    }

    /// Returns the backend process of each of the store's sessions, and for how many seconds its
    /// transaction has been idle.
    async fn sessions(&self) -> Vec<(i32, f64)> {
        let sessions = "SELECT pid, CASE WHEN state = 'idle in transaction'
                THEN extract(epoch FROM clock_timestamp() - state_change)::float8 ELSE 0 END
            FROM pg_stat_activity WHERE application_name = $1";
        let rows = self.sql.query(sessions, &[&self.name]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    async fn keeps_its_session(&self) -> bool {
        self.sessions().await.iter().any(|(process, _)| *process == self.process)
    }

    /// Waits until `count` sessions wait for the log's lock.
    async fn wait_for_waiters(&self, count: usize) {
        wait_for_lock_waiters(&self.sql, self.log.lock_key().await, count).await;
    }

    async fn loans(&self) -> usize {
        self.other.query(loans_of("b-1")).await.unwrap().events().len()
    }
}

fn escalating() -> RetryPolicyBuilder {
    RetryPolicy::builder().attempts(3).escalate_after(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_returned_although_the_server_ended_the_transaction() {
    let fixture = Fixture::new(escalating()).await;

    let (refused, attempts) = fixture
        .decide(|attempt| match attempt {
            0 => fixture.conflict(),
            _ => {
                wait(wait_until(async || !fixture.keeps_its_session().await));
                Err(Refusal::Closed)
            }
        })
        .await;

    assert!(matches!(refused, Err(Refusal::Closed)), "{refused:?}");
    assert_eq!((attempts, fixture.loans().await), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_to_append_nothing_succeeds_although_the_server_ended_the_transaction() {
    let fixture = Fixture::new(escalating()).await;

    let (decided, attempts) = fixture
        .decide(|attempt| match attempt {
            0 => fixture.conflict(),
            _ => {
                wait(wait_until(async || !fixture.keeps_its_session().await));
                Ok(Decision::nothing())
            }
        })
        .await;

    assert!(decided.unwrap().is_escalated());
    assert_eq!((attempts, fixture.loans().await), (2, 1));
}

/// The position is added after the first attempt has read.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_under_the_lock_fails_if_its_causality_holds_a_lost_position() {
    let (mut fixture, elsewhere) = (Fixture::new(escalating()).await, Log::new().await);
    let elsewhere = elsewhere.writer().await;
    let lost = elsewhere.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    let causality = Causality::new();
    fixture.store = fixture.store.with_causality(&causality);

    let (refused, attempts) = fixture
        .decide(|attempt| match attempt {
            0 => {
                causality.raise(lost.bookmark());
                fixture.conflict()
            }
            _ => Ok(Decision::nothing()),
        })
        .await;

    assert!(matches!(refused, Err(Refusal::Store(Error::PositionLost { .. }))), "{refused:?}");
    assert_eq!((attempts, fixture.loans().await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_cannot_take_the_lock_names_its_holder_and_keeps_the_connection() {
    let policy = escalating().attempts(2).attempt_timeout(Duration::from_secs(4));
    let fixture = Fixture::new(policy).await;
    let (first, second) = (fixture.log.sql().await, fixture.log.sql().await);
    let hold = format!("BEGIN; {}", fixture.log.insert("b-1"));
    first.batch_execute(&hold).await.unwrap();

    let decide = fixture.decide(|_| Ok(Decision::append([lent("b-1", "r-1")])));
    // PostgreSQL grants the lock in the order of the requests.
    let second_holder = async {
        fixture.wait_for_waiters(1).await;
        let commit = async {
            fixture.wait_for_waiters(2).await;
            first.batch_execute("COMMIT").await.unwrap();
        };
        let (held, ()) = tokio::join!(second.batch_execute(&hold), commit);
        held.unwrap();
    };
    let ((refused, attempts), ()) = tokio::join!(decide, second_holder);

    let Err(Refusal::Store(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(attempts, 1);
    assert_eq!(error.sqlstate().map(|state| state.as_str()), Some("55P03"), "{error:?}");
    assert!(error.source().unwrap().to_string().contains("held by"), "{error:?}");
    assert!(fixture.keeps_its_session().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_takes_longer_than_decision_timeout_times_out() {
    let log = Log::new().await;
    let bounded = log.config().lock_timeout(Duration::from_secs(1)).retry(RetryPolicy::never());
    let bounded = Store::<ReadWrite>::connect(bounded).await.unwrap();
    let allowed = Duration::from_millis(150);
    let config = log.config().decision_timeout(allowed).retry(escalating().build().unwrap());
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let attempts = AtomicU32::new(0);

    let decided = store.decide(loans_of("b-1"), |_| {
        // In the second attempt this waits until the server has ended the transaction with the
        // lock, and until the store knows as well that the time is up.
        let book = if attempts.fetch_add(1, Ordering::Relaxed) == 0 { "b-1" } else { "b-2" };
        let append = bounded.append([lent(book, "r-2")], AppendCondition::none());
        wait_at_least(allowed, append).unwrap();
        Ok::<_, Error>(Decision::append([lent("b-1", "r-1")]))
    });
    let error = decided.await.unwrap_err();

    let Error::DecisionTimedOut { waited, allowed: reported } = error else { panic!("{error:?}") };
    assert!(reported == allowed && waited >= allowed, "{waited:?} of {reported:?}");
    assert_eq!(attempts.into_inner(), 2);
    assert_eq!(bounded.query(loans_of("b-1")).await.unwrap().events().len(), 1);
}

/// The server ends the transaction although half of a request has arrived.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_whose_events_arrive_too_late_times_out() {
    let (fixture, proxy) = Fixture::behind_a_proxy(escalating()).await;
    let note = json!({ "BookID": "b-1", "Note": "x".repeat(200_000) });
    let large = Event::new("BookCopyLentToReader", &note).unwrap();
    let (armed, fault) = std::sync::mpsc::channel();

    let decide = fixture.decide(|attempt| {
        if attempt == 0 {
            return fixture.conflict();
        }
        armed.send(proxy.inject(Direction::ToServer, 100_000, Action::Stall)).unwrap();
        Ok(Decision::append([large.clone()]))
    });
    let (decided, attempts) = decide.await;

    let Err(Refusal::Store(error)) = decided else { panic!("{decided:?}") };
    assert!(matches!(error, Error::DecisionTimedOut { .. }), "{error:?}");
    fault.recv().unwrap().release();
    assert_eq!((attempts, fixture.loans().await), (2, 1));
    fixture.other.append([lent("b-2", "r-1")], AppendCondition::none()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_finds_its_outcome_if_the_connection_ends_before_its_commit_arrived() {
    let policy = escalating().attempts(12).attempt_timeout(Duration::from_secs(1));
    let policy = policy.deadline(Duration::from_secs(20));
    let (fixture, proxy) = Fixture::behind_a_proxy(policy).await;
    let before = AtomicU64::new(0);
    let decide = fixture.decide(|attempt| {
        if attempt == 0 {
            return fixture.conflict();
        }
        before.store(proxy.passed(Direction::ToServer), Ordering::Relaxed);
        Ok(Decision::append([lent("b-1", "r-1")]))
    });
    decide.await.0.unwrap();
    let append = proxy.passed(Direction::ToServer) - before.into_inner();

    let (armed, fault) = std::sync::mpsc::channel();
    let decide = fixture.decide(|attempt| {
        if attempt == 0 {
            return fixture.conflict();
        }
        let after = append - SYNC_AND_COMMIT;
        armed.send(proxy.inject(Direction::ToServer, after, Action::Stall)).unwrap();
        Ok(Decision::append([lent("b-1", "r-2")]))
    });
    let cut_after_part = async {
        let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = $1
            AND state = 'active' AND wait_event = 'ClientRead')";
        wait_until(async || fixture.sql.query_one(waits, &[&fixture.name]).await.unwrap().get(0))
            .await;
        fault.recv().unwrap().cut(Ending::Reset);
    };
    let ((decided, attempts), ()) = tokio::join!(decide, cut_after_part);

    decided.unwrap();
    assert_eq!((attempts, fixture.loans().await), (2, 4));
}

/// The connection releases the lock when it ends, so that other stores append before it is known
/// that nothing was stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_whose_connection_ended_does_not_report_a_conflict() {
    let fixture = Fixture::new(escalating().attempts(2)).await;

    let (decided, attempts) = fixture
        .decide(|attempt| {
            if attempt == 1 {
                let end = "SELECT pg_terminate_backend($1, 10000)";
                wait(fixture.sql.query(end, &[&fixture.process])).unwrap();
            }
            fixture.conflict()
        })
        .await;

    let Err(Refusal::Store(error)) = decided else { panic!("{decided:?}") };
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}");
    assert_eq!((attempts, fixture.loans().await), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_past_its_deadline_sends_nothing() {
    // Less than the time of a decision under the lock.
    let time = Duration::from_millis(1500);
    let fixture = Fixture::new(escalating().attempt_timeout(time).deadline(time)).await;

    for late in [0, 1] {
        let (refused, attempts) = fixture
            .decide(|attempt| {
                if attempt == late {
                    std::thread::sleep(time);
                    return Ok(Decision::append([lent("b-1", "r-1")]));
                }
                fixture.conflict()
            })
            .await;

        let Err(Refusal::Store(error)) = refused else { panic!("{refused:?}") };
        assert!(matches!(error, Error::TimedOut { waited, .. } if waited >= time), "{error:?}");
        assert_eq!((attempts, fixture.loans().await), (late + 1, late as usize));
        // Nothing was sent, so that a connection without a transaction is reused.
        if late == 0 {
            assert!(fixture.keeps_its_session().await);
        }
    }
}

/// The length of the messages `Sync` and `Query("COMMIT")`, which follow the append of a decision.
const SYNC_AND_COMMIT: u64 = 5 + 12;
