use super::filter::{Params, condition, is_selective};
use super::param::{Param, Statement};
use crate::condition::Guard;
use crate::log::LogName;
use crate::{Event, SequenceNumber};

/// The upper half of the key of a log's advisory lock; the lower half is the oid of its table.
/// The trigger of the schema takes the same key.
pub(crate) const LOCK_CLASS: i64 = 0x0edd_1e5e;

/// How far a condition's position lies behind the end of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Staleness {
    /// Few events came after it: they are looked through, whatever the filter.
    Fresh,
    /// Many did: an index looks for those of the filter.
    Stale,
}

/// Renders the statement that takes the log's lock to the end of the transaction.
///
/// It stands alone because a statement's snapshot is older than a lock taken within it. It marks
/// the transaction as holding the lock, so that an insert which for any reason runs outside of
/// that transaction stores nothing. The name of the table is resolved again by PostgreSQL whenever
/// the table was dropped and made anew.
pub(crate) fn lock(log: &LogName, staleness: Staleness) -> Statement<'static> {
    // The look through recent events is best with a plan that does not depend on values and need
    // not be made again; the look by index needs one that does.
    let plan = match staleness {
        Staleness::Fresh => "force_generic_plan",
        Staleness::Stale => "force_custom_plan",
    };
    let table = log.table();
    let text = format!(
        "SELECT pg_advisory_xact_lock(({LOCK_CLASS}::bigint << 32) | '{table}'::regclass::oid::bigint),
                set_config('eddyline.lock', 'held', true),
                set_config('plan_cache_mode', '{plan}', true)"
    );
    Statement { text, params: Vec::new() }
}

/// An append's statement: it judges the condition and, if that holds, stores the events.
pub(crate) struct Append<'a> {
    pub(crate) events: &'a [Event],
    pub(crate) guard: Option<&'a Guard>,
    pub(crate) staleness: Staleness,
}

impl<'a> Append<'a> {
    /// Renders the statement. It answers with one row, see [`Verdict`].
    pub(crate) fn statement(&self, log: &LogName) -> Statement<'a> {
        let table = log.table();
        let mut params = Params::default();
        let events = self.bind_events(&mut params);
        let (judgement, holds) = match self.guard {
            None => (
                "NULL::bigint AS position, NULL::bigint AS sequence_number, NULL::text AS event_type"
                    .to_owned(),
                "true".to_owned(),
            ),
            Some(guard) => self.judge(guard, &table, &mut params),
        };
        // Under any other isolation the snapshot would be that of BEGIN, older than the lock.
        let text = format!(
            "WITH verdict AS MATERIALIZED (
                 SELECT judged.*,
                     current_setting('eddyline.lock', true) = 'held'
                     AND current_setting('transaction_isolation') = 'read committed' AS locked
                 FROM (SELECT {judgement}) AS judged
             ), inserted AS (
                 INSERT INTO {table} (event_id, occurred_at, event_type, payload, metadata)
                 SELECT event_id, occurred_at, event_type, payload, metadata
                 FROM {events}
                 WHERE (SELECT locked AND {holds} FROM verdict)
                 ORDER BY ordinality
                 RETURNING sequence_number
             )
             SELECT locked, position, sequence_number, event_type,
                 (SELECT min(sequence_number) FROM inserted) AS first,
                 (SELECT max(sequence_number) FROM inserted) AS last
             FROM verdict"
        );
        Statement { text, params: params.into_vec() }
    }

    fn bind_events(&self, params: &mut Params<'a>) -> String {
        let events = self.events;
        let ids = params.bind(Param::Uuids(events.iter().map(Event::id).collect()));
        let times = params.bind(Param::Times(events.iter().map(Event::occurred_at).collect()));
        let types = params.bind(Param::Texts(events.iter().map(Event::event_type).collect()));
        let payloads = params.bind(Param::Jsonbs(events.iter().map(Event::payload_json).collect()));
        let metadata =
            params.bind(Param::Jsonbs(events.iter().map(Event::metadata_json).collect()));
        format!(
            "unnest({ids}::uuid[], {times}::timestamptz[], {types}::text[], {payloads}::jsonb[],
                 {metadata}::jsonb[]) WITH ORDINALITY
                 AS event (event_id, occurred_at, event_type, payload, metadata, ordinality)"
        )
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

/// What an append's statement answered.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The events were stored, to be committed.
    Accepted { first: SequenceNumber, last: SequenceNumber },
    /// The condition's position lies beyond the log.
    Ahead { head: SequenceNumber },
    /// An event came after the condition's position that matches its filter.
    Broken { event: SequenceNumber, event_type: String },
    /// The statement ran without the log's lock, and stored nothing.
    Unlocked,
}

impl Verdict {
    pub(crate) fn decode(row: &tokio_postgres::Row) -> Result<Self, tokio_postgres::Error> {
        let locked: Option<bool> = row.try_get(0)?;
        let position: Option<i64> = row.try_get(1)?;
        let broken: Option<i64> = row.try_get(2)?;
        let event_type: Option<String> = row.try_get(3)?;
        let first: Option<i64> = row.try_get(4)?;
        let last: Option<i64> = row.try_get(5)?;
        let number = SequenceNumber::from_bigint;
        Ok(match (locked, first.zip(last), broken.zip(event_type), position) {
            (_, Some((first, last)), _, _) => {
                Self::Accepted { first: number(first), last: number(last) }
            }
            (Some(true), None, Some((event, event_type)), _) => {
                Self::Broken { event: number(event), event_type }
            }
            (Some(true), None, None, Some(head)) => Self::Ahead { head: number(head) },
            _ => Self::Unlocked,
        })
    }
}
