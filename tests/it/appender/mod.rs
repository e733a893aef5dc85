//! Appends that wait for each other and go together.

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

/// A store whose appends can be made to wait, because somebody else has the log's lock.
struct Gate {
    log: Log,
    store: Store<ReadWrite>,
    holder: Client,
    sql: Client,
    key: i64,
}

impl Gate {
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

    async fn close(&self) {
        self.holder.execute("SELECT pg_advisory_lock($1)", &[&self.key]).await.unwrap();
    }

    async fn open(&self) {
        self.holder.execute("SELECT pg_advisory_unlock($1)", &[&self.key]).await.unwrap();
    }

    /// Has the store notice that others append too, and expect that of them for a while. Returns
    /// where the log ends.
    async fn meet_others(&self) -> SequenceNumber {
        let none = AppendCondition::none;
        self.store.append([lent("b-0", "r-1")], none()).await.unwrap();
        self.sql.batch_execute(&self.log.insert("b-0")).await.unwrap();
        self.store.append([lent("b-0", "r-1")], none()).await.unwrap().last()
    }

    /// Has the server refuse events of a book, by a constraint.
    async fn refuse(&self, book: &str) {
        let name = &self.log.name;
        let check = format!("ALTER TABLE {name} ADD CHECK (payload->>'BookID' <> '{book}')");
        self.sql.batch_execute(&check).await.unwrap();
    }

    /// Returns how many transactions stored what comes after a position.
    async fn transactions_after(&self, position: SequenceNumber) -> i64 {
        let count = format!(
            "SELECT count(DISTINCT xmin::text) FROM {} WHERE sequence_number > {position}",
            self.log.name
        );
        self.sql.query_one(&count, &[]).await.unwrap().get(0)
    }

    /// Waits until an append has come to the lock.
    async fn wait_for_waiter(&self) {
        wait_for_lock_waiter(&self.sql, self.key).await;
    }

    /// Begins an append: it waits in the queue then, in the place in which it came.
    async fn begin<'a>(&'a self, events: Vec<Event>, condition: AppendCondition) -> Append<'a> {
        let mut append: Append<'a> = Box::pin(self.store.append(events, condition));
        assert!(poll!(&mut append).is_pending());
        append
    }

    /// Begins an append that comes to the lock, and is under way for as long as that is closed.
    async fn occupy(&self, book: &str) -> Append<'_> {
        self.close().await;
        let append = self.begin(vec![lent(book, "r-1")], AppendCondition::none()).await;
        self.wait_for_waiter().await;
        append
    }

    /// Makes appends that wait while another one is under way, and so go together.
    async fn together(&self, appends: Vec<(Vec<Event>, AppendCondition)>) -> Vec<Outcome> {
        let first = self.occupy("first").await;
        let mut begun = Vec::new();
        for (events, condition) in appends {
            begun.push(self.begin(events, condition).await);
        }
        self.open().await;
        first.await.unwrap();
        join_all(begun).await
    }
}
