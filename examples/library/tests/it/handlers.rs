//! The metrics and the spans of the handlers, compared with their replies.

use std::collections::BTreeMap;
use std::time::Duration;

use eddyline::tokio_postgres::{Client, NoTls};
use eddyline::{Config, ReadOnly, ReadWrite, RetryPolicy, Store};
use library::commands::{Command, CommandError, CommandHandler, Outcome};
use library::queries::{
    BooksInCirculation, BooksLentByReader, BooksLentOut, CanceledReaders, FinishedLendings, Order,
    Query, QueryError, QueryHandler, RegisteredReaders, RemovedBooks,
};
use opentelemetry_sdk::trace::SpanData;

use crate::observer::{Calls, Observer};
use crate::support::{
    add, book, cancel, create_log, give_back, lend, reader, register, remove, wait_until,
};

const COMMANDS: [&str; 6] = [
    "AddBookCopy",
    "CancelReaderContract",
    "LendBookCopyToReader",
    "RegisterReader",
    "RemoveBookCopy",
    "ReturnBookCopyFromReader",
];
const QUERIES: [&str; 7] = [
    "BooksInCirculation",
    "BooksLentByReader",
    "BooksLentOut",
    "CanceledReaders",
    "FinishedLendings",
    "RegisteredReaders",
    "RemovedBooks",
];
const OUTCOMES: [&str; 7] =
    ["canceled", "conflict", "error", "idempotent", "rejected", "success", "timeout"];
const FINISHED: FinishedLendings = FinishedLendings { max: 9, order: Order::OldestFirst };

/// Both handlers on a primary, what they export, and a session that uses no handler.
struct Observed {
    observer: Observer,
    commands: CommandHandler,
    queries: QueryHandler,
    sql: Client,
}

impl Observed {
    async fn open() -> Self {
        Self::with(|config| config).await
    }

    async fn with(change: impl Fn(Config) -> Config) -> Self {
        let (observer, urls) = (Observer::new(), create_log().await);
        let config = || change(Config::new(&urls.primary).unwrap().telemetry(observer.telemetry()));
        let writer = Store::<ReadWrite>::connect(config()).await.unwrap();
        let reader = Store::<ReadOnly>::connect(config()).await.unwrap();
        let (sql, connection) =
            eddyline::tokio_postgres::connect(&urls.primary, NoTls).await.unwrap();
        tokio::spawn(connection);
        let (commands, queries) = (CommandHandler::new(writer), QueryHandler::new(reader));
        Self { observer, commands, queries, sql }
    }

    async fn execute(&self, sql: &str) {
        self.sql.batch_execute(sql).await.unwrap();
    }

    /// Waits until a session of the database waits for a lock.
    async fn wait_for_waiter(&self) {
        let waiters = "SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
            WHERE datname = current_database() AND NOT granted";
        wait_until(async || !self.sql.query(waiters, &[]).await.unwrap().is_empty()).await;
    }

    /// Returns the series of handlers that are not 0.
    fn calls(&self) -> Calls {
        let mut calls = self.observer.calls();
        calls.retain(|_, count| *count > 0);
        calls
    }

