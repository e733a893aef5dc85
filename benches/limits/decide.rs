//! The cost of decisions under contention: many writers on one boundary.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use console::print_stdout;
use eddyline::{Decision, Error, Event, Filter, History, ReadWrite, RetryPolicy, Schema, Store};
use serde_json::{Value, json};
use tokio_postgres::{Client, Statement};

use crate::Bench;
use crate::cluster::connect;
use crate::rounds::Workload;
use crate::seed::config;

const WRITERS: usize = 64;
/// The number of events of a boundary before the writers continue with the next one. A reader of a
/// library has as many after some years.
const EVENTS: usize = 40;
const LOG: &str = "hot";

/// Compares ways to decide. Each decision counts the events of its boundary.
pub async fn run(bench: &mut Bench) {
    let title = format!("decide: {WRITERS} writers on one boundary of up to {EVENTS} events");
    if !bench.starts_part(&["decide/", "append/hot/"], &title) {
        return;
    }
    let config = config(&bench.url, LOG);
    Schema::new(&config).migrate().await.expect("a log");
    let store = Store::<ReadWrite>::connect(config).await.expect("a store");
    by_caller(bench, &store).await;
    let hand = by_hand(&bench.url).await;
    for (name, overlap) in [("hot", Overlap::Whole), ("crossing", Overlap::Part)] {
        if bench.starts_part(&[&format!("decide/{name}/")], &format!("decide: {overlap:?}")) {
            compare_strategies(bench, &store, &hand, name, overlap).await;
        }
    }
}

/// Compares `decide` with a loop of query and append, with the writers spread over four boundaries.
async fn by_caller(bench: &mut Bench, store: &Store<ReadWrite>) {
    let name = "append/hot/64/by-hand";
    if !bench.starts_part(&[name], "decide: a loop of query and append, to Store::decide") {
        return;
    }
    let (store, once) = (store.clone(), store.with_retry_policy(RetryPolicy::never()));
    let strategies =
        ["decide on 4", "by caller"].map(|way| Arc::new(Strategy::new(way, Overlap::Quarter)));
    let [ours, caller] = strategies.clone();
    let workloads = [
        Workload::new("decide", WRITERS, move |client, _| {
            let (strategy, store) = (ours.clone(), store.clone());
            async move { strategy.decide(&store, client).await }
        }),
        Workload::new("query and append until accepted", WRITERS, move |client, _| {
            let (strategy, store) = (caller.clone(), once.clone());
            async move { strategy.decide_optimistically(&store, client).await }
        }),
    ];

    let results = bench.rounds.run(&workloads).await;

    let sql = connect(&bench.url).await;
    for strategy in &strategies {
        assert_eq!(strategy.count_wrong(&sql).await, 0, "wrong decisions");
    }
    let [ours, caller] = results.as_slice() else { unreachable!("two workloads ran") };
    bench.table.report(name, caller.rate_to(ours));
}

/// The overlap of the writers' boundaries.
#[derive(Clone, Copy, Debug)]
enum Overlap {
    /// All writers have the same boundary, the loans of a book.
    Whole,
    /// The boundaries share the loans of a book, and each has those of its own reader.
    Part,
    /// A quarter of the writers share a boundary, the loans of one book of four.
    Quarter,
}

