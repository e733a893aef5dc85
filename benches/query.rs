//! What a query costs, beside the bare statement and beside the predecessor's.

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/rounds.rs"]
mod rounds;
#[path = "support/seed.rs"]
mod seed;

use std::sync::Arc;

use cluster::connect;
use eddyline::{Filter, ReadWrite, Store};
use local_postgres::Cluster;
use rounds::{Contestant, Rounds, ratio};
use seed::{LENDING, Seed, size_name};
use tokio_postgres::{Client, Statement};

#[tokio::main]
async fn main() {
    let cluster = cluster::cluster().await;
    println!("the lending query of a random book and a random reader, about 45 events; 1 client");
    let mut medians = Vec::new();
    for events in seed::sizes() {
        let seed = Seed { events };
        seed.prepare(&cluster).await;
        medians.push(compare(&cluster, &seed).await);
    }
    if let [small, .., large] = medians.as_slice() {
        ratio("query/flat", large / small, "p50, largest log to smallest");
    }
}

async fn compare(cluster: &Cluster, seed: &Seed) -> f64 {
    let size = size_name(seed.events);
    println!("\n{size} events");
    let store = Store::<ReadWrite>::connect(seed.config(cluster)).await.expect("a store");
    let sql = connect(cluster).await;
    let bare = sql.prepare(&bare(&seed.log())).await.expect("a statement");
    let predecessor = connect(cluster).await;
    let contestants = [
        Contestant {
            name: "query",
            clients: 1,
            job: Arc::new(|_, count| Box::pin(query(&store, seed, count))),
        },
        Contestant {
            name: "bare prepared SELECT",
            clients: 1,
            job: Arc::new(|_, count| Box::pin(query_bare(&sql, &bare, seed, count))),
        },
        Contestant {
            name: "predecessor's statement",
            clients: 1,
            job: Arc::new(|_, count| Box::pin(query_predecessor(&predecessor, seed, count))),
        },
    ];

    let results = Rounds::default().run(&contestants).await;

    let [ours, bare, predecessor] = results.as_slice() else { unreachable!("three took part") };
    let ours = ours.median().as_secs_f64();
    ratio(
        &format!("query/lending/bare/{size}"),
        ours / bare.median().as_secs_f64(),
        "p50 to p50 of the bare prepared statement, without the log's end",
    );
    ratio(
        &format!("query/lending/predecessor/{size}"),
        ours / predecessor.median().as_secs_f64(),
        "p50 to p50 of the predecessor's shape on its own schema",
    );
    ours
}

/// Draws a book and a reader that the seed has.
fn draw(seed: &Seed, count: u64) -> (String, String) {
    let scattered = (count.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16) % seed.events;
    let (book, reader) = (scattered % (seed.events / 5), scattered % (seed.events / 40));
    (format!("book-{book:012}"), format!("reader-{reader:010}"))
}

async fn query(store: &Store<ReadWrite>, seed: &Seed, count: u64) {
    let (book, reader) = draw(seed, count);
    let filter = Filter::types(LENDING)
        .any_of([("BookID", book), ("ReaderID", reader)])
        .build()
        .expect("a filter");
    let history = store.query(&filter).await.expect("a history");
    assert!(!history.events().is_empty());
}

async fn query_bare(sql: &Client, statement: &Statement, seed: &Seed, count: u64) {
    let (book, reader) = draw(seed, count);
    let payloads =
        [serde_json::json!({ "BookID": book }), serde_json::json!({ "ReaderID": reader })];
    let rows = sql.query(statement, &[&&LENDING[..], &&payloads[..]]).await.expect("rows");
    assert!(!rows.is_empty());
}

/// Reads as the predecessor does: a statement without parameters, of a text that is new each time,
/// which its client prepares and executes.
async fn query_predecessor(sql: &Client, seed: &Seed, count: u64) {
    let (book, reader) = draw(seed, count);
    let types: Vec<_> = LENDING.iter().map(|one| format!("event_type = '{one}'")).collect();
    let text = format!(
        "SELECT event_type, occurred_at, payload, metadata, sequence_number FROM {}
         WHERE ({}) AND (payload @> '{{\"BookID\": \"{book}\"}}'
             OR payload @> '{{\"ReaderID\": \"{reader}\"}}')
         ORDER BY sequence_number ASC",
        seed.predecessor(),
        types.join(" OR "),
    );
    let statement = sql.prepare(&text).await.expect("a statement");
    assert!(!sql.query(&statement, &[]).await.expect("rows").is_empty());
}

fn bare(table: &str) -> String {
    format!(
        "SELECT sequence_number, event_id, occurred_at, recorded_at, event_type, payload, metadata
         FROM {table} WHERE event_type = ANY ($1) AND payload @> ANY ($2::jsonb[])
         ORDER BY sequence_number"
    )
}
