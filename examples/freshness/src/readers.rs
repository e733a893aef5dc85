//! The readers, one function for each kind of read.

use std::time::Duration;

use eddyline::{Bookmark, ReadOnly, SequenceNumber, Store};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use crate::answer::{Ask, Content, Demand, Scope};
use crate::read::{Question, find};
use crate::run::{Run, is_lost};
use crate::session::Session;

/// Reads until the run is over.
pub async fn run(run: &Run, ask: Ask, number: u16) {
    let mut random = SmallRng::seed_from_u64(run.seed ^ (u64::from(number) << 16));
    while run.record.latest(&mut random).is_none() && !run.is_over() {
        sleep(LONGEST_PAUSE).await;
    }
    while !run.is_over() {
        match ask {
            Ask::AtLeast => at_least(run, &mut random).await,
            Ask::Causal => causal(run, &mut random).await,
            Ask::Fallback => fallback(run, &mut random).await,
            Ask::MaxStaleness => max_staleness(run, &mut random).await,
            Ask::Plain => plain(run, &mut random).await,
            Ask::Tail => tail(run, &mut random).await,
        }
    }
}

/// Reads some books, or the last events of all books, from any replica.
async fn plain(run: &Run, random: &mut SmallRng) {
    let Some(latest) = run.record.latest(random) else { return };
    let (scope, after) = match random.random() {
        true => (some_books(run, random), 0),
        false => (Scope::All, latest.position.saturating_sub(random.random_range(0..100))),
    };
    let question = Question {
        ask: Ask::Plain,
        store: run.stores.plain.clone(),
        scope,
        after: SequenceNumber::new(after).into(),
        demands: Vec::new(),
    };
    pause_after(question.ask(run, random).await.is_ok(), random).await;
}

/// Reads a book at the position of its last append, then some books at the position of that answer,
/// then the last event itself.
async fn at_least(run: &Run, random: &mut SmallRng) {
    let Some((entry, bookmark)) = run.record.latest_bookmark(random) else { return };
    let demand = Demand::Contains(entry);
    let scope = Scope::Books(vec![entry.book]);
    let question = at(run, Ask::AtLeast, &run.stores.plain, bookmark, scope, demand);
    let Ok((content, bookmark)) = question.ask(run, random).await else {
        return pause_after(false, random).await;
    };
    let demand = Demand::Extends(content);
    let scope = some_books(run, random);
    let question = at(run, Ask::AtLeast, &run.stores.plain, bookmark, scope, demand);
    pause_after(question.ask(run, random).await.is_ok(), random).await;
    let Some((entry, bookmark)) = run.record.latest_bookmark(random) else { return };
    let store = run.bounded(&run.stores.plain, |store| store.at_least(bookmark));
    pause_after(find(run, Ask::AtLeast, &store, entry).await, random).await;
}

/// Reads a book at the position of its last append, from the primary if no replica has reached it.
async fn fallback(run: &Run, random: &mut SmallRng) {
    let Some((entry, bookmark)) = run.record.latest_bookmark(random) else { return };
    let (scope, demand) = (Scope::Books(vec![entry.book]), Demand::Contains(entry));
    let question = at(run, Ask::Fallback, &run.stores.fallback, bookmark, scope, demand);
    pause_after(question.ask(run, random).await.is_ok(), random).await;
}

/// Reads everything that was acknowledged some time ago.
async fn max_staleness(run: &Run, random: &mut SmallRng) {
    let bound = BOUNDS[random.random_range(0..BOUNDS.len())];
    let question = Question {
        ask: Ask::MaxStaleness,
        store: run.bounded(&run.stores.observing, |store| {
            store.max_staleness(bound).expect("the store observes the primary")
        }),
        scope: some_books(run, random),
        after: Bookmark::default(),
        demands: vec![Demand::Within(bound)],
    };
    pause_after(question.ask(run, random).await.is_ok(), random).await;
}

/// Reads in one session.
async fn causal(run: &Run, random: &mut SmallRng) {
    let mut session = Session::new(run);
    for _ in (0..READS_OF_A_SESSION).take_while(|_| !run.is_over()) {
        let scope = some_books(run, random);
        pause_after(session.read(run, scope, random).await, random).await;
    }
}

/// Reads all events after an append, each answer after the position of the one before.
async fn tail(run: &Run, random: &mut SmallRng) {
    let Some((first, mut bookmark)) = run.record.latest_bookmark(random) else { return };
    let mut seen: Option<Content> = None;
    for _ in (0..READS_OF_A_TAIL).take_while(|_| !run.is_over()) {
        let question = Question {
            ask: Ask::Tail,
            store: run.stores.plain.clone(),
            scope: Scope::All,
            after: bookmark,
            demands: vec![Demand::Contains(first)],
        };
        match question.read(run, random).await {
            Ok(mut reply) if reply.bookmark.position() > bookmark.position() => {
                bookmark = reply.bookmark;
                // All answers together are the part of the log since the first event.
                if let Some(seen) = &seen {
                    reply.content.continue_after(seen);
                }
                seen = Some(reply.content.clone());
                reply.record(run);
                pause_after(true, random).await;
            }
            // The replica is behind the last one.
            Ok(_) => pause_after(false, random).await,
            Err(error) if is_lost(&error) => return,
            Err(_) => pause_after(false, random).await,
        }
    }
}

/// Returns a read of the log at a bookmark or later.
fn at(
    run: &Run,
    ask: Ask,
    store: &Store<ReadOnly>,
    bookmark: Bookmark,
    scope: Scope,
    demand: Demand,
) -> Question {
    let store = run.bounded(store, |store| store.at_least(bookmark));
    Question { ask, store, scope, after: Bookmark::default(), demands: vec![demand] }
}

/// Returns one or more books that are being written.
fn some_books(run: &Run, random: &mut SmallRng) -> Scope {
    let latest = (0..random.random_range(1..4)).filter_map(|_| run.record.latest(random));
    let mut books: Vec<_> = latest.map(|entry| entry.book).collect();
    books.sort_unstable();
    books.dedup();
    Scope::Books(books)
}

/// Pauses after a read, for longer if it was not served.
async fn pause_after(is_served: bool, random: &mut SmallRng) {
    let longest = if is_served { LONGEST_PAUSE } else { LONGEST_PAUSE_AFTER_ERROR };
    sleep(longest.mul_f64(random.random())).await;
}

/// The bounds of staleness.
const BOUNDS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(200), Duration::from_secs(2)];

const READS_OF_A_SESSION: u32 = 100;
const READS_OF_A_TAIL: u32 = 200;

const LONGEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);
