//! Logs of a given size, and the tables that they are compared with.

use console::print_stdout;
use eddyline::{Config, Schema};
use tokio_postgres::Client;

use crate::cluster::connect;
use crate::rounds::{clear_progress, show_progress};

/// A log of a given size, and tables with the same events that it is compared with.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Seed {
    events: u64,
    has_predecessor: bool,
}

impl Seed {
    pub const SMALL: Self = Self { events: 10_000, has_predecessor: true };
    pub const USUAL: Self = Self { events: 2_500_000, has_predecessor: true };
    pub const LARGE: Self = Self { events: 10_000_000, has_predecessor: false };

    /// Returns the name of the log.
    pub fn log(self) -> String {
        format!("log_{}", self.events)
    }

    /// Returns the name of the table with the log's columns and indexes, without its triggers.
    pub fn plain(self) -> String {
        format!("plain_{}", self.events)
    }

    /// Returns the name of the table with the columns and indexes of the crate's predecessor.
    pub fn predecessor(self) -> String {
        format!("predecessor_{}", self.events)
    }

    pub fn config(self, url: &str) -> Config {
        config(url, &self.log())
    }

    /// Returns the ids of a book and a reader of the log, as pseudo-random functions of `count`.
    pub fn draw(self, count: u64) -> (String, String) {
        draw(self.events, count)
    }

    /// Creates the tables, unless an earlier run has, and loads the used parts into the server's
    /// memory. The tables are created again if the schema has changed or if runs have added more
    /// than a quarter of their size.
    pub async fn prepare(self, url: &str) {
        let sql = connect(url).await;
        let marker = format!("seeded_{}", self.events);
        if !exists(&sql, &marker).await
            || !is_current(&sql, url, &self.log()).await
            || self.is_overgrown(&sql).await
        {
            run(&sql, &format!("DROP TABLE IF EXISTS {marker}")).await;
            create(&sql, url, &self.log()).await;
            fill(&sql, &self.log(), self.events).await;
            self.copy(&sql).await;
            run(&sql, &format!("CREATE TABLE {marker} ()")).await;
            show_progress("checkpoint");
            run(&sql, "CHECKPOINT").await;
        } else {
            // The functions may have changed. The events can be kept.
            migrate(url, &self.log()).await;
        }
        self.warm(&sql).await;
        clear_progress();
        let description = self.describe(&sql).await;
        print_stdout(&format_args!("  {description}"));
    }

    fn tables(self) -> Vec<String> {
        let mut tables = vec![self.log(), self.plain()];
        tables.extend(self.has_predecessor.then(|| self.predecessor()));
        tables
    }

    async fn is_overgrown(self, sql: &Client) -> bool {
        for table in self.tables() {
            if last(sql, &table).await > self.events * 5 / 4 {
                return true;
            }
        }
        false
    }

    async fn describe(self, sql: &Client) -> String {
        let mut sizes = Vec::new();
        for table in self.tables() {
            let text = format!("SELECT pg_size_pretty(pg_total_relation_size('{table}'))");
            let size: String = sql.query_one(&text, &[]).await.expect("a size").get(0);
            sizes.push(format!("{table}: {} rows, {size}", last(sql, &table).await));
        }
        sizes.join("; ")
    }

    /// Loads the indexes and the newest events and, for the sizes that queries read from, all
    /// events.
    async fn warm(self, sql: &Client) {
        run(sql, "CREATE EXTENSION IF NOT EXISTS pg_prewarm").await;
        for table in self.tables() {
            show_progress(&format!("loading {table}"));
            let first = match self.has_predecessor {
                true => "0".to_owned(),
                false => {
                    format!("greatest(pg_relation_size('{table}') / 8192 - {NEWEST_PAGES}, 0)")
                }
            };
            run(
                sql,
                &format!(
                    "SELECT pg_prewarm('{table}', 'buffer', 'main', {first}, NULL)
                         WHERE pg_relation_size('{table}') > 0;
                     SELECT pg_prewarm(indexrelid::regclass) FROM pg_index
                     WHERE indrelid = '{table}'::regclass"
                ),
            )
            .await;
        }
    }

    async fn copy(self, sql: &Client) {
        let (log, predecessor) = (self.log(), self.predecessor());
        copy_plain(sql, &log, &self.plain()).await;
        if !self.has_predecessor {
            return;
        }
        show_progress(&format!("copying to {predecessor}"));
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
    }
}

/// Returns the settings of a store of the benches.
pub fn config(url: &str, log: &str) -> Config {
    Config::new(url).expect("an address").log(log).max_connections(64)
}

/// Creates an empty log, and drops an existing one of that name.
pub async fn create(sql: &Client, url: &str, log: &str) {
    run(sql, &format!("DROP TABLE IF EXISTS {log}")).await;
    if exists(sql, "eddyline_schema").await {
        run(sql, &format!("DELETE FROM eddyline_schema WHERE log = '{log}'")).await;
    }
    migrate(url, log).await;
}

async fn migrate(url: &str, log: &str) {
    Schema::new(&config(url, log)).migrate().await.expect("a log");
}

/// Returns whether a log exists with the definition that the crate creates now.
pub async fn is_current(sql: &Client, url: &str, log: &str) -> bool {
    create(sql, url, PROBE).await;
    exists(sql, log).await && definition(sql, log).await == definition(sql, PROBE).await
}

