//! Searches that decide an append outside of the log's lock (Lemma 5).
//!
//! A search answers three questions from one snapshot: the position of the head, whether an event
//! up to the head breaks a condition, and whether the log holds an event of the append already.

use std::fmt::Write as _;

use tokio_postgres::Row;
use uuid::Uuid;

use super::epoch::end_of_epoch;
use super::events::bind_events;
use super::filter::{condition, is_selective};
use super::head::{BoundCheck, check_bound, version_of};
use super::param::{Jsonb, Param};
use super::statement::{Params, Statement};
use crate::bookmark::Epoch;
use crate::condition::FilterPosition;
use crate::error::BoxError;
use crate::filter::Types;
use crate::log_name::LogName;
use crate::{Bookmark, Event, SequenceNumber};

/// The searches of several appends, as one statement. Each search is named by its index.
#[derive(Default)]
pub(crate) struct SearchBatch<'a> {
    searches: i64,
    ids: Vec<Uuid>,
    id_searches: Vec<i64>,
    positions: Vec<i64>,
    position_searches: Vec<i64>,
    payloads: PayloadTerms<'a>,
    types: TypeTerms<'a>,
}

/// The alternatives of filters that the GIN index on the payload finds.
#[derive(Default)]
struct PayloadTerms<'a> {
    payloads: Vec<Jsonb<'a>>,
    types: Vec<Option<Jsonb<'a>>>,
    afters: Vec<i64>,
    searches: Vec<i64>,
}

/// The event types of filters without predicates.
#[derive(Default)]
struct TypeTerms<'a> {
    types: Vec<&'a str>,
    afters: Vec<i64>,
    searches: Vec<i64>,
}

impl<'a> SearchBatch<'a> {
    /// Returns whether the search for a condition can be part of a batch: indexes find its events,
    /// and the filter has few terms to look up.
    pub(crate) fn supports(guard: &FilterPosition) -> bool {
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
    /// event that breaks its condition.
    pub(crate) fn add(
        &mut self,
        events: &[Event],
        at: Option<SequenceNumber>,
        guard: Option<&'a FilterPosition>,
    ) {
        let search = self.searches;
        self.searches += 1;
        self.ids.extend(events.iter().map(Event::id));
        self.id_searches.extend(events.iter().map(|_| search));
        if let Some(at) = at {
            self.positions.push(at.to_bigint());
            self.position_searches.push(search);
        }
        if let Some(guard) = guard {
            self.add_condition(guard, search);
        }
    }

    fn add_condition(&mut self, guard: &'a FilterPosition, search: i64) {
        let after = guard.after.position().to_bigint();
        for item in guard.filter.items() {
            for payload in item.payloads() {
                self.payloads.payloads.push(Jsonb(payload));
                self.payloads.types.push(item.types_json().map(Jsonb));
                self.payloads.afters.push(after);
                self.payloads.searches.push(search);
            }
            if let Types::Of(types) = item.types()
                && item.payloads().is_empty()
            {
                for one in types.iter() {
                    self.types.types.push(one);
                    self.types.afters.push(after);
                    self.types.searches.push(search);
                }
            }
        }
    }

    /// Renders the statement, for a generic plan. [`SearchAnswer`] decodes its answer. It has a
    /// part for each kind of search in the batch: starting a part takes the server longer than
    /// looking up a term.
    pub(crate) fn statement(self, log: &LogName) -> Statement<'a> {
        let (table, version) = (log.table(), version_of(log));
        let Self { ids, id_searches, positions, position_searches, payloads, types, .. } = self;
        let mut params = Params::with_capacity(MAX_PARAMS);
        let mut text = format!(
            "SELECT 0 AS part, NULL::bigint AS owner,
                 coalesce(max(sequence_number), 0) AS number,
                 (SELECT version.epoch::text FROM {version}) AS event_type
             FROM {table}"
        );
        if !ids.is_empty() {
            let ids = params.bind(Param::Uuids(ids));
            let owners = params.bind(Param::BigInts(id_searches.into()));
            let _ = write!(
                text,
                " UNION ALL
                 SELECT 1, given.owner, event.sequence_number, NULL
                 FROM ROWS FROM (unnest({ids}::uuid[]), unnest({owners}::bigint[]))
                     AS given (id, owner)
                 JOIN {table} AS event ON event.event_id = given.id"
            );
        }
        if !positions.is_empty() {
            let numbers = params.bind(Param::BigInts(positions.into()));
            let owners = params.bind(Param::BigInts(position_searches.into()));
            let _ = write!(
                text,
                " UNION ALL
                 SELECT 2, given.owner, event.sequence_number, event.event_type
                 FROM ROWS FROM (unnest({numbers}::bigint[]), unnest({owners}::bigint[]))
                     AS given (number, owner)
                 JOIN {table} AS event ON event.sequence_number = given.number"
            );
        }
        if !payloads.payloads.is_empty() {
            payloads.push_to(&mut text, &table, &mut params);
        }
        if !types.types.is_empty() {
            types.push_to(&mut text, &table, &mut params);
        }
        params.into_statement(text)
    }
}