async fn compare_strategies(
    bench: &mut Bench,
    store: &Store<ReadWrite>,
    hand: &Arc<Vec<Session>>,
    name: &str,
    overlap: Overlap,
) {
    let (store, once, hand) =
        (store.clone(), store.with_retry_policy(RetryPolicy::never()), hand.clone());
    let strategies =
        ["decide", "optimistic", "by hand"].map(|way| Arc::new(Strategy::new(way, overlap)));
    let [ours, retried, locked] = strategies.clone();
    let workloads = [
        Workload::new("decide", WRITERS, move |client, _| {
            let (strategy, store) = (ours.clone(), store.clone());
            async move { strategy.decide(&store, client).await }
        }),
        Workload::new("query and append until accepted", WRITERS, move |client, _| {
            let (strategy, store) = (retried.clone(), once.clone());
            async move { strategy.decide_optimistically(&store, client).await }
        }),
        Workload::new("lock, read, insert, commit", WRITERS, move |client, _| {
            let (strategy, sessions) = (locked.clone(), hand.clone());
            async move { strategy.decide_by_hand(&sessions[client], client).await }
        }),
    ];

    let results = bench.rounds.run(&workloads).await;

    let sql = connect(&bench.url).await;
    let mut wrong = 0;
    for strategy in &strategies {
        let (least, most) = strategy.spread();
        let found = strategy.count_wrong(&sql).await;
        wrong += found;
        print_stdout(&format_args!(
            "  {:<30} decisions per writer {least} to {most}, wrong {found}, escalated {}",
            strategy.name,
            strategy.escalated.load(Ordering::Relaxed)
        ));
        assert!(least > 0, "a writer of {} has decided nothing", strategy.name);
    }
    let [ours, retried, locked] = results.as_slice() else { unreachable!("three workloads ran") };
    let name = format!("decide/{name}/{WRITERS}");
    bench.table.report(&format!("{name}/wrong"), wrong as f64);
    bench.table.report(&format!("{name}/optimistic"), ours.rate_to(retried));
    bench.table.report(&format!("{name}/by-hand"), ours.rate_to(locked));
}

/// One way to decide, with boundaries and counters of its own.
struct Strategy {
    name: &'static str,
    overlap: Overlap,
    boundary: AtomicU64,
    decisions: Vec<AtomicU64>,
    escalated: AtomicU64,
}

impl Strategy {
    fn new(name: &'static str, overlap: Overlap) -> Self {
        // Runs share the log, so each needs new boundaries.
        let start = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO);
        Self {
            name,
            overlap,
            boundary: AtomicU64::new(start.as_millis() as u64 * 1_000),
            decisions: (0..WRITERS).map(|_| AtomicU64::new(0)).collect(),
            escalated: AtomicU64::new(0),
        }
    }

    fn loans(&self, book: &str, client: usize) -> Filter {
        let book = ("BookID", book.to_owned());
        let ids = match self.overlap {
            Overlap::Quarter | Overlap::Whole => vec![book],
            Overlap::Part => vec![book, ("ReaderID", format!("reader {client}"))],
        };
        let filter = Filter::types(["BookCopyLentToReader"]).any_of(ids);
        filter.build().expect("a filter")
    }

    fn book(&self, boundary: u64, client: usize) -> String {
        match self.overlap {
            Overlap::Quarter => format!("{} {boundary} {}", self.name, client % 4),
            Overlap::Part | Overlap::Whole => format!("{} {boundary}", self.name),
        }
    }

    /// Decides with `Store::decide`, on the first boundary that is not full.
    async fn decide(&self, store: &Store<ReadWrite>, client: usize) {
        loop {
            let boundary = self.boundary.load(Ordering::Relaxed);
            let book = self.book(boundary, client);
            let decide = |history: &History<ReadWrite>| match seen(history, &book) {
                seen if seen >= EVENTS => Ok::<_, Error>(Decision::nothing()),
                seen => Ok(Decision::append([event(&book, seen)])),
            };
            let decided =
                store.decide(self.loans(&book, client), decide).await.expect("a decision");
            self.escalated.fetch_add(u64::from(decided.is_escalated()), Ordering::Relaxed);
            if decided.appended().is_some() {
                self.decisions[client].fetch_add(1, Ordering::Relaxed);
                return;
            }
            self.next_boundary(boundary);
        }
    }

    /// Decides with a query and an append, which are repeated immediately after a conflict.
    async fn decide_optimistically(&self, store: &Store<ReadWrite>, client: usize) {
        loop {
            let boundary = self.boundary.load(Ordering::Relaxed);
            let book = self.book(boundary, client);
            let history = store.query(self.loans(&book, client)).await.expect("a history");
            let seen = seen(&history, &book);
            if seen >= EVENTS {
                self.next_boundary(boundary);
                continue;
            }
            match store.append([event(&book, seen)], history.condition()).await {
                Ok(_) => break,
                Err(error) => assert!(error.is_conflict(), "{error}"),
            }
        }
        self.decisions[client].fetch_add(1, Ordering::Relaxed);
    }

    /// Decides in a transaction with an advisory lock, without the crate.
    async fn decide_by_hand(&self, (sql, [lock, read, insert]): &Session, client: usize) {
        loop {
            let boundary = self.boundary.load(Ordering::Relaxed);
            let book = self.book(boundary, client);
            sql.batch_execute("BEGIN").await.expect("a transaction");
            sql.execute(lock, &[]).await.expect("a lock");
            let filter = json!({ "BookID": book });
            let reader = json!({ "ReaderID": format!("reader {client}") });
            let seen = sql.query(read, &[&filter, &reader]).await.expect("events").len();
            if seen < EVENTS {
                let event = event(&book, seen);
                let payload: Value = event.payload().expect("a payload");
                sql.execute(insert, &[&event.id(), &payload]).await.expect("an insert");
            }
            sql.batch_execute("COMMIT").await.expect("a commit");
            if seen < EVENTS {
                self.decisions[client].fetch_add(1, Ordering::Relaxed);
                return;
            }
            self.next_boundary(boundary);
        }
    }

    fn next_boundary(&self, boundary: u64) {
        let next = boundary + 1;
        let order = Ordering::Relaxed;
        // Another writer may have advanced it already.
        let _ = self.boundary.compare_exchange(boundary, next, order, order);
    }

    fn spread(&self) -> (u64, u64) {
        let counts = || self.decisions.iter().map(|count| count.load(Ordering::Relaxed));
        (counts().min().unwrap_or(0), counts().max().unwrap_or(0))
    }

    /// Counts the wrong decisions: events whose number of preceding events in their boundary
    /// differs from the number that the decision counted.
    async fn count_wrong(&self, sql: &Client) -> i64 {
        let text = format!(
            "SELECT count(*) FROM (
                 SELECT (payload ->> 'Seen')::bigint AS seen, row_number()
                     OVER (PARTITION BY payload ->> 'BookID' ORDER BY sequence_number) - 1 AS truth
                 FROM {LOG} WHERE payload ->> 'BookID' LIKE $1) AS counted
             WHERE seen <> truth"
        );
        let name = format!("{} %", self.name);
        sql.query_one(&text, &[&name]).await.expect("a count").get(0)
    }
}

