//! Reads through the store.

use eddyline::{Bookmark, Error, Query, ReadOnly, Store};
use futures_util::TryStreamExt;
use rand::RngExt;
use rand::rngs::SmallRng;

use crate::answer::{Ask, Content, Demand, Scope};
use crate::args::Sabotage;
use crate::entry::Entry;
use crate::record::Begun;
use crate::run::Run;

/// A read, and what its answer must show.
pub struct Question {
    pub ask: Ask,
    pub store: Store<ReadOnly>,
    pub scope: Scope,
    /// The position after which the events begin.
    pub after: Bookmark,
    pub demands: Vec<Demand>,
}

/// An answer that has not been recorded yet.
pub struct Reply {
    begun: Begun,
    ask: Ask,
    server: String,
    demands: Vec<Demand>,
    pub content: Content,
    pub disorder: Option<String>,
    pub bookmark: Bookmark,
}

/// An answer as the store returned it, with its events in ascending order.
struct Returned {
    entries: Vec<Entry>,
    /// The position after which the events begin.
    after: u64,
    bookmark: Bookmark,
    server: String,
}

impl Question {
    /// Reads, and records an error.
    pub async fn read(self, run: &Run, random: &mut SmallRng) -> Result<Reply, Error> {
        let Self { ask, store, scope, after, demands } = self;
        let query = Query::new(&scope.filter()?).after(after);
        let limit = random.random_range(1..10);
        let begun = run.record.begin();
        let returned = match random.random_range(0..3) {
            0 if after == Bookmark::default() => newest(&store, query, limit).await,
            1 => by_query(&store, query, after).await,
            _ => by_stream(&store, query, after).await,
        };
        let returned = match returned {
            Ok(returned) => returned,
            Err(error) => {
                run.record.unserved(begun, ask, &error);
                return Err(error);
            }
        };
        let Returned { mut entries, after, bookmark, server } = returned;
        if run.sabotage == Some(Sabotage::Events) && random.random_ratio(1, 100) {
            entries.pop();
        }
        let position = bookmark.position().value();
        let (content, disorder) = Content::new(scope, after, position, &entries);
        Ok(Reply { begun, ask, server, demands, content, disorder, bookmark })
    }

    /// Reads, and records the answer or an error.
    pub async fn ask(self, run: &Run, random: &mut SmallRng) -> Result<(Content, Bookmark), Error> {
        let reply = self.read(run, random).await?;
        let seen = (reply.content.clone(), reply.bookmark);
        reply.record(run);
        Ok(seen)
    }
}

impl Reply {
    /// Records the answer.
    pub fn record(self, run: &Run) {
        let Self { begun, ask, server, demands, content, disorder, bookmark: _ } = self;
        run.record.answered(begun, ask, server, (content, disorder), demands);
    }
}

/// Reads an event by its id, and records the answer or an error. Returns whether the read was
/// served.
pub async fn find(run: &Run, ask: Ask, store: &Store<ReadOnly>, entry: Entry) -> bool {
    let begun = run.record.begin();
    let found = store.event(entry.id).await;
    let found = found.and_then(|found| found.as_ref().map(Entry::read).transpose());
    match found {
        Ok(found) => {
            let (scope, demands) = (Scope::Books(vec![entry.book]), vec![Demand::Contains(entry)]);
            // Such an answer has no position: it shows the log up to the event, or nothing.
            let position = found.map_or(0, |found| found.position);
            let after = position.saturating_sub(1);
            let checked = Content::new(scope, after, position, found.as_slice());
            run.record.answered(begun, ask, "by id".to_owned(), checked, demands);
            true
        }
        Err(error) => {
            run.record.unserved(begun, ask, &error);
            false
        }
    }
}

/// Reads the newest events of a query.
async fn newest(store: &Store<ReadOnly>, query: Query, limit: u32) -> Result<Returned, Error> {
    let query = query.newest_first().limit(limit);
    let mut returned = by_query(store, query, Bookmark::default()).await?;
    returned.entries.reverse();
    match returned.entries.first() {
        Some(first) if returned.entries.len() == limit as usize => {
            returned.after = first.position.saturating_sub(1);
        }
        _ => {}
    }
    Ok(returned)
}

async fn by_query(
    store: &Store<ReadOnly>,
    query: Query,
    after: Bookmark,
) -> Result<Returned, Error> {
    let history = store.query(query).await?;
    Ok(Returned {
        entries: history.events().iter().map(Entry::read).collect::<Result<_, _>>()?,
        after: after.position().value(),
        bookmark: history.bookmark(),
        server: history.served_by().to_string(),
    })
}

async fn by_stream(
    store: &Store<ReadOnly>,
    query: Query,
    after: Bookmark,
) -> Result<Returned, Error> {
    let mut stream = store.stream(query).await?;
    let mut entries = Vec::new();
    while let Some(event) = stream.try_next().await? {
        entries.push(Entry::read(&event)?);
    }
    Ok(Returned {
        entries,
        after: after.position().value(),
        bookmark: stream.bookmark().expect("the stream has ended"),
        server: stream.served_by().to_string(),
    })
}
