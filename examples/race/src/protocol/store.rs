//! The protocol under test.

use std::time::Duration;

use eddyline::{
    AppendCondition, Config, Error, Event, Filter, History, Mode, Query, ReadOnly, ReadWrite,
    RetryPolicy, Schema, SequenceNumber, Store,
};
use futures_util::{TryStreamExt, pin_mut};

use super::{Basis, Broken, Outcome, Page, Reading};
use crate::event::NewEvent;
use crate::fact::{Server, Way};
use crate::failure::{Failure, in_one_line};
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
    replica: Option<Store<ReadOnly>>,
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
                Some(replica.await.map_err(&failed)?.retrying(RetryPolicy::never()))
            }
        };
        Ok(Self { primary: persistent.retrying(RetryPolicy::never()), persistent, replica })
    }

    /// Reads a boundary; the condition comes of the history, or is pieced together of what could
    /// have travelled through a client.
    pub async fn read(&self, filter: &FilterSpec, travelled: bool) -> Result<Reading, String> {
        let told = |error| in_one_line(&error);
        let filter = filter.to_filter().map_err(told)?;
        let history = self.primary.query(&filter).await.map_err(told)?;
        let position = history.position();
        let condition =
            if travelled { AppendCondition::since(filter, position) } else { history.condition() };
        Ok(Reading {
            count: history.events().len() as u64,
            position: position.value(),
            basis: Basis::Condition(condition),
        })
    }

    pub async fn append(&self, events: &[NewEvent], basis: Basis) -> Outcome {
        let (store, condition) = match basis {
            Basis::Anything => (&self.persistent, AppendCondition::none()),
            Basis::Condition(condition) => (&self.primary, condition),
            Basis::Highest(..) => return Outcome::Refused("no condition of the store".to_owned()),
        };
        let events = match events.iter().map(to_event).collect::<Result<Vec<_>, _>>() {
            Ok(events) => events,
            Err(error) => return Outcome::Refused(in_one_line(&error)),
        };
        match store.append(events, condition).await {
            Ok(appended) => {
                Outcome::Accepted { first: appended.first().value(), last: appended.last().value() }
            }
            Err(Error::Conflict { after, event, event_type }) => Outcome::Conflict(Broken {
                after: after.value(),
                event: Some((event.value(), event_type)),
                head: None,
            }),
            Err(error) if error.is_outcome_unknown() => Outcome::Unknown(in_one_line(&error)),
            Err(error) => Outcome::Refused(in_one_line(&error)),
        }
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
        answer.map_err(|error| in_one_line(&error))
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

fn to_event(event: &NewEvent) -> Result<Event, Error> {
    Event::new(event.event_type.clone(), &event.payload)?
        .with_metadata(&event.stamp)?
        .with_id(event.id)
}

fn config(url: &str, table: Table) -> Result<Config, Failure> {
    let config = Config::new(url).map_err(Failure::store("use the address"))?;
    Ok(config.schema(table.schema).log(table.name).acquire_timeout(Duration::from_secs(30)))
}