    async fn run(&self, command: &impl Command) -> &'static str {
        match self.commands.handle(command).await {
            Ok(Outcome::Idempotent { .. }) => "idempotent",
            Ok(Outcome::Success(_)) => "success",
            Err(CommandError::Rejected { .. }) => "rejected",
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Runs a command that meets a conflict in its first attempt.
    async fn run_into_conflict(
        &self,
        command: &impl Command,
        number: u32,
    ) -> Result<Outcome, CommandError> {
        self.execute(&format!("BEGIN; {}", insert(number))).await;
        let commit = async {
            self.wait_for_waiter().await;
            self.execute("COMMIT").await;
        };
        tokio::join!(self.commands.handle(command), commit).0
    }

    /// Runs a command that its caller drops while it waits.
    async fn cancel_command(&self, command: &impl Command) {
        tokio::select! {
            biased;
            result = self.commands.handle(command) => panic!("{result:?}"),
            () = self.wait_for_waiter() => {}
        }
    }

    /// Runs a query that its caller drops while it waits.
    async fn cancel_query<Q: Query>(&self, query: &Q) {
        tokio::select! {
            biased;
            _ = self.queries.handle(query) => panic!("{} was answered", Q::NAME),
            () = self.wait_for_waiter() => {}
        }
    }

    async fn failed_query<Q: Query>(&self, query: &Q) -> QueryError {
        match self.queries.handle(query).await {
            Ok(_) => panic!("{} was answered", Q::NAME),
            Err(error) => error,
        }
    }
}

/// Runs an expression for each command on a book and a reader with these numbers, of which the
/// library knows nothing.
macro_rules! each_command {
    ($number:ident = $numbers:expr, $command:ident => $run:expr) => {{
        let mut numbers = $numbers;
        each_command!(@ numbers, $number, $command, $run, add($number, 1));
        each_command!(@ numbers, $number, $command, $run, cancel($number, 1));
        each_command!(@ numbers, $number, $command, $run, lend($number, $number, 1));
        each_command!(@ numbers, $number, $command, $run, register($number, 1));
        each_command!(@ numbers, $number, $command, $run, remove($number, 1));
        each_command!(@ numbers, $number, $command, $run, give_back($number, $number, 1));
    }};
    (@ $numbers:ident, $number:ident, $command:ident, $run:expr, $value:expr) => {
        let $number: u32 = $numbers.next().unwrap();
        let $command = &$value;
        $run;
    };
}

/// Runs an expression for each query.
macro_rules! each_query {
    ($query:ident => $run:expr) => {
        each_query!(@ $query, $run, BooksInCirculation);
        each_query!(@ $query, $run, BooksLentByReader { reader: reader(1) });
        each_query!(@ $query, $run, BooksLentOut);
        each_query!(@ $query, $run, CanceledReaders);
        each_query!(@ $query, $run, FINISHED);
        each_query!(@ $query, $run, RegisteredReaders);
        each_query!(@ $query, $run, RemovedBooks);
    };
    (@ $query:ident, $run:expr, $value:expr) => {
        let $query = &$value;
        $run;
    };
}

/// Returns series of one call each.
fn once(kind: &str, names: &[&str], outcome: &str) -> Calls {
    let series = names.iter().map(|name| [kind, name, outcome].map(str::to_owned));
    series.map(|series| (series, 1)).collect()
}

/// Renders plain INSERTs of events with these numbers. Each filter of a command matches one.
fn insert(number: u32) -> String {
    let (book, reader) = (book(number), reader(number));
    let payload = format!(
        r#"{{"BookID": "{book}", "ReaderID": "{reader}", "Name": "Ada Lovelace",
            "OccurredAt": "2026-03-01T08:07:00.000000Z"}}"#
    );
    let row = |kind| format!("(gen_random_uuid(), now(), '{kind}', '{payload}')");
    format!(
        "INSERT INTO events (event_id, occurred_at, event_type, payload) VALUES {}, {}",
        row("BookCopyRemovedFromCirculation"),
        row("ReaderRegistered")
    )
}

/// A rate query ignores the first value of a counter, so counters have to start at zero.
#[tokio::test]
async fn the_series_of_all_handlers_exist_before_their_first_call() {
    let library = Observed::open().await;

    let mut expected = BTreeMap::new();
    for (kind, names) in [("command", &COMMANDS[..]), ("query", &QUERIES[..])] {
        for outcome in OUTCOMES {
            expected.extend(once(kind, names, outcome).into_keys().map(|series| (series, 0)));
        }
    }
    assert_eq!(library.observer.calls(), expected);
}

#[tokio::test]
async fn replies_to_commands_are_counted_once() {
    let library = Observed::open().await;

    for expected in ["success", "idempotent"] {
        assert_eq!(library.run(&add(1, 1)).await, expected);
    }
    for expected in ["success", "idempotent"] {
        assert_eq!(library.run(&register(1, 1)).await, expected);
    }
    for expected in ["success", "idempotent"] {
        assert_eq!(library.run(&lend(1, 1, 2)).await, expected);
    }
    for expected in ["success", "idempotent"] {
        assert_eq!(library.run(&give_back(1, 1, 3)).await, expected);
    }
    for expected in ["success", "idempotent"] {
        assert_eq!(library.run(&remove(1, 4)).await, expected);
    }
    for expected in ["success", "idempotent"] {
        assert_eq!(library.run(&cancel(1, 4)).await, expected);
    }
    // The rules never reject an addition or a registration.
    assert_eq!(library.run(&lend(2, 2, 5)).await, "rejected");
    assert_eq!(library.run(&give_back(2, 2, 5)).await, "rejected");
    assert_eq!(library.run(&remove(2, 5)).await, "rejected");
    assert_eq!(library.run(&cancel(2, 5)).await, "rejected");

    let mut expected = once("command", &COMMANDS, "success");
    expected.extend(once("command", &COMMANDS, "idempotent"));
    let rejected = ["CancelReaderContract", "LendBookCopyToReader", "RemoveBookCopy"];
    expected.extend(once("command", &rejected, "rejected"));
    expected.extend(once("command", &["ReturnBookCopyFromReader"], "rejected"));
    assert_eq!(library.calls(), expected);
}

