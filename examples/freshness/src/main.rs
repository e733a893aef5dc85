//! Disturbs replicas while a store reads them, and checks the answers.
//!
//! `cargo freshness --help` describes its options.

mod answer;
mod args;
mod audit;
mod checker;
mod checks;
mod disturbances;
mod entry;
mod failure;
mod read;
mod readers;
mod record;
mod report;
mod run;
mod session;
mod sql;
mod stores;
mod tally;
mod testbed;
mod writers;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use console::{Progress, Stop, error_chain, parse_arguments, print_stderr, print_stdout};
use futures_util::future::join_all;
use rand::RngExt;

use crate::answer::Ask;
use crate::args::Args;
use crate::failure::Failure;
use crate::report::Report;
use crate::run::Run;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Args = match parse_arguments() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    match test(&args).await {
        Ok(report) => {
            print_stdout(&report);
            let absent = report.tally.absent();
            if args.sabotage.is_none() && !absent.is_empty() {
                print_stderr(&format!("freshness: there were no {}", absent.join("; no ")));
            }
            report.conclusion(args.sabotage).exit_code()
        }
        Err(failure) => {
            print_stderr(&format!("freshness: {}", error_chain(&failure)));
            ExitCode::from(2)
        }
    }
}

/// Runs writers, readers and disturbances, and checks all answers.
async fn test(args: &Args) -> Result<Report, Failure> {
    let seed = args.seed.unwrap_or_else(|| rand::rng().random());
    let run = Run::prepare(args, seed, Stop::on_signals("the run")).await?;
    let writers = (1..args.writers).map(|number| writers::append_by_store(&run, number));
    let readers = (0..args.readers).map(|number| {
        let ask = Ask::ALL[usize::from(number) % Ask::ALL.len()];
        readers::run(&run, ask, number)
    });
    let disturbances = async {
        let disturbed = disturbances::run(&run, args).await;
        run.end();
        disturbed
    };
    let (_, (), _, disturbed, checked) = tokio::join!(
        join_all(writers),
        writers::append_by_sql(&run, 0),
        join_all(readers),
        disturbances,
        check_all(&run, args),
    );
    disturbed.and(checked)?;
    run.into_report().await
}

/// Checks what is recorded until the run is over, and shows the progress.
async fn check_all(run: &Run, args: &Args) -> Result<(), Failure> {
    let (started, length) = (Instant::now(), Duration::from_secs(args.seconds));
    let mut progress = Progress::toward("freshness", length.as_millis() as u64);
    while !run.is_over() {
        tokio::time::sleep(PROGRESS_INTERVAL).await;
        let text = run.record.tally(ToString::to_string);
        progress.show(started.elapsed().as_millis() as u64, &text);
        // During a failover the log is not known.
        if let Ok(mut checks) = run.checks.try_lock() {
            checks.advance(run).await?;
        }
    }
    Ok(())
}

const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
