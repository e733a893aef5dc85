//! Reports of loads that did not take place, with values that a real load could have.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use jiff::Timestamp;
use load::audit::Audit;
use load::engine::{Limit, LimitRound, LimitStep};
use load::faults::Mark;
use load::observer::{Batches, Observations, Sample, ServerObservation};
use load::plan::Group;
use load::report::{Asked, Machine, Report, Settings, Shares};
use load::tally::{Distribution, Latencies, OperationFigures, Outcomes, Snapshot, Window};

/// Returns the report of an open loop with two replicas and faults.
pub fn report() -> Report {
    let windows: Vec<Window> = (0..WINDOWS).map(window).collect();
    Report {
        version: Report::VERSION,
        started_at: Timestamp::UNIX_EPOCH,
        machine: Machine {
            system: "Debian GNU/Linux 12 (bookworm)".to_owned(),
            processor: "AMD EPYC 7763".to_owned(),
            processors: 2,
            memory_gib: 7.8,
        },
        settings: settings(),
        asked: asked(),
        load: snapshot(windows),
        servers: observations(),
        faults: faults(),
        limit: Some(limit()),
        cpu_per_operation_us: Some(212.4),
        audit: Some(Audit { events: 412_345, replicas: 2, ..Audit::default() }),
    }
}

/// Returns the report of a closed loop with a primary only, no faults and no audit.
pub fn quiet_report() -> Report {
    let mut report = report();
    report.settings.model = "closed".to_owned();
    report.settings.rates = Vec::new();
    report.servers =
        Observations { not_observed: vec!["no permission".to_owned()], ..Default::default() };
    report.load.reads_by_server = BTreeMap::from([("primary".to_owned(), 4_211)]);
    for window in &mut report.load.windows {
        window.reads_by_server = BTreeMap::from([("primary".to_owned(), 20)]);
    }
    report.faults = Vec::new();
    report.limit = None;
    report.cpu_per_operation_us = None;
    report.audit = None;
    report.load.errors = BTreeMap::new();
    report
}

/// Returns whether the primary is away in a window.
fn is_down(at: u64) -> bool {
    (60..63).contains(&at)
}

fn rate(at: u64) -> f64 {
    let part = at as f64 / WINDOWS as f64;
    120.0 - 70.0 * (TAU * part).cos() + 25.0 * (2.0 * TAU * part).sin()
}

