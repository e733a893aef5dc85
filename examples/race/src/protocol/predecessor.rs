//! A protocol that is known to be wrong, to show that the checker finds violations.
//!
//! It follows a published event store: one statement compares the highest position of the filter's
//! events with the one that was read, and inserts. Two concurrent statements see the same highest
//! position, so both are accepted. A transaction that commits late inserts its events below a
//! position that readers have passed.

use std::sync::atomic::{AtomicUsize, Ordering};

use console::error_chain;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::{Condition, Outcome, Page, Reading, ReportedConflict};
use crate::event::NewEvent;
use crate::failure::Failure;
use crate::filter::{FilterSpec, ItemSpec};
use crate::message::Server;
use crate::servers::Addresses;
use crate::sql::{self, Columns, Table};

/// The predecessor, with a few connections that its callers use in rotation.
#[derive(Debug)]
pub struct Predecessor {
    table: Table,
    primary: Vec<Client>,
    replica: Option<Client>,
    next: AtomicUsize,
}

/// Creates the predecessor's table, with an additional event id for the checker.
pub async fn create(addresses: &Addresses, table: Table) -> Result<(), Failure> {
    let (schema, name) = (table.schema, table.sql());
    let text = format!(
        "CREATE SCHEMA {schema};
         CREATE TABLE {name} (
             sequence_number bigserial PRIMARY KEY,
             event_id uuid NOT NULL,
             occurred_at timestamptz NOT NULL,
             event_type text NOT NULL,
             payload jsonb NOT NULL,
             metadata jsonb DEFAULT '{{}}'
         );
         CREATE INDEX ON {name} (event_type);
         CREATE INDEX ON {name} USING gin (payload jsonb_path_ops)"
    );
    let client = sql::connect(&addresses.primary).await?;
    client.batch_execute(&text).await.map_err(Failure::sql("create the predecessor's table"))
}

impl Predecessor {
    pub async fn connect(
        addresses: &Addresses,
        table: Table,
        connections: usize,
    ) -> Result<Self, Failure> {
        let mut primary = Vec::new();
        for _ in 0..connections {
            primary.push(sql::connect(&addresses.primary).await?);
        }
        let replica = match &addresses.replica {
            None => None,
            Some(url) => Some(sql::connect(url).await?),
        };
        Ok(Self { table, primary, replica, next: AtomicUsize::new(0) })
    }

    pub async fn read(&self, filter: &FilterSpec) -> Result<Reading, String> {
        let mut params = Params(Vec::new());
        let matching = params.condition(filter);
        let table = self.table.sql();
        let text = format!(
            "SELECT sequence_number FROM {table} WHERE {matching} ORDER BY sequence_number"
        );
        let positions = sql::query_numbers(self.client(), &text, &params.typed()).await;
        let positions = positions.map_err(|error| error_chain(&error))?;
        let (_, highest) = sql::first_and_last(&positions);
        Ok(Reading {
            count: positions.len() as u64,
            position: highest,
            condition: Condition::Highest(filter.clone(), highest),
        })
    }

    pub async fn append(&self, events: &[NewEvent], condition: Condition) -> Outcome {
        let client = self.client();
        let answer = match &condition {
            Condition::Highest(filter, highest) => {
                self.insert(client, events, filter, *highest).await
            }
            Condition::Unconditional => sql::insert(client, self.table, events).await.map(Some),
            Condition::Store(_) => {
                return Outcome::Refused("the condition is not one of the predecessor".to_owned());
            }
        };
        match (answer, condition) {
            (Ok(Some((first, last))), _) => Outcome::Accepted { first, last },
            (Ok(None), Condition::Highest(_, after)) => {
                let head = sql::head(client, self.table).await.ok();
                Outcome::Conflict(ReportedConflict { after, event: None, head })
            }
            (Ok(None), _) => Outcome::Refused("no row was inserted".to_owned()),
            (Err(error), _) if error.code().is_some() => Outcome::Refused(error_chain(&error)),
            (Err(error), _) => Outcome::Unknown(error_chain(&error)),
        }
    }

