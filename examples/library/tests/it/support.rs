//! One cluster for all tests, with a database for each test.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use eddyline::{Config, Filter, ReadOnly, ReadWrite, Schema, SequencedEvent, Store};
use jiff::{SignedDuration, Timestamp};
use library::commands::{
    AddBookCopy, CancelReaderContract, Command, CommandError, CommandHandler, LendBookCopyToReader,
    Outcome, RegisterReader, RemoveBookCopy, ReturnBookCopyFromReader,
};
use library::domain::{BookData, BookId, OccurredAt, ReaderId};
use library::queries::{Answer, Query, QueryHandler};
use local_postgres::Cluster;
use tokio::sync::OnceCell;
use uuid::Uuid;

pub(crate) const NAME: &str = "Ada Lovelace";

/// An empty library. Commands go to the primary, queries to the replica.
pub(crate) struct Library {
    pub(crate) commands: CommandHandler,
    pub(crate) queries: QueryHandler,
    store: Store<ReadWrite>,
}

impl Library {
    pub(crate) async fn open() -> Self {
        let urls = create_log().await;
        cluster().await.wait_for_replay().await.unwrap();

        let config = Config::new(&urls.primary).unwrap();
        let store = Store::<ReadWrite>::connect(config).await.unwrap();
        let config = Config::new(&urls.replica).unwrap().replica_timeout(Duration::from_secs(60));
        let reader = Store::<ReadOnly>::connect(config).await.unwrap();
        Self {
            commands: CommandHandler::new(store.clone()),
            queries: QueryHandler::new(reader),
            store,
        }
    }

    /// Runs a command that prepares a test, and checks that it succeeds.
    pub(crate) async fn run(&self, command: &impl Command) {
        let outcome = self.commands.handle(command).await;

        assert!(matches!(outcome, Ok(Outcome::Success(_))), "{outcome:?}");
    }

    /// Runs a query on the replica, at the head of the log or later.
    pub(crate) async fn query<Q: Query>(&self, query: &Q) -> Answer<Q::Answer> {
        let head = self.store.head().await.unwrap();
        let answer = self.queries.at_least(head).handle(query).await.unwrap();

        assert_eq!((answer.position, answer.served_by.as_str()), (head, "replica-0"));
        answer
    }

    /// Returns every event of the log.
    pub(crate) async fn events(&self) -> Vec<SequencedEvent> {
        self.store.query(&Filter::everything()).await.unwrap().into_events()
    }

    /// Runs a command twice, and checks that the second run stores nothing.
    pub(crate) async fn assert_idempotent(&self, command: &impl Command) {
        let first = self.commands.handle(command).await.unwrap();
        let stored = self.events().await.len();

        let second = self.commands.handle(command).await.unwrap();

        assert!(first.receipt().is_some());
        assert!(matches!(second, Outcome::Idempotent { .. }), "{second:?}");
        assert_eq!(self.events().await.len(), stored);
    }

    /// Runs a command, and checks that it stores an event of this type as the last one of the log.
    pub(crate) async fn assert_stores(&self, command: &impl Command, event_type: &str) {
        let receipt = self.commands.handle(command).await.unwrap().receipt().unwrap();

        let events = self.events().await;
        let last = events.last().unwrap();
        assert_eq!(last.event_type(), event_type);
        assert_eq!((last.id(), last.sequence_number()), (receipt.event_id, receipt.position));
    }

    /// Runs a command, and checks that it is rejected with this text and stores its failure event.
    pub(crate) async fn assert_rejected(&self, command: &impl Command, text: &str) {
        let error = self.commands.handle(command).await.unwrap_err();

        assert_eq!(error.to_string(), text);
        let CommandError::Rejected { event_type, reason, receipt } = error else {
            panic!("{error:?}");
        };
        let events = self.events().await;
        let last = events.last().unwrap();
        let payload: serde_json::Value = last.payload().unwrap();
        assert_eq!(last.event_type(), event_type);
        assert_eq!((last.id(), last.sequence_number()), (receipt.event_id, receipt.position));
        assert_eq!(payload["FailureInfo"], reason.to_string());
    }
}

pub(crate) fn book(number: u32) -> BookId {
    Uuid::from_u128(number.into()).into()
}

pub(crate) fn reader(number: u32) -> ReaderId {
    Uuid::from_u128(number.into()).into()
}

pub(crate) fn at(minute: u32) -> OccurredAt {
    let morning: Timestamp = "2026-03-01T08:00:00Z".parse().unwrap();
    (morning + SignedDuration::from_mins(minute.into())).into()
}

pub(crate) fn data() -> BookData {
    BookData {
        isbn: "978-0-14-043910-8".to_owned(),
        title: "Middlemarch".to_owned(),
        authors: "George Eliot".to_owned(),
        edition: "2nd".to_owned(),
        publisher: "Penguin".to_owned(),
        publication_year: 1994,
    }
}

pub(crate) fn add(number: u32, minute: u32) -> AddBookCopy {
    AddBookCopy { book: book(number), data: data(), occurred_at: at(minute) }
}

pub(crate) fn remove(number: u32, minute: u32) -> RemoveBookCopy {
    RemoveBookCopy { book: book(number), occurred_at: at(minute) }
}

pub(crate) fn register(number: u32, minute: u32) -> RegisterReader {
    RegisterReader { reader: reader(number), name: NAME.to_owned(), occurred_at: at(minute) }
}

pub(crate) fn cancel(number: u32, minute: u32) -> CancelReaderContract {
    CancelReaderContract { reader: reader(number), occurred_at: at(minute) }
}

pub(crate) fn lend(book_number: u32, reader_number: u32, minute: u32) -> LendBookCopyToReader {
    let (book, reader) = (book(book_number), reader(reader_number));
    LendBookCopyToReader { book, reader, occurred_at: at(minute) }
}

pub(crate) fn give_back(
    book_number: u32,
    reader_number: u32,
    minute: u32,
) -> ReturnBookCopyFromReader {
    let (book, reader) = (book(book_number), reader(reader_number));
    ReturnBookCopyFromReader { book, reader, occurred_at: at(minute) }
}

/// The addresses of a log.
pub(crate) struct Urls {
    pub(crate) primary: String,
    pub(crate) replica: String,
}

/// Creates a log in a database of its own.
pub(crate) async fn create_log() -> Urls {
    let cluster = cluster().await;
    let database = format!("library_{}", next_number());
    cluster.create_database(&database).await.unwrap();
    let primary = cluster.primary().url(&database);
    Schema::new(&Config::new(&primary).unwrap()).migrate().await.unwrap();
    Urls { primary, replica: cluster.standbys()[0].url(&database) }
}

/// Polls a condition until it holds, and fails the test after 30 seconds.
pub(crate) async fn wait_until(condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(Instant::now() < deadline, "the condition did not hold within 30 seconds");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Returns the cluster. The first test starts it; it stops when the process ends.
async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    let start = || async { Cluster::builder().standbys(1).fsync(false).start().await.unwrap() };
    CLUSTER.get_or_init(start).await
}

/// Returns a number that is unique among the tests of this process.
fn next_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
