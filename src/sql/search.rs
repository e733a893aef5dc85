//! Searches that decide an append outside of the log's lock.
//!
//! A search tells, of one snapshot, where the log's head is, whether an event breaks a condition up to
//! there, and whether the log holds an event of the append already.

use tokio_postgres::Row;
use uuid::Uuid;

use super::events::bind_events;
use super::filter::{Params, condition, is_selective};
use super::param::{Param, Statement};
use crate::condition::Guard;
use crate::filter::Types;
use crate::log_name::LogName;
use crate::{Event, SequenceNumber};

/// The searches of several appends, as one statement. Its text and its plan are always the same.
#[derive(Default)]
pub(crate) struct SearchBatch<'a> {
    searches: i64,
    ids: Vec<Uuid>,
    id_owners: Vec<i64>,
    numbers: Vec<i64>,
    number_owners: Vec<i64>,
    payloads: PayloadTerms<'a>,
    types: Vec<&'a str>,
    type_afters: Vec<i64>,
    type_owners: Vec<i64>,
}

#[derive(Default)]
struct PayloadTerms<'a> {
    bodies: Vec<&'a str>,
    types: Vec<Option<String>>,
    afters: Vec<i64>,
    owners: Vec<i64>,
}

impl<'a> SearchBatch<'a> {
    /// Returns whether a condition can be searched for together with others: the indexes on payload and
    /// type find its events, and there are few terms to look up.
    pub(crate) fn takes(guard: &Guard) -> bool {
        let filter = &guard.filter;
        let mut terms = 0;
        let is_indexed = filter.items().iter().all(|item| match item.types() {
            _ if !item.payloads().is_empty() => {
                terms += item.payloads().len();
                true
            }
            Types::Any => false,
            Types::Of(types) => {
                terms += types.len();
                true
            }
        });
        is_indexed && terms <= MAX_TERMS && !filter.is_bounded()
    }

    /// Adds the search of an append: for its events, for the event at a position, and for the first
    /// event after a condition's position that breaks the condition.
    pub(crate) fn add(
        &mut self,
        events: &[Event],
        at: Option<SequenceNumber>,
        guard: Option<&'a Guard>,
    ) {
        let owner = self.searches;
        self.searches += 1;
        self.ids.extend(events.iter().map(Event::id));
        self.id_owners.extend(events.iter().map(|_| owner));
        if let Some(at) = at {
            self.numbers.push(at.to_bigint());
            self.number_owners.push(owner);
        }
        let Some(guard) = guard else { return };
        let after = guard.after.to_bigint();
        for item in guard.filter.items() {
            for body in item.payloads() {
                self.payloads.bodies.push(body);
                self.payloads.types.push(item.types_json());
                self.payloads.afters.push(after);
                self.payloads.owners.push(owner);
            }
            if let Types::Of(types) = item.types()
                && item.payloads().is_empty()
            {
                for one in types.iter() {
                    self.types.push(one);
                    self.type_afters.push(after);
                    self.type_owners.push(owner);
                }
            }
        }
    }

