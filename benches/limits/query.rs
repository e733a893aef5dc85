//! What a query costs, beside the bare statement on a bare connection and beside the predecessor's.

use std::sync::Arc;

use eddyline::{Filter, Query, ReadWrite, Store};
use serde_json::json;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use crate::Bench;
use crate::clients::LENT;
use crate::cluster::connect;
use crate::rounds::{Contestant, Measured};
use crate::seed::{LENDING, Seed, last};

pub async fn run(bench: &mut Bench) {
    if !bench.begins(&["query/"], "query: 1 client") {
        return;
    }
    Seed::USUAL.prepare(&bench.url).await;
    let store = Store::<ReadWrite>::connect(Seed::USUAL.config(&bench.url)).await.expect("a store");
    compare_lending(bench, &store).await;
    id(bench, &store).await;
    newest_of_type(bench, &store).await;
    after(bench, &store).await;
}

async fn compare_lending(bench: &mut Bench, store: &Store<ReadWrite>) {
    if !bench.begins(&["query/lending/"], "query: what lending a book depends on") {
        return;
    }
    let predecessor = Arc::new(connect(&bench.url).await);
    let (query, bare) = lending(&bench.url, store).await;
    let contestants = [
        query,
        bare,
        Contestant::new("predecessor's statement", 1, move |_, count| {
            let predecessor = predecessor.clone();
            async move { query_predecessor(&predecessor, count).await }
        }),
    ];

    let results = bench.rounds.run(&contestants).await;

    report(bench, "query/lending/bare", &results);
    bench.table.report("query/lending/predecessor", results[0].median_to(&results[2]));
}

/// The lending query of a random book and a random reader, about 45 events, and the bare statement.
pub async fn lending(url: &str, store: &Store<ReadWrite>) -> (Contestant, Contestant) {
    let bare = Bare::open(
        url,
        "WHERE event_type = ANY ($1) AND payload @> ANY ($2::jsonb[]) ORDER BY sequence_number",
    )
    .await;
    let ours = query(store, |count| {
        let (book, reader) = Seed::USUAL.draw(count);
        let filter = Filter::types(LENDING).any_of([("BookID", book), ("ReaderID", reader)]);
        Query::from(filter.build().expect("a filter"))
    });
    let bare = bare.contestant(|bare, count| async move {
        let (book, reader) = Seed::USUAL.draw(count);
        let payloads = [json!({ "BookID": book }), json!({ "ReaderID": reader })];
        bare.query(&[&&LENDING[..], &&payloads[..]]).await;
    });
    (ours, bare)
}

async fn id(bench: &mut Bench, store: &Store<ReadWrite>) {
    if !bench.begins(&["query/id/"], "query: everything of one reader") {
        return;
    }
    let bare = Bare::open(&bench.url, "WHERE payload @> $1 ORDER BY sequence_number").await;
    let contestants = [
        query(store, |count| {
            let filter = Filter::any_of([("ReaderID", Seed::USUAL.draw(count).1)]);
            Query::from(filter.build().expect("a filter"))
        }),
        bare.contestant(|bare, count| async move {
            bare.query(&[&json!({ "ReaderID": Seed::USUAL.draw(count).1 })]).await;
        }),
    ];

    let results = bench.rounds.run(&contestants).await;

    report(bench, "query/id/bare", &results);
}

async fn newest_of_type(bench: &mut Bench, store: &Store<ReadWrite>) {
    if !bench.begins(&["query/type-limit/"], "query: the newest 100 of a type") {
        return;
    }
    let bare =
        Bare::open(&bench.url, "WHERE event_type = $1 ORDER BY sequence_number DESC LIMIT $2")
            .await;
    let contestants = [
        query(store, |_| {
            let filter = Filter::types([LENT]).build().expect("a filter");
            Query::from(filter).newest_first().limit(100)
        }),
        bare.contestant(|bare, _| async move { bare.query(&[&LENT, &100_i64]).await }),
    ];

    let results = bench.rounds.run(&contestants).await;

    report(bench, "query/type-limit/bare", &results);
}

async fn after(bench: &mut Bench, store: &Store<ReadWrite>) {
    if !bench.begins(&["query/after/"], "query: what came after a position 1,000 events old") {
        return;
    }
    let head = last(&connect(&bench.url).await, &Seed::USUAL.log()).await;
    let position = head - 1_000;
    let bare = Bare::open(&bench.url, "WHERE sequence_number > $1 ORDER BY sequence_number").await;
    let contestants = [
        query(store, move |_| Query::from(Filter::everything()).after(position.into())),
        bare.contestant(move |bare, _| async move { bare.query(&[&(position as i64)]).await }),
    ];

    let results = bench.rounds.run(&contestants).await;

    report(bench, "query/after/bare", &results);
}

fn report(bench: &mut Bench, name: &str, results: &[Measured]) {
    bench.table.report(name, results[0].median_to(&results[1]));
}

fn query(
    store: &Store<ReadWrite>,
    ask: impl Fn(u64) -> Query + Send + Sync + 'static,
) -> Contestant {
    let (store, ask) = (store.clone(), Arc::new(ask));
    Contestant::new("query", 1, move |_, count| {
        let (store, ask) = (store.clone(), ask.clone());
        async move {
            let history = store.query(ask(count)).await.expect("a history");
            assert!(!history.events().is_empty());
        }
    })
}

/// A bare connection with a statement that reads the columns of an event.
struct Bare {
    sql: Client,
    statement: Statement,
}

impl Bare {
    async fn open(url: &str, rest: &str) -> Arc<Self> {
        let sql = connect(url).await;
        let text = format!("SELECT {COLUMNS} FROM {} {rest}", Seed::USUAL.log());
        let statement = sql.prepare(&text).await.expect("a statement");
        Arc::new(Self { sql, statement })
    }

    async fn query(&self, values: &[&(dyn ToSql + Sync)]) {
        let rows = self.sql.query(&self.statement, values).await.expect("rows");
        assert!(!rows.is_empty());
    }

    fn contestant<F>(
        self: &Arc<Self>,
        ask: impl Fn(Arc<Self>, u64) -> F + Send + Sync + 'static,
    ) -> Contestant
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let bare = self.clone();
        Contestant::new("bare prepared SELECT", 1, move |_, count| ask(bare.clone(), count))
    }
}

/// Reads as the predecessor does: a statement without parameters, of a text that is new each time,
/// which its client prepares and executes.
async fn query_predecessor(sql: &Client, count: u64) {
    let (book, reader) = Seed::USUAL.draw(count);
    let types: Vec<_> = LENDING.iter().map(|one| format!("event_type = '{one}'")).collect();
    let text = format!(
        "SELECT event_type, occurred_at, payload, metadata, sequence_number FROM {}
         WHERE ({}) AND (payload @> '{{\"BookID\": \"{book}\"}}'
             OR payload @> '{{\"ReaderID\": \"{reader}\"}}')
         ORDER BY sequence_number ASC",
        Seed::USUAL.predecessor(),
        types.join(" OR "),
    );
    let statement = sql.prepare(&text).await.expect("a statement");
    assert!(!sql.query(&statement, &[]).await.expect("rows").is_empty());
}

/// The columns of an event, as the crate reads them.
pub const COLUMNS: &str =
    "sequence_number, event_id, occurred_at, recorded_at, event_type, payload, metadata";