    /// Checks and inserts in one statement; `None` is a conflict.
    async fn insert(
        &self,
        client: &Client,
        events: &[NewEvent],
        filter: &FilterSpec,
        highest: u64,
    ) -> Result<Option<(u64, u64)>, tokio_postgres::Error> {
        let columns = Columns::of(events);
        let expected = highest.cast_signed();
        let mut bound = columns.params();
        bound.push((&expected, Type::INT8));
        let mut params = Params(Vec::new());
        let matching = params.condition_after(filter, bound.len());
        bound.extend(params.typed());

        let text = format!(
            "WITH context AS (
                 SELECT max(sequence_number) AS highest FROM {table} WHERE {matching}
             )
             INSERT INTO {table} ({})
             SELECT {} FROM context, {} WHERE coalesce(highest, 0) = $5 ORDER BY ordinal
             RETURNING sequence_number",
            sql::COLUMNS,
            sql::VALUES,
            sql::SOURCE,
            table = self.table.sql()
        );
        let positions = sql::query_numbers(client, &text, &bound).await?;
        Ok((!positions.is_empty()).then(|| sql::first_and_last(&positions)))
    }

    pub async fn tail(&self, server: Server, last: u64) -> Result<Page, String> {
        let client = match (server, &self.replica) {
            (Server::Primary, _) => self.client(),
            (Server::Replica, Some(replica)) => replica,
            (Server::Replica, None) => return Err("there is no replica".to_owned()),
        };
        let positions = sql::positions_above(client, self.table, last).await;
        let positions = positions.map_err(|error| error_chain(&error))?;
        let position = positions.last().copied().unwrap_or(last);
        Ok(Page { positions, position })
    }

    fn client(&self) -> &Client {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        &self.primary[next % self.primary.len()]
    }
}

/// The values of a filter, in the order of the parameters in its SQL text.
struct Params(Vec<Param>);

enum Param {
    Types(Vec<String>),
    Predicate(String),
}

impl Params {
    fn condition(&mut self, filter: &FilterSpec) -> String {
        self.condition_after(filter, 0)
    }

    /// Returns the filter as SQL. Its parameters are numbered after `bound` others.
    fn condition_after(&mut self, filter: &FilterSpec, bound: usize) -> String {
        let items = filter.items.iter().map(|item| self.item(item, bound));
        Vec::from_iter(items).join(" OR ")
    }

    fn item(&mut self, item: &ItemSpec, bound: usize) -> String {
        let mut terms = Vec::new();
        if !item.types.is_empty() {
            let number = self.bind(Param::Types(item.types.clone()), bound);
            terms.push(format!("event_type = ANY (${number})"));
        }
        let mut contains = |predicate: &(String, serde_json::Value)| {
            let (key, value) = predicate;
            let object = serde_json::json!({ key: value });
            let number = self.bind(Param::Predicate(object.to_string()), bound);
            format!("payload @> ${number}::jsonb")
        };
        let any_of: Vec<_> = item.any_of.iter().map(&mut contains).collect();
        if !any_of.is_empty() {
            terms.push(format!("({})", any_of.join(" OR ")));
        }
        terms.extend(item.all_of.iter().map(&mut contains));
        format!("({})", terms.join(" AND "))
    }

    fn bind(&mut self, param: Param, bound: usize) -> usize {
        self.0.push(param);
        bound + self.0.len()
    }

    fn typed(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        let params = self.0.iter();
        params
            .map(|param| -> (&(dyn ToSql + Sync), Type) {
                match param {
                    Param::Types(types) => (types, Type::TEXT_ARRAY),
                    Param::Predicate(json) => (json, Type::TEXT),
                }
            })
            .collect()
    }
}
