use std::fmt;
use std::ops::{Deref, Range};

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::error::cause;
use crate::json;
use crate::limits::{MAX_EVENT_TYPE_BYTES, MAX_JSON_BYTES};
use crate::{Error, SequenceNumber};

/// An event to append to a log.
///
/// Payload and metadata are JSON objects. They are held as text and checked when the event is made.
/// Filters select by the payload, not by the metadata: what a filter asks for belongs in the
/// payload. Both are stored as `jsonb`, which keeps their meaning and not their spelling: read back, keys are in
/// another order, of equal keys in one object the last is kept, and numbers are written out (1e2 is
/// 100). Every number comes back equal, every finite `f64` and `f32` among them.
///
/// ```
/// use eddyline::Event;
///
/// #[derive(serde::Deserialize, serde::Serialize)]
/// struct Lent {
///     #[serde(rename = "BookID")]
///     book: u64,
/// }
///
/// let event = Event::new("BookCopyLentToReader", &Lent { book: 7 })?;
/// assert_eq!(event.payload_json(), r#"{"BookID":7}"#);
/// assert_eq!(event.payload::<Lent>()?.book, 7);
/// # Ok::<(), eddyline::Error>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Event {
    id: Uuid,
    occurred_at: Timestamp,
    texts: Texts,
}

impl Event {
    /// Makes an event that happens now, with a new id and without metadata.
    ///
    /// NaN and infinities are refused, since JSON has no number for them. A `serde_json::Value` has
    /// none either: `serde_json::json!` makes null of them before there is an event, which is taken.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEvent`] if the type is empty, longer than [`MAX_EVENT_TYPE_BYTES`] or holds
    /// U+0000; if the payload is not a JSON object, is larger than [`MAX_JSON_BYTES`], is nested
    /// deeper than 127 levels, holds NaN or an infinity, or holds what
    /// `jsonb` refuses: U+0000, half of a surrogate pair, or a number out of the range of `numeric`.
    pub fn new(event_type: impl Into<String>, payload: &impl Serialize) -> Result<Self, Error> {
        Self::from_json(event_type, to_json("payload", payload)?)
    }

    /// Makes an event, as [`new`](Self::new) does, of a payload that is JSON text already.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn from_json(
        event_type: impl Into<String>,
        payload: impl Into<String>,
    ) -> Result<Self, Error> {
        let event_type = event_type.into();
        check_event_type(&event_type)
            .map_err(|reason| Error::invalid_event("event type", reason))?;
        Ok(Self {
            id: Uuid::now_v7(),
            occurred_at: floor_to_microsecond(Timestamp::now()),
            texts: Texts::new(&event_type, &checked("payload", payload.into())?, "{}"),
        })
    }

    /// Sets the id. Defaults to a new UUID of version 7.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEvent`] where the id is nil.
    pub fn with_id(self, id: Uuid) -> Result<Self, Error> {
        if id.is_nil() {
            return Err(Error::invalid_event("id", "is nil"));
        }
        Ok(Self { id, ..self })
    }

    /// Sets when it happened, cut to whole microseconds. Defaults to the time of its making.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEvent`] where the time lies before 4713 BC, or after 30 December 9999, 22:00 UTC:
    /// what the server, and what jiff, can hold.
    pub fn with_occurred_at(self, occurred_at: Timestamp) -> Result<Self, Error> {
        if occurred_at < EARLIEST {
            return Err(Error::invalid_event("occurred at", "lies before 4713 BC"));
        }
        if occurred_at > LATEST {
            return Err(Error::invalid_event("occurred at", "lies after 9999-12-30T22:00:00Z"));
        }
        Ok(Self { occurred_at: floor_to_microsecond(occurred_at), ..self })
    }

    /// Sets the metadata, a JSON object. Defaults to `{}`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEvent`] where the metadata is what a payload may not be.
    pub fn with_metadata(self, metadata: &impl Serialize) -> Result<Self, Error> {
        let metadata = checked("metadata", to_json("metadata", metadata)?)?;
        let texts = Texts::new(self.event_type(), self.payload_json(), &metadata);
        Ok(Self { texts, ..self })
    }

    /// Returns the id, which no other event should have.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Returns the event type.
    pub fn event_type(&self) -> &str {
        self.texts.event_type()
    }

    /// Returns when it happened, by the clock of who made it.
    pub fn occurred_at(&self) -> Timestamp {
        self.occurred_at
    }

    /// Decodes the payload.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEvent`] where the payload does not have the shape of `T`.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Error> {
        from_json("payload", self.payload_json())
    }

    /// Returns the payload as JSON text.
    pub fn payload_json(&self) -> &str {
        self.texts.payload()
    }

    /// Decodes the metadata.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEvent`] where the metadata does not have the shape of `T`.
    pub fn metadata<T: DeserializeOwned>(&self) -> Result<T, Error> {
        from_json("metadata", self.metadata_json())
    }

    /// Returns the metadata as JSON text.
    pub fn metadata_json(&self) -> &str {
        self.texts.metadata()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id)
            .field("event_type", &self.event_type())
            .field("occurred_at", &self.occurred_at)
            .finish_non_exhaustive()
    }
}

