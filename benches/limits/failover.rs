//! Promotions of a synchronous standby while clients append: the time without service, and whether
//! the log is as the clients were told.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use console::{error_chain, print_stdout};
use eddyline::{AppendCondition, Filter, ReadWrite, Store};
use local_postgres::{Cluster, Server};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::Bench;
use crate::clients::{boundary, event};
use crate::cluster::{DATABASE, connect};
use crate::rounds::{clear_progress, median, number, show_progress};
use crate::seed::{config, create};

pub async fn run(bench: &mut Bench) {
    let promotions = number("EDDYLINE_BENCH_PROMOTIONS", 20).max(1);
    let names = ["failover/gap-ms", "failover/store-ms", "failover/wrong"];
    let title = format!("failover: {promotions} promotions, {CLIENTS} clients append");
    if !bench.starts_part(&names, &title) {
        return;
    }
    let cluster = start().await;
    let [one, other] = [cluster.primary(), &cluster.standbys()[0]];
    let hosts = format!("{}:{},{}:{}", one.host(), one.port(), other.host(), other.port());
    let config = config(&format!("postgres://postgres@{hosts}/{DATABASE}"), LOG);
    let store = Store::<ReadWrite>::connect(config).await.expect("a store");
    let record = Arc::new(Record::default());
    let clients: Vec<_> = (0..CLIENTS).map(|_| spawn_client(&store, &record)).collect();
    let (mut primary, mut standby) = (one, other);
    let mut gaps = Vec::new();
    for promotion in 1..=promotions {
        show_progress(&format!("promotion {promotion} of {promotions}"));
        make_synchronous(primary, standby).await;
        record.wait_for(APPENDS_BETWEEN).await;
        gaps.push(fail_over(primary, standby, &record).await);
        (primary, standby) = (standby, primary);
        // The last primary is read at the end, and needs no standby.
        if promotion < promotions {
            standby.rebuild(primary).await.expect("a standby");
        }
    }
    record.stop();
    for client in clients {
        client.await.expect("a client");
    }
    clear_progress();
    let wrong = record.check(&stored(primary).await);
    for (gap, store) in &gaps {
        print_stdout(&format_args!("  {gap:.0?} without service, {store:.0?} after the promotion"));
    }
    let milliseconds = |time: &Duration| time.as_secs_f64() * 1e3;
    bench.table.report(names[0], median(gaps.iter().map(|(gap, _)| milliseconds(gap))));
    bench.table.report(names[1], median(gaps.iter().map(|(_, store)| milliseconds(store))));
    bench.table.report(names[2], wrong as f64);
}

async fn start() -> Cluster {
    show_progress("starting a cluster with a standby");
    let cluster = Cluster::builder().standbys(1).start().await.expect("a cluster");
    cluster.create_database(DATABASE).await.expect("a database");
    let url = cluster.primary().url(DATABASE);
    create(&connect(&url).await, &url, LOG).await;
    cluster.wait_for_replay().await.expect("a standby that replays");
    cluster
}

/// Makes commits of the primary wait for the standby. After its promotion the standby does not wait
/// for another server.
async fn make_synchronous(primary: &Server, standby: &Server) {
    let setting = "synchronous_standby_names";
    standby.set(setting, "").await.expect("a setting");
    primary.set(setting, standby.name()).await.expect("a setting");
    let sql = connect(&primary.url(DATABASE)).await;
    let text = "SELECT count(*) FROM pg_stat_replication
         WHERE state = 'streaming' AND sync_state = 'sync'";
    while sql.query_one(text, &[]).await.expect("a state").get::<_, i64>(0) == 0 {
        tokio::time::sleep(PAUSE).await;
    }
}

/// Kills the primary and promotes the standby. Returns the time in which no append succeeded, and
/// the part of it after the standby accepted writes.
async fn fail_over(primary: &Server, standby: &Server, record: &Record) -> (Duration, Duration) {
    let sql = connect(&standby.url(DATABASE)).await;
    let killed = Instant::now();
    primary.kill().await.expect("a kill");
    let (promoted, writable) = tokio::join!(standby.promote(), writable(&sql));
    promoted.expect("a promotion");
    record.wait_for(CLIENTS).await;
    let (from, to) = record.longest_gap(killed - Duration::from_millis(100));
    (to - from, to.saturating_duration_since(writable))
}

/// Waits until a standby accepts writes. [`Server::promote`] notices that up to 0.1 s later.
async fn writable(sql: &Client) -> Instant {
    let text = "SELECT pg_is_in_recovery()";
    while sql.query_one(text, &[]).await.expect("a state").get(0) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Instant::now()
}

/// Reads the positions, ids and boundaries of all events.
async fn stored(primary: &Server) -> Vec<(u64, Uuid, String)> {
    let sql = connect(&primary.url(DATABASE)).await;
    let text = format!("SELECT sequence_number, event_id, payload ->> 'BookID' FROM {LOG}");
    let rows = sql.query(&text, &[]).await.expect("events");
    rows.iter().map(|row| (row.get::<_, i64>(0) as u64, row.get(1), row.get(2))).collect()
}

