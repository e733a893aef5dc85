//! Races writers and readers against one log, and judges what became of it.
//!
//! `cargo race --help` says what it can be told.

mod actors;
mod args;
mod boundary;
mod checker;
mod crew;
mod event;
mod fact;
mod failure;
mod filter;
mod progress;
mod protocol;
mod report;
mod seen;
mod servers;
mod sql;
mod tally;
mod worker;

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use console::{in_one_line, tell};
use rand::RngExt;
use tokio::time::Instant;

use crate::actors::Assignment;
use crate::args::{Args, Command};
use crate::checker::{Testimony, judge};
use crate::crew::{Crew, Stage};
use crate::fact::{Fact, Order};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::{Conclusion, Report, Trouble};
use crate::servers::Servers;
use crate::tally::Tally;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match args.command {
        Some(Command::Worker) => worker::run().await.map(|()| ExitCode::SUCCESS),
        None => hold(&args).await,
    };
    ended.unwrap_or_else(|failure| {
        tell(&format!("race: {}", in_one_line(&failure)));
        ExitCode::from(2)
    })
}

async fn hold(args: &Args) -> Result<ExitCode, Failure> {
    // Before the race: it would be a pity to lose the outcome of a long one.
    let json = args.json.as_ref().map(File::create).transpose();
    let json = json.map_err(Failure::io("write the outcome"))?;
    let servers = Servers::prepare(args).await?;
    let report = race(args, &servers).await?;
    print(&report)?;
    if let Some(mut file) = json {
        writeln!(file, "{:#}", report.to_json()).map_err(Failure::io("write the outcome"))?;
    }
    let absent = report.absent();
    if !absent.is_empty() {
        let absent: Vec<_> = absent.iter().map(ToString::to_string).collect();
        tell(&format!("race: void, there were no {}", absent.join("; no ")));
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

fn print(report: &Report) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{report}") {
        // Whoever read the beginning had enough of it.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(Failure::io("print the outcome")),
    }
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
    let mut crew = Crew::start(&assignment).await?;
    crew.wait_for(Stage::Ready, |worker, fact| notes.take(worker, fact)).await?;

    crew.order(Order::Go).await?;
    let (start, length) = (Instant::now(), Duration::from_secs(args.seconds));
    let mut progress = Progress::start(length);
    while let Some((worker, fact)) = crew.next(start + length).await? {
        notes.take(worker, fact);
        progress.show(start.elapsed(), &notes.tally);
    }
    progress.end();
    crew.order(Order::Stop).await?;
    crew.wait_for(Stage::Idle, |worker, fact| notes.take(worker, fact)).await?;
    let length = start.elapsed();

    let table = args.protocol.table();
    let client = sql::connect(&servers.addresses.primary).await?;
    let head = sql::head(&client, table).await.map_err(Failure::sql("read the log's end"))?;
    crew.order(Order::Finish { head }).await?;
    crew.wait_for(Stage::Ended, |worker, fact| notes.take(worker, fact)).await?;

    let log = sql::read_log(&client, table).await?;
    let Notes { testimony, tally, trouble } = notes;
    Ok(Report {
        verdict: judge(&log, &testimony),
        tally,
        length,
        events: log.len(),
        protocol: args.protocol,
        servers: servers.addresses.servers(),
        trouble,
        seed: assignment.seed,
    })
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
