//! One decision in a single_store log, and how it must end.

use console::error_chain;
use eddyline::{AppendCondition, Error, ReadWrite, SequenceNumber, Store};
use futures_util::future::join_all;
use futures_util::stream;
use rand::RngExt;
use rand::rngs::SmallRng;
use serde_json::{Value, json};

use super::{Calm, Stored};
use crate::actors::Race;
use crate::boundary::{Boundary, FilterKind};
use crate::event::{NewEvent, new_events};
use crate::fact::{CalmFault, Fact, Stranger};
use crate::filter::FilterSpec;
use crate::kind::Kind;
use crate::protocol::to_event;
use crate::sql;

/// What happens around a decision.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    kind: FilterKind,
    /// The store has just connected.
    is_fresh: bool,
    /// How many events the store appends before the read.
    before: usize,
    basis: Basis,
    stranger: Stranger,
    /// How many events the store appends between the read and the append: before the stranger, and
    /// after it.
    own: [usize; 2],
    /// How many appends go together with the decision's.
    together: usize,
    /// Whether these are many, and the stranger comes while they are on their way: the store then sends
    /// appends before those in front of them are answered.
    is_rushed: bool,
}

/// What the condition comes of.
#[derive(Clone, Copy, Debug)]
enum Basis {
    /// The history that the store itself read.
    History,
    /// The history that another store read.
    HistoryElsewhere,
    /// Nothing: no event may match.
    NoMatch,
    /// The position of the last event that matched.
    Travelled,
}

impl Case {
    pub fn any(random: &mut SmallRng) -> Self {
        let some = |random: &mut SmallRng| random.random_range(0..3_usize).saturating_sub(1);
        let is_rushed = random.random_ratio(1, 4);
        let together = match random.random_range(0..4) {
            _ if is_rushed => random.random_range(30..70),
            0 => random.random_range(1..4),
            _ => 0,
        };
        Self {
            kind: FilterKind::ALL[random.random_range(0..FilterKind::ALL.len())],
            is_fresh: random.random_ratio(1, 4),
            // So many that the store takes itself for the only one again.
            before: random.random_range(0..3) + if is_rushed { 24 } else { 0 },
            basis: [Basis::History, Basis::HistoryElsewhere, Basis::NoMatch, Basis::Travelled]
                [random.random_range(0..4)],
            stranger: Stranger::ALL[random.random_range(0..Stranger::ALL.len())],
            own: [some(random), some(random)],
            together,
            is_rushed,
        }
    }
}

/// A decision to be taken.
pub struct Round<'a> {
    pub race: &'a Race,
    pub boundary: &'a Boundary,
    pub case: Case,
}

