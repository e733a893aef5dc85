//! One decision in the single-store log, and a check of its outcome.

use console::error_chain;
use eddyline::{AppendCondition, Error, ReadWrite, SequenceNumber, Store};
use futures_util::future::join_all;
use futures_util::stream;
use rand::RngExt;
use rand::rngs::SmallRng;
use serde_json::{Value, json};

use super::{SingleStore, Stored};
use crate::actors::Race;
use crate::boundary::{Boundary, FilterKind};
use crate::event::{NewEvent, new_events};
use crate::filter::FilterSpec;
use crate::kind::Kind;
use crate::message::{InterveningWrite, Message, SingleStoreViolation};
use crate::protocol::to_event;
use crate::sql;

/// The circumstances of a decision.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    kind: FilterKind,
    /// Whether the store has just connected.
    is_fresh: bool,
    /// The number of events that the store appends before the read.
    before: usize,
    source: ConditionSource,
    intervening: InterveningWrite,
    /// The numbers of events that the store appends between its read and its append: before the
    /// intervening write, and after it.
    own: [usize; 2],
    /// The number of appends that are made at the same time as the decision's.
    concurrent: usize,
    /// Whether there are many concurrent appends, and the intervening write happens while they are
    /// in flight. The store then pipelines appends: it sends them before their predecessors are
    /// answered.
    is_pipelined: bool,
}

/// The source of a condition.
#[derive(Clone, Copy, Debug)]
enum ConditionSource {
    /// The history that the store under test read.
    History,
    /// A history that the other store read.
    OtherHistory,
    /// No history: no event at all may match.
    NoMatch,
    /// The position of the last event that matched, as a client could have passed it on.
    LastMatch,
}

impl Case {
    pub fn any(random: &mut SmallRng) -> Self {
        let some = |random: &mut SmallRng| random.random_range(0..3_usize).saturating_sub(1);
        let is_pipelined = random.random_ratio(1, 4);
        let concurrent = match random.random_range(0..4) {
            _ if is_pipelined => random.random_range(30..70),
            0 => random.random_range(1..4),
            _ => 0,
        };
        Self {
            kind: FilterKind::ALL[random.random_range(0..FilterKind::ALL.len())],
            is_fresh: random.random_ratio(1, 4),
            // Enough appends for the store to assume again that it is the only writer.
            before: random.random_range(0..3) + if is_pipelined { 24 } else { 0 },
            source: [
                ConditionSource::History,
                ConditionSource::OtherHistory,
                ConditionSource::NoMatch,
                ConditionSource::LastMatch,
            ][random.random_range(0..4)],
            intervening: InterveningWrite::ALL[random.random_range(0..InterveningWrite::ALL.len())],
            own: [some(random), some(random)],
            concurrent,
            is_pipelined,
        }
    }
}

/// A decision to take.
pub struct Decision<'a> {
    pub race: &'a Race,
    pub boundary: &'a Boundary,
    pub case: Case,
}

