//! The protocol under test.

use std::time::Duration;

use console::error_chain;
use eddyline::retry::Jitter;
use eddyline::{
    AppendCondition, Config, Decided, Decision, Error, Event, Filter, History, Mode, Query,
    ReadOnly, ReadWrite, RetryPolicy, Schema, SequenceNumber, Store,
};
use futures_util::{TryStreamExt, pin_mut, stream};

use super::{Basis, Broken, Outcome, Page, Reading};
use crate::event::NewEvent;
use crate::fact::{Server, Way};
use crate::failure::Failure;
use crate::filter::FilterSpec;
use crate::servers::Addresses;
use crate::sql::Table;

/// The store, in both of its modes.
#[derive(Debug)]
pub struct EventStore {
    /// Tries once: a fault is told to whoever met it, and counted.
    primary: Store<ReadWrite>,
    /// Tries again by the default policy, after whose retries nothing may be there twice.
    persistent: Store<ReadWrite>,
    /// The same with so little time for a try that the server has to be told not to wait for the lock
    /// as long as it is set to.
    hurried: Store<ReadWrite>,
    /// Decide again, as these say.
    escalating: Store<ReadWrite>,
    optimistic: Store<ReadWrite>,
    replica: Option<Store<ReadOnly>>,
}

/// How long a decision that is left to the store goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tenacity {
    /// It takes the log's lock after the first lost round.
    Escalating,
    /// It never takes the lock, and gives up after a few lost rounds.
    Optimistic,
}

/// Why the store ended a decision without appending.
pub enum Stop {
    /// It lost as many rounds as it has.
    Conflict(Broken),
    /// The boundary has had its time.
    Old,
    /// Nothing was stored, for another reason.
    Refused(String),
    /// Its events may have been stored.
    Unknown(String),
}

/// Makes the log's tables.
pub async fn create(addresses: &Addresses, table: Table) -> Result<(), Failure> {
    let config = config(&addresses.primary, table)?;
    Schema::new(&config).migrate().await.map_err(Failure::store("make the log's tables"))
}

impl EventStore {
    pub async fn connect(
        addresses: &Addresses,
        table: Table,
        connections: usize,
    ) -> Result<Self, Failure> {
        let failed = Failure::store("connect");
        let connections = u32::try_from(connections).unwrap_or(u32::MAX);
        let config = |url| Ok(config(url, table)?.max_connections(connections));
        let persistent = Store::<ReadWrite>::connect(config(&addresses.primary)?);
        let persistent = persistent.await.map_err(&failed)?;
        let replica = match &addresses.replica {
            None => None,
            Some(replica) => {
                let replica = Store::<ReadOnly>::connect(config(replica)?);
                Some(replica.await.map_err(&failed)?.with_retry_policy(RetryPolicy::never()))
            }
        };
        let tenacious = |tenacity: Tenacity| {
            Ok(persistent.with_retry_policy(tenacity.policy().map_err(&failed)?))
        };
        let hurried = RetryPolicy::builder().attempt_timeout(HURRIED).build().map_err(&failed)?;
        Ok(Self {
            hurried: persistent.with_retry_policy(hurried),
            primary: persistent.with_retry_policy(RetryPolicy::never()),
            escalating: tenacious(Tenacity::Escalating)?,
            optimistic: tenacious(Tenacity::Optimistic)?,
            persistent,
            replica,
        })
    }

    /// Reads a boundary; the condition comes of the history, or is pieced together of what could
    /// have travelled through a client: then it stands on the last event, however old that is.
    pub async fn read(&self, filter: &FilterSpec, travelled: bool) -> Result<Reading, String> {
        let told = |error| error_chain(&error);
        let filter = filter.to_filter().map_err(told)?;
        let history = self.primary.query(&filter).await.map_err(told)?;
        let last = history.events().last().map(|event| event.sequence_number());
        let (position, condition) = match travelled {
            true => {
                let last = last.unwrap_or_default();
                (last, AppendCondition::no_match_after(filter, last))
            }
            false => (history.position(), history.condition()),
        };
        Ok(Reading {
            count: history.events().len() as u64,
            position: position.value(),
            basis: Basis::Condition(condition),
        })
    }

    pub async fn read_end(&self) -> Result<Reading, String> {
        let position = self.primary.head().await.map_err(|error| error_chain(&error))?;
        let condition = AppendCondition::no_match_after(Filter::everything(), position);
        Ok(Reading { count: 0, position: position.value(), basis: Basis::Condition(condition) })
    }

    pub async fn append(&self, events: &[NewEvent], basis: Basis) -> Outcome {
        let (store, condition) = match basis {
            Basis::Anything => {
                let store = if events.len() > 1 { &self.persistent } else { &self.hurried };
                (store, AppendCondition::none())
            }
            Basis::Condition(condition) => (&self.primary, condition),
            Basis::Highest(..) => return Outcome::Refused("no condition of the store".to_owned()),
        };
        let events = match events.iter().map(to_event).collect::<Result<Vec<_>, _>>() {
            Ok(events) => events,
            Err(error) => return Outcome::Refused(error_chain(&error)),
        };
        match store.append(events, condition).await {
            Ok(appended) => {
                Outcome::Accepted { first: appended.first().value(), last: appended.last().value() }
            }
            Err(error) => match error.into() {
                Stop::Conflict(broken) => Outcome::Conflict(broken),
                Stop::Old => Outcome::Refused("a boundary is old".to_owned()),
                Stop::Refused(fault) => Outcome::Refused(fault),
                Stop::Unknown(fault) => Outcome::Unknown(fault),
            },
        }
    }