/// Returns a number from 0 to 1 that looks random.
fn noise(seed: u64) -> f64 {
    let mixed = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

fn window(at: u64) -> Window {
    let due = rate(at).round() as u64;
    let queries = due / 4;
    let commands = if is_down(at) { 0 } else { due - queries };
    let rejected = commands * 7 / 100;
    let idempotent = commands * 5 / 100;
    let command_outcomes = Outcomes {
        success: commands - rejected - idempotent,
        idempotent,
        rejected,
        conflict: 0,
        error: if is_down(at) { 3 } else { 0 },
    };
    let outcomes = Outcomes { success: command_outcomes.success + queries, ..command_outcomes };
    let slow = if at == 63 { 300.0 } else { 1.0 + noise(at) * 0.4 };
    let split = queries / 2;
    Window {
        start: at as f64,
        seconds: 1.0,
        due,
        ended: commands + queries + command_outcomes.error,
        late: if at == 63 { 41 } else { 0 },
        pending: if is_down(at) { (at - 59) * 90 } else { 4 },
        outcomes,
        command_outcomes,
        latency: distribution(commands, 3.2 * slow, false),
        service: distribution(commands, 2.9 * slow.min(3.0), false),
        query_latency: distribution(queries, 1.6, false),
        events_read: if is_down(at) { 0 } else { at * 40 },
        lost_rounds: if is_down(at) { 0 } else { (noise(at + 7) * 5.0) as u64 },
        retries: if is_down(at) || at == 63 { 17 } else { 0 },
        reads_by_server: BTreeMap::from([
            ("primary".to_owned(), 1),
            ("replica-0".to_owned(), split),
            ("replica-1".to_owned(), queries - split - 1),
        ]),
    }
}

/// Returns a distribution whose median is `p50`.
fn distribution(count: u64, p50: f64, has_curve: bool) -> Distribution {
    if count == 0 {
        return Distribution::default();
    }
    let time = |share: f64| p50 * (0.3 - (1.0 - share).ln());
    let shares = (0..60).map(|at| 1.0 - 10_f64.powf(-4.0 * f64::from(at) / 59.0));
    Distribution {
        count,
        mean: p50 * 1.2,
        p50,
        p95: time(0.95),
        p99: time(0.99),
        p999: time(0.999),
        max: time(0.9999),
        curve: if has_curve { shares.map(|one| (one, time(one))).collect() } else { Vec::new() },
    }
}

fn latencies(count: u64, p50: f64) -> Latencies {
    Latencies {
        latency: distribution(count, p50, true),
        service: distribution(count, p50 * 0.85, true),
    }
}

fn operations() -> BTreeMap<String, OperationFigures> {
    let operation = |(name, group, count, p50): (&str, Group, u64, f64)| {
        let (idempotent, rejected) = match group {
            Group::Queries => (0, 0),
            _ => (count * 5 / 100, count * 7 / 100),
        };
        let error = if count > 5_000 { 9 } else { 0 };
        let success = count - idempotent - rejected - error;
        let outcomes = Outcomes { success, idempotent, rejected, conflict: 0, error };
        (name.to_owned(), OperationFigures { group, outcomes, latencies: latencies(count, p50) })
    };
    OPERATIONS.into_iter().map(operation).collect()
}

fn snapshot(windows: Vec<Window>) -> Snapshot {
    let operations = operations();
    let sum = |value: fn(&Window) -> u64| windows.iter().map(value).sum::<u64>();
    let mut reads_by_server = BTreeMap::new();
    for (server, count) in windows.iter().flat_map(|window| &window.reads_by_server) {
        *reads_by_server.entry(server.clone()).or_default() += count;
    }
    Snapshot {
        seconds: WINDOWS as f64,
        due: sum(|window| window.due),
        begun: sum(|window| window.due) - 2,
        ended: sum(|window| window.ended),
        late: sum(|window| window.late),
        impossible: 12,
        operations,
        commands: latencies(10_660, 3.3),
        queries: latencies(3_566, 1.6),
        events_read: sum(|window| window.events_read),
        lost_rounds: sum(|window| window.lost_rounds),
        commands_with_lost_rounds: 197,
        retries: sum(|window| window.retries),
        escalations: 3,
        reads_by_server,
        errors: BTreeMap::from([
            ("no connection to the primary within 5s".to_owned(), 9),
            ("</script><b>text of a server\u{2028}".to_owned(), 9),
        ]),
        windows,
    }
}

fn settings() -> Settings {
    let options = [("clients", "16"), ("duration", "2m"), ("html", "load.html"), ("rate", "120")];
    Settings {
        eddyline: "0.1.0".to_owned(),
        model: "open".to_owned(),
        shape: "day".to_owned(),
        clients: 16,
        plan: "5b1d0f9c2a4e7781".to_owned(),
        seed: 42,
        rates: (0..WINDOWS).map(rate).collect(),
        is_embedded: true,
        options: options.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    }
}

fn asked() -> Asked {
    Asked {
        lending: 0.70,
        circulation: 0.25,
        readers: 0.05,
        queries: 0.25,
        outcomes: Shares { success: 0.88, idempotent: 0.05, rejected: 0.07 },
        lost_rounds: 0.02,
    }
}

fn faults() -> Vec<Mark> {
    let mark = |text: &str, at, until| Mark { text: text.to_owned(), at, until, error: None };
    vec![
        mark("pause replica-1", 30.1, Some(40.2)),
        mark("kill primary", 60.1, Some(63.0)),
        mark("restart replica-0", 90.0, None),
    ]
}

fn limit() -> Limit {
    let steps = |shift: f64| -> Vec<LimitStep> {
        let step = |at: u64| {
            let asked = 400.0 * 1.2_f64.powi(i32::try_from(at).unwrap());
            let p99_ms = 8.0 + shift + (asked / 1_150.0).powi(6) * 40.0;
            LimitStep { asked, achieved: asked.min(1_400.0), p99_ms, is_kept: p99_ms <= 50.0 }
        };
        (0..8).map(step).collect()
    };
    let round = |shift| {
        let steps = steps(shift);
        let kept = steps.iter().filter(|step| step.is_kept).map(|step| step.achieved + shift);
        LimitRound { highest_rate: kept.reduce(f64::max), steps }
    };
    Limit { goal_ms: 50.0, window_seconds: 5.0, rounds: [0.0, 3.1, 1.2].map(round).into() }
}

fn observations() -> Observations {
    let server = |name: &str, reads, lag: f64| ServerObservation {
        name: name.to_owned(),
        version: "15.18 (Debian 15.18-0+deb12u1)".to_owned(),
        reads: Some(reads),
        query_reads: Some(if name == "primary" { 124 } else { reads }),
        cpu_seconds: Some(reads as f64 / 1_000.0),
        samples: (0..WINDOWS).map(|at| sample(name, at, lag)).collect(),
        ..ServerObservation::default()
    };
    Observations {
        servers: vec![
            server("primary", 12_310, 0.0),
            server("replica-0", 1_790, 1.4),
            server("replica-1", 1_702, 1.8),
        ],
        batches: Some(Batches {
            transactions: 6_460,
            events: 9_880,
            sizes: BTreeMap::from([(1, 4_400), (2, 1_300), (3, 500), (4, 180), (5, 60), (9, 20)]),
        }),
        not_observed: Vec::new(),
    }
}

fn sample(server: &str, at: u64, lag: f64) -> Sample {
    let is_up = server != "primary" || !is_down(at);
    let behind =
        if server == "replica-1" && (30..40).contains(&at) { (at - 29) * 1_000 } else { 0 };
    let own = if noise(at + 97) < 0.3 { 0.0 } else { lag * (0.5 + noise(at + 31)) };
    let lag_ms = own + behind as f64;
    let busy = (rate(at) / 40.0 + noise(at + 53)) as u64;
    let waits = match server {
        "primary" => {
            vec![("IO:WALSync", busy), ("LWLock:WALWrite", busy / 2), ("Lock:advisory", 1)]
        }
        _ => vec![("IO:DataFileRead", busy / 3)],
    };
    Sample {
        at: at as f64 + 0.5,
        lag_ms: (server != "primary").then_some(lag_ms),
        reads_per_second: is_up.then(|| rate(at) / if server == "primary" { 1.3 } else { 8.0 }),
        waits: match is_up {
            true => waits.into_iter().map(|(wait, count)| (wait.to_owned(), count)).collect(),
            false => BTreeMap::new(),
        },
        is_up,
    }
}

const WINDOWS: u64 = 120;

const OPERATIONS: [(&str, Group, u64, f64); 13] = [
    ("AddBookCopy", Group::Circulation, 1_400, 2.4),
    ("RemoveBookCopy", Group::Circulation, 1_250, 2.6),
    ("RegisterReader", Group::Readers, 300, 2.1),
    ("CancelReaderContract", Group::Readers, 240, 2.7),
    ("LendBookCopyToReader", Group::Lending, 3_900, 3.9),
    ("ReturnBookCopyFromReader", Group::Lending, 3_570, 3.4),
    ("BooksInCirculation", Group::Queries, 60, 48.0),
    ("BooksLentByReader", Group::Queries, 3_180, 1.4),
    ("BooksLentOut", Group::Queries, 70, 12.0),
    ("CanceledReaders", Group::Queries, 60, 3.0),
    ("FinishedLendings", Group::Queries, 66, 9.0),
    ("RegisteredReaders", Group::Queries, 70, 11.0),
    ("RemovedBooks", Group::Queries, 60, 4.0),
];