impl<'a> PayloadTerms<'a> {
    /// Renders the part that searches payloads.
    ///
    /// In the innermost read only the GIN index on the payload can answer the condition, so the
    /// plan stays right while the log grows. If the index finds very many events for a payload, the
    /// condition needs a [`search`] of its own, which has a custom plan.
    fn push_to(self, text: &mut String, table: &str, params: &mut Params<'a>) {
        let bodies = params.bind(Param::Jsonbs(self.payloads));
        let types = params.bind(Param::NullableJsonbs(self.types));
        let afters = params.bind(Param::BigInts(self.afters.into()));
        let owners = params.bind(Param::BigInts(self.searches.into()));
        let most = MAX_CANDIDATES + 1;
        let _ = write!(
            text,
            " UNION ALL SELECT CASE WHEN found.count < {most} THEN 2 ELSE 3 END, term.owner,
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
        );
    }
}

impl<'a> TypeTerms<'a> {
    /// Renders the part that searches event types.
    fn push_to(self, text: &mut String, table: &str, params: &mut Params<'a>) {
        let types = params.bind(Param::Texts(self.types));
        let afters = params.bind(Param::BigInts(self.afters.into()));
        let owners = params.bind(Param::BigInts(self.searches.into()));
        let _ = write!(
            text,
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
}

/// The answer to a search.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct SearchAnswer {
    /// The log's head in the search's snapshot.
    pub(crate) head: Bookmark,
    /// Whether the log holds the events up to the condition's position. `None` in the answer to a
    /// batch.
    check: Option<BoundCheck>,
    /// The first event that breaks the condition, or the event at the requested position.
    pub(crate) event: Option<(SequenceNumber, String)>,
    /// Whether the log holds an event of the append.
    pub(crate) holds_event: bool,
    /// Whether the condition needs a [`search`] of its own.
    pub(crate) needs_own_search: bool,
}

impl SearchAnswer {
    /// Decodes the answer to a batch with this number of searches.
    pub(crate) fn decode_batch(rows: &[Row], searches: usize) -> Result<Vec<Self>, BoxError> {
        let mut answers = vec![Self::default(); searches];
        let mut head = None;
        for row in rows {
            let part: i32 = row.try_get(0)?;
            let search: Option<i64> = row.try_get(1)?;
            let position: Option<i64> = row.try_get(2)?;
            let position = position.map(SequenceNumber::from_bigint).unwrap_or_default();
            let Some(search) = search.and_then(|search| usize::try_from(search).ok()) else {
                let epoch: &str = row.try_get(3)?;
                head = Some(Bookmark::new(position, Epoch::new(epoch.parse()?)));
                continue;
            };
            let Some(answer) = answers.get_mut(search) else { continue };
            match part {
                1 => answer.holds_event = true,
                2 => answer.add_event(position, row.try_get(3)?),
                _ => answer.needs_own_search = true,
            }
        }
        let head = head.ok_or("the answer to a search has no head")?;
        answers.iter_mut().for_each(|answer| answer.head = head);
        Ok(answers)
    }

    /// Checks whether the log holds the events up to the condition's position (Lemma 8). Returns
    /// `None` if that needs a [`search`] of its own.
    pub(crate) fn check(&self, guard: &FilterPosition) -> Option<BoundCheck> {
        let is_current = guard.after.epoch().is_none_or(|epoch| self.head.epoch() == Some(epoch));
        let check = || check_bound(&guard.after, self.head.position(), Some(i64::MAX), false);
        self.check.or_else(|| is_current.then(check))
    }