async fn definition(sql: &Client, log: &str) -> Vec<String> {
    let text = format!(
        "SELECT replace(definition, '{log}', '') FROM (
             SELECT pg_get_indexdef(indexrelid) AS definition FROM pg_index
             WHERE indrelid = '{log}'::regclass
             UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint
             WHERE conrelid = '{log}'::regclass
             UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger
             WHERE tgrelid = '{log}'::regclass AND NOT tgisinternal
             UNION ALL SELECT concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull)
             FROM pg_attribute
             WHERE attrelid = '{log}'::regclass AND attnum > 0 AND NOT attisdropped
         ) AS part ORDER BY 1"
    );
    let parts = sql.query(&text, &[]).await.expect("a definition");
    parts.iter().map(|row| row.get(0)).collect()
}

/// Fills an empty log.
///
/// A book has about 5 events and a reader about 40, as in a library after some years.
pub async fn fill(sql: &Client, log: &str, events: u64) {
    // Creating an index at the end is faster than updating it.
    let indexes = indexes(sql, log).await;
    let drops: Vec<_> = indexes.iter().map(|(name, _)| format!("DROP INDEX {name}")).collect();
    run(sql, &drops.join(";")).await;
    let (books, readers) = (events / 5, events / 40);
    for first in (1..=events).step_by(CHUNK) {
        let last = (first + CHUNK as u64 - 1).min(events);
        run(sql, &chunk(log, first, last, books, readers)).await;
        show_progress(&format!("seeding {log}: {last} of {events} events"));
    }
    for (name, index) in indexes {
        show_progress(&format!("seeding {log}: {name}"));
        run(sql, &index).await;
    }
    run(sql, &format!("VACUUM (ANALYZE) {log}")).await;
}

/// Copies a log to a table with its columns and indexes, without its triggers.
pub async fn copy_plain(sql: &Client, log: &str, plain: &str) {
    show_progress(&format!("copying to {plain}"));
    run(
        sql,
        &format!(
            "DROP TABLE IF EXISTS {plain};
             CREATE TABLE {plain} (LIKE {log} INCLUDING DEFAULTS INCLUDING CONSTRAINTS
                 INCLUDING IDENTITY);
             INSERT INTO {plain} OVERRIDING SYSTEM VALUE SELECT * FROM {log};
             SELECT setval(pg_get_serial_sequence('{plain}', 'sequence_number'),
                 (SELECT max(sequence_number) FROM {plain}));
             ALTER TABLE {plain} ADD PRIMARY KEY (sequence_number), ADD UNIQUE (event_id)"
        ),
    )
    .await;
    for (_, index) in indexes(sql, log).await {
        let (_, on) = index.split_once(" USING ").expect("a definition of an index");
        run(sql, &format!("CREATE INDEX ON {plain} USING {on}")).await;
    }
    run(sql, &format!("VACUUM (ANALYZE) {plain}")).await;
}

/// Returns the ids of a book and a reader of a log of `events` events, as pseudo-random functions
/// of `count`.
pub fn draw(events: u64, count: u64) -> (String, String) {
    let scattered = (count.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16) % events;
    let (book, reader) = (scattered % (events / 5), scattered % (events / 40));
    (format!("book-{book:012}"), format!("reader-{reader:010}"))
}

/// Returns the highest sequence number of a table.
pub async fn last(sql: &Client, table: &str) -> u64 {
    let text = format!("SELECT coalesce(max(sequence_number), 0) FROM {table}");
    sql.query_one(&text, &[]).await.expect("a number").get::<_, i64>(0) as u64
}

/// Returns the names and definitions of a log's indexes, without those of constraints.
pub async fn indexes(sql: &Client, log: &str) -> Vec<(String, String)> {
    let text = format!(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
         WHERE indrelid = '{log}'::regclass AND NOT indisunique ORDER BY 1"
    );
    let indexes = sql.query(&text, &[]).await.expect("indexes");
    indexes.iter().map(|row| (row.get(0), row.get(1))).collect()
}

pub async fn exists(sql: &Client, table: &str) -> bool {
    let text = "SELECT to_regclass($1) IS NOT NULL";
    sql.query_one(text, &[&table]).await.expect("an answer").get(0)
}

/// The event types of the history for lending a book.
pub const LENDING: [&str; 6] = [
    "BookCopyAddedToCirculation",
    "BookCopyRemovedFromCirculation",
    "BookCopyLentToReader",
    "BookCopyReturnedByReader",
    "ReaderRegistered",
    "ReaderContractCanceled",
];

/// Renders an INSERT of a range of events. Their ids ascend like those of the crate, and their
/// books and readers are hashes of their sequence numbers.
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

/// Runs statements one by one.
pub async fn run(sql: &Client, statements: &str) {
    // Several statements in one request are a transaction, in which VACUUM cannot run.
    for statement in statements.split(';').filter(|statement| !statement.trim().is_empty()) {
        sql.batch_execute(statement).await.expect("seeding");
    }
}

/// An empty log whose definition is compared with that of other logs.
const PROBE: &str = "probe";

const CHUNK: usize = 50_000;

/// The number of pages of about 400,000 events.
const NEWEST_PAGES: u32 = 16_384;
