//! What a conditional append costs, beside a plain insert and beside the predecessor's statement.

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/rounds.rs"]
mod rounds;
#[path = "support/seed.rs"]
mod seed;

use std::sync::Arc;

use cluster::connect;
use eddyline::{AppendCondition, Event, Filter, ReadWrite, Store};
use local_postgres::Cluster;
use rounds::{Contestant, Rounds, ratio};
use seed::{LENDING, Seed, size_name};
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

const CLIENTS: [usize; 2] = [1, 16];

#[tokio::main]
async fn main() {
    let cluster = cluster::cluster().await;
    println!("each append has a boundary of its own; the condition is as old as the last append");
    let mut medians = Vec::new();
    for events in seed::sizes() {
        let seed = Seed { events };
        seed.prepare(&cluster).await;
        for clients in CLIENTS {
            let both = compare(&cluster, &seed, clients).await;
            if clients == 1 {
                medians.push(both);
            }
        }
    }
    if let [small, .., large] = medians.as_slice() {
        ratio("append/flat/id", large.0 / small.0, "p50, 1 client, largest log to smallest");
        ratio(
            "append/flat/plain",
            large.1 / small.1,
            "the same of the plain INSERT, whose indexes grow",
        );
    }
}

/// Compares at one size and one number of clients; returns the medians of the append and of the
/// plain insert, in seconds.
async fn compare(cluster: &Cluster, seed: &Seed, clients: usize) -> (f64, f64) {
    let size = size_name(seed.events);
    println!("\n{size} events, {clients} clients");
    let store = Store::<ReadWrite>::connect(seed.config(cluster)).await.expect("a store");
    let plain = sessions(cluster, clients, &insert(&seed.plain())).await;
    let mut predecessor = Vec::new();
    for _ in 0..clients {
        predecessor.push(connect(cluster).await);
    }
    let contestants = [
        Contestant {
            name: "conditional append",
            clients,
            job: Arc::new(|_, _| Box::pin(append(&store))),
        },
        Contestant {
            name: "plain INSERT",
            clients,
            job: Arc::new(|client, _| Box::pin(insert_plain(&plain[client]))),
        },
        Contestant {
            name: "predecessor's statement",
            clients,
            job: Arc::new(|client, _| Box::pin(append_predecessor(&predecessor[client], seed))),
        },
    ];

    let results = Rounds::default().run(&contestants).await;

    let [ours, plain, predecessor] = results.as_slice() else { unreachable!("three took part") };
    if clients == 1 {
        let latency = ours.median().as_secs_f64() / plain.median().as_secs_f64();
        ratio(
            &format!("append/1/latency-to-plain/{size}"),
            latency,
            "p50 of a conditional append to p50 of a prepared autocommitted INSERT",
        );
    }
    ratio(
        &format!("append/{clients}/plain/{size}"),
        ours.rate() / plain.rate(),
        "appends per second to INSERTs per second",
    );
    ratio(
        &format!("append/{clients}/predecessor/{size}"),
        ours.rate() / predecessor.rate(),
        "appends per second to the predecessor's",
    );
    (ours.median().as_secs_f64(), plain.median().as_secs_f64())
}

fn event(boundary: &str) -> Event {
    let payload = format!(
        r#"{{"BookID":"{boundary}","ReaderID":"{boundary}","OccurredAt":"2026-01-01T00:00:00.000000Z"}}"#
    );
    Event::from_json("BookCopyLentToReader", payload).expect("an event")
}

/// Appends on the condition that nothing came to the boundary since the log's end was last seen.
async fn append(store: &Store<ReadWrite>) {
    let boundary = boundary();
    let filter = Filter::types(LENDING)
        .any_of([("BookID", &boundary), ("ReaderID", &boundary)])
        .build()
        .expect("a filter");
    let seen = LAST.load(std::sync::atomic::Ordering::Relaxed);
    let condition = match seen {
        0 => AppendCondition::since(filter, store.head().await.expect("a head")),
        seen => AppendCondition::since(filter, seen.into()),
    };
    let appended = store.append([event(&boundary)], condition).await.expect("an append");
    LAST.fetch_max(appended.last().value(), std::sync::atomic::Ordering::Relaxed);
}

static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

async fn insert_plain((sql, statement): &(Client, Statement)) {
    let event = event(&boundary());
    let payload: serde_json::Value = event.payload().expect("a payload");
    let metadata = serde_json::json!({});
    let time = std::time::SystemTime::now();
    sql.execute(statement, &[&event.id(), &time, &event.event_type(), &payload, &metadata])
        .await
        .expect("an insert");
}

/// Appends as the predecessor does: one statement without parameters, of a text that is new each
/// time, which its client prepares and executes.
async fn append_predecessor(sql: &Client, seed: &Seed) {
    let (table, boundary) = (seed.predecessor(), boundary());
    let types: Vec<_> = LENDING.iter().map(|one| format!("event_type = '{one}'")).collect();
    let text = format!(
        "WITH context AS (
             SELECT max(sequence_number) AS max_seq FROM {table}
             WHERE ({}) AND (payload @> '{{\"BookID\": \"{boundary}\"}}'
                 OR payload @> '{{\"ReaderID\": \"{boundary}\"}}'))
         INSERT INTO {table} (event_type, occurred_at, payload, metadata)
         SELECT 'BookCopyLentToReader', now(), '{}', '{{}}' FROM context
         WHERE coalesce(max_seq, 0) = 0",
        types.join(" OR "),
        event(&boundary).payload_json(),
    );
    let statement = sql.prepare(&text).await.expect("a statement");
    assert_eq!(sql.execute(&statement, &[]).await.expect("an append"), 1);
}

/// Names a boundary that nothing was appended to yet.
fn boundary() -> String {
    Uuid::now_v7().to_string()
}

fn insert(table: &str) -> String {
    format!(
        "INSERT INTO {table} (event_id, occurred_at, event_type, payload, metadata)
         VALUES ($1, $2, $3, $4, $5)"
    )
}

async fn sessions(cluster: &Cluster, clients: usize, text: &str) -> Vec<(Client, Statement)> {
    let mut sessions = Vec::new();
    for _ in 0..clients {
        let sql = connect(cluster).await;
        let statement = sql.prepare(text).await.expect("a statement");
        sessions.push((sql, statement));
    }
    sessions
}
