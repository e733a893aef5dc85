//! The protocol under test.

use std::time::Duration;

use console::error_chain;
use eddyline::retry::Jitter;
use eddyline::{
    AppendCondition, Config, Decided, Decision, Error, Event, Filter, History, Mode, Query,
    ReadOnly, ReadWrite, RetryPolicy, Schema, SequenceNumber, Store,
};
use futures_util::{TryStreamExt, pin_mut, stream};

use super::{Condition, Outcome, Page, Reading, ReportedConflict};
use crate::event::NewEvent;
use crate::failure::Failure;
use crate::filter::FilterSpec;
use crate::message::{Server, TailMethod};
use crate::servers::Addresses;
use crate::sql::Table;

/// The store, in both modes.
#[derive(Debug)]
pub struct EventStore {
    /// Makes one attempt. Its errors are reported and counted.
    single_attempt: Store<ReadWrite>,
    /// Retries with the default policy, after which no event may be stored twice.
    retrying: Store<ReadWrite>,
    /// Retries like [`Self::retrying`], but an attempt has less time than the configured lock
    /// timeout, so the store has to set a shorter lock timeout.
    short_attempts: Store<ReadWrite>,
    /// Repeat decisions, according to the [`DecidePolicy`] of the same name.
    escalating: Store<ReadWrite>,
    optimistic: Store<ReadWrite>,
    replica: Option<Store<ReadOnly>>,
}

/// The way in which the store's `decide` repeats a decision.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DecidePolicy {
    /// It takes the log's lock after the first conflict.
    Escalating,
    /// It never takes the lock, and gives up after a few conflicts.
    Optimistic,
}

/// The reason why the store's `decide` failed.
pub enum DecideError {
    /// Every attempt failed with a conflict.
    Conflict(ReportedConflict),
    /// The boundary is full, so no decision was taken.
    BoundaryFull,
    /// Nothing was stored, for another reason than a conflict.
    Refused(String),
    /// The outcome is unknown.
    Unknown(String),
}

/// Creates the log's tables.
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
        let retrying = Store::<ReadWrite>::connect(config(&addresses.primary)?);
        let retrying = retrying.await.map_err(&failed)?;
        let replica = match &addresses.replica {
            None => None,
            Some(replica) => {
                let replica = Store::<ReadOnly>::connect(config(replica)?);
                Some(replica.await.map_err(&failed)?.with_retry_policy(RetryPolicy::never()))
            }
        };
        let deciding = |policy: DecidePolicy| {
            Ok(retrying.with_retry_policy(policy.retry_policy().map_err(&failed)?))
        };
        let short_attempts = RetryPolicy::builder().attempt_timeout(SHORT_ATTEMPT).build();
        let short_attempts = short_attempts.map_err(&failed)?;
        Ok(Self {
            short_attempts: retrying.with_retry_policy(short_attempts),
            single_attempt: retrying.with_retry_policy(RetryPolicy::never()),
            escalating: deciding(DecidePolicy::Escalating)?,
            optimistic: deciding(DecidePolicy::Optimistic)?,
            retrying,
            replica,
        })
    }

    /// Reads a boundary. The condition is the history's, or one at the position of the last event,
    /// as if that position had traveled through a client. The latter may be old.
    pub async fn read(&self, filter: &FilterSpec, at_last_event: bool) -> Result<Reading, String> {
        let text = |error| error_chain(&error);
        let filter = filter.to_filter().map_err(text)?;
        let history = self.single_attempt.query(&filter).await.map_err(text)?;
        let last = history.events().last().map(|event| event.sequence_number());
        let (position, condition) = match at_last_event {
            true => {
                let last = last.unwrap_or_default();
                (last, AppendCondition::no_match_after(filter, last))
            }
            false => (history.position(), history.condition()),
        };
        Ok(Reading {
            count: history.events().len() as u64,
            position: position.value(),
            condition: Condition::Store(condition),
        })
    }

    pub async fn read_head(&self) -> Result<Reading, String> {
        let position = self.single_attempt.head().await.map_err(|error| error_chain(&error))?;
        let condition = AppendCondition::no_match_after(Filter::everything(), position);
        Ok(Reading { count: 0, position: position.value(), condition: Condition::Store(condition) })
    }

    pub async fn append(&self, events: &[NewEvent], condition: Condition) -> Outcome {
        let (store, condition) = match condition {
            Condition::Unconditional => {
                let store = if events.len() > 1 { &self.retrying } else { &self.short_attempts };
                (store, AppendCondition::none())
            }
            Condition::Store(condition) => (&self.single_attempt, condition),
            Condition::Highest(..) => {
                return Outcome::Refused("the condition is not one of the store".to_owned());
            }
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
                DecideError::Conflict(reported) => Outcome::Conflict(reported),
                DecideError::BoundaryFull => Outcome::Refused("the boundary is full".to_owned()),
                DecideError::Refused(error) => Outcome::Refused(error),
                DecideError::Unknown(error) => Outcome::Unknown(error),
            },
        }
    }

    /// Imports events in chunks of the given size. Returns how many of them this import stored, and
    /// the positions of the first and the last of those.
    pub async fn import(
        &self,
        events: Vec<Event>,
        chunk: usize,
    ) -> Result<(u64, Option<(u64, u64)>), String> {
        let import = self.retrying.import(stream::iter(events)).chunk(chunk).await;
        let imported = import.map_err(|failed| error_chain(&Error::from(failed)))?;
        let range = imported.first().zip(imported.last());
        Ok((imported.stored(), range.map(|(first, last)| (first.value(), last.value()))))
    }

    /// Calls the store's `decide`. `choose` receives the number of events in the history and its
    /// position, and returns the events to append, or `None` if the boundary is full.
    pub async fn decide(
        &self,
        policy: DecidePolicy,
        filter: &FilterSpec,
        choose: impl Fn(u64, u64) -> Option<Vec<NewEvent>>,
    ) -> Result<Decided, DecideError> {
        let store = match policy {
            DecidePolicy::Escalating => &self.escalating,
            DecidePolicy::Optimistic => &self.optimistic,
        };
        let decide = |history: &History<ReadWrite>| {
            let (count, position) = (history.events().len() as u64, history.position().value());
            let events = choose(count, position).ok_or(DecideError::BoundaryFull)?;
            let events = events.iter().map(to_event).collect::<Result<Vec<_>, _>>()?;
            Ok(Decision::append(events))
        };
        store.decide(&filter.to_filter()?, decide).await
    }

    pub async fn tail(
        &self,
        method: TailMethod,
        server: Server,
        last: u64,
        limit: Option<u32>,
    ) -> Result<Page, String> {
        let answer = match (server, &self.replica) {
            (Server::Primary, _) => tail(&self.single_attempt, method, last, limit).await,
            (Server::Replica, Some(replica)) => tail(replica, method, last, limit).await,
            (Server::Replica, None) => return Err("there is no replica".to_owned()),
        };
        answer.map_err(|error| error_chain(&error))
    }
}

