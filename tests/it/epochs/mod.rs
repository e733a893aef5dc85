//! Positions of events that a failover, a restore or a copy has lost are refused for ever.

mod ahead;
mod copies;
mod failover;
mod identity;
mod interrupted;
mod restarts;

use eddyline::{
    AppendCondition, Appended, Bookmark, Config, Error, Filter, Query, ReadOnly, ReadWrite, Store,
};
use local_postgres::Server;

use crate::support::{REPLAY_TIMEOUT, lent, loans_of};

/// A sequence gives up to 32 numbers less than its WAL says, so more events than these are lost.
const LOST: usize = 60;

/// Returns a configuration for a log on one server.
fn config(server: &Server) -> Config {
    Config::new(&server.url("postgres")).unwrap().replica_timeout(REPLAY_TIMEOUT)
}

async fn writer(server: &Server) -> Store<ReadWrite> {
    Store::<ReadWrite>::connect(config(server)).await.unwrap()
}

async fn reader(server: &Server) -> Store<ReadOnly> {
    Store::<ReadOnly>::connect(config(server)).await.unwrap()
}

/// Appends a number of loans of a book, one by one. Returns the last one.
async fn append(store: &Store<ReadWrite>, book: &str, count: usize) -> Appended {
    let mut last = None;
    for _ in 0..count {
        let appended = store.append([lent(book, "r-1")], AppendCondition::none()).await;
        last = Some(appended.unwrap());
    }
    last.expect("at least one append")
}

/// The ways to use a bookmark, with what each of them answers.
async fn uses(server: &Server, bookmark: Bookmark) -> Vec<(&'static str, Result<(), Error>)> {
    let (writer, reader) = (writer(server).await, reader(server).await);
    let everything = Filter::everything();
    let after = || Query::new(&everything).after(bookmark);
    let unused = loans_of("a book that nobody lends");
    let condition = || AppendCondition::no_match_after(unused.clone(), bookmark);
    let events = |count| (0..count).map(|_| lent("b-9", "r-9")).collect::<Vec<_>>();
    let large = events(300);
    vec![
        ("at least", reader.at_least(bookmark).head().await.map(drop)),
        ("at least, of a query", reader.at_least(bookmark).query(&everything).await.map(drop)),
        ("at least, of a boundary", reader.at_least(bookmark).query(&unused).await.map(drop)),
        ("after", reader.query(after()).await.map(drop)),
        ("after, in a stream", reader.stream(after()).await.map(drop)),
        ("after, on the primary", writer.query(after()).await.map(drop)),
        ("a large append", writer.append(large, condition()).await.map(drop)),
        ("an append", writer.append(events(1), condition()).await.map(drop)),
        // The connection has a tail by now.
        ("a second append", writer.append(events(1), condition()).await.map(drop)),
    ]
}

/// Asserts that each use of a bookmark fails because its event is lost.
async fn assert_lost(server: &Server, bookmark: Bookmark) {
    for (way, outcome) in uses(server, bookmark).await {
        let Err(Error::PositionLost { position, .. }) = &outcome else {
            panic!("{way}: {outcome:?}")
        };
        assert_eq!(*position, bookmark.position(), "{way}");
        assert!(outcome.unwrap_err().is_conflict(), "{way}");
    }
}

/// Asserts that a bookmark can be used in each way.
async fn assert_valid(server: &Server, bookmark: Bookmark) {
    for (way, outcome) in uses(server, bookmark).await {
        assert!(outcome.is_ok(), "{way}: {outcome:?}");
    }
}
