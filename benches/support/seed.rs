//! Logs of a given size, and what they are compared with.

use std::io::Write as _;

use eddyline::{Config, Schema};
use local_postgres::Cluster;
use tokio_postgres::Client;

use crate::cluster::{DATABASE, connect};

/// A log of a given size, and the same events in the tables that it is compared with.
#[derive(Clone)]
pub struct Seed {
    pub events: u64,
}

impl Seed {
    /// Returns the log's name.
    pub fn log(&self) -> String {
        format!("log_{}", self.events)
    }

    /// Returns the name of a table of the log's columns and indexes, without its triggers.
    pub fn plain(&self) -> String {
        format!("plain_{}", self.events)
    }

    /// Returns the name of a table of the predecessor's columns and indexes.
    pub fn predecessor(&self) -> String {
        format!("predecessor_{}", self.events)
    }

    pub fn config(&self, cluster: &Cluster) -> Config {
        let url = cluster.primary().url(DATABASE);
        Config::new(&url).expect("an address").log(self.log()).max_connections(64)
    }

    /// Makes the tables, unless an earlier run has, and loads them into the server's memory.
    ///
    /// A book has about 5 events and a reader about 40, as in a library of some years.
    pub async fn prepare(&self, cluster: &Cluster) {
        let sql = connect(cluster).await;
        let done = "SELECT to_regclass($1) IS NOT NULL";
        let marker = format!("seeded_{}", self.events);
        if !sql.query_one(done, &[&marker]).await.expect("an answer").get::<_, bool>(0) {
            Schema::new(&self.config(cluster)).migrate().await.expect("a log");
            self.fill(&sql).await;
            self.copy(&sql).await;
            run(&sql, &format!("CREATE TABLE {marker} ()")).await;
        }
        self.warm(&sql).await;
    }

    async fn warm(&self, sql: &Client) {
        run(sql, "CREATE EXTENSION IF NOT EXISTS pg_prewarm").await;
        for table in [self.log(), self.plain(), self.predecessor()] {
            run(
                sql,
                &format!(
                    "SELECT pg_prewarm('{table}');
                     SELECT pg_prewarm(indexrelid::regclass) FROM pg_index
                     WHERE indrelid = '{table}'::regclass"
                ),
            )
            .await;
        }
    }

    async fn fill(&self, sql: &Client) {
        let log = self.log();
        // An interrupted run may have left some; the index is faster made than kept.
        run(sql, "SET eddyline.allow_changes = 'on'").await;
        run(
            sql,
            &format!("TRUNCATE {log} RESTART IDENTITY; DROP INDEX IF EXISTS {log}_payload_idx"),
        )
        .await;
        let (books, readers) = (self.events / 5, self.events / 40);
        for first in (1..=self.events).step_by(CHUNK) {
            let last = (first + CHUNK as u64 - 1).min(self.events);
            run(sql, &chunk(&log, first, last, books, readers)).await;
            self.progress("events", last);
        }
        self.progress("index on the payload", self.events);
        run(
            sql,
            &format!(
                "CREATE INDEX {log}_payload_idx ON {log} USING gin (payload jsonb_path_ops)
                     WITH (fastupdate = off);
                 VACUUM (ANALYZE) {log}"
            ),
        )
        .await;
    }

    async fn copy(&self, sql: &Client) {
        let (log, plain, predecessor) = (self.log(), self.plain(), self.predecessor());
        self.progress("table for plain inserts", self.events);
        run(
            sql,
            &format!(
                "DROP TABLE IF EXISTS {plain};
                 CREATE TABLE {plain} (LIKE {log} INCLUDING DEFAULTS INCLUDING CONSTRAINTS
                     INCLUDING IDENTITY);
                 INSERT INTO {plain} OVERRIDING SYSTEM VALUE SELECT * FROM {log};
                 SELECT setval(pg_get_serial_sequence('{plain}', 'sequence_number'),
                     (SELECT max(sequence_number) FROM {plain}));
                 ALTER TABLE {plain} ADD PRIMARY KEY (sequence_number), ADD UNIQUE (event_id);
                 CREATE INDEX ON {plain} USING gin (payload jsonb_path_ops)
                     WITH (fastupdate = off);
                 CREATE INDEX ON {plain} (event_type);
                 CREATE INDEX ON {plain} USING brin (occurred_at) WITH (autosummarize = on);
                 VACUUM (ANALYZE) {plain}"
            ),
        )
        .await;
        self.progress("table of the predecessor", self.events);
        run(
            sql,
            &format!(
                "DROP TABLE IF EXISTS {predecessor};
                 CREATE TABLE {predecessor} (sequence_number bigserial PRIMARY KEY,
                     occurred_at timestamptz NOT NULL, event_type text NOT NULL,
                     payload jsonb NOT NULL, metadata jsonb DEFAULT '{{}}');
                 INSERT INTO {predecessor}
                     SELECT sequence_number, occurred_at, event_type, payload, metadata FROM {log};
                 SELECT setval('{predecessor}_sequence_number_seq',
                     (SELECT max(sequence_number) FROM {predecessor}));
                 CREATE INDEX ON {predecessor} (event_type);
                 CREATE INDEX ON {predecessor} (occurred_at);
                 CREATE INDEX ON {predecessor} USING gin (payload jsonb_path_ops);
                 CREATE INDEX ON {predecessor} USING gin (metadata jsonb_path_ops);
                 VACUUM (ANALYZE) {predecessor}"
            ),
        )
        .await;
        eprintln!();
    }

