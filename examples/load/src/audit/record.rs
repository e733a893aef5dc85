use eddyline::SequencedEvent;
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use crate::replies::{CommandName, subject_hash};

/// An event of the library, as the audit reads it.
#[derive(Debug)]
pub struct Record {
    /// The command that stores such events.
    pub command: CommandName,
    /// The book. Nil if the event is not about a book.
    pub book: Uuid,
    /// The reader. Nil if the event is not about a reader.
    pub reader: Uuid,
    /// The time of the event.
    pub occurred_at: Timestamp,
    /// The contents.
    pub details: Details,
}

/// The contents of an event other than its ids and its time.
#[derive(Debug)]
pub enum Details {
    /// The data of a book that was added.
    Book(Book),
    /// The rules forbade the command, for this reason.
    Failure(String),
    /// The name of a reader who was registered.
    Name(String),
    /// There are none.
    None,
}

/// The data of a book.
#[derive(Debug)]
pub struct Book {
    /// The ISBN.
    pub isbn: String,
    /// The title.
    pub title: String,
    /// The authors.
    pub authors: String,
    /// The edition.
    pub edition: String,
    /// The publisher.
    pub publisher: String,
    /// The year of publication.
    pub publication_year: i64,
}

/// An event that is not one of the library.
#[derive(Debug, thiserror::Error)]
pub enum ForeignEvent {
    /// The library has no such event type.
    #[error("the library has no such event type")]
    Type,
    /// The payload lacks a field.
    #[error("its payload has no {0}")]
    Missing(&'static str),
    /// The payload or a field of it has another type.
    #[error("its payload cannot be read: {0}")]
    Payload(serde_json::Error),
    /// The metadata lacks an id.
    #[error("its metadata cannot be read: {0}")]
    Metadata(serde_json::Error),
    /// The time is not in whole microseconds.
    #[error("its OccurredAt is not in whole microseconds")]
    Time,
}

impl Record {
    /// Reads an event.
    pub fn read(event: &SequencedEvent) -> Result<Self, ForeignEvent> {
        let (command, is_failure) = command_of(event.event_type()).ok_or(ForeignEvent::Type)?;
        let payload: Payload =
            serde_json::from_str(event.payload_json()).map_err(ForeignEvent::Payload)?;
        let occurred_at = required(payload.occurred_at, "OccurredAt")?;
        if occurred_at.subsec_nanosecond() % 1_000 != 0 {
            return Err(ForeignEvent::Time);
        }
        let (has_book, has_reader) = subject_of(command);
        let book = if has_book { required(payload.book, "BookID")? } else { Uuid::nil() };
        let reader = if has_reader { required(payload.reader, "ReaderID")? } else { Uuid::nil() };
        let details = payload.details(command, is_failure)?;
        Ok(Self { command, book, reader, occurred_at, details })
    }

    /// Checks the metadata of an event. Nothing else depends on them: the library does not read
    /// them.
    ///
    /// # Errors
    ///
    /// [`ForeignEvent::Metadata`].
    pub fn check_metadata(event: &SequencedEvent) -> Result<(), ForeignEvent> {
        let read: Result<Metadata, _> = serde_json::from_str(event.metadata_json());
        read.map(|_| ()).map_err(ForeignEvent::Metadata)
    }

    /// Returns the hash of the book and the reader.
    pub fn subject_hash(&self) -> u64 {
        subject_hash(self.book, self.reader)
    }
}

/// Returns the command that stores events of a type, and whether such an event says that the
/// command was rejected.
fn command_of(event_type: &str) -> Option<(CommandName, bool)> {
    CommandName::ALL.into_iter().find_map(|command| {
        if command.success_type() == event_type {
            return Some((command, false));
        }
        (command.failure_type() == Some(event_type)).then_some((command, true))
    })
}

/// Returns whether a command is about a book, and whether it is about a reader.
fn subject_of(command: CommandName) -> (bool, bool) {
    match command {
        CommandName::AddBookCopy | CommandName::RemoveBookCopy => (true, false),
        CommandName::CancelReaderContract | CommandName::RegisterReader => (false, true),
        CommandName::LendBookCopyToReader | CommandName::ReturnBookCopyFromReader => (true, true),
    }
}

fn required<T>(field: Option<T>, name: &'static str) -> Result<T, ForeignEvent> {
    field.ok_or(ForeignEvent::Missing(name))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Payload {
    #[serde(rename = "BookID")]
    book: Option<Uuid>,
    #[serde(rename = "ReaderID")]
    reader: Option<Uuid>,
    occurred_at: Option<Timestamp>,
    failure_info: Option<String>,
    name: Option<String>,
    #[serde(rename = "ISBN")]
    isbn: Option<String>,
    title: Option<String>,
    authors: Option<String>,
    edition: Option<String>,
    publisher: Option<String>,
    publication_year: Option<i64>,
}

impl Payload {
    fn details(self, command: CommandName, is_failure: bool) -> Result<Details, ForeignEvent> {
        Ok(match command {
            _ if is_failure => Details::Failure(required(self.failure_info, "FailureInfo")?),
            CommandName::AddBookCopy => Details::Book(Book {
                isbn: required(self.isbn, "ISBN")?,
                title: required(self.title, "Title")?,
                authors: required(self.authors, "Authors")?,
                edition: required(self.edition, "Edition")?,
                publisher: required(self.publisher, "Publisher")?,
                publication_year: required(self.publication_year, "PublicationYear")?,
            }),
            CommandName::RegisterReader => Details::Name(required(self.name, "Name")?),
            _ => Details::None,
        })
    }
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "the ids only have to be there")]
struct Metadata {
    #[serde(rename = "MessageID")]
    message: Uuid,
    #[serde(rename = "CausationID")]
    causation: Uuid,
    #[serde(rename = "CorrelationID")]
    correlation: Uuid,
}
