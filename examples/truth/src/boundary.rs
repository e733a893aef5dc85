//! The events that the program appends, and the filters that find them.

use eddyline::{Error, Event, Filter};
use serde_json::json;

/// Makes a loan of a book.
///
/// # Errors
///
/// Does not fail.
pub fn loan(book: u32) -> Result<Event, Error> {
    Event::new(LENT, &json!({ "BookID": format!("b-{book}"), "ReaderID": "r-1" }))
}

/// Makes an event of a book that is not a loan.
///
/// # Errors
///
/// Does not fail.
pub fn note(book: u32) -> Result<Event, Error> {
    Event::new(NOTED, &json!({ "BookID": format!("b-{book}"), "Note": "a page is torn" }))
}

/// Returns the filter for the loans of a book.
///
/// # Errors
///
/// Does not fail.
pub fn loans_of(book: u32) -> Result<Filter, Error> {
    Filter::types([LENT]).any_of([("BookID", format!("b-{book}"))]).build()
}

/// The type of a loan.
pub const LENT: &str = "BookCopyLentToReader";
const NOTED: &str = "BookCopyNoted";