#[tokio::test]
async fn answers_to_queries_are_counted_once() {
    let library = Observed::open().await;

    each_query!(query => drop(library.queries.handle(query).await.unwrap()));

    assert_eq!(library.calls(), once("query", &QUERIES, "success"));
}

#[tokio::test]
async fn conflicts_of_commands_are_counted_once() {
    let library = Observed::with(|config| config.retry(RetryPolicy::never())).await;

    each_command!(number = 1.., command => {
        let error = library.run_into_conflict(command, number).await.unwrap_err();
        assert!(error.is_conflict(), "{error:?}");
    });

    assert_eq!(library.calls(), once("command", &COMMANDS, "conflict"));
}

#[tokio::test]
async fn timeouts_are_counted_once() {
    let limit = Duration::from_millis(50);
    let library =
        Observed::with(|config| config.lock_timeout(limit).retry(RetryPolicy::never())).await;

    library.execute(&format!("BEGIN; {}", insert(1))).await;
    each_command!(_number = 2.., command => {
        let error = library.commands.handle(command).await.unwrap_err();
        assert!(matches!(&error, CommandError::Store(error) if error.is_timeout()), "{error:?}");
    });
    library.execute("LOCK TABLE events").await;
    each_query!(query => {
        let error = library.failed_query(query).await;
        assert!(matches!(&error, QueryError::Store(error) if error.is_timeout()), "{error:?}");
    });

    let mut expected = once("command", &COMMANDS, "timeout");
    expected.extend(once("query", &QUERIES, "timeout"));
    assert_eq!(library.calls(), expected);
}

#[tokio::test]
async fn dropped_calls_are_counted_once() {
    let library = Observed::open().await;

    library.execute("BEGIN; LOCK TABLE events").await;
    each_command!(_number = 1.., command => library.cancel_command(command).await);
    each_query!(query => library.cancel_query(query).await);

    let mut expected = once("command", &COMMANDS, "canceled");
    expected.extend(once("query", &QUERIES, "canceled"));
    assert_eq!(library.calls(), expected);
}

#[tokio::test]
async fn errors_of_the_store_are_counted_once() {
    let library = Observed::open().await;

    library.execute("ALTER TABLE events RENAME TO moved").await;
    each_command!(_number = 1.., command => drop(library.commands.handle(command).await.unwrap_err()));
    each_query!(query => drop(library.failed_query(query).await));

    let mut expected = once("command", &COMMANDS, "error");
    expected.extend(once("query", &QUERIES, "error"));
    assert_eq!(library.calls(), expected);
}

#[tokio::test]
async fn an_event_that_cannot_be_decoded_is_an_error() {
    let library = Observed::open().await;
    library.execute(&insert(1).replace("OccurredAt", "Time")).await;

    let error = library.commands.handle(&add(1, 1)).await.unwrap_err();
    let unanswered = library.failed_query(&RemovedBooks).await;

    assert!(matches!(error, CommandError::Decode(_)), "{error:?}");
    assert!(matches!(unanswered, QueryError::Decode(_)), "{unanswered:?}");
    let mut expected = once("command", &["AddBookCopy"], "error");
    expected.extend(once("query", &["RemovedBooks"], "error"));
    assert_eq!(library.calls(), expected);
}

fn below<'a>(spans: &'a [SpanData], parent: &SpanData) -> Vec<&'a str> {
    let id = parent.span_context.span_id();
    let children = spans.iter().filter(|span| span.parent_span_id == id);
    let mut names: Vec<_> = children.map(|span| span.name.as_ref()).collect();
    names.sort_unstable();
    names
}

/// The conflict and the second attempt are parts of the same call.
#[tokio::test]
async fn a_call_is_one_span_above_those_of_its_attempts() {
    let library = Observed::open().await;

    let lent = library.run_into_conflict(&add(1, 1), 1).await.unwrap();
    library.queries.handle(&BooksLentOut).await.unwrap();

    assert_eq!(lent.receipt().unwrap().effort.conflicts, 1);
    let mut expected = once("command", &["AddBookCopy"], "success");
    expected.extend(once("query", &["BooksLentOut"], "success"));
    assert_eq!(library.calls(), expected);
    let spans = library.observer.spans();
    let only = |name: &str| {
        let named: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
        let [span] = named.as_slice() else { panic!("{named:?}") };
        *span
    };
    let (append, query) = ("eventstore.append", "eventstore.query");
    assert_eq!(below(&spans, only("AddBookCopy")), [append, append, query, query]);
    assert_eq!(below(&spans, only("BooksLentOut")), ["eventstore.stream"]);
    let retries = &only("AddBookCopy").events;
    assert_eq!(
        retries.iter().map(|event| event.name.as_ref()).collect::<Vec<_>>(),
        ["eventstore.retry"]
    );
}
