use uuid::Uuid;

use super::events::{Events, bind_events};
use super::filter::{Params, condition, is_selective};
use super::lock::LOCK_IS_HELD;
use super::param::{Param, Statement};
use crate::condition::Guard;
use crate::log::LogName;
use crate::{Event, SequenceNumber};

/// How far a condition's position lies behind the end of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Staleness {
    /// Few events came after it: they are looked through, whatever the filter.
    Fresh,
    /// Many did: an index looks for those of the filter.
    Stale,
}

/// Whether an append may have been stored before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Occasion {
    /// Hardly: its ids are looked for only where the condition does not hold, which the append's
    /// own events may have broken.
    First,
    /// Well: its ids are looked for before all else.
    Repeated,
}

/// An append's statement: it judges the condition and, if that holds, stores the events.
pub(crate) struct Append<'a> {
    pub(crate) events: &'a [Event],
    pub(crate) guard: Option<&'a Guard>,
    pub(crate) staleness: Staleness,
    pub(crate) occasion: Occasion,
}

impl<'a> Append<'a> {
    /// Renders the statement. It answers with one row, see [`Verdict`].
    pub(crate) fn statement(&self, log: &LogName) -> Statement<'a> {
        let table = log.table();
        let mut params = Params::default();
        let Events { ids, table: events } = bind_events(self.events, &mut params);
        let (judgement, holds) = match self.guard {
            None => (
                "NULL::bigint AS position, NULL::bigint AS sequence_number, NULL::text AS event_type"
                    .to_owned(),
                "true".to_owned(),
            ),
            Some(guard) => self.judge(guard, &table, &mut params),
        };
        let (sought, is_new) = match self.occasion {
            Occasion::First => (format!("(SELECT NOT ({holds}) FROM verdict)"), "true"),
            Occasion::Repeated => ("true".to_owned(), "(SELECT count = 0 FROM stored)"),
        };
        // Events that are found may be on no standby yet, where whoever stored them could not wait
        // for it. A transaction that writes nothing waits for no standby: so it writes a word.
        let text = format!(
            "WITH verdict AS MATERIALIZED (
                 SELECT judged.*, {LOCK_IS_HELD} AS locked
                 FROM (SELECT {judgement}) AS judged
             ), stored AS MATERIALIZED (
                 SELECT count(*) AS count, min(sequence_number) AS first,
                     max(sequence_number) AS last,
                     (array_agg(event_id ORDER BY sequence_number))[1] AS event_id
                 FROM {table}
                 WHERE event_id = ANY ({ids}::uuid[]) AND {sought}
             ), inserted AS (
                 INSERT INTO {table} (event_id, occurred_at, event_type, payload, metadata)
                 SELECT event_id, occurred_at, event_type, payload, metadata
                 FROM {events}
                 WHERE (SELECT locked AND {holds} FROM verdict) AND {is_new}
                 ORDER BY ordinality
                 RETURNING sequence_number
             )
             SELECT locked, position, sequence_number, event_type,
                 (SELECT min(sequence_number) FROM inserted) AS first,
                 (SELECT max(sequence_number) FROM inserted) AS last,
                 stored.count, stored.first, stored.last, stored.event_id,
                 CASE WHEN stored.count > 0
                     THEN pg_logical_emit_message(true, 'eddyline', ''::text) END
             FROM verdict, stored"
        );
        Statement { text, params: params.into_vec() }
    }

    /// Renders the search for the first event that breaks the condition. The log's order is commit
    /// order, so whatever came after the position is news, and nothing else is.
    fn judge(&self, guard: &'a Guard, table: &str, params: &mut Params<'a>) -> (String, String) {
        let after = params.bind(Param::BigInt(guard.after.to_bigint()));
        let condition = condition(&guard.filter, params);
        let newer = format!(
            "SELECT sequence_number, event_type, occurred_at, payload
             FROM {table} WHERE sequence_number > {after}"
        );
        // OFFSET 0 is a fence: without it a plan that does not know the values reads the whole
        // log, and one that does walks the primary key for a condition that an index would answer.
        let source = match self.staleness {
            Staleness::Fresh => {
                format!("({newer} ORDER BY sequence_number OFFSET 0) AS newer WHERE {condition}")
            }
            Staleness::Stale if is_selective(&guard.filter) => {
                format!("({newer} AND {condition} OFFSET 0) AS newer")
            }
            Staleness::Stale => format!("({newer} AND {condition}) AS newer"),
        };
        let judgement = format!(
            "head.position, broken.sequence_number, broken.event_type
             FROM (SELECT coalesce(max(sequence_number), 0) AS position FROM {table}) AS head
             LEFT JOIN LATERAL (
                 SELECT sequence_number, event_type FROM {source}
                 ORDER BY sequence_number LIMIT 1
             ) AS broken ON true"
        );
        (judgement, format!("sequence_number IS NULL AND position >= {after}"))
    }
}

/// Names the constraint by which the log refuses an event that it holds already.
pub(crate) fn ids_constraint(log: &LogName) -> String {
    format!("{}_event_id_key", log.log())
}

/// What an append's statement answered.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The events were stored, to be committed.
    /// Where the log ended before was looked at only for a condition.
    Accepted { first: SequenceNumber, last: SequenceNumber, head: Option<SequenceNumber> },
    /// The condition's position lies beyond the log.
    Ahead { head: SequenceNumber },
    /// An event came after the condition's position that matches its filter.
    Broken { event: SequenceNumber, event_type: String },
    /// Some of the events are in the log, others are not.
    Mixed { event_id: Uuid, position: SequenceNumber },
    /// All of the events are in the log, from an earlier try.
    Stored { first: SequenceNumber, last: SequenceNumber },
    /// An event is in the log, so that the statement failed; which one is to be asked for.
    Taken,
    /// The statement ran without the log's lock, and stored nothing.
    Unlocked,
}

impl Verdict {
    /// Reads the answer to an append of so many events.
    pub(crate) fn decode(
        row: &tokio_postgres::Row,
        events: usize,
    ) -> Result<Self, tokio_postgres::Error> {
        let locked: Option<bool> = row.try_get(0)?;
        let position: Option<i64> = row.try_get(1)?;
        let broken: Option<i64> = row.try_get(2)?;
        let event_type: Option<String> = row.try_get(3)?;
        let inserted = row.try_get::<_, Option<i64>>(4)?.zip(row.try_get(5)?);
        let stored_events: i64 = row.try_get(6)?;
        let stored = row.try_get::<_, Option<i64>>(7)?.zip(row.try_get(8)?);
        let event_id: Option<Uuid> = row.try_get(9)?;
        let number = SequenceNumber::from_bigint;
        if let Some((first, last)) = inserted {
            let head = position.map(number);
            return Ok(Self::Accepted { first: number(first), last: number(last), head });
        }
        if locked != Some(true) {
            return Ok(Self::Unlocked);
        }
        if let Some(((first, last), event_id)) = stored.zip(event_id) {
            return Ok(match usize::try_from(stored_events) == Ok(events) {
                true => Self::Stored { first: number(first), last: number(last) },
                false => Self::Mixed { event_id, position: number(first) },
            });
        }
        Ok(match (broken.zip(event_type), position) {
            (Some((event, event_type)), _) => Self::Broken { event: number(event), event_type },
            (None, Some(head)) => Self::Ahead { head: number(head) },
            (None, None) => Self::Unlocked,
        })
    }
}