    /// Imports events, in chunks of so many; returns how many of them this import stored, and where the
    /// first and the last of those are.
    pub async fn import(
        &self,
        events: Vec<Event>,
        chunk: usize,
    ) -> Result<(u64, Option<(u64, u64)>), String> {
        let told = |error: Error| error_chain(&error);
        let import = self.persistent.import(stream::iter(events)).chunk(chunk).await;
        let imported = import.map_err(|failed| told(failed.into()))?;
        let ends = imported.first().zip(imported.last());
        Ok((imported.stored(), ends.map(|(first, last)| (first.value(), last.value()))))
    }

    /// Leaves it to the store to read, to append what is chosen, and to do so again. The choice is
    /// made from a count and the position that it is true at; there is none if the boundary is old.
    pub async fn decide(
        &self,
        tenacity: Tenacity,
        filter: &FilterSpec,
        choose: impl Fn(u64, u64) -> Option<Vec<NewEvent>>,
    ) -> Result<Decided, Stop> {
        let store = match tenacity {
            Tenacity::Escalating => &self.escalating,
            Tenacity::Optimistic => &self.optimistic,
        };
        let decide = |history: &History<ReadWrite>| {
            let (count, position) = (history.events().len() as u64, history.position().value());
            let events = choose(count, position).ok_or(Stop::Old)?;
            let events = events.iter().map(to_event).collect::<Result<Vec<_>, _>>()?;
            Ok(Decision::append(events))
        };
        store.decide(&filter.to_filter()?, decide).await
    }

    pub async fn tail(
        &self,
        way: Way,
        server: Server,
        last: u64,
        limit: Option<u32>,
    ) -> Result<Page, String> {
        let answer = match (server, &self.replica) {
            (Server::Primary, _) => tail(&self.primary, way, last, limit).await,
            (Server::Replica, Some(replica)) => tail(replica, way, last, limit).await,
            (Server::Replica, None) => return Err("there is no replica".to_owned()),
        };
        answer.map_err(|error| error_chain(&error))
    }
}

impl Tenacity {
    /// How often it decides at most.
    pub fn attempts(self) -> u32 {
        match self {
            Self::Escalating => 4,
            Self::Optimistic => 3,
        }
    }

    /// After how many lost rounds it decides under the log's lock.
    pub fn escalates_after(self) -> Option<u32> {
        (self == Self::Escalating).then_some(1)
    }

    /// Pauses are made after faults only, and without jitter each takes its time: a decision that
    /// made none has lost every round but the last.
    fn policy(self) -> Result<RetryPolicy, Error> {
        let policy = RetryPolicy::builder().attempts(self.attempts()).jitter(Jitter::None);
        match self.escalates_after() {
            Some(rounds) => policy.escalate_after(rounds),
            None => policy.no_escalation(),
        }
        .build()
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        let told = error_chain(&error);
        match error {
            Error::Conflict { after, event, event_type } => Self::Conflict(Broken {
                after: after.value(),
                event: Some((event.value(), event_type)),
                head: None,
            }),
            error if error.is_outcome_unknown() => Self::Unknown(told),
            _ => Self::Refused(told),
        }
    }
}

async fn tail<M: Mode>(
    store: &Store<M>,
    way: Way,
    last: u64,
    limit: Option<u32>,
) -> Result<Page, Error> {
    let mut query = Query::new(&Filter::everything()).after(SequenceNumber::new(last));
    if let Some(limit) = limit {
        query = query.limit(limit);
    }
    let mut numbers = Vec::new();
    if way == Way::Stream {
        let events = store.stream(query).await?;
        pin_mut!(events);
        while let Some(event) = events.try_next().await? {
            numbers.push(event.sequence_number().value());
        }
        let position = numbers.last().copied().unwrap_or(last);
        return Ok(Page { numbers, position });
    }
    let history: History<M> = store.query(query).await?;
    numbers.extend(history.events().iter().map(|event| event.sequence_number().value()));
    Ok(Page { numbers, position: history.position().value() })
}

/// Makes the store's event of it.
pub fn to_event(event: &NewEvent) -> Result<Event, Error> {
    Event::new(event.event_type.clone(), &event.payload)?
        .with_metadata(&event.stamp)?
        .with_id(event.id)
}

/// Makes the configuration of a store.
pub fn config(url: &str, table: Table) -> Result<Config, Failure> {
    let config = Config::new(url).map_err(Failure::store("use the address"))?;
    Ok(config.schema(table.schema).log(table.name).acquire_timeout(Duration::from_secs(30)))
}

/// Less than the lock's time leaves of the default.
const HURRIED: Duration = Duration::from_secs(5);