    /// Renders the statement, to be planned once for all values. See [`Finding`]. It has a part for each
    /// kind of search that there is: to begin a part takes the server longer than to look something up.
    pub(crate) fn statement(&'a self, log: &LogName) -> Statement<'a> {
        let table = log.table();
        let mut params = Params::default();
        let mut text = format!(
            "SELECT 0 AS part, NULL::bigint AS owner,
                 coalesce(max(sequence_number), 0) AS number, NULL::text AS event_type
             FROM {table}"
        );
        if !self.ids.is_empty() {
            let ids = params.bind(Param::Uuids(self.ids.clone()));
            let owners = params.bind(Param::BigInts(self.id_owners.clone()));
            text += &format!(
                " UNION ALL
                 SELECT 1, given.owner, event.sequence_number, NULL
                 FROM ROWS FROM (unnest({ids}::uuid[]), unnest({owners}::bigint[]))
                     AS given (id, owner)
                 JOIN {table} AS event ON event.event_id = given.id"
            );
        }
        if !self.numbers.is_empty() {
            let numbers = params.bind(Param::BigInts(self.numbers.clone()));
            let owners = params.bind(Param::BigInts(self.number_owners.clone()));
            text += &format!(
                " UNION ALL
                 SELECT 2, given.owner, event.sequence_number, event.event_type
                 FROM ROWS FROM (unnest({numbers}::bigint[]), unnest({owners}::bigint[]))
                     AS given (number, owner)
                 JOIN {table} AS event ON event.sequence_number = given.number"
            );
        }
        if !self.payloads.bodies.is_empty() {
            text += " UNION ALL ";
            text += &self.payloads.part(&table, &mut params);
        }
        if !self.types.is_empty() {
            let types = params.bind(Param::Texts(self.types.clone()));
            let afters = params.bind(Param::BigInts(self.type_afters.clone()));
            let owners = params.bind(Param::BigInts(self.type_owners.clone()));
            text += &format!(
                " UNION ALL
                 SELECT 2, term.owner, found.sequence_number, term.event_type
                 FROM ROWS FROM (unnest({types}::text[]), unnest({afters}::bigint[]),
                         unnest({owners}::bigint[])) AS term (event_type, after, owner)
                 CROSS JOIN LATERAL (
                     SELECT sequence_number FROM {table} AS event
                     WHERE event.event_type = term.event_type
                         AND event.sequence_number > term.after
                     ORDER BY event.sequence_number LIMIT 1
                 ) AS found"
            );
        }
        Statement { text, params: params.into_vec() }
    }
}

impl<'a> PayloadTerms<'a> {
    /// Renders the part that searches payloads.
    ///
    /// Of what stands in the innermost read only the payload's index can answer anything, so the plan is
    /// right however the log grows. A payload of which the index finds very many events is left to a
    /// [`search`] that is planned for its values.
    fn part(&'a self, table: &str, params: &mut Params<'a>) -> String {
        let bodies = params.bind(Param::Jsonbs(self.bodies.clone()));
        let types = self.types.iter().map(Option::as_deref).collect();
        let types = params.bind(Param::NullableJsonbs(types));
        let afters = params.bind(Param::BigInts(self.afters.clone()));
        let owners = params.bind(Param::BigInts(self.owners.clone()));
        let most = MAX_CANDIDATES + 1;
        format!(
            "SELECT CASE WHEN found.count < {most} THEN 2 ELSE 3 END, term.owner,
                 coalesce(found.first, 0),
                 (SELECT event_type FROM {table} WHERE sequence_number = found.first)
             FROM ROWS FROM (unnest({bodies}::jsonb[]), unnest({types}::jsonb[]),
                     unnest({afters}::bigint[]), unnest({owners}::bigint[]))
                 AS term (body, types, after, owner)
             CROSS JOIN LATERAL (
                 SELECT count(*) AS count, min(candidate.sequence_number) FILTER (
                     WHERE candidate.sequence_number > term.after
                         AND (term.types IS NULL OR term.types ? candidate.event_type)) AS first
                 FROM (
                     SELECT sequence_number, event_type FROM {table}
                     WHERE payload @> term.body LIMIT {most}
                 ) AS candidate
             ) AS found
             WHERE found.count = {most} OR found.first IS NOT NULL"
        )
    }
}

/// What a search found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Finding {
    /// The log's head in the search's snapshot.
    pub(crate) head: SequenceNumber,
    /// The first event that breaks the condition, or the one at the position that was asked for.
    pub(crate) event: Option<(SequenceNumber, String)>,
    /// Whether the log holds an event of the append.
    pub(crate) holds_event: bool,
    /// Whether the condition takes a [`search`] of its own, or took one.
    pub(crate) is_open: bool,
}

impl Finding {
    /// Reads the answer to a batch of so many searches.
    pub(crate) fn decode_batch(
        rows: &[Row],
        searches: usize,
    ) -> Result<Vec<Self>, tokio_postgres::Error> {
        let mut findings = vec![Self::default(); searches];
        let mut head = SequenceNumber::ZERO;
        for row in rows {
            let part: i32 = row.try_get(0)?;
            let owner: Option<i64> = row.try_get(1)?;
            let number: Option<i64> = row.try_get(2)?;
            let number = number.map(SequenceNumber::from_bigint).unwrap_or_default();
            let Some(owner) = owner.and_then(|owner| usize::try_from(owner).ok()) else {
                head = number;
                continue;
            };
            let Some(finding) = findings.get_mut(owner) else { continue };
            match part {
                1 => finding.holds_event = true,
                2 => finding.note(number, row.try_get(3)?),
                _ => finding.is_open = true,
            }
        }
        findings.iter_mut().for_each(|finding| finding.head = head);
        Ok(findings)
    }

