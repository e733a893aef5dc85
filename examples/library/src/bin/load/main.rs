//! The load generator: runs concurrent clients of the library, measures their operations, and
//! audits the log.
//!
//! A run has four steps: connect to the [`servers`] or start them, append the missing books and
//! readers ([`seed`]), run the clients ([`workload`]), and [`mod@audit`] the log. Each [`client`]
//! records the replies to its commands. The audit compares the log with these replies and with the
//! rules of the library.

mod args;
mod audit;
mod catalogue;
mod client;
mod error;
mod generate;
mod metrics;
mod population;
mod reader_ops;
mod replies;
mod report;
mod seed;
mod servers;
mod session;
mod staff_ops;
mod workload;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use console::{OutcomeFile, error_chain, parse_arguments, print_stderr, print_stdout};
use library::queries::QueryHandler;

use crate::args::Args;
use crate::client::Client;
use crate::error::LoadError;
use crate::metrics::Metrics;
use crate::replies::Replies;
use crate::report::Report;
use crate::seed::Seed;
use crate::servers::Servers;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Args = match parse_arguments() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    match run(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            print_stderr(&format!("error: {}", error_chain(&error)));
            ExitCode::from(2)
        }
    }
}

/// Runs the load and the audit. Returns whether the audit has no findings.
async fn run(args: &Args) -> Result<bool, LoadError> {
    let file = ReportFile::check(args)?;
    let servers = Servers::open(args).await?;
    let (mut report, replies) = load(args, &servers).await?;
    print_stdout(&report);
    // This file remains if the program is killed during the audit. Its error is ignored: the audit
    // runs in any case, and the second write reports an error that persists.
    let _ = file.write(&report);

    let audited = audit(&servers, replies, &mut report).await;
    let written = file.write(&report);
    if let (Err(_), Err(error)) = (&audited, &written) {
        print_stderr(&format!("error: {}", error_chain(error)));
    }
    let is_clean = audited?;
    written?;
    Ok(is_clean)
}

/// Audits the log, prints the findings and adds them to the report. Returns whether there are none.
async fn audit(
    servers: &Servers,
    replies: Replies,
    report: &mut Report,
) -> Result<bool, LoadError> {
    let audit = audit::audit(&servers.connect_for_audit().await?, replies).await?;
    print_stdout(&audit);
    let is_clean = audit.is_clean();
    report.audit = Some(audit);
    Ok(is_clean)
}

/// Runs the load. It drops its stores before it returns: the audit needs connections, and the
/// servers may not have enough for both.
async fn load(args: &Args, servers: &Servers) -> Result<(Report, Replies), LoadError> {
    let stores = servers.connect().await?;
    let start = stores.writer.head().await.map_err(LoadError::Store)?;
    let mut replies = Replies::after(start);
    let queries = QueryHandler::new(servers.connect_for_audit().await?.primary);
    let population = Seed::new(args, start).fill(&stores.writer, &queries, &mut replies).await?;
    drop(queries);

    let clients = Client::create_all(args, &stores, population, start);
    let cpu_before = servers.primary_cpu_time();
    let (sessions, took) = workload::run(args, clients).await?;
    let primary_cpu = servers.primary_cpu_time().zip(cpu_before).map(|(now, then)| now - then);
    let mut metrics = Metrics::default();
    for session in sessions {
        let (client_metrics, client_replies) = session.into_parts();
        metrics.merge(client_metrics);
        replies.merge(client_replies);
    }
    Ok((Report::new(args, took, metrics, primary_cpu), replies))
}

/// The file for the report, if the arguments name one.
struct ReportFile<'a>(Option<(OutcomeFile, &'a Path)>);

impl<'a> ReportFile<'a> {
    /// Checks before the load that the file can be written after it.
    fn check(args: &'a Args) -> Result<Self, LoadError> {
        let Some(path) = args.json.as_deref() else { return Ok(Self(None)) };
        let file = OutcomeFile::at(path).map_err(|source| LoadError::json(path, source))?;
        Ok(Self(Some((file, path))))
    }

    fn write(&self, report: &Report) -> Result<(), LoadError> {
        let Some((file, path)) = &self.0 else { return Ok(()) };
        let text = serde_json::to_vec_pretty(report).map_err(io::Error::from);
        let written = text.and_then(|text| file.write(&text));
        written.map_err(|source| LoadError::json(path, source))
    }
}
