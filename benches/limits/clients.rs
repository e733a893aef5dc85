//! The ways to append that are compared: by the crate, by a plain INSERT, and by the statement of
//! the crate's predecessor. All append the same kind of event, each with a boundary of its own.

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use eddyline::{AppendCondition, Config, Event, Filter, ReadWrite, SequenceNumber, Store};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::cluster::connect;
use crate::rounds::Workload;
use crate::seed::LENDING;

/// A store whose appends are measured.
pub struct Writer {
    store: Store<ReadWrite>,
    /// The highest position that an append has returned.
    last: AtomicU64,
}

/// The kind of an append's condition.
#[derive(Clone, Copy)]
pub enum On {
    /// A condition on the ids of a new boundary.
    Ids,
    /// A condition on the event type of half of the log.
    Type,
}

impl Writer {
    pub async fn open(config: Config) -> Arc<Self> {
        let store = Store::<ReadWrite>::connect(config).await.expect("a store");
        let head = store.head().await.expect("a head");
        Arc::new(Self { store, last: AtomicU64::new(head.value()) })
    }

    /// Appends on the condition that no matching event follows the last known head, or a position
    /// `events_ago` events before it.
    pub async fn append(&self, on: On, events_ago: u64) {
        let boundary = boundary();
        let filter = match on {
            On::Ids => {
                Filter::types(LENDING).any_of([("BookID", &boundary), ("ReaderID", &boundary)])
            }
            On::Type => Filter::types([LENT]),
        };
        let seen = self.last.load(Ordering::Relaxed) - events_ago;
        let condition = AppendCondition::no_match_after(
            filter.build().expect("a filter"),
            SequenceNumber::new(seen),
        );
        let appended = self.store.append([event(&boundary)], condition).await.expect("an append");
        self.record(appended.last());
    }

    /// Appends on the condition that no event of a new boundary exists.
    pub async fn append_first(&self) {
        let boundary = boundary();
        let filter =
            Filter::types(LENDING).any_of([("BookID", &boundary), ("ReaderID", &boundary)]);
        let condition = AppendCondition::no_match(filter.build().expect("a filter"));
        let appended = self.store.append([event(&boundary)], condition).await.expect("an append");
        self.record(appended.last());
    }

    /// Appends on a fresh condition whose filter has `terms` terms.
    pub async fn append_wide(&self, terms: usize) {
        let boundary = boundary();
        let ids = (0..terms).map(|term| ("BookID", format!("{boundary}-{term}")));
        let seen = self.last.load(Ordering::Relaxed);
        let filter = Filter::any_of(ids).build().expect("a filter");
        let condition = AppendCondition::no_match_after(filter, SequenceNumber::new(seen));
        let appended = self.store.append([event(&boundary)], condition).await.expect("an append");
        self.record(appended.last());
    }

    /// Returns the highest position that an append has returned.
    pub fn position(&self) -> SequenceNumber {
        self.last.load(Ordering::Relaxed).into()
    }

    fn record(&self, position: SequenceNumber) {
        self.last.fetch_max(position.value(), Ordering::Relaxed);
    }

    /// Returns the workload of appends with a fresh condition on ids.
    pub fn workload(self: &Arc<Self>, name: impl Into<String>, clients: usize) -> Workload {
        self.workload_on(name, clients, On::Ids, 0)
    }

    /// Returns the workload of appends with a condition of a kind and an age.
    pub fn workload_on(
        self: &Arc<Self>,
        name: impl Into<String>,
        clients: usize,
        on: On,
        events_ago: u64,
    ) -> Workload {
        let writer = self.clone();
        Workload::new(name, clients, move |_, _| {
            let writer = writer.clone();
            async move { writer.append(on, events_ago).await }
        })
    }
}

/// One connection per client, with a prepared INSERT that is a transaction of its own.
pub struct Plain {
    sessions: Vec<(Client, Statement)>,
}

