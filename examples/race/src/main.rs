//! Races writers and readers against one log, then checks the log against their reports.
//!
//! `cargo race --help` describes its options.

mod actors;
mod args;
mod boundary;
mod checker;
mod event;
mod failure;
mod filter;
mod freezer;
mod kind;
mod message;
mod positions;
mod protocol;
mod report;
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
use crate::checker::{Observations, check};
use crate::failure::Failure;
use crate::freezer::Freezer;
use crate::kind::Kind;
use crate::message::{Message, Order};
use crate::report::{OtherErrors, Report};
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
        None => run_race(&args).await,
    };
    ended.unwrap_or_else(|failure| {
        print_stderr(&format!("race: {}", error_chain(&failure)));
        ExitCode::from(2)
    })
}

async fn run_race(args: &Args) -> Result<ExitCode, Failure> {
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
        print_stderr(&format!("race: void: there were no {}", absent.join("; no ")));
    }
    if report.verdict.is_clean() {
        servers.drop_log().await?;
    }
    Ok(report.conclusion(args.expect_wrong).exit_code())
}

/// The data that the main process collects from its workers.
#[derive(Default)]
struct Collected {
    observations: Observations,
    tally: Tally,
    other_errors: OtherErrors,
}

impl Collected {
    fn add(&mut self, worker: usize, message: Message) {
        match message {
            Message::Tally(counts) => self.tally.set(worker, counts),
            Message::Refused { error: Some(error), .. } => self.other_errors.add(error),
            message => self.observations.add(message),
        }
    }
}

async fn race(args: &Args, servers: &Servers) -> Result<Report, Failure> {
    let assignment = assignment(args, servers);
    let mut collected = Collected::default();
    let mut workers = Workers::start(&assignment).await?;
    workers.wait_for(Stage::Ready, |worker, message| collected.add(worker, message)).await?;

    workers.order(Order::Go).await?;
    let start = Instant::now();
    wait_for_writers(args, servers, &mut workers, &mut collected).await?;
    workers.order(Order::Stop).await?;
    workers.wait_for(Stage::Idle, |worker, message| collected.add(worker, message)).await?;
    let elapsed = start.elapsed();

    let table = args.protocol.table();
    let client = sql::connect(&servers.addresses.primary).await?;
    let head = sql::head(&client, table).await.map_err(Failure::sql("read the log's head"))?;
    workers.order(Order::Finish { head }).await?;
    workers.wait_for(Stage::Ended, |worker, message| collected.add(worker, message)).await?;

    let log = sql::read_log(&client, table).await?;
    let Collected { observations, tally, other_errors } = collected;
    Ok(Report {
        verdict: check(&log, &observations),
        tally,
        elapsed,
        events: log.len(),
        servers: servers.addresses.servers(),
        kinds: kinds(args, servers),
        other_errors,
        seed: assignment.seed,
    })
}

/// Returns the kinds of operation that the race must include.
fn kinds(args: &Args, servers: &Servers) -> Vec<Kind> {
    Kind::expected(args.protocol, &servers.addresses.servers(), args.processes)
}

/// Lets the writers run for the given time, and longer if some kind of operation has not occurred
/// yet.
async fn wait_for_writers(
    args: &Args,
    servers: &Servers,
    workers: &mut Workers,
    collected: &mut Collected,
) -> Result<(), Failure> {
    let stop = Stop::on_signals("the race");
    let kinds = kinds(args, servers);
    let (start, shortest) = (Instant::now(), Duration::from_secs(args.seconds));
    let longest = shortest.max(Duration::from_secs(args.at_most));
    let mut freezer = Freezer::new(args.processes);
    let mut progress = Progress::toward("race", shortest.as_millis() as u64);
    while !stop.is_set() {
        let elapsed = start.elapsed();
        let is_complete = elapsed >= shortest && collected.tally.absent(&kinds).is_empty();
        if is_complete || elapsed >= longest {
            break;
        }
        if let Some((worker, message)) = workers.next(Instant::now() + POLL_INTERVAL).await? {
            collected.add(worker, message);
        }
        freezer.tick(workers);
        collected.tally.set(args.processes, vec![(Kind::Frozen, freezer.count())]);
        progress.show(elapsed.as_millis() as u64, &collected.tally.to_string());
    }
    freezer.thaw(workers);
    drop(progress);
    // The work is done: from now on the first signal ends the program.
    stop.set();
    print_stderr("race: the writers end; checking the log");
    Ok(())
}

/// Returns the parameters for the workers; each worker gets a number of its own.
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

/// The longest wait for a message before the main process checks the time.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
