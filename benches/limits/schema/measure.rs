//! Measurements of the variants of the log.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use eddyline::Event;
use serde_json::{Value, json};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use super::variant::{VARIANTS, Variant};
use super::{BATCH, EVENTS};
use crate::Bench;
use crate::clients::{Jsonb, LENT, boundary, event};
use crate::cluster::connect;
use crate::rounds::{Measured, Workload, median, show_progress};
use crate::seed::{LENDING, draw, last, run as execute};

/// The measurements of a variant: its costs per event and the duration of reads.
pub struct Figures {
    /// The median server time, in seconds.
    pub append: f64,
    /// The ratio of the server time to that of the unchanged log.
    pub append_ratio: f64,
    /// The WAL, in bytes.
    pub wal: f64,
    /// The size of table and indexes, in bytes.
    pub size: f64,
    /// The median of each read, in seconds. `None` if the variant lacks a column of the read.
    pub reads: [Option<f64>; 4],
}

/// Measures all variants side by side.
pub async fn all(bench: &Bench, sql: &Client) -> Vec<Figures> {
    let mut subjects = Vec::new();
    for variant in &VARIANTS {
        subjects.push(Subject::open(&bench.url, variant).await);
    }
    let mut figures = appends(bench, sql, &subjects).await;
    for subject in &subjects {
        show_progress(&format!("vacuuming {}", subject.variant.name));
        // The BRIN index does not summarize newer events without a vacuum.
        execute(sql, &format!("VACUUM (ANALYZE) {}", subject.variant.table())).await;
    }
    for (read, kind) in READS.into_iter().enumerate() {
        let able = |at: &usize| subjects[*at].reads[read].is_some();
        let able: Vec<_> = (0..subjects.len()).filter(able).collect();
        let workloads: Vec<_> = able.iter().map(|&at| subjects[at].reader(read, kind)).collect();
        let times = bench.rounds.shorter(10).run(&workloads).await;
        for (at, time) in able.into_iter().zip(times.iter().map(Measured::median)) {
            figures[at].reads[read] = Some(time);
        }
    }
    figures
}

async fn appends(bench: &Bench, sql: &Client, subjects: &[Subject]) -> Vec<Figures> {
    let workloads: Vec<_> = subjects.iter().map(Subject::appends).collect();
    let appended = bench.rounds.shorter(10).run(&workloads).await;
    let mut wal = vec![Vec::new(); subjects.len()];
    for round in 1..=bench.rounds.rounds {
        for (subject, wal) in subjects.iter().zip(&mut wal) {
            bench.rounds.show_progress(round, &format!("WAL, {}", subject.variant.name));
            wal.push(subject.wal().await);
        }
    }
    let (mut figures, as_is) = (Vec::new(), &appended[0]);
    for ((subject, appended), wal) in subjects.iter().zip(&appended).zip(wal) {
        figures.push(Figures {
            append: appended.median() / BATCH as f64,
            append_ratio: appended.median_to(as_is),
            wal: median(wal),
            size: subject.size(sql).await,
            reads: [None; 4],
        });
    }
    figures
}

/// A variant with a connection and its prepared statements.
struct Subject {
    variant: &'static Variant,
    sql: Arc<Client>,
    insert: Statement,
    explain: Statement,
    reads: [Option<Statement>; 4],
}

impl Subject {
    async fn open(url: &str, variant: &'static Variant) -> Self {
        let sql = connect(url).await;
        // Only the server's work is to be measured, not that of the disk.
        sql.batch_execute("SET synchronous_commit = off; SET plan_cache_mode = force_custom_plan")
            .await
            .expect("settings");
        let text = insert(variant);
        let insert = sql.prepare(&text).await.expect("a statement");
        let text = format!("EXPLAIN (ANALYZE, WAL, FORMAT JSON) {text}");
        let explain = sql.prepare(&text).await.expect("a statement");
        let columns = variant.columns().join(", ");
        let mut reads = [const { None }; 4];
        for (read, rest) in reads.iter_mut().zip(RESTS) {
            if variant.lacks.is_some_and(|column| rest.contains(column)) {
                continue;
            }
            let table = variant.table();
            let text = format!("SELECT sequence_number, {columns} FROM {table} {rest}");
            *read = Some(sql.prepare(&text).await.expect("a statement"));
        }
        Self { variant, sql: Arc::new(sql), insert, explain, reads }
    }

    fn appends(&self) -> Workload {
        let (variant, sql, insert) = (self.variant, self.sql.clone(), self.insert.clone());
        Workload::new(variant.name, 1, move |_, _| {
            let (sql, insert) = (sql.clone(), insert.clone());
            async move { append(variant, &sql, &insert).await }
        })
    }