impl Plain {
    pub async fn open(url: &str, table: &str, clients: usize) -> Arc<Self> {
        let text = format!(
            "INSERT INTO {table} (event_id, occurred_at, event_type, payload, metadata)
             VALUES ($1, $2, $3, $4, $5)"
        );
        let mut sessions = Vec::new();
        for _ in 0..clients {
            let sql = connect(url).await;
            let statement = sql.prepare(&text).await.expect("a statement");
            sessions.push((sql, statement));
        }
        Arc::new(Self { sessions })
    }

    async fn insert(&self, client: usize) {
        let (sql, statement) = &self.sessions[client];
        let event = event(&boundary());
        let (time, event_type) = (SystemTime::now(), event.event_type());
        let (payload, metadata) = (Jsonb(event.payload_json()), Jsonb(event.metadata_json()));
        let values: [&(dyn ToSql + Sync); 5] =
            [&event.id(), &time, &event_type, &payload, &metadata];
        assert_eq!(sql.execute(statement, &values).await.expect("an insert"), 1);
    }

    pub fn workload(self: &Arc<Self>, name: impl Into<String>) -> Workload {
        let plain = self.clone();
        Workload::new(name, self.sessions.len(), move |client, _| {
            let plain = plain.clone();
            async move { plain.insert(client).await }
        })
    }
}

/// One connection per client, which appends like the predecessor of this crate.
pub struct Predecessor {
    sessions: Vec<Client>,
    table: String,
}

impl Predecessor {
    pub async fn open(url: &str, table: String, clients: usize) -> Arc<Self> {
        let mut sessions = Vec::new();
        for _ in 0..clients {
            sessions.push(connect(url).await);
        }
        Arc::new(Self { sessions, table })
    }

    /// Appends with one statement. It has no parameters, so its text differs each time and has to
    /// be prepared.
    async fn append(&self, client: usize) {
        let (sql, table, boundary) = (&self.sessions[client], &self.table, boundary());
        let types: Vec<_> = LENDING.iter().map(|one| format!("event_type = '{one}'")).collect();
        let text = format!(
            "WITH context AS (
                 SELECT max(sequence_number) AS max_seq FROM {table}
                 WHERE ({}) AND (payload @> '{{\"BookID\": \"{boundary}\"}}'
                     OR payload @> '{{\"ReaderID\": \"{boundary}\"}}'))
             INSERT INTO {table} (event_type, occurred_at, payload, metadata)
             SELECT '{LENT}', now(), '{}', '{{}}' FROM context
             WHERE coalesce(max_seq, 0) = 0",
            types.join(" OR "),
            event(&boundary).payload_json(),
        );
        let statement = sql.prepare(&text).await.expect("a statement");
        assert_eq!(sql.execute(&statement, &[]).await.expect("an append"), 1);
    }

    pub fn workload(self: &Arc<Self>) -> Workload {
        let predecessor = self.clone();
        Workload::new("predecessor's statement", self.sessions.len(), move |client, _| {
            let predecessor = predecessor.clone();
            async move { predecessor.append(client).await }
        })
    }
}

/// Builds the event that all clients append.
pub fn event(boundary: &str) -> Event {
    let payload = format!(
        r#"{{"BookID":"{boundary}","ReaderID":"{boundary}","OccurredAt":"2026-01-01T00:00:00.000000Z"}}"#
    );
    Event::from_json(LENT, payload).expect("an event")
}

/// Returns the id of a new boundary.
pub fn boundary() -> String {
    Uuid::now_v7().to_string()
}

/// The event type of half of a seeded log.
pub const LENT: &str = "BookCopyLentToReader";

/// A JSON text as a value of type `jsonb`, which is not parsed again, as in the crate.
#[derive(Debug)]
pub struct Jsonb<T>(pub T);

impl<T: AsRef<str> + Debug> ToSql for Jsonb<T> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        // The version of the binary format.
        out.extend_from_slice(&[1]);
        out.extend_from_slice(self.0.as_ref().as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSONB
    }

    to_sql_checked!();
}
