//! A small library whose clients compete for few books. It has a database of its own, on a cluster
//! that all tests share.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use eddyline::{Config, ReadOnly, ReadWrite, RetryPolicy, Schema, SequenceNumber, Store};
use library::commands::{
    AddBookCopy, CancelReaderContract, Command, LendBookCopyToReader, RegisterReader,
    RemoveBookCopy, ReturnBookCopyFromReader,
};
use library::domain::{BookData, BookId, OccurredAt, ReaderId};
use library::queries::{
    BooksInCirculation, BooksLentByReader, BooksLentOut, CanceledReaders, FinishedLendings, Order,
    RegisteredReaders, RemovedBooks,
};
use load::audit::Audit;
use load::plan::Aim;
use load::replies::{Canonical, Replies, Subject};
use load::servers::{AuditStores, ServerName};
use load::service::Service;
use local_postgres::Cluster;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::OnceCell;
use uuid::Uuid;

/// A log on the primary and the replica.
pub struct SmallLibrary {
    pub database: String,
    pub writer: Store<ReadWrite>,
    pub reader: Store<ReadOnly>,
}

impl SmallLibrary {
    /// Creates an empty log.
    pub async fn open() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let database = format!("library_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let cluster = cluster().await;
        cluster.create_database(&database).await.unwrap();
        let config = Config::new(&cluster.primary().url(&database)).unwrap();
        Schema::new(&config).migrate().await.unwrap();
        cluster.wait_for_replay().await.unwrap();
        let writer = Store::<ReadWrite>::connect(config).await.unwrap();
        let config = Config::new(&cluster.standbys()[0].url(&database)).unwrap();
        let reader = Store::<ReadOnly>::connect(config.replica_timeout(PATIENCE)).await.unwrap();
        Self { database, writer, reader }
    }

    /// Returns a read-only store on the primary.
    pub async fn primary(&self) -> Store<ReadOnly> {
        let url = cluster().await.primary().url(&self.database);
        let config = Config::new(&url).unwrap().retry(RetryPolicy::never());
        Store::<ReadOnly>::connect(config).await.unwrap()
    }

    /// Lets clients of a service work at the same time, as the seed says.
    pub async fn load(&self, service: &Service, seed: u64) -> Replies {
        let replies = Replies::after(self.writer.head().await.unwrap());
        let clients = (0..CLIENTS).map(|number| {
            let client = Client { service: service.clone(), replies: replies.clone() };
            tokio::spawn(client.work(StdRng::seed_from_u64(seed * CLIENTS + number)))
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
        replies
    }

    /// Audits the log and the replies.
    pub async fn audit(&self, replies: Replies) -> Audit {
        let stores = AuditStores {
            primary: self.primary().await,
            replicas: vec![(ServerName::Replica(0), self.reader.clone())],
            gone: Vec::new(),
        };
        load::audit::audit(&stores, replies).await.unwrap()
    }
}

/// Returns the cluster. The first test starts it; it stops when the process ends.
pub async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    let start = || async { Cluster::builder().standbys(1).fsync(false).start().await.unwrap() };
    CLUSTER.get_or_init(start).await
}

/// A client of a load.
struct Client {
    service: Service,
    replies: Replies,
}

impl Client {
    async fn work(self, mut rng: StdRng) {
        for _ in 0..OPERATIONS {
            let book = Uuid::from_u128(rng.random_range(1..=BOOKS)).into();
            let reader = Uuid::from_u128(rng.random_range(1..=READERS)).into();
            self.operate(rng.random_range(0..24), book, reader).await;
        }
    }

    async fn operate(&self, choice: u32, book: BookId, reader: ReaderId) {
        let occurred_at = OccurredAt::now();
        match choice {
            0..2 => self.run(AddBookCopy { book, data: data(), occurred_at }).await,
            2 => self.run(RemoveBookCopy { book, occurred_at }).await,
            3..5 => {
                let name = "Ada Lovelace".to_owned();
                self.run(RegisterReader { reader, name, occurred_at }).await
            }
            5 => self.run(CancelReaderContract { reader, occurred_at }).await,
            6..12 => self.run(LendBookCopyToReader { book, reader, occurred_at }).await,
            12..17 => self.run(ReturnBookCopyFromReader { book, reader, occurred_at }).await,
            17 => self.ask(BooksInCirculation).await,
            18 => self.ask(BooksLentByReader { reader }).await,
            19 => self.ask(BooksLentOut).await,
            20 => self.ask(CanceledReaders).await,
            21 => self.ask(FinishedLendings { max: 7, order: Order::NewestFirst }).await,
            22 => self.ask(RegisteredReaders).await,
            _ => self.ask(RemovedBooks).await,
        }
    }

    async fn run(&self, command: impl About) {
        let subject = command.subject();
        let result = self.service.run(&command, Aim::Success).await;
        self.replies.command(subject, &result);
    }

    async fn ask<Q: Canonical<Answer: PartialEq>>(&self, query: Q) {
        let position = SequenceNumber::ZERO;
        let answer = self.service.answer(&query, position).await.unwrap();
        self.replies.answer(&query, position, &answer);
    }
}

/// A command that names its book and its reader.
trait About: Command + Sized {
    fn ids(&self) -> (Option<BookId>, Option<ReaderId>);

    fn subject(&self) -> Subject {
        let (book, reader) = self.ids();
        Subject { command: Self::NAME, book, reader }
    }
}

impl About for AddBookCopy {
    fn ids(&self) -> (Option<BookId>, Option<ReaderId>) {
        (Some(self.book), None)
    }
}

impl About for CancelReaderContract {
    fn ids(&self) -> (Option<BookId>, Option<ReaderId>) {
        (None, Some(self.reader))
    }
}

impl About for LendBookCopyToReader {
    fn ids(&self) -> (Option<BookId>, Option<ReaderId>) {
        (Some(self.book), Some(self.reader))
    }
}

impl About for RegisterReader {
    fn ids(&self) -> (Option<BookId>, Option<ReaderId>) {
        (None, Some(self.reader))
    }
}

impl About for RemoveBookCopy {
    fn ids(&self) -> (Option<BookId>, Option<ReaderId>) {
        (Some(self.book), None)
    }
}

impl About for ReturnBookCopyFromReader {
    fn ids(&self) -> (Option<BookId>, Option<ReaderId>) {
        (Some(self.book), Some(self.reader))
    }
}

fn data() -> BookData {
    BookData {
        isbn: "978-0-14-043910-8".to_owned(),
        title: "Middlemarch".to_owned(),
        authors: "George Eliot".to_owned(),
        edition: "2nd".to_owned(),
        publisher: "Penguin".to_owned(),
        publication_year: 1994,
    }
}

const BOOKS: u128 = 5;
const READERS: u128 = 4;
const CLIENTS: u64 = 4;
const OPERATIONS: u32 = 150;
/// The longest wait for the replica.
const PATIENCE: Duration = Duration::from_secs(60);