    fn progress(&self, what: &str, done: u64) {
        let (done, all) = (size_name(done), size_name(self.events));
        eprint!("\rseeding a log of {all} events: {what} ({done})                    ");
        let _ = std::io::stderr().flush();
    }
}

/// Returns the sizes of log to measure at, in events.
pub fn sizes() -> Vec<u64> {
    let sizes = std::env::var("EDDYLINE_BENCH_EVENTS").unwrap_or("10000,2500000".to_owned());
    sizes.split(',').map(|size| size.trim().parse().expect("a number of events")).collect()
}

/// The event types that lending a book depends on.
pub const LENDING: [&str; 6] = [
    "BookCopyAddedToCirculation",
    "BookCopyRemovedFromCirculation",
    "BookCopyLentToReader",
    "BookCopyReturnedByReader",
    "ReaderRegistered",
    "ReaderContractCanceled",
];

/// Names a size as it stands in the names of results.
pub fn size_name(events: u64) -> String {
    match events {
        millions if millions >= 1_000_000 => format!("{}m", millions as f64 / 1e6),
        thousands => format!("{}k", thousands / 1_000),
    }
}

/// Inserts a stretch of events, whose ids ascend as the crate's do, each of a book and a reader drawn by a hash of its number.
fn chunk(log: &str, first: u64, last: u64, books: u64, readers: u64) -> String {
    format!(
        "INSERT INTO {log} (event_id, occurred_at, event_type, payload, metadata)
         SELECT (lpad(to_hex(1577836800000 + i), 12, '0') || '7' || substr(md5(i::text), 1, 3)
                 || '8' || substr(md5(i::text), 4, 15))::uuid, timestamptz '2020-01-01' + i * interval '1 minute',
             CASE WHEN i % 5 = 0 AND i % 8 <> 0 THEN 'BookCopyAddedToCirculation'
                  WHEN i % 40 = 0 THEN 'ReaderRegistered'
                  WHEN i % 2 = 1 THEN 'BookCopyLentToReader'
                  ELSE 'BookCopyReturnedByReader' END,
             CASE WHEN i % 5 = 0 AND i % 8 <> 0 THEN jsonb_build_object('BookID', book,
                      'ISBN', '978-3-16-148410-0', 'Title', 'A Title of Usual Length ' || i,
                      'OccurredAt', '2026-01-01T00:00:00.000000Z')
                  WHEN i % 40 = 0 THEN jsonb_build_object('ReaderID', reader, 'Name', 'Reader ' || i,
                      'OccurredAt', '2026-01-01T00:00:00.000000Z')
                  ELSE jsonb_build_object('BookID', book, 'ReaderID', reader,
                      'OccurredAt', '2026-01-01T00:00:00.000000Z') END,
             jsonb_build_object('MessageID', gen_random_uuid(), 'CausationID', gen_random_uuid(),
                 'CorrelationID', gen_random_uuid())
         FROM (SELECT i,
                 'book-' || lpad((abs(hashint8extended(i, 1) / 2) % {books})::text, 12, '0') AS book,
                 'reader-' || lpad((abs(hashint8extended(i, 2) / 2) % {readers})::text, 10, '0') AS reader
               FROM generate_series({first}::bigint, {last}) AS i) AS numbered"
    )
}

async fn run(sql: &Client, statements: &str) {
    // VACUUM refuses to run in the transaction that several statements in one request make.
    for statement in statements.split(';') {
        sql.batch_execute(statement).await.expect("seeding");
    }
}

const CHUNK: usize = 50_000;
