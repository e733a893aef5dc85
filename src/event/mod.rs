//! Events, before and after they are stored.

mod sequenced;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

pub use self::sequenced::SequencedEvent;
use crate::json;
use crate::limits::{MAX_EVENT_TYPE_BYTES, MAX_JSON_BYTES};
use crate::{Error, SequenceNumber};

/// An event to append to a log.
///
/// Payload and metadata are JSON objects. An event holds them as text, which is checked when the
/// event is made. Filters select by the payload, not by the metadata: put into the payload what
/// filters need.
///
/// The server stores both as `jsonb`, which keeps the meaning of the text and not its spelling. An
/// event that was read back has its keys in another order, has only the last of several equal keys,
/// and has its numbers written out (1e2 becomes 100). Every number is equal to the one that was
/// appended, including every finite `f64` and `f32`.
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
    /// Makes an event with a new id, the current time and no metadata.
    ///
    /// NaN and infinities are refused, since JSON has no number for them. A `serde_json::Value`
    /// cannot hold them either: `serde_json::json!` converts them to `null`, which is accepted.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEvent`] if the type is empty, longer than [`MAX_EVENT_TYPE_BYTES`] or
    /// contains U+0000; if the payload is not a JSON object, is larger than [`MAX_JSON_BYTES`], is
    /// nested deeper than 127 levels, contains NaN or an infinity, or contains what `jsonb`
    /// refuses: U+0000, an unpaired surrogate, or a number outside the range of `numeric`.
    pub fn new(event_type: impl Into<String>, payload: &impl Serialize) -> Result<Self, Error> {
        Self::from_json(event_type, to_json("payload", payload)?)
    }

    /// Makes an event from a payload that is JSON text already.
    ///
    /// ```
    /// use eddyline::Event;
    ///
    /// let event = Event::from_json("ReaderRegistered", r#"{"ReaderID":"r-1"}"#)?;
    /// assert_eq!(event.event_type(), "ReaderRegistered");
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The same as those of [`new`](Self::new).
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
    /// Derive the id from the command's own id to make an append idempotent across restarts: an
    /// event that is appended again with the same id and contents is stored once.
    ///
    /// ```
    /// use eddyline::Event;
    /// use eddyline::uuid::Uuid;
    ///
    /// let id: Uuid = "018f4e6a-0000-7000-8000-000000000001".parse().unwrap();
    /// let event = Event::from_json("ReaderRegistered", r#"{"ReaderID":"r-1"}"#)?.with_id(id)?;
    /// assert_eq!(event.id(), id);
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEvent`] if the id is nil.
    pub fn with_id(self, id: Uuid) -> Result<Self, Error> {
        if id.is_nil() {
            return Err(Error::invalid_event("id", "is nil"));
        }
        Ok(Self { id, ..self })
    }

    /// Sets when the event happened, truncated to whole microseconds. Defaults to the time when the
    /// event was made.
    ///
    /// ```
    /// use eddyline::Event;
    ///
    /// let event = Event::from_json("ReaderRegistered", r#"{"ReaderID":"r-1"}"#)?
    ///     .with_occurred_at("2026-01-01T09:30:00Z".parse().unwrap())?;
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEvent`] if the time lies before 4713 BC or after 30 December 9999, 22:00
    /// UTC: the range that both the server and jiff can represent.
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
    /// ```
    /// use eddyline::Event;
    /// use serde_json::json;
    ///
    /// let event = Event::new("ReaderRegistered", &json!({ "ReaderID": "r-1" }))?
    ///     .with_metadata(&json!({ "CorrelationID": "c-42" }))?;
    /// assert_eq!(event.metadata_json(), r#"{"CorrelationID":"c-42"}"#);
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEvent`] if the metadata breaks a rule of payloads, see [`new`](Self::new).
    pub fn with_metadata(self, metadata: &impl Serialize) -> Result<Self, Error> {
        let metadata = checked("metadata", to_json("metadata", metadata)?)?;
        let texts = Texts::new(self.event_type(), self.payload_json(), &metadata);
        Ok(Self { texts, ..self })
    }

    /// Returns the id, which is unique in a log.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Returns the event type.
    pub fn event_type(&self) -> &str {
        self.texts.event_type()
    }

    /// Returns when the event happened, by the clock of the program that made it.
    pub fn occurred_at(&self) -> Timestamp {
        self.occurred_at
    }

    /// Decodes the payload.
    ///
    /// # Errors
    ///
    /// [`Error::Payload`] if the payload does not have the shape of `T`.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.decode("payload", self.payload_json(), None)
    }

    /// Returns the payload as JSON text.
    pub fn payload_json(&self) -> &str {
        self.texts.payload()
    }

    /// Decodes the metadata.
    ///
    /// # Errors
    ///
    /// [`Error::Payload`] if the metadata does not have the shape of `T`.
    pub fn metadata<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.decode("metadata", self.metadata_json(), None)
    }

    /// Returns the metadata as JSON text.
    pub fn metadata_json(&self) -> &str {
        self.texts.metadata()
    }

    fn decode<T: DeserializeOwned>(
        &self,
        field: &'static str,
        json: &str,
        position: Option<SequenceNumber>,
    ) -> Result<T, Error> {
        serde_json::from_str(json).map_err(|error| Error::Payload {
            event_type: self.event_type().to_owned(),
            event_id: self.id,
            position,
            field,
            source: Arc::new(error),
        })
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

/// The fields of an event as a row holds them. They were checked before they were stored, so a read
/// does not check them again: that would cost more than decoding them.
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

/// The event type, payload and metadata, in one allocation instead of three.
#[derive(Clone, Eq, PartialEq)]
struct Texts {
    joined: Box<str>,
    /// The byte range of the payload.
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

/// Checks an event type. The error is the reason.
pub(crate) fn check_event_type(event_type: &str) -> Result<(), &'static str> {
    match event_type {
        "" => Err("is empty"),
        long if long.len() > MAX_EVENT_TYPE_BYTES => Err("is longer than 255 bytes"),
        nul if nul.contains('\0') => Err("contains U+0000, which PostgreSQL cannot store"),
        _ => Ok(()),
    }
}

fn to_json(field: &'static str, value: &impl Serialize) -> Result<String, Error> {
    json::to_text(value).map_err(|reason| Error::invalid_event(field, reason))
}

fn checked(field: &'static str, json: String) -> Result<String, Error> {
    if json.len() > MAX_JSON_BYTES {
        let reason = format!("has {} bytes, at most {MAX_JSON_BYTES} are allowed", json.len());
        return Err(Error::invalid_event(field, reason));
    }
    json::check_object(&json).map_err(|reason| Error::invalid_event(field, reason))?;
    Ok(json)
}

/// Truncates a time to the precision of the server, so that storing an event does not change it.
pub(crate) fn floor_to_microsecond(time: Timestamp) -> Timestamp {
    let microseconds = time.as_nanosecond().div_euclid(1_000);
    i64::try_from(microseconds)
        .ok()
        .and_then(|microseconds| Timestamp::from_microsecond(microseconds).ok())
        .unwrap_or(time)
}

/// The first day of PostgreSQL's calendar, 24 November 4714 BC in the proleptic Gregorian calendar.
pub(crate) const EARLIEST: Timestamp = Timestamp::constant(-210_866_803_200, 0);

/// The last time that jiff can represent in every time zone, before PostgreSQL's own limit. A
/// constraint of the table checks the same.
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
    fn refuses_a_payload_that_is_not_an_object() {
        for refused in [Event::new("BookLent", &7), Event::new("BookLent", &[1, 2])] {
            assert!(matches!(refused, Err(Error::InvalidEvent { field: "payload", .. })));
        }
    }

    #[test]
    fn refuses_a_payload_above_the_size_limit() {
        let payload = format!(r#"{{"Title":"{}"}}"#, "x".repeat(MAX_JSON_BYTES));

        let refused = Event::from_json("BookCopyAddedToCirculation", payload);

        assert!(matches!(refused, Err(Error::InvalidEvent { field: "payload", .. })));
    }

    #[test]
    fn truncates_its_time_to_microseconds() {
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
    fn refuses_a_time_before_postgresqls_calendar() {
        let event = Event::from_json("BookLent", "{}").unwrap();

        assert!(event.clone().with_occurred_at(EARLIEST).is_ok());
        assert!(event.with_occurred_at(Timestamp::MIN).is_err());
    }

    #[test]
    fn debug_output_contains_neither_payload_nor_metadata() {
        let event = Event::from_json("ReaderRegistered", r#"{"Name":"Ada"}"#).unwrap();

        assert!(!format!("{event:?}").contains("Ada"));
    }
}
