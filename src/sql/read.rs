use tokio_postgres::Row;
use uuid::Uuid;

use super::filter::{Params, condition, condition_of_found, is_selective, payloads};
use super::param::{Jsonb, Param, Statement, Time};
use crate::error::cause;
use crate::event::StoredEvent;
use crate::log_name::LogName;
use crate::{Error, Query, SequenceNumber, SequencedEvent};

const COLUMNS: &str =
    "sequence_number, event_id, occurred_at, recorded_at, event_type, payload, metadata";

/// A read of the log.
pub(crate) struct Reading<'a> {
    log: &'a LogName,
    what: What<'a>,
}

/// What is read besides the log's end.
enum What<'a> {
    Event(Uuid),
    Events(&'a Query),
    Nothing,
}

impl<'a> Reading<'a> {
    /// Reads the events of a query.
    pub(crate) fn new(log: &'a LogName, query: &'a Query) -> Self {
        Self { log, what: What::Events(query) }
    }

    /// Reads the event of an id.
    pub(crate) fn of_event(log: &'a LogName, id: Uuid) -> Self {
        Self { log, what: What::Event(id) }
    }

    /// Reads the log's end alone.
    pub(crate) fn of_end(log: &'a LogName) -> Self {
        Self { log, what: What::Nothing }
    }

    /// Renders the read of the events of a boundary, of which there are few, after the log's end.
    /// `None` where the payload's index does not find them.
    pub(crate) fn few(&self) -> Option<Statement<'a>> {
        match self.what {
            What::Events(query) if is_selective(&query.filter) => Some(few(self.log, query)),
            _ => None,
        }
    }

    /// Renders the read of the events, however many there are.
    pub(crate) fn all(&self) -> Option<Statement<'a>> {
        match self.what {
            What::Event(id) => Some(event(self.log, id)),
            What::Events(query) => Some(read(self.log, query)),
            What::Nothing => None,
        }
    }

    /// Renders the read of the log's end.
    pub(crate) fn end(&self) -> Statement<'static> {
        head(self.log)
    }
}

/// How many events the payload's index may find for a boundary of few.
const FEW: u32 = 1_000;

/// Renders the read of a boundary's events, to be executed with a
/// [generic plan](super::StatementPlan::Generic). The first row is the log's end. There is no row at
/// all where the payload's index finds more than [`FEW`] events, of whatever type and time: then the
/// plan has to depend on the values.
///
/// The plan is the same whatever is known of the table when it is made, and right however the table
/// grows: of what stands in the materialised part only the payload's index can answer anything, and
/// to read the whole table is turned off. So the types and all else stand outside of it.
fn few<'a>(log: &LogName, query: &'a Query) -> Statement<'a> {
    let table = log.table();
    let mut params = Params::default();
    let found = payloads(&query.filter, &mut params);
    let matching = condition_of_found(&query.filter, &mut params);
    let matching = and_positions(matching, query, &mut params);
    let (order, limit) = order_and_limit(query, &mut params);
    let most = FEW + 1;
    let text = format!(
        "WITH candidate AS MATERIALIZED (
             SELECT {COLUMNS} FROM {table} WHERE {found} LIMIT {most}
         ), found AS MATERIALIZED (
             SELECT count(*) < {most} AS few FROM candidate
         )
         SELECT (SELECT coalesce(max(sequence_number), 0) FROM {table}) AS sequence_number,
             NULL::uuid, NULL::timestamptz, NULL::timestamptz, NULL::text, NULL::jsonb, NULL::jsonb
         FROM found WHERE few
         UNION ALL (
             SELECT {COLUMNS} FROM candidate
             WHERE (SELECT few FROM found) AND {matching}
             ORDER BY sequence_number {order} {limit}
         )"
    );
    Statement { text, params: params.into_vec() }
}

