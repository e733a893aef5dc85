//! Appends that are ready to be sent: their events and their conditions.

use eddyline::{AppendCondition, Error, Event, Filter, ReadWrite, Store};
use rand::RngExt;
use rand::rngs::SmallRng;

/// The kind of an append's condition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConditionKind {
    /// The history of a book with a single writer.
    Own,
    /// The history of a book that all writers append to.
    Shared,
    /// No condition.
    Unconditional,
    /// The history of other events than those of the append, so the condition also holds after the
    /// append has been stored.
    Foreign,
}

impl ConditionKind {
    pub const ALL: [Self; 4] = [Self::Own, Self::Shared, Self::Unconditional, Self::Foreign];
}

/// An append that is ready to be sent.
#[derive(Debug)]
pub struct Draft {
    pub events: Vec<Event>,
    pub condition: AppendCondition,
    pub book: String,
}

impl Draft {
    /// Makes a random number of events of a book, and reads their condition.
    pub async fn prepare(
        store: &Store<ReadWrite>,
        kind: ConditionKind,
        book: &str,
        random: &mut SmallRng,
    ) -> Result<Self, Error> {
        let count = random.random_range(1..=MOST_EVENTS);
        Self::of_events(store, kind, book, count, random).await
    }

    /// Makes `count` events of a book, and reads their condition.
    pub async fn of_events(
        store: &Store<ReadWrite>,
        kind: ConditionKind,
        book: &str,
        count: usize,
        random: &mut SmallRng,
    ) -> Result<Self, Error> {
        let event_type = match kind {
            ConditionKind::Foreign => "BookCopyAddedToCirculation",
            _ => LENT,
        };
        let events = events_of(event_type, book, count, random)?;
        let condition = match kind {
            ConditionKind::Unconditional => AppendCondition::none(),
            _ => store.query(&loans_of(book)?).await?.condition(),
        };
        Ok(Self { events, condition, book: book.to_owned() })
    }
}

/// Returns the filter for the history of a book.
pub fn loans_of(book: &str) -> Result<Filter, Error> {
    Filter::types([LENT]).any_of([("BookID", book)]).build()
}

/// Makes `count` loans of a book.
pub fn loans(book: &str, count: usize, random: &mut SmallRng) -> Result<Vec<Event>, Error> {
    events_of(LENT, book, count, random)
}

fn events_of(
    event_type: &str,
    book: &str,
    count: usize,
    random: &mut SmallRng,
) -> Result<Vec<Event>, Error> {
    let payload = format!(r#"{{"BookID":"{book}"}}"#);
    let events = (0..count).map(|_| {
        let id = uuid::Builder::from_random_bytes(random.random()).into_uuid();
        Event::from_json(event_type, payload.as_str())?.with_id(id)
    });
    events.collect()
}

const LENT: &str = "BookCopyLentToReader";

/// The maximum number of events of an append.
pub const MOST_EVENTS: usize = 3;
