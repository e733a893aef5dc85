//! The cost of each index, column and check of the log for an append, and its benefit for reads. It
//! compares variants of the log that lack one part, or have another one instead.

mod measure;
mod variant;

use std::hash::{DefaultHasher, Hash, Hasher};

use console::print_stdout;
use tokio_postgres::Client;

use crate::Bench;
use crate::cluster::{connect, set};
use crate::rounds::{clear_progress, show_progress};
use crate::seed::{create, fill, indexes, is_current, last, run as execute};
use measure::Figures;
use variant::{VARIANTS, Variant};

pub async fn run(bench: &mut Bench) {
    let title = format!("schema: {} variants of a log of {EVENTS} events", VARIANTS.len());
    if !bench.starts_part(&["schema/"], &title) {
        return;
    }
    let sql = connect(&bench.url).await;
    let version = prepare_first(bench, &sql).await;
    for variant in &VARIANTS[1..] {
        prepare(bench, &sql, variant, version).await;
    }
    show_progress("writing to the disk");
    execute(&sql, "CHECKPOINT").await;
    clear_progress();
    // Full page images after a checkpoint would dominate the measured WAL.
    set(&sql, "full_page_writes", Some("off")).await;
    set(&sql, "autovacuum", Some("off")).await;
    let figures = measure::all(bench, &sql).await;
    set(&sql, "autovacuum", None).await;
    set(&sql, "full_page_writes", None).await;

    print_all(&figures);
    for (variant, of_variant) in VARIANTS.iter().zip(&figures).skip(1) {
        let (name, as_is) = (variant.name, &figures[0]);
        let mut report = |kind, subject, ratio| {
            let compared = format!("{subject} {}, to the unchanged log", variant.what);
            bench.table.report_unlisted(&format!("schema/{name}/{kind}"), ratio, &compared);
        };
        report("append", "server time per event", of_variant.append_ratio);
        report("wal", "WAL per event", of_variant.wal / as_is.wal);
        report("size", "size per event", of_variant.size / as_is.size);
    }
}

/// Creates the unchanged log, unless an earlier run has. Returns a version that changes when the
/// log is created again.
async fn prepare_first(bench: &Bench, sql: &Client) -> u32 {
    let log = VARIANTS[0].table();
    // A log that an interrupted run was filling has fewer events.
    if !is_current(sql, &bench.url, &log).await
        || !(EVENTS..=EVENTS * 5 / 4).contains(&last(sql, &log).await)
    {
        create(sql, &bench.url, &log).await;
        fill(sql, &log, EVENTS).await;
    }
    let text = format!("SELECT pg_relation_filenode('{log}')");
    sql.query_one(&text, &[]).await.expect("a file").get(0)
}

/// Creates a variant of the log, unless an earlier run has created it from the same unchanged log.
async fn prepare(bench: &Bench, sql: &Client, variant: &Variant, version: u32) {
    let log = variant.table();
    let mut hasher = DefaultHasher::new();
    (version, variant.before, variant.after).hash(&mut hasher);
    let origin = hasher.finish().to_string();
    let text = "SELECT obj_description(to_regclass($1), 'pg_class')";
    let found: Option<String> = sql.query_one(text, &[&log]).await.expect("an origin").get(0);
    if found.as_ref() == Some(&origin) && last(sql, &log).await <= EVENTS * 5 / 4 {
        return;
    }
    show_progress(&format!("creating {log}"));
    create(sql, &bench.url, &log).await;
    execute(sql, &variant.before.replace("{log}", &log)).await;
    // Triggers would slow down the copy, and creating an index at the end is faster than updating
    // it.
    let created_later = indexes(sql, &log).await;
    let drops: Vec<_> =
        created_later.iter().map(|(name, _)| format!("DROP INDEX {name}")).collect();
    let columns = variant.columns().join(", ");
    execute(
        sql,
        &format!(
            "ALTER TABLE {log} DISABLE TRIGGER USER; {};
             INSERT INTO {log} (sequence_number, {columns}) OVERRIDING SYSTEM VALUE
                 SELECT sequence_number, {columns} FROM {} WHERE sequence_number <= {EVENTS};
             SELECT setval(pg_get_serial_sequence('{log}', 'sequence_number'), {EVENTS});
             ALTER TABLE {log} ENABLE TRIGGER USER",
            drops.join(";"),
            VARIANTS[0].table(),
        ),
    )
    .await;
    for (_, index) in created_later {
        execute(sql, &index).await;
    }
    execute(sql, &variant.after.replace("{log}", &log)).await;
    execute(sql, &format!("VACUUM (ANALYZE) {log}; COMMENT ON TABLE {log} IS '{origin}'")).await;
}

fn print_all(figures: &[Figures]) {
    print_stdout(&format_args!(
        "  {:<22} {:>9} {:>9} {:>9} {:>10} {:>10} {:>10} {:>10}",
        "", "us/event", "WAL B", "size B", "lending", "newest 100", "no such", "a day"
    ));
    for (variant, figures) in VARIANTS.iter().zip(figures) {
        let mut line = format!(
            "  {:<22} {:>9.1} {:>9.0} {:>9.0}",
            variant.name,
            figures.append * 1e6,
            figures.wal,
            figures.size
        );
        for read in &figures.reads {
            line += &match read {
                Some(read) => format!(" {:>7.0} us", read * 1e6),
                None => format!(" {:>10}", "-"),
            };
        }
        print_stdout(&line);
    }
    print_stdout(&format_args!(
        "  us/event, WAL and size: inserts of {BATCH} events, without commits and full pages;\n\
         \x20 reads: p50 of the query for lending a book, the newest 100 of a type that half of\n\
         \x20 the log has, the newest 100 of a type that no event has, and the events of a day"
    ));
}

/// The number of events of a variant.
const EVENTS: u64 = 250_000;

/// The number of events of an insert.
const BATCH: usize = 64;