impl Decision<'_> {
    /// Takes the decision, and checks its outcome. After an error the content of the log is
    /// unknown.
    pub async fn run(
        &self,
        single_store: &mut SingleStore,
        random: &mut SmallRng,
    ) -> Result<(), String> {
        let Case { kind, is_fresh, before, intervening, own, is_pipelined, .. } = self.case;
        if is_fresh {
            let connected = Store::<ReadWrite>::connect(single_store.config.clone()).await;
            single_store.store = connected.map_err(describe)?;
        }
        self.append_own(single_store, before, random).await?;
        let spec = self.boundary.filter(kind);
        let (position, condition) = self.read(single_store, &spec).await?;
        self.append_own(single_store, own[0], random).await?;
        if !is_pipelined
            && let Some((event, position)) =
                self.intervene(single_store, intervening, random).await?
        {
            single_store.add(event, position);
        }
        self.append_own(single_store, own[1], random).await?;

        let decided = self.content(true, random);
        let others: Vec<_> =
            (0..self.case.concurrent).map(|_| self.content(false, random)).collect();
        // The decision is in the middle of the concurrent appends.
        let (first, second) = others.split_at(random.random_range(0..=others.len()));
        let late = if is_pipelined { intervening } else { InterveningWrite::Nothing };
        let intervening = self.intervene(single_store, late, random);
        // The concurrent appends have conditions on a boundary without writers, so none of them can
        // conflict.
        let unrelated =
            Boundary::private(0, u64::MAX).filter(kind).to_filter().map_err(describe)?;
        let unbroken =
            || AppendCondition::no_match_after(unrelated.clone(), SequenceNumber::new(position));
        let store = &single_store.store;
        let append_unbroken = |event| append(store, event, unbroken());
        let (first_appended, intervened, ended, second_appended) = tokio::join!(
            join_all(first.iter().map(append_unbroken)),
            intervening,
            append(store, &decided, condition),
            join_all(second.iter().map(append_unbroken)),
        );
        if let Some((event, position)) = intervened? {
            single_store.add(event, position);
        }
        self.check(single_store, &spec, position, &ended).await;
        let others_appended = first_appended.into_iter().chain(second_appended);
        let stored = others.into_iter().zip(others_appended).chain([(decided, ended)]);
        for (event, appended) in stored {
            match appended {
                Ok(position) => single_store.add(event, position),
                Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(describe(error)),
            }
        }
        single_store.events.sort_by_key(|event| event.position);
        Ok(())
    }

    /// Reads the history of the decision, and compares it with the known events.
    async fn read(
        &self,
        single_store: &SingleStore,
        spec: &FilterSpec,
    ) -> Result<(u64, AppendCondition), String> {
        let filter = spec.to_filter().map_err(describe)?;
        if let ConditionSource::NoMatch = self.case.source {
            return Ok((0, AppendCondition::no_match(filter)));
        }
        let reader = match self.case.source {
            ConditionSource::OtherHistory => &single_store.other_store,
            _ => &single_store.store,
        };
        let history = reader.query(&filter).await.map_err(describe)?;
        let found = history.events().iter().map(|event| event.sequence_number().value());
        let known = single_store.matching(spec).map(|event| event.position);
        if !found.eq(known) {
            let read = history.events().len();
            let known = single_store.matching(spec).count();
            self.send_violation(
                SingleStoreViolation::Lost,
                format!("a read found {read} events of {known}"),
            )
            .await;
        }
        if let ConditionSource::LastMatch = self.case.source {
            let last = history.events().last().map(|event| event.sequence_number());
            let last = last.unwrap_or(SequenceNumber::ZERO);
            return Ok((last.value(), AppendCondition::no_match_after(filter, last)));
        }
        Ok((history.position().value(), history.condition()))
    }

    /// Compares the outcome of the append with the expected one.
    async fn check(
        &self,
        single_store: &SingleStore,
        spec: &FilterSpec,
        position: u64,
        ended: &Result<u64, Error>,
    ) {
        let before = *ended.as_ref().unwrap_or(&u64::MAX);
        let mut causes = single_store
            .matching(spec)
            .filter(|event| (position + 1..before).contains(&event.position));
        let cause = causes.next();
        match (ended, cause) {
            (Ok(stored), Some(cause)) => {
                let cause = cause.position;
                let text =
                    format!("stored at {stored}, although {cause} is after {position} and matches");
                self.send_violation(SingleStoreViolation::Wrong, text).await;
            }
            (Err(Error::Conflict { position: event, event_type, .. }), cause) => {
                let is_cause = |cause: &Stored| {
                    cause.position == event.value() && cause.event_type == *event_type
                };
                if !cause.is_some_and(is_cause) {
                    let cause = cause.map(|cause| cause.position);
                    let text =
                        format!("refused for {event}, after {position}; the cause is {cause:?}");
                    self.send_violation(SingleStoreViolation::False, text).await;
                }
                self.race.count(Kind::SingleStore(self.case.intervening, true));
            }
            (Ok(_), None) => self.race.count(Kind::SingleStore(self.case.intervening, false)),
            (Err(_), _) => {}
        }
    }

    async fn send_violation(
        &self,
        make: impl FnOnce(String) -> SingleStoreViolation,
        text: String,
    ) {
        self.race
            .send(Message::SingleStoreViolation(make(format!("{text} ({:?})", self.case))))
            .await;
    }

    /// Lets the store under test append `count` events.
    async fn append_own(
        &self,
        single_store: &mut SingleStore,
        count: usize,
        random: &mut SmallRng,
    ) -> Result<(), String> {
        for _ in 0..count {
            let event = self.content(random.random(), random);
            let position = append(&single_store.store, &event, AppendCondition::none())
                .await
                .map_err(describe)?;
            single_store.add(event, position);
        }
        Ok(())
    }

    /// Executes the intervening write of one event. Returns the event and its position.
    async fn intervene(
        &self,
        single_store: &SingleStore,
        intervening: InterveningWrite,
        random: &mut SmallRng,
    ) -> Result<Option<(NewEvent, u64)>, String> {
        let event = self.content(random.random(), random);
        let events = std::slice::from_ref(&event);
        let by_sql = |error: tokio_postgres::Error| error_chain(&error);
        let position = match intervening {
            InterveningWrite::Nothing => return Ok(None),
            InterveningWrite::Copy => {
                sql::copy(&single_store.client, single_store.table, events).await.map_err(by_sql)?.0
            }
            InterveningWrite::Insert => {
                sql::insert(&single_store.client, single_store.table, events)
                    .await
                    .map_err(by_sql)?
                    .0
            }
            InterveningWrite::Import => {
                let source = stream::iter([to_event(&event).map_err(describe)?]);
                let imported = single_store.other_store.import(source).await;
                let imported = imported.map_err(|failed| describe(failed.into()))?;
                imported.first().ok_or("an import stored nothing")?.value()
            }
            InterveningWrite::OtherStore => {
                append(&single_store.other_store, &event, AppendCondition::none())
                    .await
                    .map_err(describe)?
            }
        };
        Ok(Some((event, position)))
    }

    /// Makes an event that the decision's filter matches, or one that no filter of the boundary
    /// matches.
    fn content(&self, is_within: bool, random: &mut SmallRng) -> NewEvent {
        let content: (String, Value) = match is_within {
            true => self.boundary.event(self.case.kind, random),
            false => ("BookCopyAddedToCirculation".into(), json!({ "BookID": "elsewhere" })),
        };
        new_events([content], None).remove(0)
    }
}

impl SingleStore {
    fn add(&mut self, event: NewEvent, position: u64) {
        let NewEvent { event_type, payload, .. } = event;
        self.events.push(Stored { position, event_type, payload });
    }

    /// Returns the known events that a filter matches, in ascending order.
    fn matching<'a>(&'a self, spec: &'a FilterSpec) -> impl Iterator<Item = &'a Stored> {
        self.events.iter().filter(|event| spec.matches(&event.event_type, &event.payload))
    }
}

async fn append(
    store: &Store<ReadWrite>,
    event: &NewEvent,
    condition: AppendCondition,
) -> Result<u64, Error> {
    Ok(store.append([to_event(event)?], condition).await?.last().value())
}

fn describe(error: Error) -> String {
    error_chain(&error)
}
