//! The cost of an import, compared with COPY, and the latency of concurrent appends.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use eddyline::{AppendCondition, Event, ReadWrite, Store};
use futures_util::stream;
use tokio_postgres::Client;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use crate::Bench;
use crate::cluster::connect;
use crate::rounds::{clear_progress, median};
use crate::seed::Seed;

/// The number of events of an import or a COPY.
const EVENTS: usize = 20_000;

/// Compares an import with a binary COPY into a table with the log's columns and indexes, but
/// without its triggers. Both alternate in each round.
pub async fn run(bench: &mut Bench) {
    let title =
        format!("import: {EVENTS} events per round in chunks, to a COPY in one transaction");
    if !bench.starts_part(&["import/copy", "import/append-p99-ms"], &title) {
        return;
    }
    let seed = Seed::USUAL;
    seed.prepare(&bench.url).await;
    let store = Store::<ReadWrite>::connect(seed.config(&bench.url)).await.expect("a store");
    let others = Store::<ReadWrite>::connect(seed.config(&bench.url)).await.expect("a store");
    let sql = connect(&bench.url).await;
    let (mut ratios, mut waits) = (vec![], vec![]);
    for round in 0..=bench.rounds.rounds {
        bench.rounds.show_progress(round, "import");
        let imported = events();
        let begun = Instant::now();
        import(&store, imported).await;
        let import_time = begun.elapsed().as_secs_f64();
        bench.rounds.show_progress(round, "binary COPY");
        let copied = events();
        let begun = Instant::now();
        copy_into(&sql, &seed.plain(), &copied).await;
        let copy_time = begun.elapsed().as_secs_f64();
        bench.rounds.show_progress(round, "import, with concurrent appends");
        let concurrent_appends = append_during(&others, import(&store, events())).await;
        // This keeps both tables at the same size.
        copy_into(&sql, &seed.plain(), &events()).await;
        // The first round is a warm-up.
        if round > 0 {
            ratios.push(copy_time / import_time);
            waits.extend(concurrent_appends);
        }
    }
    clear_progress();
    waits.sort_unstable();
    bench.table.report("import/copy", median(ratios));
    let p99 = waits[waits.len() * 99 / 100].as_secs_f64() * 1_000.0;
    bench.table.report("import/append-p99-ms", p99);
}

async fn import(store: &Store<ReadWrite>, events: Vec<Event>) {
    let imported = store.import(stream::iter(events)).await.expect("an import");
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

/// Appends single events until another future has finished. Returns the duration of each append.
async fn append_during(store: &Store<ReadWrite>, other: impl Future<Output = ()>) -> Vec<Duration> {
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

/// Builds a loan of a random book by a random reader of the seeded log.
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
