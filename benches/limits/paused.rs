//! What readers cost a replica that lacks the position that they ask for, because its replay is
//! paused.

use std::time::{Duration, Instant};

use console::print_stdout;
use eddyline::{
    AppendCondition, Bookmark, Config, Error, Filter, Query, ReadOnly, ReadWrite, RetryPolicy,
    Store,
};
use futures_util::future::join_all;
use tokio_postgres::Client;

use crate::Bench;
use crate::clients::{LENT, boundary, event};
use crate::cluster::DATABASE;
use crate::replicated::{EVENTS, Executed, Replicated, reader};
use crate::rounds::{clear_progress, median};
use crate::seed::{LENDING, draw};

pub async fn run(bench: &mut Bench) {
    let names = ["fresh/waiting/queries", "fresh/stale/rows", "fresh/stale/pages"];
    if !bench.starts_part(&names, "fresh: a replica whose replay is paused") {
        return;
    }
    let replicated = Replicated::start(1).await;
    let paused = Paused::open(&replicated).await;
    if bench.starts_part(&names[..1], &format!("fresh: {MANY} waiting readers, to one")) {
        let mut ratios = Vec::new();
        for round in 0..=bench.rounds.rounds.min(ROUNDS) {
            bench.rounds.show_progress(round, "waiting readers");
            let (one, many) = (paused.waiting(1).await, paused.waiting(MANY).await);
            clear_progress();
            print_stdout(&format_args!(
                "  {one:.0} statements per second for 1 reader, {many:.0} for {MANY}"
            ));
            ratios.extend((round > 0).then_some(many / one));
        }
        bench.table.report(names[0], median(ratios));
    }
    if bench.starts_part(&names[1..], "fresh: reads that a replica cannot answer yet") {
        let (refused, executed) = paused.refused().await;
        print_stdout(&format_args!("  {refused} refused reads: {executed:?}"));
        bench.table.report(names[1], executed.event_rows as f64);
        bench.table.report(names[2], executed.pages as f64 / refused as f64);
    }
}

/// Stores on a paused replica, and a position that the replica lacks.
struct Paused {
    reader: Store<ReadOnly>,
    hasty: Store<ReadOnly>,
    bookmark: Bookmark,
    sql: Client,
}

impl Paused {
    async fn open(replicated: &Replicated) -> Self {
        let urls = [replicated.standby(0).url(DATABASE)];
        let open = async |timeout| {
            let settings = |config: Config| {
                config
                    .replica_timeout(timeout)
                    .acquire_timeout(Duration::from_secs(30))
                    .retry(RetryPolicy::never())
            };
            reader(&urls, settings).await
        };
        let (reader, hasty) = (open(PATIENCE).await, open(HASTE).await);
        for store in [&reader, &hasty] {
            // The connections exist and have planned their statements when the counting begins.
            join_all((0..64).map(|number| ask(store, Way::ALL[number % 3], number))).await;
        }
        replicated.standby(0).pause_replay().await.expect("a pause");
        let writer = Store::<ReadWrite>::connect(replicated.primary()).await.expect("a store");
        let appended = writer.append([event(&boundary())], AppendCondition::none()).await;
        let bookmark = appended.expect("an append").bookmark();
        Self { reader, hasty, bookmark, sql: replicated.sql(0).await }
    }

    /// Lets readers wait in vain. Returns the statements per second that the replica executed from
    /// before the first reader began to after the last one ended.
    async fn waiting(&self, readers: usize) -> f64 {
        Executed::reset(&self.sql).await;
        let begun = Instant::now();
        refuse(&self.reader.at_least(self.bookmark), &[Way::Few], readers).await;
        Executed::since_reset(&self.sql).await.statements as f64 / begun.elapsed().as_secs_f64()
    }

    /// Reads in vain, in each way, alone and next to others. Returns the number of reads.
    async fn refused(&self) -> (usize, Executed) {
        Executed::reset(&self.sql).await;
        let store = self.hasty.at_least(self.bookmark);
        let mut refused = 0;
        for way in Way::ALL {
            for readers in [1, 1, 64] {
                refused += refuse(&store, &[way], readers).await;
            }
        }
        refused += refuse(&store, &Way::ALL, 64).await;
        (refused, Executed::since_reset(&self.sql).await)
    }
}

/// Reads at the same time, in each way in turn. Every read has to be refused. Returns their number.
async fn refuse(store: &Store<ReadOnly>, ways: &[Way], readers: usize) -> usize {
    let reads = (0..readers).map(|number| {
        let (store, way) = (store.clone(), ways[number % ways.len()]);
        tokio::spawn(async move { ask(&store, way, number).await })
    });
    for outcome in join_all(reads).await {
        let outcome = outcome.expect("a reader");
        assert!(matches!(outcome, Err(Error::ReplicaBehind { .. })), "{outcome:?}");
    }
    readers
}

/// A way to read: each has a statement of its own.
#[derive(Clone, Copy)]
enum Way {
    /// The history of a book and a reader, about 45 events.
    Few,
    /// The newest 100 events of a type.
    Newest,
    /// All events.
    Stream,
}

impl Way {
    const ALL: [Self; 3] = [Self::Few, Self::Newest, Self::Stream];
}

async fn ask(store: &Store<ReadOnly>, way: Way, number: usize) -> Result<(), Error> {
    match way {
        Way::Few => {
            let (book, reader) = draw(EVENTS, number as u64);
            let filter = Filter::types(LENDING).any_of([("BookID", book), ("ReaderID", reader)]);
            store.query(&filter.build().expect("a filter")).await.map(drop)
        }
        Way::Newest => {
            let filter = Filter::types([LENT]).build().expect("a filter");
            store.query(Query::from(filter).newest_first().limit(100)).await.map(drop)
        }
        Way::Stream => store.stream(Filter::everything()).await.map(drop),
    }
}

const MANY: usize = 1_000;
/// The most rounds: each takes several seconds.
const ROUNDS: u64 = 3;
/// How long a reader waits.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a reader waits whose rows are counted.
const HASTE: Duration = Duration::from_millis(50);