    /// Decodes the answer to [`search`].
    pub(crate) fn decode(row: &Row, guard: &FilterPosition) -> Result<Self, tokio_postgres::Error> {
        let head = SequenceNumber::from_bigint(row.try_get(0)?);
        let check = check_bound(&guard.after, head, row.try_get(4)?, false);
        let head = Bookmark::new(head, Epoch::new(row.try_get(3)?));
        let mut answer = Self { head, check: Some(check), ..Self::default() };
        if let Some(position) = row.try_get::<_, Option<i64>>(1)? {
            answer.add_event(SequenceNumber::from_bigint(position), row.try_get(2)?);
        }
        Ok(answer)
    }

    /// Keeps the first of the events that are added.
    fn add_event(&mut self, position: SequenceNumber, event_type: String) {
        if self.event.as_ref().is_none_or(|(first, _)| position < *first) {
            self.event = Some((position, event_type));
        }
    }
}

/// Renders the search for the first event that breaks one condition, for a custom plan. It returns
/// the end of the epoch of the condition's position as well.
///
/// OFFSET 0 is an optimization fence: without it the planner tends to walk the primary key for a
/// condition that an index would answer.
pub(crate) fn search<'a>(log: &LogName, guard: &'a FilterPosition) -> Statement<'a> {
    let table = log.table();
    let version = version_of(log);
    let mut params = Params::with_capacity(8);
    let after = params.bind(Param::BigInt(guard.after.position().to_bigint()));
    let epoch = guard.after.epoch().map(|epoch| params.bind(Param::Uuid(epoch.id())));
    let end = epoch.map_or_else(|| i64::MAX.to_string(), |epoch| end_of_epoch(&epoch));
    let condition = condition(&guard.filter, &mut params);
    let fence = if is_selective(&guard.filter) { "OFFSET 0" } else { "" };
    let text = format!(
        "SELECT head.position, broken.sequence_number, broken.event_type, head.epoch, head.ended
         FROM (
             SELECT (SELECT coalesce(max(sequence_number), 0) FROM {table}) AS position,
                 version.epoch, {end} AS ended
             FROM {version}
         ) AS head
         LEFT JOIN LATERAL (
             SELECT sequence_number, event_type FROM (
                 SELECT sequence_number, event_type FROM {table}
                 WHERE sequence_number > {after} AND {condition} {fence}
             ) AS newer
             ORDER BY sequence_number LIMIT 1
         ) AS broken ON true"
    );
    params.into_statement(text)
}

/// Renders the search for events of an append that the log holds already. The answer has one row
/// for each of them, which [`HeldEvent`] decodes.
///
/// An event that it finds is visible, but it may be on no standby yet if the wait of its commit was
/// canceled. So the statement writes a message to the WAL: its own commit is answered when
/// everything before it is as durable as `synchronous_commit` requires.
pub(crate) fn held_events<'a>(log: &LogName, events: &'a [Event]) -> Statement<'a> {
    let (table, version) = (log.table(), version_of(log));
    let mut params = Params::with_capacity(5);
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
         SELECT held.ordinality, held.sequence_number, held.differs,
             (SELECT version.epoch FROM {version})
         FROM held LEFT JOIN flushed ON true ORDER BY held.ordinality"
    );
    params.into_statement(text)
}

/// An event of an append that the log holds already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct HeldEvent {
    /// The event's index in the append.
    pub(crate) index: usize,
    /// The event's position in the log.
    pub(crate) position: Bookmark,
    /// Whether the event in the log has the same contents.
    pub(crate) is_same: bool,
}

impl HeldEvent {
    pub(crate) fn decode(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let ordinality: i64 = row.try_get(0)?;
        let differs: Option<&str> = row.try_get(2)?;
        Ok(Self {
            index: usize::try_from(ordinality - 1).unwrap_or(usize::MAX),
            position: Bookmark::new(
                SequenceNumber::from_bigint(row.try_get(1)?),
                Epoch::new(row.try_get(3)?),
            ),
            is_same: differs.is_none(),
        })
    }
}

/// The most events that the GIN index on the payload may find for one term of a batch.
const MAX_CANDIDATES: u32 = 1_000;
/// The most terms of a condition in a batch.
const MAX_TERMS: usize = 64;
/// The most parameters of a batch.
const MAX_PARAMS: usize = 11;
