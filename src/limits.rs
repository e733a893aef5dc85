//! The limits of events, appends and filters.

/// The longest event type, in bytes.
pub const MAX_EVENT_TYPE_BYTES: usize = 255;

/// The largest payload and the largest metadata of an event, in bytes of JSON text.
///
/// `jsonb` has limits of its own: an object may take up to 256 MB in its binary form. The server
/// refuses a payload of some 20 million small numbers.
pub const MAX_JSON_BYTES: usize = 64 << 20;

/// The most events of one append.
pub const MAX_APPEND_EVENTS: usize = 100_000;

/// The most bytes of payload and metadata of one append.
pub const MAX_APPEND_BYTES: usize = 256 << 20;

/// The most event types and predicate values of one filter.
pub const MAX_FILTER_TERMS: usize = 10_000;
