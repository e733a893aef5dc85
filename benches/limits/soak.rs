//! Many clients for a long time: the longest that nobody got through, and what the server and the disk
//! did meanwhile. It runs only where it is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use console::print_stdout;
use tokio_postgres::Client;

use crate::Bench;
use crate::clients::{On, Writer};
use crate::cluster::{connect, set};
use crate::disk::Disk;
use crate::rounds::number;
use crate::seed::Seed;

pub async fn run(bench: &mut Bench) {
    let time = Duration::from_secs(number("EDDYLINE_BENCH_SOAK_SECONDS", 600));
    if !bench.asks_for(&["soak/"])
        || !bench.begins(&["soak/"], &format!("soak: {CLIENTS} clients for {time:?}"))
    {
        return;
    }
    Seed::USUAL.prepare(&bench.url).await;
    let sql = connect(&bench.url).await;
    // As servers are set that nobody has set.
    set(&sql, "checkpoint_timeout", Some("5min")).await;
    let writer = Writer::open(Seed::USUAL.config(&bench.url)).await;

    let whole = appends(&sql, &writer, time).await;

    set(&sql, "checkpoint_timeout", None).await;
    bench.table.report("soak/64/longest-gap-ms", whole.gap.as_secs_f64() * 1e3);
    bench.table.report("soak/64/longest-append-ms", whole.longest.as_secs_f64() * 1e3);
}

/// Lets all clients append; prints what each stretch of time has shown, and returns the worst.
async fn appends(sql: &Client, writer: &Arc<Writer>, time: Duration) -> Stretch {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let is_over = Arc::new(AtomicBool::new(false));
    for _ in 0..CLIENTS {
        let (writer, tell, is_over) = (writer.clone(), tell.clone(), is_over.clone());
        tokio::spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                writer.append(On::Ids, 0).await;
                let ended = Instant::now();
                // Nobody listens once it is over.
                let _ = tell.send((ended, ended - begun));
            }
        });
    }
    drop(tell);
    print_stdout(&format_args!("  each line: {STRETCH:?}"));
    let disk = Disk::watch();
    let started = Instant::now();
    let (mut last, mut whole) = (started, Stretch::default());
    let mut server = Activity::of(sql).await;
    while started.elapsed() < time {
        let until = tokio::time::Instant::now() + STRETCH;
        let mut stretch = Stretch::default();
        while let Ok(Some((ended, took))) = tokio::time::timeout_at(until, told.recv()).await {
            stretch.note(ended.saturating_duration_since(last), took);
            last = last.max(ended);
        }
        // A stall that has not ended yet counts too.
        stretch.gap = stretch.gap.max(last.elapsed());
        let now = Activity::of(sql).await;
        stretch.print(started.elapsed(), disk.longest(), &now.since(&server));
        whole.gap = whole.gap.max(stretch.gap);
        whole.longest = whole.longest.max(stretch.longest);
        server = now;
    }
    is_over.store(true, Ordering::Relaxed);
    while told.recv().await.is_some() {}
    whole
}

#[derive(Default)]
struct Stretch {
    times: Vec<Duration>,
    longest: Duration,
    /// The longest time in which no append ended.
    gap: Duration,
}

impl Stretch {
    fn note(&mut self, gap: Duration, took: Duration) {
        self.times.push(took);
        self.longest = self.longest.max(took);
        self.gap = self.gap.max(gap);
    }

    fn print(&mut self, at: Duration, flush: Duration, server: &str) {
        self.times.sort_unstable();
        let at_share = |percent: usize| {
            let at = self.times.len() * percent / 100;
            self.times.get(at).copied().unwrap_or_default()
        };
        print_stdout(&format_args!(
            "  {:>5.0?}  {:>7.0}/s  p50 {:>8.1?}  p99 {:>8.1?}  longest {:>8.1?}  gap {:>8.1?}  \
             flush {flush:>8.1?}  {server}",
            at,
            self.times.len() as f64 / STRETCH.as_secs_f64(),
            at_share(50),
            at_share(99),
            self.longest,
            self.gap,
        ));
    }
}

/// What the server does by itself.
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
            seen.push("autovacuum at work".to_owned());
        }
        seen.join(", ")
    }
}

const CLIENTS: usize = 64;
const STRETCH: Duration = Duration::from_secs(10);
