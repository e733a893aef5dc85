//! Races writers and readers against one log, and judges what became of it.
//!
//! `cargo race --help` says what it can be told.

mod actors;
mod args;
mod boundary;
mod checker;
mod event;
mod fact;
mod failure;
mod filter;
mod freezer;
mod kind;
mod protocol;
mod report;
mod seen;
mod servers;
mod sql;
mod tally;
mod worker;
mod workers;

use std::process::ExitCode;
use std::time::Duration;

use console::{
    OutcomeFile, Progress, Stop, error_chain, parse_arguments, print_stderr, print_stdout,
};
use rand::RngExt;
use tokio::time::Instant;

use crate::actors::Assignment;
use crate::args::{Args, Command};
use crate::checker::{Testimony, judge};
use crate::fact::{Fact, Order};
use crate::failure::Failure;
use crate::freezer::Freezer;
use crate::kind::Kind;
use crate::report::{Conclusion, Report, Trouble};
use crate::servers::Servers;
use crate::tally::Tally;
use crate::workers::{Stage, Workers};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Args = match parse_arguments() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let ended = match args.command {
        Some(Command::Worker) => worker::run().await.map(|()| ExitCode::SUCCESS),
        None => hold(&args).await,
    };
    ended.unwrap_or_else(|failure| {
        print_stderr(&format!("race: {}", error_chain(&failure)));
        ExitCode::from(2)
    })
}

async fn hold(args: &Args) -> Result<ExitCode, Failure> {
    let json = args.json.as_deref().map(OutcomeFile::at).transpose();
    let json = json.map_err(Failure::io("write the outcome"))?;
    let servers = Servers::prepare(args).await?;
    let report = race(args, &servers).await?;
    print_stdout(&report);
    if let Some(file) = json {
        let text = format!("{:#}\n", report.to_json());
        file.write(text.as_bytes()).map_err(Failure::io("write the outcome"))?;
    }
    let absent = report.absent();
    if !absent.is_empty() {
        let absent: Vec<_> = absent.iter().map(ToString::to_string).collect();
        print_stderr(&format!("race: void, there were no {}", absent.join("; no ")));
    }
    if report.verdict.is_clean() {
        servers.drop_log().await?;
    }
    Ok(match report.conclusion(args.expect_wrong) {
        Conclusion::Passed => ExitCode::SUCCESS,
        Conclusion::Failed => ExitCode::from(1),
        Conclusion::Void => ExitCode::from(3),
    })
}

/// What the main process takes down while others race.
#[derive(Default)]
struct Notes {
    testimony: Testimony,
    tally: Tally,
    trouble: Trouble,
}

impl Notes {
    fn take(&mut self, worker: usize, fact: Fact) {
        match fact {
            Fact::Tally(counts) => self.tally.set(worker, counts),
            Fact::Refused { fault: Some(fault), .. } => self.trouble.add(fault),
            fact => self.testimony.add(fact),
        }
    }
}

async fn race(args: &Args, servers: &Servers) -> Result<Report, Failure> {
    let assignment = assignment(args, servers);
    let mut notes = Notes::default();
    let mut workers = Workers::start(&assignment).await?;
    workers.wait_for(Stage::Ready, |worker, fact| notes.take(worker, fact)).await?;

    workers.order(Order::Go).await?;
    let start = Instant::now();
    write(args, servers, &mut workers, &mut notes).await?;
    workers.order(Order::Stop).await?;
    workers.wait_for(Stage::Idle, |worker, fact| notes.take(worker, fact)).await?;
    let length = start.elapsed();

    let table = args.protocol.table();
    let client = sql::connect(&servers.addresses.primary).await?;
    let head = sql::head(&client, table).await.map_err(Failure::sql("read the log's end"))?;
    workers.order(Order::Finish { head }).await?;
    workers.wait_for(Stage::Ended, |worker, fact| notes.take(worker, fact)).await?;

    let log = sql::read_log(&client, table).await?;
    let Notes { testimony, tally, trouble } = notes;
    Ok(Report {
        verdict: judge(&log, &testimony),
        tally,
        length,
        events: log.len(),
        servers: servers.addresses.servers(),
        kinds: kinds(args, servers),
        trouble,
        seed: assignment.seed,
    })
}

/// Lists the kinds of work that belong to the race.
fn kinds(args: &Args, servers: &Servers) -> Vec<Kind> {
    Kind::expected(args.protocol, &servers.addresses.servers(), args.processes)
}

/// Lets the writers write for as long as was asked for, and on until every kind of work has occurred.
async fn write(
    args: &Args,
    servers: &Servers,
    workers: &mut Workers,
    notes: &mut Notes,
) -> Result<(), Failure> {
    let stop = Stop::on_signals("the race");
    let kinds = kinds(args, servers);
    let (start, length) = (Instant::now(), Duration::from_secs(args.seconds));
    let longest = length.max(Duration::from_secs(args.at_most));
    let mut freezer = Freezer::new(args.processes);
    let mut progress = Progress::toward("race", length.as_millis() as u64);
    while !stop.is_set() {
        let elapsed = start.elapsed();
        let is_complete = elapsed >= length && notes.tally.absent(&kinds).is_empty();
        if is_complete || elapsed >= longest {
            break;
        }
        if let Some((worker, fact)) = workers.next(Instant::now() + PULSE).await? {
            notes.take(worker, fact);
        }
        freezer.turn(workers);
        notes.tally.set(args.processes, vec![(Kind::Frozen, freezer.count())]);
        progress.show(elapsed.as_millis() as u64, &notes.tally.to_string());
    }
    freezer.thaw(workers);
    drop(progress);
    // The work is over: from now on the first signal ends the program.
    stop.set();
    print_stderr("race: the writers end, and the log is judged");
    Ok(())
}

/// Says what all workers have to know; each gets a number of its own.
fn assignment(args: &Args, servers: &Servers) -> Assignment {
    Assignment {
        worker: 0,
        processes: args.processes,
        writers: args.writers,
        boundaries: args.boundaries,
        seed: args.seed.unwrap_or_else(|| rand::rng().random()),
        protocol: args.protocol,
        addresses: servers.addresses.clone(),
    }
}

/// How long the main process waits for a fact before it looks at the time.
const PULSE: Duration = Duration::from_millis(250);