/// Is an [`Event`] as it stands in its log: with its place, and the time it was stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SequencedEvent {
    event: Event,
    sequence_number: SequenceNumber,
    recorded_at: Timestamp,
}

impl SequencedEvent {
    /// Puts an event at a place of a log, as a read would, for tests of what folds events.
    pub fn new(event: Event, sequence_number: SequenceNumber, recorded_at: Timestamp) -> Self {
        Self { event, sequence_number, recorded_at }
    }

    /// Returns its place in the log.
    pub fn sequence_number(&self) -> SequenceNumber {
        self.sequence_number
    }

    /// Returns when it was stored, by the clock of the server.
    pub fn recorded_at(&self) -> Timestamp {
        self.recorded_at
    }

    /// Decodes the payload.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if the payload does not have the shape of `T`. It names the event.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.event.payload().map_err(|fault| self.undecodable(fault))
    }

    /// Decodes the metadata.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if the metadata does not have the shape of `T`. It names the event.
    pub fn metadata<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.event.metadata().map_err(|fault| self.undecodable(fault))
    }

    fn undecodable(&self, fault: Error) -> Error {
        Error::Decode {
            sequence_number: self.sequence_number,
            event_type: self.event_type().to_owned(),
            event_id: Some(self.id),
            source: cause(fault),
        }
    }
}

impl Deref for SequencedEvent {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.event
    }
}

/// The fields of an event as the server holds them. They passed its checks; checking them again on
/// each read would cost more than decoding them.
pub(crate) struct StoredEvent<'a> {
    pub(crate) id: Uuid,
    pub(crate) event_type: &'a str,
    pub(crate) occurred_at: Timestamp,
    pub(crate) payload: &'a str,
    pub(crate) metadata: &'a str,
}

impl From<StoredEvent<'_>> for Event {
    fn from(stored: StoredEvent<'_>) -> Self {
        let StoredEvent { id, event_type, occurred_at, payload, metadata } = stored;
        Self { id, occurred_at, texts: Texts::new(event_type, payload, metadata) }
    }
}

/// Event type, payload and metadata, one behind the other: an event that is read is one allocation,
/// and not three.
#[derive(Clone, Eq, PartialEq)]
struct Texts {
    joined: Box<str>,
    /// Where the payload begins, and where it ends.
    payload: Range<usize>,
}

impl Texts {
    fn new(event_type: &str, payload: &str, metadata: &str) -> Self {
        let begin = event_type.len();
        let range = begin..begin + payload.len();
        let mut joined = String::with_capacity(range.end + metadata.len());
        for text in [event_type, payload, metadata] {
            joined.push_str(text);
        }
        Self { joined: joined.into(), payload: range }
    }

    fn event_type(&self) -> &str {
        &self.joined[..self.payload.start]
    }

    fn payload(&self) -> &str {
        &self.joined[self.payload.clone()]
    }

    fn metadata(&self) -> &str {
        &self.joined[self.payload.end..]
    }
}

