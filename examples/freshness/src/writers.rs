//! The writers: each appends the events of one book after the other.

use std::time::Duration;

use eddyline::{AppendCondition, Bookmark, Error, ReadWrite, Store};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::answer::Scope;
use crate::entry::{Book, Entry, event_of};
use crate::run::{Run, is_lost};
use crate::session::Session;
use crate::sql;

/// Appends through a store until the run is over, each event on the condition that the writer knows
/// the one before. After some appends the writer reads its book from a replica, in one session.
pub async fn append_by_store(run: &Run, writer: u16) {
    let mut random = SmallRng::seed_from_u64(run.seed ^ (u64::from(writer) << 32));
    let mut session = Session::new(run);
    let mut book = Book { writer, volume: 1 };
    // The number of the book's last event, and the position at which the writer knew it.
    let mut known = Some((0, Bookmark::default()));
    while !run.is_over() {
        let begun = run.record.begin();
        let Some((last, bookmark)) = known else {
            // The book may have lost events in a failover.
            known = read_by_store(&session.writer, book).await.ok();
            sleep(PAUSE_AFTER_FAILURE).await;
            continue;
        };
        match append(&session.writer, book, last, bookmark).await {
            Ok((entry, bookmark)) => {
                run.record.acknowledged(entry, Some(bookmark));
                drop(begun);
                session.appended(entry);
                if random.random() {
                    session.read(run, Scope::Books(vec![book]), &mut random).await;
                }
                let (next_book, last) = next(book, entry.number);
                (book, known) = (next_book, Some((last, bookmark)));
            }
            Err(error) => {
                run.record.append_failed();
                known = None;
                if is_lost(&error) {
                    session = Session::new(run);
                }
            }
        }
        pause(&mut random).await;
    }
}

/// Inserts by plain SQL until the run is over.
pub async fn append_by_sql(run: &Run, writer: u16) {
    let mut random = SmallRng::seed_from_u64(run.seed ^ (u64::from(writer) << 32));
    let mut book = Book { writer, volume: 1 };
    while !run.is_over() {
        let begun = run.record.begin();
        let primary = run.testbed.roles().primary;
        let connected = sql::connect(&run.testbed.url(primary)).await;
        drop(begun);
        if let Ok(client) = connected {
            let ended = insert_until_failure(run, &client, &mut book, &mut random).await;
            if ended.is_err() {
                run.record.append_failed();
            }
        }
        sleep(PAUSE_AFTER_FAILURE).await;
    }
}

async fn insert_until_failure(
    run: &Run,
    client: &Client,
    book: &mut Book,
    random: &mut SmallRng,
) -> Result<(), tokio_postgres::Error> {
    let mut last = sql::last_of(client, *book).await?.map_or(0, |last| last.number);
    while !run.is_over() {
        let begun = run.record.begin();
        let entry = sql::insert(client, *book, last + 1).await?;
        run.record.acknowledged(entry, None);
        drop(begun);
        (*book, last) = next(*book, entry.number);
        pause(random).await;
    }
    Ok(())
}

async fn append(
    store: &Store<ReadWrite>,
    book: Book,
    last: u32,
    bookmark: Bookmark,
) -> Result<(Entry, Bookmark), Error> {
    let filter = Scope::Books(vec![book]).filter()?;
    let condition = match last {
        0 => AppendCondition::no_match(filter),
        _ => AppendCondition::no_match_after(filter, bookmark),
    };
    let event = event_of(book, last + 1)?;
    let id = event.id();
    let appended = store.append([event], condition).await?;
    let entry = Entry { position: appended.last().value(), id, book, number: last + 1 };
    Ok((entry, appended.bookmark()))
}

/// Reads the number of a book's last event from the primary, and the position that it was read at.
async fn read_by_store(store: &Store<ReadWrite>, book: Book) -> Result<(u32, Bookmark), Error> {
    let history = store.query(Scope::Books(vec![book]).filter()?).await?;
    let last = history.events().last().map(Entry::read).transpose()?;
    Ok((last.map_or(0, |last| last.number), history.bookmark()))
}

/// Returns the book of the next event, which is another one if the last one has enough events, and
/// the number of its last event.
fn next(book: Book, last: u32) -> (Book, u32) {
    match last < EVENTS_PER_BOOK {
        true => (book, last),
        false => (Book { volume: book.volume + 1, ..book }, 0),
    }
}

async fn pause(random: &mut SmallRng) {
    sleep(LONGEST_PAUSE.mul_f64(random.random())).await;
}

const EVENTS_PER_BOOK: u32 = 64;

const LONGEST_PAUSE: Duration = Duration::from_millis(8);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(10);