/// Renders the read of a query's events, in the order asked for, to be executed
/// with a [custom plan](super::StatementPlan::Custom).
pub(crate) fn read<'a>(log: &LogName, query: &'a Query) -> Statement<'a> {
    let table = log.table();
    let mut params = Params::default();
    let matching = condition(&query.filter, &mut params);
    let matching = and_positions(matching, query, &mut params);
    let (order, limit) = order_and_limit(query, &mut params);
    // With a limit the planner likes to walk the primary key until it has found enough, which for
    // a boundary of few events is the whole log. The fence keeps it to the payload's index.
    let source = if query.limit.is_some() && is_selective(&query.filter) {
        format!("(SELECT {COLUMNS} FROM {table} WHERE {matching} OFFSET 0) AS matching")
    } else {
        format!("{table} WHERE {matching}")
    };
    let text = format!("SELECT {COLUMNS} FROM {source} ORDER BY sequence_number {order} {limit}");
    Statement { text, params: params.into_vec() }
}

/// Renders the read of the event of an id.
fn event(log: &LogName, id: Uuid) -> Statement<'static> {
    let table = log.table();
    let mut params = Params::default();
    let ids = params.bind(Param::Uuids(vec![id]));
    let text = format!("SELECT {COLUMNS} FROM {table} WHERE event_id = ANY ({ids}::uuid[])");
    Statement { text, params: params.into_vec() }
}

fn and_positions(mut matching: String, query: &Query, params: &mut Params<'_>) -> String {
    if query.after > SequenceNumber::ZERO {
        let after = params.bind(Param::BigInt(query.after.to_bigint()));
        matching += &format!(" AND sequence_number > {after}");
    }
    if let Some(up_to) = query.up_to {
        let up_to = params.bind(Param::BigInt(up_to.to_bigint()));
        matching += &format!(" AND sequence_number <= {up_to}");
    }
    matching
}

fn order_and_limit(query: &Query, params: &mut Params<'_>) -> (&'static str, String) {
    let order = if query.newest_first { "DESC" } else { "ASC" };
    let limit = query.limit.map_or(String::new(), |limit| {
        format!("LIMIT {}", params.bind(Param::BigInt(limit.into())))
    });
    (order, limit)
}

/// Renders the read of the log's end.
pub(crate) fn head(log: &LogName) -> Statement<'static> {
    let table = log.table();
    let text = format!("SELECT coalesce(max(sequence_number), 0) FROM {table}");
    Statement { text, params: Vec::new() }
}

/// Says whether a row is the log's end, and not an event.
pub(crate) fn is_head(row: &Row) -> bool {
    row.len() == 1 || matches!(row.try_get::<_, Option<Uuid>>(1), Ok(None))
}

/// Decodes the row of [`head`], or the first one of [`Reading::few`].
pub(crate) fn decode_head(row: &Row) -> Result<SequenceNumber, Error> {
    let head = row.try_get(0).map_err(|fault| undecodable(row, fault))?;
    Ok(SequenceNumber::from_bigint(head))
}

/// Decodes an event's row.
pub(crate) fn decode_event(row: &Row) -> Result<SequencedEvent, Error> {
    let fault = |fault: tokio_postgres::Error| undecodable(row, fault);
    let number: i64 = row.try_get(0).map_err(fault)?;
    let Time(occurred_at) = row.try_get(2).map_err(fault)?;
    let Time(recorded_at) = row.try_get(3).map_err(fault)?;
    let Jsonb(payload) = row.try_get(5).map_err(fault)?;
    let Jsonb(metadata) = row.try_get(6).map_err(fault)?;
    let stored = StoredEvent {
        id: row.try_get(1).map_err(fault)?,
        event_type: row.try_get(4).map_err(fault)?,
        occurred_at,
        payload,
        metadata,
    };
    let number = SequenceNumber::from_bigint(number);
    Ok(SequencedEvent::new(stored.into(), number, recorded_at))
}

/// Names the event of a row as far as it can be read.
fn undecodable(row: &Row, fault: tokio_postgres::Error) -> Error {
    Error::Decode {
        sequence_number: SequenceNumber::from_bigint(row.try_get(0).unwrap_or_default()),
        event_type: row.try_get(4).unwrap_or_default(),
        event_id: row.try_get(1).ok(),
        source: cause(fault),
    }
}
