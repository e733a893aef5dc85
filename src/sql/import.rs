use super::events::bind_events;
use super::filter::Params;
use super::lock::LOCK_IS_HELD;
use super::param::{Param, Statement};
use crate::import::ChunkStored;
use crate::log::LogName;
use crate::{Event, SequenceNumber};

/// Renders the statement that stores those of the events which are not in the log yet, in their
/// order. No two of them have the same id. It answers with one row, see [`decode_import`].
///
/// Of those that it finds it tells which lie above `floor`: an earlier try may have stored them.
pub(crate) fn import<'a>(
    log: &LogName,
    events: &'a [Event],
    floor: SequenceNumber,
) -> Statement<'a> {
    let table = log.table();
    let mut params = Params::default();
    let events = bind_events(events, &mut params);
    let floor = params.bind(Param::BigInt(floor.to_bigint()));
    let (ids, events) = (events.ids, events.table);
    // Events that are found may be on no standby yet: see the append.
    let text = format!(
        "WITH found AS MATERIALIZED (
             SELECT event_id, sequence_number FROM {table} WHERE event_id = ANY ({ids}::uuid[])
         ), inserted AS (
             INSERT INTO {table} (event_id, occurred_at, event_type, payload, metadata)
             SELECT event_id, occurred_at, event_type, payload, metadata
             FROM {events}
             WHERE {LOCK_IS_HELD}
                 AND NOT EXISTS (SELECT FROM found WHERE found.event_id = event.event_id)
             ORDER BY ordinality
             RETURNING sequence_number
         ), earlier AS (
             SELECT count(*) AS count, min(sequence_number) AS first, max(sequence_number) AS last
             FROM found WHERE sequence_number > {floor}
         ), now AS (
             SELECT count(*) AS count, min(sequence_number) AS first, max(sequence_number) AS last
             FROM inserted
         )
         SELECT {LOCK_IS_HELD}, earlier.count + now.count,
             least(earlier.first, now.first), greatest(earlier.last, now.last),
             (SELECT max(sequence_number) FROM found),
             CASE WHEN EXISTS (SELECT FROM found)
                 THEN pg_logical_emit_message(true, 'eddyline', ''::text) END
         FROM earlier, now"
    );
    Statement { text, params: params.into_vec() }
}

/// Reads the answer to an import; `None` where the statement ran without the log's lock, and stored
/// nothing.
pub(crate) fn decode_import(
    row: &tokio_postgres::Row,
) -> Result<Option<ChunkStored>, tokio_postgres::Error> {
    let locked: Option<bool> = row.try_get(0)?;
    let stored: i64 = row.try_get(1)?;
    let place = |column| -> Result<_, tokio_postgres::Error> {
        Ok(row.try_get::<_, Option<i64>>(column)?.map(SequenceNumber::from_bigint))
    };
    let (first, last) = (place(2)?, place(3)?);
    let position = last.max(place(4)?).unwrap_or_default();
    let stored = u64::try_from(stored).unwrap_or(0);
    Ok((locked == Some(true)).then_some(ChunkStored { stored, first, last, position }))
}