/// Says what is wrong with an event type.
pub(crate) fn check_event_type(event_type: &str) -> Result<(), &'static str> {
    match event_type {
        "" => Err("is empty"),
        long if long.len() > MAX_EVENT_TYPE_BYTES => Err("is longer than 255 bytes"),
        nul if nul.contains('\0') => Err("holds U+0000, which PostgreSQL cannot store"),
        _ => Ok(()),
    }
}

fn to_json(field: &'static str, value: &impl Serialize) -> Result<String, Error> {
    json::to_text(value).map_err(|reason| Error::invalid_event(field, reason))
}

fn from_json<T: DeserializeOwned>(field: &'static str, json: &str) -> Result<T, Error> {
    serde_json::from_str(json)
        .map_err(|fault| Error::invalid_event(field, format!("cannot be decoded: {fault}")))
}

fn checked(field: &'static str, json: String) -> Result<String, Error> {
    if json.len() > MAX_JSON_BYTES {
        let reason = format!("has {} bytes, the most are {MAX_JSON_BYTES}", json.len());
        return Err(Error::invalid_event(field, reason));
    }
    json::check_object(&json).map_err(|reason| Error::invalid_event(field, reason))?;
    Ok(json)
}

/// Cuts a time to the precision of the server, so that an event does not change by being stored.
pub(crate) fn floor_to_microsecond(time: Timestamp) -> Timestamp {
    let microseconds = time.as_nanosecond().div_euclid(1_000);
    i64::try_from(microseconds)
        .ok()
        .and_then(|microseconds| Timestamp::from_microsecond(microseconds).ok())
        .unwrap_or(time)
}

/// The start of PostgreSQL's calendar, 24 November 4714 BC by the Gregorian calendar; jiff's own
/// calendar ends before PostgreSQL's does.
pub(crate) const EARLIEST: Timestamp = Timestamp::constant(-210_866_803_200, 0);

/// The last microsecond that jiff converts from; the schema checks the same.
const LATEST: Timestamp = Timestamp::constant(253_402_207_200, 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_an_event_type_that_the_log_cannot_hold() {
        for event_type in ["", "Book\0Lent", &"B".repeat(MAX_EVENT_TYPE_BYTES + 1)] {
            let refused = Event::from_json(event_type, "{}");

            assert!(matches!(refused, Err(Error::InvalidEvent { field: "event type", .. })));
        }
    }

    #[test]
    fn refuses_a_payload_that_is_no_object() {
        for refused in [Event::new("BookLent", &7), Event::new("BookLent", &[1, 2])] {
            assert!(matches!(refused, Err(Error::InvalidEvent { field: "payload", .. })));
        }
    }

    #[test]
    fn refuses_a_payload_beyond_the_largest() {
        let payload = format!(r#"{{"Title":"{}"}}"#, "x".repeat(MAX_JSON_BYTES));

        let refused = Event::from_json("BookCopyAddedToCirculation", payload);

        assert!(matches!(refused, Err(Error::InvalidEvent { field: "payload", .. })));
    }

    #[test]
    fn cuts_its_time_to_what_the_server_keeps() {
        let event = Event::from_json("BookLent", "{}").unwrap();

        for (given, kept) in [
            ("2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00.123456Z"),
            ("1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999Z"),
        ] {
            let event = event.clone().with_occurred_at(given.parse().unwrap()).unwrap();
            assert_eq!(event.occurred_at(), kept.parse().unwrap());
        }
    }

    #[test]
    fn refuses_a_time_before_the_servers_calendar() {
        let event = Event::from_json("BookLent", "{}").unwrap();

        assert!(event.clone().with_occurred_at(EARLIEST).is_ok());
        assert!(event.with_occurred_at(Timestamp::MIN).is_err());
    }

    #[test]
    fn shows_neither_payload_nor_metadata_when_debugged() {
        let event = Event::from_json("ReaderRegistered", r#"{"Name":"Ada"}"#).unwrap();

        assert!(!format!("{event:?}").contains("Ada"));
    }
}
