//! Group commit and pipelining: concurrent appends of a store share transactions.

mod batch;
mod model;
mod outdated_knowledge;
mod pipelining;
mod queue;
mod restart;
mod several_stores;

use std::pin::Pin;

use eddyline::{AppendCondition, Appended, Config, Error, Event, ReadWrite, SequenceNumber, Store};
use futures_util::future::join_all;
use futures_util::poll;
use tokio_postgres::Client;

use crate::support::{Log, connect, lent, wait_for_lock_waiter};

type Outcome = Result<Appended, Error>;
type Append<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// A store whose appends can be blocked: another session takes the log's lock.
struct Fixture {
    log: Log,
    store: Store<ReadWrite>,
    holder: Client,
    sql: Client,
    key: i64,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(|config| config).await
    }

    async fn with(adjust: impl FnOnce(Config) -> Config) -> Self {
        Self::of(Log::new().await, adjust).await
    }

    async fn of(log: Log, adjust: impl FnOnce(Config) -> Config) -> Self {
        let store = Store::<ReadWrite>::connect(adjust(log.config())).await.unwrap();
        let url = log.primary_url();
        let (holder, sql, key) = (connect(&url).await, connect(&url).await, log.lock_key().await);
        Self { log, store, holder, sql, key }
    }

    async fn take_lock(&self) {
        self.holder.execute("SELECT pg_advisory_lock($1)", &[&self.key]).await.unwrap();
    }

    async fn release_lock(&self) {
        self.holder.execute("SELECT pg_advisory_unlock($1)", &[&self.key]).await.unwrap();
    }

    /// Appends in another session, so that the store expects other writers for a while. Returns the
    /// head.
    async fn observe_other_writer(&self) -> SequenceNumber {
        let none = AppendCondition::none;
        self.store.append([lent("b-0", "r-1")], none()).await.unwrap();
        self.sql.batch_execute(&self.log.insert("b-0")).await.unwrap();
        self.store.append([lent("b-0", "r-1")], none()).await.unwrap().last()
    }

    /// Adds a check constraint that refuses events of a book.
    async fn refuse_book(&self, book: &str) {
        let name = &self.log.name;
        let check = format!("ALTER TABLE {name} ADD CHECK (payload->>'BookID' <> '{book}')");
        self.sql.batch_execute(&check).await.unwrap();
    }

    /// Returns how many transactions stored the events after a position.
    async fn transactions_after(&self, position: SequenceNumber) -> i64 {
        let count = format!(
            "SELECT count(DISTINCT xmin::text) FROM {} WHERE sequence_number > {position}",
            self.log.name
        );
        self.sql.query_one(&count, &[]).await.unwrap().get(0)
    }

    /// Waits until an append waits for the lock.
    async fn wait_for_waiter(&self) {
        wait_for_lock_waiter(&self.sql, self.key).await;
    }

    /// Begins an append, which then waits in the queue in the order of the calls.
    async fn begin<'a>(&'a self, events: Vec<Event>, condition: AppendCondition) -> Append<'a> {
        let mut append: Append<'a> = Box::pin(self.store.append(events, condition));
        assert!(poll!(&mut append).is_pending());
        append
    }

    /// Takes the lock and begins an append, which waits at the server until the lock is released.
    async fn begin_blocked(&self, book: &str) -> Append<'_> {
        self.take_lock().await;
        let append = self.begin(vec![lent(book, "r-1")], AppendCondition::none()).await;
        self.wait_for_waiter().await;
        append
    }

    /// Makes appends that wait in the queue while another one waits for the lock, so that they
    /// share a batch.
    async fn append_together(&self, appends: Vec<(Vec<Event>, AppendCondition)>) -> Vec<Outcome> {
        let blocked = self.begin_blocked("first").await;
        let mut begun = Vec::new();
        for (events, condition) in appends {
            begun.push(self.begin(events, condition).await);
        }
        self.release_lock().await;
        blocked.await.unwrap();
        join_all(begun).await
    }
}
