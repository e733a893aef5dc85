//! Benches that compare the crate with PostgreSQL itself, as ratios of workloads that are measured
//! side by side.
//!
//! `cargo bench` runs everything and prints a table at the end. `cargo bench -- append/64 query`
//! runs the results whose names have these prefixes. `docs/performance.md` explains the results.

mod append;
mod child;
mod clients;
mod cluster;
mod decide;
mod disk;
mod failover;
mod flat;
mod fresh;
mod frozen;
mod heavy;
mod import;
mod paused;
mod processes;
mod profile;
mod query;
mod replicas;
mod replicated;
mod retry;
mod rounds;
mod schema;
mod searched;
mod seed;
mod share;
mod soak;
mod standby;
mod stream;
mod table;
mod telemetry;

use std::time::Instant;

use console::{OutcomeFile, print_stdout};
use local_postgres::Cluster;
use rounds::Rounds;
use table::Table;

/// A run of the benches.
struct Bench {
    /// The prefixes of the results to measure. All results if empty.
    wanted: Vec<String>,
    started: Instant,
    /// The cluster, which stops when it is dropped.
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
    fresh::run(&mut bench).await;
    paused::run(&mut bench).await;
    replicas::run(&mut bench).await;
    frozen::run(&mut bench).await;
    share::run(&mut bench).await;
    failover::run(&mut bench).await;
    query::run(&mut bench).await;
    heavy::run(&mut bench).await;
    stream::run(&mut bench).await;
    import::run(&mut bench).await;
    decide::run(&mut bench).await;
    retry::run(&mut bench);
    telemetry::run(&mut bench).await;
    schema::run(&mut bench).await;
    soak::run(&mut bench).await;
    profile::run(&mut bench).await;
    bench.close(&conditions);
}

/// Runs this process as a child of a bench.
async fn work(role: &str) {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match role {
        processes::ROLE => processes::child(&arguments).await,
        stream::ROLE => stream::child(&arguments).await,
        other => panic!("unknown role: {other}"),
    }
}

impl Bench {
    async fn open() -> Self {
        // Cargo adds the option `--bench`.
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
        format!(
            "{server}; medians of {rounds} rounds, in each of which every workload runs for {time:?}"
        )
    }

    /// Returns whether any results of a part are wanted, and if so prints its title.
    fn starts_part(&self, results: &[&str], title: &str) -> bool {
        let wanted = self.wanted.is_empty() || self.is_requested(results);
        if wanted {
            print_stdout(&format_args!("\n{title}   ({:.0?} so far)", self.started.elapsed()));
        }
        wanted
    }

    /// Returns whether a prefix on the command line selects any of the results.
    fn is_requested(&self, results: &[&str]) -> bool {
        let mut wanted = self.wanted.iter();
        wanted.any(|wanted| {
            let has_prefix = |name: &&str| name.starts_with(wanted) || wanted.starts_with(*name);
            results.iter().any(has_prefix)
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
            print_stdout(&format_args!("results written to {}", path.display()));
        }
    }
}