impl DecidePolicy {
    /// Returns the maximum number of attempts.
    pub fn attempts(self) -> u32 {
        match self {
            Self::Escalating => 4,
            Self::Optimistic => 3,
        }
    }

    /// Returns the number of conflicts after which it decides under the log's lock.
    pub fn escalates_after(self) -> Option<u32> {
        (self == Self::Escalating).then_some(1)
    }

    /// Returns the retry policy. The store pauses only after errors other than conflicts, and
    /// without jitter no pause is zero. So if it did not pause, every attempt but the last one
    /// ended with a conflict.
    fn retry_policy(self) -> Result<RetryPolicy, Error> {
        let policy = RetryPolicy::builder().attempts(self.attempts()).jitter(Jitter::None);
        match self.escalates_after() {
            Some(conflicts) => policy.escalate_after(conflicts),
            None => policy.no_escalation(),
        }
        .build()
    }
}

impl From<Error> for DecideError {
    fn from(error: Error) -> Self {
        let text = error_chain(&error);
        match error {
            Error::Conflict { after, position, event_type } => Self::Conflict(ReportedConflict {
                after: after.value(),
                event: Some((position.value(), event_type)),
                head: None,
            }),
            error if error.is_outcome_unknown() => Self::Unknown(text),
            _ => Self::Refused(text),
        }
    }
}

async fn tail<M: Mode>(
    store: &Store<M>,
    method: TailMethod,
    last: u64,
    limit: Option<u32>,
) -> Result<Page, Error> {
    let mut query = Query::new(&Filter::everything()).after(SequenceNumber::new(last));
    if let Some(limit) = limit {
        query = query.limit(limit);
    }
    let mut positions = Vec::new();
    if method == TailMethod::Stream {
        let events = store.stream(query).await?;
        pin_mut!(events);
        while let Some(event) = events.try_next().await? {
            positions.push(event.sequence_number().value());
        }
        let position = positions.last().copied().unwrap_or(last);
        return Ok(Page { positions, position });
    }
    let history: History<M> = store.query(query).await?;
    positions.extend(history.events().iter().map(|event| event.sequence_number().value()));
    Ok(Page { positions, position: history.position().value() })
}

/// Converts an event to one of the store.
pub fn to_event(event: &NewEvent) -> Result<Event, Error> {
    Event::new(event.event_type.clone(), &event.payload)?
        .with_metadata(&event.stamp)?
        .with_id(event.id)
}

/// Returns the configuration of a store.
pub fn config(url: &str, table: Table) -> Result<Config, Failure> {
    let config = Config::new(url).map_err(Failure::store("use the address"))?;
    Ok(config.schema(table.schema).log(table.name).acquire_timeout(Duration::from_secs(30)))
}

/// An attempt timeout that is too short for the default lock timeout.
const SHORT_ATTEMPT: Duration = Duration::from_secs(5);