    /// Reads the answer to [`search`].
    pub(crate) fn decode(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let mut finding =
            Self { head: SequenceNumber::from_bigint(row.try_get(0)?), ..Self::default() };
        if let Some(number) = row.try_get::<_, Option<i64>>(1)? {
            finding.note(SequenceNumber::from_bigint(number), row.try_get(2)?);
        }
        Ok(finding)
    }

    fn note(&mut self, number: SequenceNumber, event_type: String) {
        if self.event.as_ref().is_none_or(|(known, _)| number < *known) {
            self.event = Some((number, event_type));
        }
    }
}

/// Renders the search for the first event that breaks one condition, to be planned for its values.
///
/// OFFSET 0 is a fence: without it the planner likes to walk the primary key for a condition that an
/// index would answer.
pub(crate) fn search<'a>(log: &LogName, guard: &'a Guard) -> Statement<'a> {
    let table = log.table();
    let mut params = Params::default();
    let after = params.bind(Param::BigInt(guard.after.to_bigint()));
    let condition = condition(&guard.filter, &mut params);
    let fence = if is_selective(&guard.filter) { "OFFSET 0" } else { "" };
    let text = format!(
        "SELECT head.position, broken.sequence_number, broken.event_type
         FROM (SELECT coalesce(max(sequence_number), 0) AS position FROM {table}) AS head
         LEFT JOIN LATERAL (
             SELECT sequence_number, event_type FROM (
                 SELECT sequence_number, event_type FROM {table}
                 WHERE sequence_number > {after} AND {condition} {fence}
             ) AS newer
             ORDER BY sequence_number LIMIT 1
         ) AS broken ON true"
    );
    Statement { text, params: params.into_vec() }
}

/// Renders the search for events of an append that the log holds already. It answers with one row for
/// each that it holds, see [`HeldEvent`].
///
/// An event that it finds is visible, but may be on no standby yet, if its own commit was canceled
/// while it waited for one. So the statement writes a message to the write-ahead log: its commit is
/// answered when everything before it is as durable as `synchronous_commit` says.
pub(crate) fn held_events<'a>(log: &LogName, events: &'a [Event]) -> Statement<'a> {
    let table = log.table();
    let mut params = Params::default();
    let given = bind_events(events, &mut params);
    let text = format!(
        "WITH held AS MATERIALIZED (
             SELECT event.ordinality, log.sequence_number,
                 CASE WHEN log.event_type <> event.event_type THEN 'event_type'
                     WHEN log.payload <> event.payload THEN 'payload'
                     WHEN log.metadata <> event.metadata THEN 'metadata'
                     WHEN log.occurred_at <> event.occurred_at THEN 'occurred_at' END AS differs
             FROM {given} JOIN {table} AS log ON log.event_id = event.event_id
         ), flushed AS MATERIALIZED (
             SELECT pg_logical_emit_message(true, 'eddyline', ''::text)
             WHERE EXISTS (SELECT FROM held)
         )
         SELECT held.ordinality, held.sequence_number, held.differs
         FROM held LEFT JOIN flushed ON true ORDER BY held.ordinality"
    );
    Statement { text, params: params.into_vec() }
}

/// An event of an append that the log holds already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct HeldEvent {
    /// Which event of the append it is.
    pub(crate) index: usize,
    /// Its position in the log.
    pub(crate) position: SequenceNumber,
    /// Whether the log's event has the same contents.
    pub(crate) is_same: bool,
}

impl HeldEvent {
    pub(crate) fn decode(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let ordinality: i64 = row.try_get(0)?;
        let differs: Option<&str> = row.try_get(2)?;
        Ok(Self {
            index: usize::try_from(ordinality - 1).unwrap_or(usize::MAX),
            position: SequenceNumber::from_bigint(row.try_get(1)?),
            is_same: differs.is_none(),
        })
    }
}

/// How many events the payload's index may find for one term of a batch.
const MAX_CANDIDATES: u32 = 1_000;
/// The most terms of a condition that is searched for together with others.
const MAX_TERMS: usize = 64;
