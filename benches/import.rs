//! What an import costs, beside a bare COPY, and how long it keeps appends waiting.

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/seed.rs"]
#[expect(dead_code, reason = "other benches have other sizes")]
mod seed;

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use cluster::connect;
use eddyline::{AppendCondition, Event, ReadWrite, Store};
use futures_util::stream;
use local_postgres::Cluster;
use seed::{Seed, size_name};
use tokio_postgres::Client;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

/// How many events each contestant stores in a round.
const EVENTS: usize = 20_000;

#[tokio::main]
async fn main() {
    let cluster = cluster::cluster().await;
    let events = std::env::var("EDDYLINE_BENCH_IMPORT_EVENTS").unwrap_or("1000000".to_owned());
    let seed = Seed { events: events.parse().expect("a number of events") };
    seed.prepare(&cluster).await;
    let ratio = import_to_copy(&cluster, &seed).await;
    println!("RATIO import/copy {ratio:.3}   # events per second, to those of a binary COPY");
}

/// Compares an import with a binary COPY into a table of the log's columns and indexes that has none
/// of its triggers, in rounds by turns; returns the ratio of their events per second.
async fn import_to_copy(cluster: &Cluster, seed: &Seed) -> f64 {
    println!(
        "\n{EVENTS} new events a round, into {} events with all indexes; the COPY is one \
         transaction, the import takes chunks as by default",
        size_name(seed.events)
    );
    let config = seed.config(cluster);
    let store = Store::<ReadWrite>::connect(config.clone()).await.expect("a store");
    let others = Store::<ReadWrite>::connect(config).await.expect("a store");
    let sql = connect(cluster).await;
    let rounds = std::env::var("EDDYLINE_BENCH_ROUNDS")
        .map_or(5, |rounds| rounds.parse().expect("a number of rounds"));
    let (mut imports, mut copies, mut ratios, mut waits) = (vec![], vec![], vec![], vec![]);
    for round in 0..=rounds {
        let imported = events();
        let begun = Instant::now();
        import(&store, imported).await;
        let import_time = begun.elapsed().as_secs_f64();
        let copied = events();
        let begun = Instant::now();
        copy_into(&sql, &seed.plain(), &copied).await;
        let copy_time = begun.elapsed().as_secs_f64();
        let beside = append_beside(&others, import(&store, events())).await;
        // So that both tables grow alike.
        copy_into(&sql, &seed.plain(), &events()).await;
        // The first round warms up.
        if round > 0 {
            imports.push(import_time);
            copies.push(copy_time);
            ratios.push(copy_time / import_time);
            waits.extend(beside);
        }
    }
    for (name, times) in [("import", &mut imports), ("binary COPY", &mut copies)] {
        let rate = EVENTS as f64 / median(times);
        println!("  {name:<28} {rate:>9.0} events/s   (median of {rounds} rounds)");
    }
    waits.sort_unstable();
    println!(
        "  appends beside an import: p50 {:.1?}, p99 {:.1?}, longest {:.1?}, of {}",
        waits[waits.len() / 2],
        waits[waits.len() * 99 / 100],
        waits[waits.len() - 1],
        waits.len()
    );
    median(&mut ratios)
}

async fn import(store: &Store<ReadWrite>, events: Vec<Event>) {
    let import = store.import(stream::iter(events));
    let import = match std::env::var("EDDYLINE_BENCH_CHUNK") {
        Ok(chunk) => import.chunk(chunk.parse().expect("a number of events")),
        Err(_) => import,
    };
    let imported = import.await.expect("an import");
    assert_eq!(imported.stored(), EVENTS as u64);
}

async fn copy_into(sql: &Client, table: &str, events: &[Event]) {
    let text = format!(
        "COPY {table} (event_id, occurred_at, event_type, payload, metadata)
         FROM STDIN WITH (FORMAT binary)"
    );
    let types = [Type::UUID, Type::TIMESTAMPTZ, Type::TEXT, Type::JSONB, Type::JSONB];
    let sink = sql.copy_in(&text).await.expect("a COPY");
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
    for event in events {
        let time = UNIX_EPOCH + Duration::from_micros(event.occurred_at().as_microsecond() as u64);
        let raw = |json: &str| serde_json::from_str::<Box<serde_json::value::RawValue>>(json);
        let payload = Json(raw(event.payload_json()).expect("JSON"));
        let metadata = Json(raw(event.metadata_json()).expect("JSON"));
        writer
            .as_mut()
            .write(&[&event.id(), &time, &event.event_type(), &payload, &metadata])
            .await
            .expect("a row");
    }
    writer.finish().await.expect("the end of a COPY");
}

/// Appends one event after the other until something else is done; returns how long each took.
async fn append_beside(store: &Store<ReadWrite>, other: impl Future<Output = ()>) -> Vec<Duration> {
    let done = AtomicBool::new(false);
    let mut waits = Vec::new();
    let appends = async {
        while !done.load(Ordering::Relaxed) {
            let begun = Instant::now();
            store.append([event()], AppendCondition::none()).await.expect("an append");
            waits.push(begun.elapsed());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let other = async {
        other.await;
        done.store(true, Ordering::Relaxed);
    };
    futures_util::join!(appends, other);
    waits
}

fn events() -> Vec<Event> {
    (0..EVENTS).map(|_| event()).collect()
}

/// A loan of a book and a reader of the seeded ones' kind.
fn event() -> Event {
    let (book, reader) = (fastrand::u64(..200_000), fastrand::u64(..25_000));
    let payload = serde_json::json!({
        "BookID": format!("book-{book:012}"),
        "ReaderID": format!("reader-{reader:010}"),
        "OccurredAt": "2026-01-01T00:00:00.000000Z",
    });
    let ids = serde_json::json!({
        "MessageID": Uuid::now_v7(), "CausationID": Uuid::now_v7(), "CorrelationID": Uuid::now_v7(),
    });
    let event = Event::new("BookCopyLentToReader", &payload).expect("an event");
    event.with_metadata(&ids).expect("metadata")
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
