//! Appends to be made: their events, and what they stand on.

use eddyline::{AppendCondition, Error, Event, Filter, ReadWrite, Store};
use rand::RngExt;
use rand::rngs::SmallRng;

/// What an append stands on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// The history of a book that only its writer writes to.
    Own,
    /// The history of a book that all writers write to.
    Shared,
    /// Nothing.
    Unconditional,
    /// The history of events that it does not add to: the condition holds as well when the append
    /// has been stored already.
    Foreign,
}

impl Form {
    pub const ALL: [Self; 4] = [Self::Own, Self::Shared, Self::Unconditional, Self::Foreign];
}

/// An append, ready to be sent.
#[derive(Debug)]
pub struct Draft {
    pub events: Vec<Event>,
    pub condition: AppendCondition,
    pub book: String,
}

impl Draft {
    /// Makes events of a book, and reads what their condition stands on.
    pub async fn prepare(
        store: &Store<ReadWrite>,
        form: Form,
        book: &str,
        random: &mut SmallRng,
    ) -> Result<Self, Error> {
        let count = random.random_range(1..=MOST_EVENTS);
        Self::of_events(store, form, book, count, random).await
    }

    /// Makes so many events of a book, and reads what their condition stands on.
    pub async fn of_events(
        store: &Store<ReadWrite>,
        form: Form,
        book: &str,
        count: usize,
        random: &mut SmallRng,
    ) -> Result<Self, Error> {
        let event_type = match form {
            Form::Foreign => "BookCopyAddedToCirculation",
            _ => LENT,
        };
        let events = events_of(event_type, book, count, random)?;
        let condition = match form {
            Form::Unconditional => AppendCondition::none(),
            _ => store.query(&loans_of(book)?).await?.condition(),
        };
        Ok(Self { events, condition, book: book.to_owned() })
    }
}

/// Returns the filter of what histories of a book have.
pub fn loans_of(book: &str) -> Result<Filter, Error> {
    Filter::types([LENT]).any_of([("BookID", book)]).build()
}

/// Makes so many loans of a book.
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

/// The most events of an append.
pub const MOST_EVENTS: usize = 3;