    fn reader(&self, read: usize, kind: Read) -> Workload {
        let (sql, statement) = (self.sql.clone(), self.reads[read].clone());
        Workload::new(format!("{}: {}", kind.name(), self.variant.name), 1, move |_, count| {
            let (sql, statement) = (sql.clone(), statement.clone());
            async move { kind.run(&sql, statement.as_ref().expect("a statement"), count).await }
        })
    }

    /// Returns the bytes of WAL per event, without the commit.
    async fn wal(&self) -> f64 {
        // The server's total WAL would include that of vacuums.
        let batch = Batch::new();
        let explained = self.sql.query_one(&self.explain, &batch.values()).await;
        let plan: Value = explained.expect(self.variant.name).get(0);
        plan[0]["Plan"]["WAL Bytes"].as_f64().expect("a plan with its WAL") / BATCH as f64
    }

    /// Returns the bytes of table and indexes per event.
    async fn size(&self, sql: &Client) -> f64 {
        let table = self.variant.table();
        let text = format!("SELECT pg_total_relation_size('{table}')");
        let size: i64 = sql.query_one(&text, &[]).await.expect("a size").get(0);
        size as f64 / last(sql, &table).await as f64
    }
}

fn insert(variant: &Variant) -> String {
    let columns: Vec<_> =
        variant.columns().into_iter().filter(|column| *column != "recorded_at").collect();
    let columns = columns.join(", ");
    format!(
        "INSERT INTO {} ({columns})
         SELECT {columns}
         FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::jsonb[], $5::jsonb[])
             AS event (event_id, occurred_at, event_type, payload, metadata)",
        variant.table()
    )
}

async fn append(variant: &Variant, sql: &Client, insert: &Statement) {
    let stored = sql.execute(insert, &Batch::new().values()).await;
    assert_eq!(stored.expect(variant.name), BATCH as u64);
}

/// The values of an insert.
struct Batch {
    ids: Vec<Uuid>,
    times: Vec<SystemTime>,
    types: Vec<&'static str>,
    payloads: Vec<Jsonb<String>>,
    metadata: Vec<Jsonb<String>>,
}

impl Batch {
    fn new() -> Self {
        let events: Vec<_> = (0..BATCH).map(|_| event(&boundary())).collect();
        Self {
            ids: events.iter().map(Event::id).collect(),
            times: vec![SystemTime::now(); BATCH],
            types: vec![LENT; BATCH],
            payloads: events.iter().map(|event| Jsonb(event.payload_json().to_owned())).collect(),
            metadata: events.iter().map(|event| Jsonb(event.metadata_json().to_owned())).collect(),
        }
    }

    fn values(&self) -> [&(dyn ToSql + Sync); 5] {
        [&self.ids, &self.times, &self.types, &self.payloads, &self.metadata]
    }
}

/// A read to measure.
#[derive(Clone, Copy)]
enum Read {
    Lending,
    NewestOfType,
    NewestOfNoType,
    Day,
}

const READS: [Read; 4] = [Read::Lending, Read::NewestOfType, Read::NewestOfNoType, Read::Day];

const RESTS: [&str; 4] = [
    "WHERE event_type = ANY ($1) AND payload @> ANY ($2::jsonb[]) ORDER BY sequence_number",
    "WHERE event_type = ($1::text[])[1] ORDER BY sequence_number DESC LIMIT 100",
    "WHERE event_type = ($1::text[])[1] ORDER BY sequence_number DESC LIMIT 100",
    "WHERE occurred_at >= $1 AND occurred_at < $2 ORDER BY sequence_number",
];

impl Read {
    fn name(self) -> &'static str {
        match self {
            Self::Lending => "lending",
            Self::NewestOfType => "newest 100",
            Self::NewestOfNoType => "no such",
            Self::Day => "a day",
        }
    }

    async fn run(self, sql: &Client, statement: &Statement, count: u64) {
        let (book, reader) = draw(EVENTS, count);
        let payloads = [json!({ "BookID": book }), json!({ "ReaderID": reader })];
        // The seeded events are a minute apart.
        let day = count % 150;
        let begins = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800 + day * 86_400);
        let ends = begins + Duration::from_secs(86_400);
        let values: &[&(dyn ToSql + Sync)] = match self {
            Self::Lending => &[&&LENDING[..], &&payloads[..]],
            Self::NewestOfType => &[&&[LENT][..]],
            Self::NewestOfNoType => &[&&["BookCopyEaten"][..]],
            Self::Day => &[&begins, &ends],
        };
        let rows = sql.query(statement, values).await.expect("rows");
        assert_eq!(rows.is_empty(), matches!(self, Self::NewestOfNoType));
    }
}
