//! The cost of a query, compared with the plain statement and with that of the crate's predecessor.

use std::sync::Arc;

use eddyline::{Filter, Query, ReadWrite, SequenceNumber, Store};
use serde_json::json;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use crate::Bench;
use crate::clients::LENT;
use crate::cluster::connect;
use crate::rounds::{Measured, Workload};
use crate::seed::{LENDING, Seed, last};

pub async fn run(bench: &mut Bench) {
    if !bench.starts_part(&["query/"], "query: 1 client") {
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
    if !bench.starts_part(&["query/lending/"], "query: the history for lending a book") {
        return;
    }
    let predecessor = Arc::new(connect(&bench.url).await);
    let (query, plain_select) = lending(&bench.url, store).await;
    let workloads = [
        query,
        plain_select,
        Workload::new("predecessor's statement", 1, move |_, count| {
            let predecessor = predecessor.clone();
            async move { query_predecessor(&predecessor, count).await }
        }),
    ];

    let results = bench.rounds.run(&workloads).await;

    report(bench, "query/lending/bare", &results);
    bench.table.report("query/lending/predecessor", results[0].median_to(&results[2]));
}

/// Returns two workloads: the history for lending a random book to a random reader, about 45
/// events, by the crate and by a plain statement.
pub async fn lending(url: &str, store: &Store<ReadWrite>) -> (Workload, Workload) {
    let plain_select = PlainSelect::open(
        url,
        "WHERE event_type = ANY ($1) AND payload @> ANY ($2::jsonb[]) ORDER BY sequence_number",
    )
    .await;
    let ours = query(store, |count| {
        let (book, reader) = Seed::USUAL.draw(count);
        let filter = Filter::types(LENDING).any_of([("BookID", book), ("ReaderID", reader)]);
        Query::from(filter.build().expect("a filter"))
    });
    let plain_select = plain_select.workload(|plain_select, count| async move {
        let (book, reader) = Seed::USUAL.draw(count);
        let payloads = [json!({ "BookID": book }), json!({ "ReaderID": reader })];
        plain_select.query(&[&&LENDING[..], &&payloads[..]]).await;
    });
    (ours, plain_select)
}

async fn id(bench: &mut Bench, store: &Store<ReadWrite>) {
    if !bench.starts_part(&["query/id/"], "query: all events of a reader") {
        return;
    }
    let plain_select =
        PlainSelect::open(&bench.url, "WHERE payload @> $1 ORDER BY sequence_number").await;
    let workloads = [
        query(store, |count| {
            let filter = Filter::any_of([("ReaderID", Seed::USUAL.draw(count).1)]);
            Query::from(filter.build().expect("a filter"))
        }),
        plain_select.workload(|plain_select, count| async move {
            plain_select.query(&[&json!({ "ReaderID": Seed::USUAL.draw(count).1 })]).await;
        }),
    ];

    let results = bench.rounds.run(&workloads).await;

    report(bench, "query/id/bare", &results);
}

async fn newest_of_type(bench: &mut Bench, store: &Store<ReadWrite>) {
    if !bench.starts_part(&["query/type-limit/"], "query: the newest 100 of a type") {
        return;
    }
    let plain_select = PlainSelect::open(
        &bench.url,
        "WHERE event_type = $1 ORDER BY sequence_number DESC LIMIT $2",
    )
    .await;
    let workloads = [
        query(store, |_| {
            let filter = Filter::types([LENT]).build().expect("a filter");
            Query::from(filter).newest_first().limit(100)
        }),
        plain_select.workload(|plain_select, _| async move {
            plain_select.query(&[&LENT, &100_i64]).await
        }),
    ];

    let results = bench.rounds.run(&workloads).await;

    report(bench, "query/type-limit/bare", &results);
}

async fn after(bench: &mut Bench, store: &Store<ReadWrite>) {
    if !bench.starts_part(&["query/after/"], "query: the last 1,000 events, by position") {
        return;
    }
    let head = last(&connect(&bench.url).await, &Seed::USUAL.log()).await;
    let position = head - 1_000;
    let plain_select =
        PlainSelect::open(&bench.url, "WHERE sequence_number > $1 ORDER BY sequence_number").await;
    let workloads = [
        query(store, move |_| {
            Query::from(Filter::everything()).after(SequenceNumber::new(position))
        }),
        plain_select.workload(move |plain_select, _| async move {
            plain_select.query(&[&(position as i64)]).await
        }),
    ];

    let results = bench.rounds.run(&workloads).await;

    report(bench, "query/after/bare", &results);
}

fn report(bench: &mut Bench, name: &str, results: &[Measured]) {
    bench.table.report(name, results[0].median_to(&results[1]));
}

fn query(store: &Store<ReadWrite>, ask: impl Fn(u64) -> Query + Send + Sync + 'static) -> Workload {
    let (store, ask) = (store.clone(), Arc::new(ask));
    Workload::new("query", 1, move |_, count| {
        let (store, ask) = (store.clone(), ask.clone());
        async move {
            let history = store.query(ask(count)).await.expect("a history");
            assert!(!history.events().is_empty());
        }
    })
}

/// A connection without the crate, with a prepared SELECT of the columns of events.
struct PlainSelect {
    sql: Client,
    statement: Statement,
}

impl PlainSelect {
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

    fn workload<F>(
        self: &Arc<Self>,
        ask: impl Fn(Arc<Self>, u64) -> F + Send + Sync + 'static,
    ) -> Workload
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let plain_select = self.clone();
        Workload::new("plain prepared SELECT", 1, move |_, count| ask(plain_select.clone(), count))
    }
}

/// Queries like the predecessor of this crate. The statement has no parameters, so its text differs
/// each time and has to be prepared.
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

/// The columns of an event in the order in which the crate reads them.
pub const COLUMNS: &str =
    "sequence_number, event_id, occurred_at, recorded_at, event_type, payload, metadata";
