//! What JIT, parallel workers and memory change for queries of many events. Sessions of a store
//! have neither JIT nor parallel workers, so the statements run on connections without the crate.

use std::pin::pin;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

use crate::Bench;
use crate::clients::LENT;
use crate::cluster::connect;
use crate::query::COLUMNS;
use crate::rounds::Workload;
use crate::seed::Seed;

pub async fn run(bench: &mut Bench) {
    for read in [Read::Type, Read::Readers] {
        let title = format!("query: {}, with other settings", read.what());
        if !bench.starts_part(&[&format!("query/heavy/{}/", read.name())], &title) {
            continue;
        }
        Seed::USUAL.prepare(&bench.url).await;
        let mut workloads = Vec::new();
        for (setting, statements) in SETTINGS {
            workloads.push(read.workload(&bench.url, setting, statements).await);
        }

        let results = bench.rounds.run(&workloads).await;

        for ((setting, _), result) in SETTINGS.iter().zip(&results).skip(1) {
            let name = format!("query/heavy/{}/{setting}", read.name());
            bench.table.report(&name, result.median_to(&results[0]));
        }
    }
}

/// A read of many events.
#[derive(Clone, Copy)]
enum Read {
    /// All events of the type of half of the events. An index returns them in order.
    Type,
    /// The events of 1,000 readers, which have to be sorted.
    Readers,
}

impl Read {
    fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Readers => "readers",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Type => "the type of half of the events",
            Self::Readers => "the events of 1,000 readers",
        }
    }

    fn condition(self) -> &'static str {
        match self {
            Self::Type => "event_type = $1::text",
            Self::Readers => "payload @> ANY ($1::jsonb[])",
        }
    }

    /// Returns the workload of the read in a session with the settings of `statements`.
    async fn workload(self, url: &str, setting: &str, statements: &str) -> Workload {
        let sql = connect(url).await;
        let settings = format!("SET enable_seqscan = off; {statements}");
        sql.batch_execute(&settings).await.expect("settings");
        // As in the crate, the plan is made for the values.
        sql.batch_execute("SET plan_cache_mode = force_custom_plan").await.expect("a setting");
        let text = format!(
            "SELECT {COLUMNS} FROM {} WHERE {} ORDER BY sequence_number",
            Seed::USUAL.log(),
            self.condition()
        );
        let statement: Statement = sql.prepare(&text).await.expect("a statement");
        let sql = Arc::new(sql);
        Workload::new(format!("{}: {setting}", self.name()), 1, move |_, _| {
            let (sql, statement) = (sql.clone(), statement.clone());
            async move {
                let (of_type, readers) = (LENT, readers());
                let value: &(dyn ToSql + Sync) = match self {
                    Self::Type => &of_type,
                    Self::Readers => &readers,
                };
                let rows = sql.query_raw(&statement, [value]).await.expect("rows");
                let mut rows = pin!(rows);
                let mut read = 0;
                while rows.try_next().await.expect("a row").is_some() {
                    read += 1;
                }
                assert!(read > 10_000, "{read} events");
            }
        })
    }
}

/// Returns the payloads of the filter for 1,000 readers.
fn readers() -> Vec<Value> {
    (0..1_000).map(|reader| json!({ "ReaderID": format!("reader-{reader:010}") })).collect()
}

/// The settings to compare. The first are those of a store, with PostgreSQL's default memory.
const SETTINGS: [(&str, &str); 4] = [
    ("unchanged", "SET work_mem = '4MB'"),
    ("jit", "SET work_mem = '4MB'; SET jit = on"),
    ("parallel", "SET work_mem = '4MB'; SET max_parallel_workers_per_gather = 2"),
    ("work-mem", "SET work_mem = '64MB'"),
];
