use std::fmt::Write as _;

use tokio_postgres::Row;
use uuid::Uuid;

use super::filter::{condition, is_selective, payload_condition, remaining_condition};
use super::head::{Bounds, KEPT_HEAD, head, keep_head, version_of};
use super::param::{Jsonb, Param, Time};
use super::statement::{Params, Statement};
use crate::error::{BoxError, cause};
use crate::event::StoredEvent;
use crate::log_name::LogName;
use crate::{Bookmark, Error, Query, SequenceNumber, SequencedEvent};

const COLUMNS: &str =
    "sequence_number, event_id, occurred_at, recorded_at, event_type, payload, metadata";

/// A read of the log's head and, as a rule, of events.
#[derive(Clone)]
pub(crate) struct Reading<'a> {
    log: &'a LogName,
    target: Target<'a>,
    bounds: Vec<Bookmark>,
}

/// The events that are read besides the head.
#[derive(Clone, Copy)]
enum Target<'a> {
    Event(Uuid),
    Events(&'a Query),
    None,
}

impl<'a> Reading<'a> {
    /// Makes a read of the events of a query.
    pub(crate) fn new(log: &'a LogName, query: &'a Query) -> Self {
        // A reader that goes on from a bookmark must not see the log before it.
        let after = Some(query.after).filter(|after| after.epoch().is_some());
        Self { log, target: Target::Events(query), bounds: after.into_iter().collect() }
    }

    /// Makes a read of the event with an id.
    pub(crate) fn of_event(log: &'a LogName, id: Uuid) -> Self {
        Self { log, target: Target::Event(id), bounds: Vec::new() }
    }

    /// Makes a read of the head alone.
    pub(crate) fn of_head(log: &'a LogName) -> Self {
        Self { log, target: Target::None, bounds: Vec::new() }
    }

    /// Sets a bookmark that the log must have reached. If it has not, or the bookmark's event is
    /// lost, the server reads no events and answers with the head alone.
    pub(crate) fn at_least(mut self, bookmark: Bookmark) -> Self {
        match self.bounds.iter_mut().find(|bound| bound.epoch() == bookmark.epoch()) {
            _ if bookmark.position() == SequenceNumber::ZERO => {}
            Some(bound) if bound.position() >= bookmark.position() => {}
            Some(bound) => *bound = bookmark,
            None => self.bounds.push(bookmark),
        }
        self
    }

    /// Returns the bookmarks that the log must have reached.
    pub(crate) fn bounds(&self) -> &[Bookmark] {
        &self.bounds
    }

    /// Renders the read of the head and the events in one statement, for a boundary with few
    /// events. Returns `None` if the GIN index on the payload does not find the events of the
    /// filter.
    pub(crate) fn few(&self) -> Option<Statement<'a>> {
        match self.target {
            Target::Events(query) if is_selective(&query.filter) => {
                Some(few(self.log, query, &self.bounds))
            }
            _ => None,
        }
    }

    /// Renders the read of the events, for any number of events. The head has to be read before
    /// (Lemma 7).
    pub(crate) fn all(&self) -> Option<Statement<'a>> {
        match self.target {
            Target::Event(id) => Some(event(self.log, id, &self.bounds)),
            Target::Events(query) => Some(read(self.log, query, &self.bounds)),
            Target::None => None,
        }
    }

    /// Renders the read of the head.
    pub(crate) fn head(&self) -> Statement<'static> {
        match self.target {
            Target::Events(query) if is_bounded_by_head(query) => keep_head(self.log, &self.bounds),
            _ => head(self.log, &self.bounds),
        }
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
fn few<'a>(log: &LogName, query: &'a Query, bounds: &[Bookmark]) -> Statement<'a> {
    let table = log.table();
    let mut params = Params::with_capacity(READ_PARAMS);
    let bounds = Bounds::bind_epochs(bounds, &mut params);
    let (head, version) = (bounds.columns(&table), version_of(log));
    let reached = bounds.condition(log, &mut params);
    let found = payload_condition(&query.filter, &mut params);
    let mut matching = remaining_condition(&query.filter, &mut params);
    push_positions(&mut matching, query, &mut params);
    let (order, limit) = order_and_limit(query, &mut params);
    let most = FEW + 1;
    let text = format!(
        "WITH candidate AS MATERIALIZED (
             SELECT {COLUMNS} FROM {table} WHERE ({found}){reached} LIMIT {most}
         ), found AS MATERIALIZED (
             SELECT count(*) < {most} AS few FROM candidate
         )
         SELECT {head} FROM {version} AND (SELECT few FROM found)
         UNION ALL (
             SELECT {COLUMNS} FROM candidate
             WHERE (SELECT few FROM found) AND {matching}
             ORDER BY sequence_number {order} {limit}
         )"
    );
    params.into_statement(text)
}

/// Returns whether the events of a query have to be those up to the head that was read before
/// (Lemma 7). Of any other query, newer events can be left out afterwards: with a limit on the
/// newest events, there would be too few then.
fn is_bounded_by_head(query: &Query) -> bool {
    query.newest_first && query.limit.is_some()
}

/// Renders the read of a query's events in the query's order, for a
/// [custom plan](super::StatementPlan::Custom).
fn read<'a>(log: &LogName, query: &'a Query, bounds: &[Bookmark]) -> Statement<'a> {
    let table = log.table();
    let mut params = Params::with_capacity(READ_PARAMS);
    let mut matching = condition(&query.filter, &mut params);
    push_positions(&mut matching, query, &mut params);
    matching += &Bounds::bind_epochs(bounds, &mut params).condition(log, &mut params);
    if is_bounded_by_head(query) {
        let _ = write!(matching, " AND sequence_number <= {KEPT_HEAD}");
    }
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
fn event(log: &LogName, id: Uuid, bounds: &[Bookmark]) -> Statement<'static> {
    let table = log.table();
    let mut params = Params::with_capacity(READ_PARAMS);
    let id = params.bind(Param::Uuid(id));
    let reached = Bounds::bind_epochs(bounds, &mut params).condition(log, &mut params);
    let text = format!("SELECT {COLUMNS} FROM {table} WHERE event_id = {id}{reached}");
    params.into_statement(text)
}

fn push_positions(matching: &mut String, query: &Query, params: &mut Params<'_>) {
    if query.after.position() > SequenceNumber::ZERO {
        let after = params.bind(Param::BigInt(query.after.position().to_bigint()));
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

/// Returns whether a row is the head and not an event.
pub(crate) fn is_head(row: &Row) -> bool {
    row.try_get(4).is_ok_and(str::is_empty)
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
pub(super) fn undecodable(row: &Row, fault: impl Into<BoxError>) -> Error {
    Error::Decode {
        position: SequenceNumber::from_bigint(row.try_get(0).unwrap_or_default()),
        event_type: row.try_get(4).unwrap_or_default(),
        event_id: row.try_get(1).ok(),
        source: cause(fault),
    }
}
