//! Decisions that are held under the log's lock.

use std::error::Error as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use eddyline::retry::RetryPolicyBuilder;
use eddyline::{
    AppendCondition, Config, Decided, Decision, Error, Event, ReadWrite, RetryPolicy, Store,
};
use fault_proxy::{Action, Direction, Ending, Proxy};
use serde_json::json;
use tokio_postgres::Client;

use crate::support::{
    Log, cluster, lent, loans_of, named, wait, wait_for_lock_waiters, wait_until,
};

/// A store with one connection, whose decisions lose one round and are then held under the lock.
struct Desk {
    log: Log,
    store: Store<ReadWrite>,
    other: Store<ReadWrite>,
    sql: Client,
    /// The name of the store's sessions.
    name: String,
    /// The process of the one that reads and decides.
    process: i32,
}

/// What a decision may end with.
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

impl Desk {
    async fn new(policy: RetryPolicyBuilder) -> Self {
        let log = Log::new().await;
        let url = log.primary_url();
        Self::at(&url, log, policy).await
    }

    /// Reaches the log through a proxy.
    async fn behind_a_proxy(policy: RetryPolicyBuilder) -> (Self, Proxy) {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, cluster().await.primary().port()));
        let proxy = Proxy::start(server).await.unwrap();
        let log = Log::new().await;
        let url = log.primary_url().replace(&server.to_string(), &proxy.address().to_string());
        (Self::at(&url, log, policy).await, proxy)
    }

    /// Reaches the log at another address than its own.
    async fn at(url: &str, log: Log, policy: RetryPolicyBuilder) -> Self {
        let (url, name) = named(url);
        let policy = policy.base_delay(Duration::from_millis(1)).build().unwrap();
        let config = Config::new(&url).unwrap().log(&log.name).max_connections(1);
        let store = Store::<ReadWrite>::connect(config.retry(policy)).await.unwrap();
        let (other, sql) = (log.writer().await, log.sql().await);
        let mut desk = Self { log, store, other, sql, name, process: 0 };
        // It is ready to append, by another session than it reads with.
        let appends = desk.sessions().await;
        desk.store.head().await.unwrap();
        let sessions = desk.sessions().await;
        desk.process = sessions.iter().find(|one| !appends.contains(one)).unwrap().0;
        desk
    }

    /// Decides about a book, and counts the rounds.
    async fn decide(
        &self,
        round: impl Fn(u32) -> Result<Decision, Refusal>,
    ) -> (Result<Decided, Refusal>, u32) {
        let rounds = AtomicU32::new(0);
        let decide = |_: &_| round(rounds.fetch_add(1, Ordering::Relaxed));
        let decided = self.store.decide(loans_of("b-1"), decide).await;
        (decided, rounds.into_inner())
    }

    /// Decides to lend the book, which somebody else does first.
    fn lose(&self) -> Result<Decision, Refusal> {
        wait(self.other.append([lent("b-1", "r-0")], AppendCondition::none()))?;
        Ok(Decision::append([lent("b-1", "r-1")]))
    }

    /// Returns the processes of the store's sessions, and how many seconds the transaction of each
    /// has waited for the store.
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

    /// Waits until so many wait for the log's lock.
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
async fn end_with_their_refusal_though_the_server_has_ended_the_transaction() {
    let desk = Desk::new(escalating()).await;

    let (refused, rounds) = desk
        .decide(|round| match round {
            0 => desk.lose(),
            _ => {
                wait(wait_until(async || !desk.keeps_its_session().await));
                Err(Refusal::Closed)
            }
        })
        .await;

    assert!(matches!(refused, Err(Refusal::Closed)), "{refused:?}");
    assert_eq!((rounds, desk.loans().await), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn have_nothing_to_append_though_the_server_has_ended_the_transaction() {
    let desk = Desk::new(escalating()).await;

    let (decided, rounds) = desk
        .decide(|round| match round {
            0 => desk.lose(),
            _ => {
                wait(wait_until(async || !desk.keeps_its_session().await));
                Ok(Decision::nothing())
            }
        })
        .await;

    assert!(decided.unwrap().is_escalated());
    assert_eq!((rounds, desk.loans().await), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn that_cannot_have_the_lock_name_its_holder_and_keep_their_connection() {
    let policy = escalating().attempts(2).attempt_timeout(Duration::from_secs(4));
    let desk = Desk::new(policy).await;
    let (first, second) = (desk.log.sql().await, desk.log.sql().await);
    let hold = format!("BEGIN; {}", desk.log.insert("b-1"));
    first.batch_execute(&hold).await.unwrap();

    let decide = desk.decide(|_| Ok(Decision::append([lent("b-1", "r-1")])));
    // The lock is had in the order in which it was asked for.
    let contest = async {
        desk.wait_for_waiters(1).await;
        let commit = async {
            desk.wait_for_waiters(2).await;
            first.batch_execute("COMMIT").await.unwrap();
        };
        let (held, ()) = tokio::join!(second.batch_execute(&hold), commit);
        held.unwrap();
    };
    let ((refused, rounds), ()) = tokio::join!(decide, contest);

    let Err(Refusal::Store(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(rounds, 1);
    assert_eq!(error.sqlstate().map(|state| state.as_str()), Some("55P03"), "{error:?}");
    assert!(error.source().unwrap().to_string().contains("held by"), "{error:?}");
    assert!(desk.keeps_its_session().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn which_take_longer_than_the_setting_allows_are_told_so() {
    let log = Log::new().await;
    let hasty = log.config().lock_timeout(Duration::from_secs(1)).retry(RetryPolicy::never());
    let hasty = Store::<ReadWrite>::connect(hasty).await.unwrap();
    let allowed = Duration::from_millis(150);
    let config = log.config().decision_timeout(allowed).retry(escalating().build().unwrap());
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let rounds = AtomicU32::new(0);

    let decided = store.decide(loans_of("b-1"), |_| {
        // In the second round it waits until the server has taken the lock away.
        let book = if rounds.fetch_add(1, Ordering::Relaxed) == 0 { "b-1" } else { "b-2" };
        wait(hasty.append([lent(book, "r-2")], AppendCondition::none())).unwrap();
        Ok::<_, Error>(Decision::append([lent("b-1", "r-1")]))
    });
    let error = decided.await.unwrap_err();

    let Error::DecisionTimedOut { waited, allowed: told } = error else { panic!("{error:?}") };
    assert!(told == allowed && waited >= allowed, "{waited:?} of {told:?}");
    assert_eq!(rounds.into_inner(), 2);
    assert_eq!(hasty.query(loans_of("b-1")).await.unwrap().events().len(), 1);
}

/// The server ends the transaction though half of a request has arrived.
#[tokio::test(flavor = "multi_thread")]
async fn whose_events_do_not_arrive_in_time_are_told_so() {
    let (desk, proxy) = Desk::behind_a_proxy(escalating()).await;
    let note = json!({ "BookID": "b-1", "Note": "x".repeat(200_000) });
    let large = Event::new("BookCopyLentToReader", &note).unwrap();
    let (armed, fault) = std::sync::mpsc::channel();

    let decide = desk.decide(|round| {
        if round == 0 {
            return desk.lose();
        }
        armed.send(proxy.inject(Direction::ToServer, 100_000, Action::Stall)).unwrap();
        Ok(Decision::append([large.clone()]))
    });
    let (decided, rounds) = decide.await;

    let Err(Refusal::Store(error)) = decided else { panic!("{decided:?}") };
    assert!(matches!(error, Error::DecisionTimedOut { .. }), "{error:?}");
    fault.recv().unwrap().release();
    assert_eq!((rounds, desk.loans().await), (2, 1));
    desk.other.append([lent("b-2", "r-1")], AppendCondition::none()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn find_out_what_became_of_them_if_the_connection_ends_before_the_rest_has_arrived() {
    let policy = escalating().attempts(12).attempt_timeout(Duration::from_secs(1));
    let policy = policy.deadline(Duration::from_secs(20));
    let (desk, proxy) = Desk::behind_a_proxy(policy).await;
    let before = AtomicU64::new(0);
    let decide = desk.decide(|round| {
        if round == 0 {
            return desk.lose();
        }
        before.store(proxy.passed(Direction::ToServer), Ordering::Relaxed);
        Ok(Decision::append([lent("b-1", "r-1")]))
    });
    decide.await.0.unwrap();
    let append = proxy.passed(Direction::ToServer) - before.into_inner();

    let (armed, fault) = std::sync::mpsc::channel();
    let decide = desk.decide(|round| {
        if round == 0 {
            return desk.lose();
        }
        let after = append - SYNC_AND_COMMIT;
        armed.send(proxy.inject(Direction::ToServer, after, Action::Stall)).unwrap();
        Ok(Decision::append([lent("b-1", "r-2")]))
    });
    let part = async {
        let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = $1
            AND state = 'active' AND wait_event = 'ClientRead')";
        wait_until(async || desk.sql.query_one(waits, &[&desk.name]).await.unwrap().get(0)).await;
        fault.recv().unwrap().cut(Ending::Reset);
    };
    let ((decided, rounds), ()) = tokio::join!(decide, part);

    decided.unwrap();
    assert_eq!((rounds, desk.loans().await), (2, 4));
}

/// The lock ends with the connection, so that others append before it is known that nothing was stored.
#[tokio::test(flavor = "multi_thread")]
async fn whose_connection_ends_are_not_told_of_a_conflict() {
    let desk = Desk::new(escalating().attempts(2)).await;

    let (decided, rounds) = desk
        .decide(|round| {
            if round == 1 {
                let end = "SELECT pg_terminate_backend($1, 10000)";
                wait(desk.sql.query(end, &[&desk.process])).unwrap();
            }
            desk.lose()
        })
        .await;

    let Err(Refusal::Store(error)) = decided else { panic!("{decided:?}") };
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}");
    assert_eq!((rounds, desk.loans().await), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn that_took_longer_than_there_was_time_ask_nothing_any_more() {
    let time = Duration::from_millis(500);
    let desk = Desk::new(escalating().attempt_timeout(time).deadline(time)).await;

    for late in [0, 1] {
        let (refused, rounds) = desk
            .decide(|round| {
                if round == late {
                    std::thread::sleep(time);
                    return Ok(Decision::append([lent("b-1", "r-1")]));
                }
                desk.lose()
            })
            .await;

        let Err(Refusal::Store(error)) = refused else { panic!("{refused:?}") };
        assert!(matches!(error, Error::TimedOut { waited, .. } if waited >= time), "{error:?}");
        assert_eq!((rounds, desk.loans().await), (late + 1, late as usize));
        // Nothing was sent, so that a connection without a transaction is as good as before.
        if late == 0 {
            assert!(desk.keeps_its_session().await);
        }
    }
}

/// How many bytes of a decision's append and its end come after what the server carries out.
const SYNC_AND_COMMIT: u64 = 5 + 12;
