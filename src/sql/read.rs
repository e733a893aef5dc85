use tokio_postgres::Row;

use super::filter::{Params, condition, is_selective};
use super::param::{Jsonb, Param, Statement, Time};
use crate::error::cause;
use crate::event::StoredEvent;
use crate::log::LogName;
use crate::{Error, Query, SequenceNumber, SequencedEvent};

const COLUMNS: &str =
    "sequence_number, event_id, occurred_at, recorded_at, event_type, payload, metadata";

/// Renders the read of a query's events, in the order asked for.
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
    let text = format!("SELECT {COLUMNS} FROM {source} ORDER BY sequence_number {order} {limit}");
    Statement { text, params: params.into_vec() }
}

/// Renders the read of the log's end.
pub(crate) fn head(log: &LogName) -> Statement<'static> {
    let table = log.table();
    let text = format!("SELECT coalesce(max(sequence_number), 0) FROM {table}");
    Statement { text, params: Vec::new() }
}

/// Decodes the row of [`head`].
pub(crate) fn decode_head(row: &Row) -> Result<SequenceNumber, Error> {
    let head = row.try_get(0).map_err(|fault| undecodable(0, fault))?;
    Ok(SequenceNumber::from_bigint(head))
}

/// Decodes a row of [`read`].
pub(crate) fn decode_event(row: &Row) -> Result<SequencedEvent, Error> {
    let number: i64 = row.try_get(0).map_err(|fault| undecodable(0, fault))?;
    let fault = |fault: tokio_postgres::Error| undecodable(number, fault);
    let Time(occurred_at) = row.try_get(2).map_err(fault)?;
    let Time(recorded_at) = row.try_get(3).map_err(fault)?;
    let Jsonb(payload) = row.try_get(5).map_err(fault)?;
    let Jsonb(metadata) = row.try_get(6).map_err(fault)?;
    let stored = StoredEvent {
        id: row.try_get(1).map_err(fault)?,
        event_type: row.try_get::<_, &str>(4).map_err(fault)?.into(),
        occurred_at,
        payload: payload.into(),
        metadata: metadata.into(),
    };
    let number = SequenceNumber::from_bigint(number);
    Ok(SequencedEvent::new(stored.into(), number, recorded_at))
}

fn undecodable(number: i64, fault: tokio_postgres::Error) -> Error {
    Error::Decode { sequence_number: SequenceNumber::from_bigint(number), source: cause(fault) }
}
