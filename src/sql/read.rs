use std::fmt::Write as _;

use tokio_postgres::Row;
use uuid::Uuid;

use super::filter::{condition, is_selective, payload_condition, remaining_condition};
use super::param::{Jsonb, Param, Time};
use super::statement::{Params, Statement};
use crate::error::cause;
use crate::event::StoredEvent;
use crate::log_name::LogName;
use crate::{Error, Query, SequenceNumber, SequencedEvent};

const COLUMNS: &str =
    "sequence_number, event_id, occurred_at, recorded_at, event_type, payload, metadata";

/// A read of the log's head and, as a rule, of events.
pub(crate) struct Reading<'a> {
    log: &'a LogName,
    target: Target<'a>,
}

/// The events that are read besides the head.
enum Target<'a> {
    Event(Uuid),
    Events(&'a Query),
    None,
}

impl<'a> Reading<'a> {
    /// Makes a read of the events of a query.
    pub(crate) fn new(log: &'a LogName, query: &'a Query) -> Self {
        Self { log, target: Target::Events(query) }
    }

    /// Makes a read of the event with an id.
    pub(crate) fn of_event(log: &'a LogName, id: Uuid) -> Self {
        Self { log, target: Target::Event(id) }
    }

    /// Makes a read of the head alone.
    pub(crate) fn of_head(log: &'a LogName) -> Self {
        Self { log, target: Target::None }
    }

    /// Renders the read of the head and the events in one statement, for a boundary with few
    /// events. Returns `None` if the GIN index on the payload does not find the events of the
    /// filter.
    pub(crate) fn few(&self) -> Option<Statement<'a>> {
        match self.target {
            Target::Events(query) if is_selective(&query.filter) => Some(few(self.log, query)),
            _ => None,
        }
    }

    /// Renders the read of the events, for any number of events. The head has to be read before
    /// (Lemma 7).
    pub(crate) fn all(&self) -> Option<Statement<'a>> {
        match self.target {
            Target::Event(id) => Some(event(self.log, id)),
            Target::Events(query) => Some(read(self.log, query)),
            Target::None => None,
        }
    }

    /// Renders the read of the head.
    pub(crate) fn head(&self) -> Statement<'static> {
        head(self.log)
    }
}

/// The most events that the GIN index on the payload may find for the statement of [`few`].
const FEW: u32 = 1_000;

/// Renders the read of the head and of a boundary's events, for a [generic
/// plan](super::StatementPlan::Generic). The first row is the head. The answer has no row at all if
/// the GIN index on the payload finds more than [`FEW`] events, of any type and time: then the plan
/// has to depend on the values.
///
/// The plan is the same for all statistics and stays right while the table grows. In the
/// materialized part only the GIN index can answer the condition, and sequential scans are
/// disabled. For that reason the types and all other conditions stand outside of that part.
fn few<'a>(log: &LogName, query: &'a Query) -> Statement<'a> {
    let table = log.table();
    let mut params = Params::with_capacity(READ_PARAMS);
    let found = payload_condition(&query.filter, &mut params);
    let mut matching = remaining_condition(&query.filter, &mut params);
    push_positions(&mut matching, query, &mut params);
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
    params.into_statement(text)
}

/// Renders the read of a query's events in the query's order, for a
/// [custom plan](super::StatementPlan::Custom).
pub(crate) fn read<'a>(log: &LogName, query: &'a Query) -> Statement<'a> {
    let table = log.table();
    let mut params = Params::with_capacity(READ_PARAMS);
    let mut matching = condition(&query.filter, &mut params);
    push_positions(&mut matching, query, &mut params);
    let (order, limit) = order_and_limit(query, &mut params);
    // With a limit the planner tends to walk the primary key until it has found enough events. For
    // a boundary with few events that is the whole log. OFFSET 0 is an optimization fence, behind
    // which the GIN index on the payload is used.
    let text = if query.limit.is_some() && is_selective(&query.filter) {
        format!(
            "SELECT {COLUMNS} FROM (SELECT {COLUMNS} FROM {table} WHERE {matching} OFFSET 0) \
             AS matching ORDER BY sequence_number {order} {limit}"
        )
    } else {
        format!(
            "SELECT {COLUMNS} FROM {table} WHERE {matching} ORDER BY sequence_number {order} {limit}"
        )
    };
    params.into_statement(text)
}

/// Renders the read of the event with an id.
fn event(log: &LogName, id: Uuid) -> Statement<'static> {
    let table = log.table();
    let mut params = Params::with_capacity(1);
    let ids = params.bind(Param::Uuids(vec![id]));
    let text = format!("SELECT {COLUMNS} FROM {table} WHERE event_id = ANY ({ids}::uuid[])");
    params.into_statement(text)
}

fn push_positions(matching: &mut String, query: &Query, params: &mut Params<'_>) {
    if query.after > SequenceNumber::ZERO {
        let after = params.bind(Param::BigInt(query.after.to_bigint()));
        let _ = write!(matching, " AND sequence_number > {after}");
    }
    if let Some(up_to) = query.up_to {
        let up_to = params.bind(Param::BigInt(up_to.to_bigint()));
        let _ = write!(matching, " AND sequence_number <= {up_to}");
    }
}

fn order_and_limit(query: &Query, params: &mut Params<'_>) -> (&'static str, String) {
    let order = if query.newest_first { "DESC" } else { "ASC" };
    let limit = query.limit.map_or(String::new(), |limit| {
        format!("LIMIT {}", params.bind(Param::BigInt(limit.into())))
    });
    (order, limit)
}

/// A number of parameters that suffices for the read of a filter with one item.
const READ_PARAMS: usize = 8;

/// Renders the read of the head.
pub(crate) fn head(log: &LogName) -> Statement<'static> {
    let table = log.table();
    let text = format!("SELECT coalesce(max(sequence_number), 0) FROM {table}");
    Statement::without_params(text)
}

/// Returns whether a row is the head and not an event.
pub(crate) fn is_head(row: &Row) -> bool {
    row.len() == 1 || matches!(row.try_get::<_, Option<Uuid>>(1), Ok(None))
}

/// Decodes the row of [`head`], or the first row of [`Reading::few`].
pub(crate) fn decode_head(row: &Row) -> Result<SequenceNumber, Error> {
    let head = row.try_get(0).map_err(|fault| undecodable(row, fault))?;
    Ok(SequenceNumber::from_bigint(head))
}

/// Decodes the row of an event.
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

/// Makes the error for a row that cannot be decoded. It names the event as far as the row can be
/// read.
fn undecodable(row: &Row, fault: tokio_postgres::Error) -> Error {
    Error::Decode {
        position: SequenceNumber::from_bigint(row.try_get(0).unwrap_or_default()),
        event_type: row.try_get(4).unwrap_or_default(),
        event_id: row.try_get(1).ok(),
        source: cause(fault),
    }
}
