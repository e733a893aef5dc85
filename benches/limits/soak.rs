//! Appends of many clients for a long time: the longest gap without an append, and the concurrent
//! activity of the server and the disk. It runs only if the command line names it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use console::print_stdout;
use tokio_postgres::Client;

use crate::Bench;
use crate::clients::{On, Writer};
use crate::cluster::{connect, set};
use crate::disk::DiskProbe;
use crate::rounds::number;
use crate::seed::Seed;

pub async fn run(bench: &mut Bench) {
    let time = Duration::from_secs(number("EDDYLINE_BENCH_SOAK_SECONDS", 600));
    if !bench.is_requested(&["soak/"])
        || !bench.starts_part(&["soak/"], &format!("soak: {CLIENTS} clients for {time:?}"))
    {
        return;
    }
    Seed::USUAL.prepare(&bench.url).await;
    let sql = connect(&bench.url).await;
    // PostgreSQL's default.
    set(&sql, "checkpoint_timeout", Some("5min")).await;
    let writer = Writer::open(Seed::USUAL.config(&bench.url)).await;

    let whole = appends(&sql, &writer, time).await;

    set(&sql, "checkpoint_timeout", None).await;
    bench.table.report("soak/64/longest-gap-ms", whole.gap.as_secs_f64() * 1e3);
    bench.table.report("soak/64/longest-append-ms", whole.longest.as_secs_f64() * 1e3);
}

/// Lets all clients append. Prints the measurements of each interval, and returns the longest gap
/// and append of all.
async fn appends(sql: &Client, writer: &Arc<Writer>, time: Duration) -> Interval {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let is_over = Arc::new(AtomicBool::new(false));
    for _ in 0..CLIENTS {
        let (writer, sender, is_over) = (writer.clone(), sender.clone(), is_over.clone());
        tokio::spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                writer.append(On::Ids, 0).await;
                let ended = Instant::now();
                // An error means that the soak is over.
                let _ = sender.send((ended, ended - begun));
            }
        });
    }
    drop(sender);
    print_stdout(&format_args!("  a line for each {INTERVAL:?}"));
    let disk = DiskProbe::start();
    let started = Instant::now();
    let (mut last, mut whole) = (started, Interval::default());
    let mut server = Activity::of(sql).await;
    while started.elapsed() < time {
        let until = tokio::time::Instant::now() + INTERVAL;
        let mut interval = Interval::default();
        while let Ok(Some((ended, took))) = tokio::time::timeout_at(until, receiver.recv()).await {
            interval.record(ended.saturating_duration_since(last), took);
            last = last.max(ended);
        }
        // A gap that has not ended yet counts as well.
        interval.gap = interval.gap.max(last.elapsed());
        let now = Activity::of(sql).await;
        interval.print(started.elapsed(), disk.longest_fdatasync(), &now.since(&server));
        whole.gap = whole.gap.max(interval.gap);
        whole.longest = whole.longest.max(interval.longest);
        server = now;
    }
    is_over.store(true, Ordering::Relaxed);
    while receiver.recv().await.is_some() {}
    whole
}

/// The appends of an interval of time.
#[derive(Default)]
struct Interval {
    times: Vec<Duration>,
    longest: Duration,
    /// The longest time in which no append ended.
    gap: Duration,
}

impl Interval {
    fn record(&mut self, gap: Duration, took: Duration) {
        self.times.push(took);
        self.longest = self.longest.max(took);
        self.gap = self.gap.max(gap);
    }

    fn print(&mut self, at: Duration, fdatasync: Duration, server: &str) {
        self.times.sort_unstable();
        let percentile = |percent: usize| {
            let at = self.times.len() * percent / 100;
            self.times.get(at).copied().unwrap_or_default()
        };
        print_stdout(&format_args!(
            "  {:>5.0?}  {:>7.0}/s  p50 {:>8.1?}  p99 {:>8.1?}  longest append {:>8.1?}  \
             longest gap {:>8.1?}  longest fdatasync {fdatasync:>8.1?}  {server}",
            at,
            self.times.len() as f64 / INTERVAL.as_secs_f64(),
            percentile(50),
            percentile(99),
            self.longest,
            self.gap,
        ));
    }
}

/// Background activity of the server.
struct Activity {
    checkpoints: i64,
    vacuums: i64,
    workers: i64,
    wal: f64,
}

impl Activity {
    async fn of(sql: &Client) -> Self {
        let text = "SELECT (current_setting('server_version_num')::int >= 170000)";
        let is_new = sql.query_one(text, &[]).await.expect("a version").get(0);
        let checkpoints = match is_new {
            true => "SELECT num_timed + num_requested FROM pg_stat_checkpointer",
            false => "SELECT checkpoints_timed + checkpoints_req FROM pg_stat_bgwriter",
        };
        let log = Seed::USUAL.log();
        let text = format!(
            "SELECT ({checkpoints})::int8,
                 (SELECT autovacuum_count + autoanalyze_count FROM pg_stat_user_tables
                  WHERE relid = '{log}'::regclass)::int8,
                 (SELECT count(*) FROM pg_stat_activity
                  WHERE backend_type = 'autovacuum worker')::int8,
                 (pg_current_wal_insert_lsn() - '0/0')::float8"
        );
        let row = sql.query_one(&text, &[]).await.expect("the server's activity");
        Self { checkpoints: row.get(0), vacuums: row.get(1), workers: row.get(2), wal: row.get(3) }
    }

    fn since(&self, before: &Self) -> String {
        let mut seen = vec![format!("WAL {:.0} MB", (self.wal - before.wal) / 1e6)];
        if self.checkpoints > before.checkpoints {
            seen.push("checkpoint".to_owned());
        }
        if self.vacuums > before.vacuums {
            seen.push("autovacuum of the log ended".to_owned());
        }
        if self.workers > 0 {
            seen.push("autovacuum running".to_owned());
        }
        seen.join(", ")
    }
}

const CLIENTS: usize = 64;
const INTERVAL: Duration = Duration::from_secs(10);
