//! How near the crate comes to what PostgreSQL itself can do, as ratios of what was measured side
//! by side.
//!
//! `cargo bench` runs everything and ends with a table; `cargo bench -- append/64 query` runs what
//! begins like that. `docs/performance.md` has the rest.

mod append;
mod child;
mod clients;
mod cluster;
mod decide;
mod disk;
mod flat;
mod import;
mod processes;
mod profile;
mod query;
mod retry;
mod rounds;
mod schema;
mod searched;
mod seed;
mod soak;
mod standby;
mod stream;
mod table;

use std::time::Instant;

use console::{OutcomeFile, print_stdout};
use local_postgres::Cluster;
use rounds::Rounds;
use table::Table;

/// A run of the benches.
struct Bench {
    /// What the names of results are to begin with; nothing is all of them.
    wanted: Vec<String>,
    started: Instant,
    /// Ends when it is dropped.
    _cluster: Cluster,
    url: String,
    rounds: Rounds,
    table: Table,
}

#[tokio::main]
async fn main() {
    if let Some(role) = child::role() {
        return work(&role).await;
    }
    let mut bench = Bench::open().await;
    let conditions = bench.conditions().await;
    print_stdout(&format_args!("conditions: {conditions}"));
    append::run(&mut bench).await;
    searched::run(&mut bench).await;
    flat::run(&mut bench).await;
    processes::run(&mut bench).await;
    standby::run(&mut bench).await;
    query::run(&mut bench).await;
    stream::run(&mut bench).await;
    import::run(&mut bench).await;
    decide::run(&mut bench).await;
    retry::run(&mut bench);
    schema::run(&mut bench).await;
    soak::run(&mut bench).await;
    profile::run(&mut bench).await;
    bench.close(&conditions);
}

/// Does the part of a process that a bench has started.
async fn work(role: &str) {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match role {
        processes::ROLE => processes::child(&arguments).await,
        stream::ROLE => stream::child(&arguments).await,
        other => panic!("no such role: {other}"),
    }
}

impl Bench {
    async fn open() -> Self {
        // Cargo adds an option of its own.
        let wanted = std::env::args().skip(1).filter(|one| !one.starts_with('-'));
        let wanted: Vec<_> = wanted.inspect(|wanted| table::check(wanted)).collect();
        let cluster = cluster::cluster().await;
        Self {
            wanted,
            started: Instant::now(),
            url: cluster.primary().url(cluster::DATABASE),
            _cluster: cluster,
            rounds: Rounds::default(),
            table: Table::default(),
        }
    }

    async fn conditions(&self) -> String {
        let Rounds { rounds, time } = self.rounds;
        let server = cluster::conditions(&cluster::connect(&self.url).await).await;
        format!("{server}; medians of {rounds} rounds, in which each takes turns of {time:?}")
    }

    /// Says whether any of the results of a part are wanted; if so, says that it begins.
    fn begins(&self, results: &[&str], title: &str) -> bool {
        let wanted = self.wanted.is_empty() || self.asks_for(results);
        if wanted {
            print_stdout(&format_args!("\n{title}   ({:.0?} so far)", self.started.elapsed()));
        }
        wanted
    }

    /// Says whether any of the results are asked for by name, or a part of one.
    fn asks_for(&self, results: &[&str]) -> bool {
        let mut wanted = self.wanted.iter();
        wanted.any(|wanted| {
            let begins_alike = |name: &&str| name.starts_with(wanted) || wanted.starts_with(*name);
            results.iter().any(begins_alike)
        })
    }

    fn close(&self, conditions: &str) {
        self.table.print();
        print_stdout(&format_args!("conditions: {conditions}"));
        print_stdout(&format_args!("took {:.0?}", self.started.elapsed()));
        if self.wanted.is_empty() {
            let path = cluster::target().join("bench-results.md");
            let markdown = self.table.markdown(conditions);
            OutcomeFile::at(&path)
                .and_then(|file| file.write(markdown.as_bytes()))
                .expect("a file for the results");
            print_stdout(&format_args!("the same in {}", path.display()));
        }
    }
}