fn seen(history: &History<ReadWrite>, book: &str) -> usize {
    let of_book = |payload: Value| payload["BookID"] == book;
    let events = history.events().iter();
    events.filter(|event| event.payload().is_ok_and(of_book)).count()
}

fn event(book: &str, seen: usize) -> Event {
    Event::new("BookCopyLentToReader", &json!({ "BookID": book, "Seen": seen })).expect("an event")
}

type Session = (Client, [Statement; 3]);

/// Connects the writers that do not use the crate.
async fn by_hand(url: &str) -> Arc<Vec<Session>> {
    let texts = [
        format!("SELECT pg_advisory_xact_lock('{LOG}'::regclass::oid::bigint)"),
        format!(
            "SELECT sequence_number, event_type, payload FROM {LOG}
             WHERE event_type = 'BookCopyLentToReader' AND (payload @> $1 OR payload @> $2)
             ORDER BY sequence_number"
        ),
        format!(
            "INSERT INTO {LOG} (event_id, occurred_at, event_type, payload)
             VALUES ($1, now(), 'BookCopyLentToReader', $2)"
        ),
    ];
    let mut sessions = Vec::new();
    for _ in 0..WRITERS {
        let sql = connect(url).await;
        sql.batch_execute("SET plan_cache_mode = force_custom_plan").await.expect("settings");
        let mut statements = Vec::new();
        for text in &texts {
            statements.push(sql.prepare(text).await.expect("a statement"));
        }
        let statements = statements.try_into().expect("a statement for each text");
        sessions.push((sql, statements));
    }
    Arc::new(sessions)
}
