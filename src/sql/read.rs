use super::filter::{Params, condition, is_selective};
use super::param::{Jsonb, Param, Statement, Time};
use crate::event::StoredEvent;
use crate::log::LogName;
use crate::{Error, Query, SequenceNumber, SequencedEvent};

const COLUMNS: &str =
    "sequence_number, event_id, occurred_at, recorded_at, event_type, payload, metadata";

/// Renders the read of a query: the end of the log, and beside it the events, in one snapshot.
///
/// There is a row at least, so that a read which finds nothing says how far it looked. The join
/// has one row on its left and cannot but be a nested loop, which keeps the order on its right; to
/// say that order again outside would sort all rows before the first is sent.
pub(crate) fn read<'a>(log: &LogName, query: &'a Query) -> Statement<'a> {
    let table = log.table();
    let mut params = Params::default();
    let mut matching = condition(&query.filter, &mut params);
    if query.after > SequenceNumber::ZERO {
        let after = params.bind(Param::BigInt(query.after.to_bigint()));
        matching += &format!(" AND sequence_number > {after}");
    }
    if let Some(up_to) = query.up_to {
        let up_to = params.bind(Param::BigInt(up_to.to_bigint()));
        matching += &format!(" AND sequence_number <= {up_to}");
    }
    let order = if query.newest_first { "DESC" } else { "ASC" };
    let limit = query.limit.map_or(String::new(), |limit| {
        format!("LIMIT {}", params.bind(Param::BigInt(limit.into())))
    });
    // With a limit the planner likes to walk the primary key until it has found enough, which for
    // a boundary of few events is the whole log. The fence keeps it to the payload's index.
    let source = if query.limit.is_some() && is_selective(&query.filter) {
        format!("(SELECT {COLUMNS} FROM {table} WHERE {matching} OFFSET 0) AS matching")
    } else {
        format!("{table} WHERE {matching}")
    };
    let text = format!(
        "SELECT head.position, event.*
         FROM (SELECT coalesce(max(sequence_number), 0) AS position FROM {table}) AS head
         LEFT JOIN LATERAL (
             SELECT {COLUMNS} FROM {source} ORDER BY sequence_number {order} {limit}
         ) AS event ON true"
    );
    Statement { text, params: params.into_vec() }
}

/// Renders the read of the log's end, as a [`read`] that finds nothing.
pub(crate) fn head(log: &LogName) -> Statement<'static> {
    let table = log.table();
    let text = format!(
        "SELECT coalesce(max(sequence_number), 0) AS position, NULL::bigint AS sequence_number
         FROM {table}"
    );
    Statement { text, params: Vec::new() }
}

/// A row of [`read`] or [`head`].
pub(crate) struct Row<'a>(pub(crate) &'a tokio_postgres::Row);

impl Row<'_> {
    /// Decodes the end of the log.
    pub(crate) fn head(&self) -> Result<SequenceNumber, Error> {
        let head = self.0.try_get(0).map_err(|fault| undecodable(0, fault))?;
        Ok(SequenceNumber::from_bigint(head))
    }

    /// Decodes the event; there is none in the one row of a read that found nothing.
    pub(crate) fn event(&self) -> Result<Option<SequencedEvent>, Error> {
        let number: Option<i64> = self.0.try_get(1).map_err(|fault| undecodable(0, fault))?;
        let Some(number) = number else {
            return Ok(None);
        };
        let fault = |fault: tokio_postgres::Error| undecodable(number, fault);
        let Time(occurred_at) = self.0.try_get(3).map_err(fault)?;
        let Time(recorded_at) = self.0.try_get(4).map_err(fault)?;
        let Jsonb(payload) = self.0.try_get(6).map_err(fault)?;
        let Jsonb(metadata) = self.0.try_get(7).map_err(fault)?;
        let stored = StoredEvent {
            id: self.0.try_get(2).map_err(fault)?,
            event_type: self.0.try_get::<_, &str>(5).map_err(fault)?.into(),
            occurred_at,
            payload: payload.into(),
            metadata: metadata.into(),
        };
        let number = SequenceNumber::from_bigint(number);
        Ok(Some(SequencedEvent::new(stored.into(), number, recorded_at)))
    }
}

fn undecodable(number: i64, fault: tokio_postgres::Error) -> Error {
    Error::Decode { sequence_number: SequenceNumber::from_bigint(number), source: fault.into() }
}