impl Round<'_> {
    /// Takes the decision, and tells how it ended. An error says that the log is not known any more.
    pub async fn play(&self, single_store: &mut Calm, random: &mut SmallRng) -> Result<(), String> {
        let Case { kind, is_fresh, before, stranger, own, is_rushed, .. } = self.case;
        if is_fresh {
            let connected = Store::<ReadWrite>::connect(single_store.config.clone()).await;
            single_store.store = connected.map_err(told)?;
        }
        self.append_own(single_store, before, random).await?;
        let spec = self.boundary.filter(kind);
        let (position, condition) = self.read(single_store, &spec).await?;
        self.append_own(single_store, own[0], random).await?;
        if !is_rushed
            && let Some((event, number)) = self.intrude(single_store, stranger, random).await?
        {
            single_store.note(event, number);
        }
        self.append_own(single_store, own[1], random).await?;

        let decided = self.content(true, random);
        let others: Vec<_> = (0..self.case.together).map(|_| self.content(false, random)).collect();
        // The decision comes in the middle of them.
        let (first, second) = others.split_at(random.random_range(0..=others.len()));
        let late = if is_rushed { stranger } else { Stranger::Nobody };
        let intruding = self.intrude(single_store, late, random);
        // With conditions, and on a boundary that nobody writes to.
        let unrelated = Boundary::private(0, u64::MAX).filter(kind).to_filter().map_err(told)?;
        let unbroken =
            || AppendCondition::no_match_after(unrelated.clone(), SequenceNumber::new(position));
        let store = &single_store.store;
        let append_unbroken = |event| append(store, event, unbroken());
        let (first_appended, intruded, ended, second_appended) = tokio::join!(
            join_all(first.iter().map(append_unbroken)),
            intruding,
            append(store, &decided, condition),
            join_all(second.iter().map(append_unbroken)),
        );
        if let Some((event, number)) = intruded? {
            single_store.note(event, number);
        }
        self.judge(single_store, &spec, position, &ended).await;
        let others_appended = first_appended.into_iter().chain(second_appended);
        let stored = others.into_iter().zip(others_appended).chain([(decided, ended)]);
        for (event, appended) in stored {
            match appended {
                Ok(number) => single_store.note(event, number),
                Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(told(error)),
            }
        }
        single_store.events.sort_by_key(|event| event.number);
        Ok(())
    }

    /// Reads what the decision is taken from, and compares it with what is known.
    async fn read(
        &self,
        single_store: &Calm,
        spec: &FilterSpec,
    ) -> Result<(u64, AppendCondition), String> {
        let filter = spec.to_filter().map_err(told)?;
        if let Basis::NoMatch = self.case.basis {
            return Ok((0, AppendCondition::no_match(filter)));
        }
        let reader = match self.case.basis {
            Basis::HistoryElsewhere => &single_store.stranger,
            _ => &single_store.store,
        };
        let history = reader.query(&filter).await.map_err(told)?;
        let found = history.events().iter().map(|event| event.sequence_number().value());
        let known = single_store.matching(spec).map(|event| event.number);
        if !found.eq(known) {
            let read = history.events().len();
            let known = single_store.matching(spec).count();
            self.fault(CalmFault::Lost, format!("a read found {read} events of {known}")).await;
        }
        if let Basis::Travelled = self.case.basis {
            let last = history.events().last().map(|event| event.sequence_number());
            let last = last.unwrap_or(SequenceNumber::ZERO);
            return Ok((last.value(), AppendCondition::no_match_after(filter, last)));
        }
        Ok((history.position().value(), history.condition()))
    }

    /// Compares how the append ended with how it had to end.
    async fn judge(
        &self,
        single_store: &Calm,
        spec: &FilterSpec,
        position: u64,
        ended: &Result<u64, Error>,
    ) {
        let before = *ended.as_ref().unwrap_or(&u64::MAX);
        let mut causes = single_store
            .matching(spec)
            .filter(|event| (position + 1..before).contains(&event.number));
        let cause = causes.next();
        match (ended, cause) {
            (Ok(number), Some(cause)) => {
                let cause = cause.number;
                let text =
                    format!("stored at {number}, though {cause} came after {position} and matches");
                self.fault(CalmFault::Wrong, text).await;
            }
            (Err(Error::Conflict { event, event_type, .. }), cause) => {
                let is_cause = |cause: &Stored| {
                    cause.number == event.value() && cause.event_type == *event_type
                };
                if !cause.is_some_and(is_cause) {
                    let cause = cause.map(|cause| cause.number);
                    let text =
                        format!("refused for {event}, after {position}; the cause is {cause:?}");
                    self.fault(CalmFault::False, text).await;
                }
                self.race.count(Kind::Calm(self.case.stranger, true));
            }
            (Ok(_), None) => self.race.count(Kind::Calm(self.case.stranger, false)),
            (Err(_), _) => {}
        }
    }

    async fn fault(&self, make: impl FnOnce(String) -> CalmFault, text: String) {
        self.race.tell(Fact::CalmFault(make(format!("{text} ({:?})", self.case)))).await;
    }

    /// Lets the store append so many events.
    async fn append_own(
        &self,
        single_store: &mut Calm,
        count: usize,
        random: &mut SmallRng,
    ) -> Result<(), String> {
        for _ in 0..count {
            let event = self.content(random.random(), random);
            let number =
                append(&single_store.store, &event, AppendCondition::none()).await.map_err(told)?;
            single_store.note(event, number);
        }
        Ok(())
    }

    /// Lets a stranger append one event; returns it with its number.
    async fn intrude(
        &self,
        single_store: &Calm,
        stranger: Stranger,
        random: &mut SmallRng,
    ) -> Result<Option<(NewEvent, u64)>, String> {
        let event = self.content(random.random(), random);
        let events = std::slice::from_ref(&event);
        let by_sql = |error: tokio_postgres::Error| error_chain(&error);
        let number = match stranger {
            Stranger::Nobody => return Ok(None),
            Stranger::Copy => {
                sql::copy(&single_store.client, single_store.table, events).await.map_err(by_sql)?.0
            }
            Stranger::Insert => {
                sql::insert(&single_store.client, single_store.table, events)
                    .await
                    .map_err(by_sql)?
                    .0
            }
            Stranger::Import => {
                let source = stream::iter([to_event(&event).map_err(told)?]);
                let imported = single_store.stranger.import(source).await;
                let imported = imported.map_err(|failed| told(failed.into()))?;
                imported.first().ok_or("an import stored nothing")?.value()
            }
            Stranger::Store => append(&single_store.stranger, &event, AppendCondition::none())
                .await
                .map_err(told)?,
        };
        Ok(Some((event, number)))
    }

    /// Makes an event that the filter matches, or one that only others of its boundary may match.
    fn content(&self, is_within: bool, random: &mut SmallRng) -> NewEvent {
        let content: (String, Value) = match is_within {
            true => self.boundary.event(self.case.kind, random),
            false => ("BookCopyAddedToCirculation".into(), json!({ "BookID": "elsewhere" })),
        };
        new_events([content], None).remove(0)
    }
}

impl Calm {
    fn note(&mut self, event: NewEvent, number: u64) {
        let NewEvent { event_type, payload, .. } = event;
        self.events.push(Stored { number, event_type, payload });
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

fn told(error: Error) -> String {
    error_chain(&error)
}