/// Lets a client append, each event on the condition that its boundary has none.
fn spawn_client(store: &Store<ReadWrite>, record: &Arc<Record>) -> JoinHandle<()> {
    let (store, record) = (store.clone(), record.clone());
    tokio::spawn(async move {
        while !record.has_stopped() {
            let boundary = boundary();
            let filter = Filter::any_of([("BookID", &boundary)]).build().expect("a filter");
            let event = event(&boundary);
            let (id, begun) = (event.id(), Instant::now());
            let answer = store.append([event], AppendCondition::no_match(filter)).await;
            let outcome = match &answer {
                Ok(appended) => Outcome::Stored(appended.last().value()),
                Err(error) if error.is_outcome_unknown() => Outcome::Unknown,
                Err(error) => Outcome::Refused(error_chain(error)),
            };
            record.add(Append { id, begun, ended: Instant::now(), outcome });
            if answer.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    })
}

/// An append and what its client was told.
struct Append {
    id: Uuid,
    begun: Instant,
    ended: Instant,
    outcome: Outcome,
}

enum Outcome {
    Refused(String),
    Stored(u64),
    Unknown,
}

/// The appends of all clients.
#[derive(Default)]
struct Record {
    appends: Mutex<Vec<Append>>,
    has_stopped: AtomicBool,
}

impl Record {
    fn add(&self, append: Append) {
        self.appends.lock().expect("no client panics").push(append);
    }

    fn stop(&self) {
        self.has_stopped.store(true, Ordering::Relaxed);
    }

    fn has_stopped(&self) -> bool {
        self.has_stopped.load(Ordering::Relaxed)
    }

    /// Waits until further appends have been stored.
    async fn wait_for(&self, appends: usize) {
        let (started, goal) = (Instant::now(), self.ends_of_stored(None).len() + appends);
        while self.ends_of_stored(None).len() < goal {
            assert!(started.elapsed() < LIMIT, "no service within {LIMIT:?}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Returns the longest time after `from` in which no stored append ended.
    fn longest_gap(&self, from: Instant) -> (Instant, Instant) {
        let ends = self.ends_of_stored(Some(from));
        let gaps = ends.windows(2).map(|pair| (pair[0], pair[1]));
        gaps.max_by_key(|(from, to)| *to - *from).expect("appends")
    }

    fn ends_of_stored(&self, from: Option<Instant>) -> Vec<Instant> {
        let appends = self.appends.lock().expect("no client panics");
        let is_stored = |append: &&Append| matches!(append.outcome, Outcome::Stored(_));
        let ends = appends.iter().filter(is_stored).map(|append| append.ended);
        let mut ends: Vec<_> = ends.filter(|end| from.is_none_or(|from| *end >= from)).collect();
        ends.sort_unstable();
        ends
    }

    /// Compares the log with what the clients were told. Prints and returns the number of
    /// differences.
    fn check(&self, log: &[(u64, Uuid, String)]) -> usize {
        let appends = self.appends.lock().expect("no client panics");
        let positions: HashMap<Uuid, u64> = log.iter().map(|(at, id, _)| (*id, *at)).collect();
        let boundaries: HashSet<&str> = log.iter().map(|(_, _, boundary)| &**boundary).collect();
        let (mut lost, mut ghosts, mut unknown, mut refused) = (0, 0, 0, HashMap::new());
        for append in appends.iter() {
            let found = positions.get(&append.id);
            match &append.outcome {
                Outcome::Stored(position) => lost += usize::from(found != Some(position)),
                Outcome::Unknown => unknown += 1,
                Outcome::Refused(reason) => {
                    ghosts += usize::from(found.is_some());
                    *refused.entry(reason).or_insert(0) += 1;
                }
            }
        }
        // Each append had a boundary of its own.
        let twice = log.len() - boundaries.len();
        let disordered = disordered(&appends);
        print_stdout(&format_args!(
            "  LOST {lost}  TWICE {twice}  STORED ALTHOUGH REFUSED {ghosts}  OUT OF ORDER \
             {disordered}  of {} appends, {unknown} of them with an unknown outcome",
            appends.len()
        ));
        for (reason, count) in refused {
            print_stdout(&format_args!("  refused, {count} times: {reason}"));
        }
        lost + twice + ghosts + disordered
    }
}

/// Counts the appends that were stored before one that had ended when they began.
fn disordered(appends: &[Append]) -> usize {
    let stored = appends.iter().filter_map(|append| match append.outcome {
        Outcome::Stored(position) => Some((append.begun, append.ended, position)),
        Outcome::Refused(_) | Outcome::Unknown => None,
    });
    let mut by_begin: Vec<_> = stored.collect();
    let mut by_end = by_begin.clone();
    by_begin.sort_unstable();
    by_end.sort_unstable_by_key(|(_, ended, _)| *ended);
    let (mut ended, mut highest, mut count) = (by_end.iter().peekable(), 0, 0);
    for (begun, _, position) in by_begin {
        while let Some((.., earlier)) = ended.next_if(|(_, end, _)| *end < begun) {
            highest = highest.max(*earlier);
        }
        count += usize::from(position < highest);
    }
    count
}

const CLIENTS: usize = 16;
/// The appends from one promotion to the next.
const APPENDS_BETWEEN: usize = 500;
/// The longest time without service.
const LIMIT: Duration = Duration::from_secs(60);
const LOG: &str = "log";
const PAUSE: Duration = Duration::from_millis(5);
