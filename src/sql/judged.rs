use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::filter::Params;
use super::param::{Jsonb, Param, Statement, Time};
use crate::event::StoredEvent;
use crate::log::LogName;
use crate::{Event, SequenceNumber};

/// Renders the call that stores events whose conditions were judged by whoever knows the log up to
/// this end; where it ends elsewhere by now, nothing is stored. Without an end it is stored
/// whatever came last.
///
/// Run on its own it is a transaction of its own, which takes the log's lock. See [`Stored`].
pub(crate) fn store<'a>(
    log: &LogName,
    end: Option<SequenceNumber>,
    events: impl Iterator<Item = &'a Event> + Clone,
) -> Statement<'a> {
    let mut params = Params::default();
    let end = params.bind(match end {
        Some(end) => Param::BigInt(end.to_bigint()),
        None => Param::Null,
    });
    let events = bind_events(events, &mut params);
    let function = log.append_function();
    Statement {
        text: format!("SELECT head, numbers FROM {function}({end}, {events})"),
        params: params.into_vec(),
    }
}

/// Binds events as the arrays of their columns, in the order of [`COLUMNS`].
fn bind_events<'a>(
    events: impl Iterator<Item = &'a Event> + Clone,
    params: &mut Params<'a>,
) -> String {
    let ids: Vec<Uuid> = events.clone().map(Event::id).collect();
    let times: Vec<Timestamp> = events.clone().map(Event::occurred_at).collect();
    let columns = [
        params.bind(Param::Uuids(ids)),
        params.bind(Param::Times(times)),
        params.bind(Param::Texts(events.clone().map(Event::event_type).collect())),
        params.bind(Param::Jsonbs(events.clone().map(Event::payload_json).collect())),
        params.bind(Param::Jsonbs(events.map(Event::metadata_json).collect())),
    ];
    columns.join(", ")
}

/// What the call of [`store`] answered.
pub(crate) struct Stored {
    /// Where the log ended before.
    pub(crate) head: SequenceNumber,
    /// The events' places in their order, where they were stored.
    pub(crate) numbers: Option<Vec<SequenceNumber>>,
}

impl Stored {
    pub(crate) fn decode(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let numbers: Option<Vec<i64>> = row.try_get(1)?;
        let mut numbers: Option<Vec<_>> =
            numbers.map(|numbers| numbers.into_iter().map(SequenceNumber::from_bigint).collect());
        // They ascend in the order of the events.
        if let Some(numbers) = &mut numbers {
            numbers.sort_unstable();
        }
        Ok(Self { head: SequenceNumber::from_bigint(row.try_get(0)?), numbers })
    }
}

/// Renders the question what came after an end of the log; the newest events first, as many as
/// may be. A payload that is larger is left out.
pub(crate) fn news(
    log: &LogName,
    after: SequenceNumber,
    most: usize,
    max_payload: usize,
) -> Statement<'static> {
    let table = log.table();
    let mut params = Params::default();
    let after = params.bind(Param::BigInt(after.to_bigint()));
    let most = params.bind(Param::BigInt(i64::try_from(most).unwrap_or(i64::MAX)));
    let max_payload = params.bind(Param::BigInt(i64::try_from(max_payload).unwrap_or(i64::MAX)));
    let text = format!(
        "SELECT sequence_number, event_type, occurred_at,
             CASE WHEN pg_column_size(payload) <= {max_payload}::bigint THEN payload END
         FROM {table} WHERE sequence_number > {after}
         ORDER BY sequence_number DESC LIMIT {most}"
    );
    Statement { text, params: params.into_vec() }
}

/// Decodes a row of [`news`]: an event's place and, where its payload was not too large, the event
/// as filters see it.
pub(crate) fn decode_news(
    row: &Row,
) -> Result<(SequenceNumber, Option<Event>), tokio_postgres::Error> {
    let number = SequenceNumber::from_bigint(row.try_get(0)?);
    let Time(occurred_at) = row.try_get(2)?;
    let event_type = row.try_get::<_, &str>(1)?.into();
    let payload: Option<Jsonb<'_>> = row.try_get(3)?;
    let event = payload.map(|Jsonb(payload)| {
        let (payload, metadata) = (payload.into(), "{}".into());
        Event::from(StoredEvent { id: Uuid::nil(), event_type, occurred_at, payload, metadata })
    });
    Ok((number, event))
}
