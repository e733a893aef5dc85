//! Runs the library under load, measures it, and then proves that its log is right.

mod args;
mod audit;
mod books;
mod catalogue;
mod client;
mod failure;
mod ledger;
mod population;
mod reader_ops;
mod report;
mod seed;
mod servers;
mod session;
mod staff_ops;
mod tally;
mod workload;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use console::{OutcomeFile, arguments, in_one_line, print, tell};
use library::queries::QueryHandler;

use crate::args::Args;
use crate::client::Client;
use crate::failure::Failure;
use crate::ledger::Ledger;
use crate::report::Report;
use crate::seed::Seed;
use crate::servers::Servers;
use crate::tally::Tally;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Args = match arguments() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    match run(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            tell(&format!("error: {}", in_one_line(&failure)));
            ExitCode::from(2)
        }
    }
}

/// Returns whether the audit found nothing.
async fn run(args: &Args) -> Result<bool, Failure> {
    let file = Saved::at(args)?;
    let servers = Servers::open(args).await?;
    let (mut report, ledger) = load(args, &servers).await?;
    print(&report);
    // Stays if the program is killed while it audits. The last save tells whether the file can be
    // written: the audit is made in any case.
    let _ = file.save(&report);

    let audited = audit(&servers, ledger, &mut report).await;
    let saved = file.save(&report);
    if let (Err(_), Err(unsaved)) = (&audited, &saved) {
        tell(&format!("error: {}", in_one_line(unsaved)));
    }
    let is_clean = audited?;
    saved?;
    Ok(is_clean)
}

/// Audits the log, prints what was found and adds it to the report. Returns whether nothing was
/// found.
async fn audit(servers: &Servers, ledger: Ledger, report: &mut Report) -> Result<bool, Failure> {
    let audit = audit::audit(&servers.auditors().await?, ledger).await?;
    print(&audit);
    let is_clean = audit.is_clean();
    report.audit = Some(audit);
    Ok(is_clean)
}

/// Runs the load. Its stores are dropped when it returns: the audit needs connections, which the
/// servers may not have beside those of the load.
async fn load(args: &Args, servers: &Servers) -> Result<(Report, Ledger), Failure> {
    let stores = servers.connect().await?;
    let start = stores.writer.head().await.map_err(Failure::Store)?;
    let mut ledger = Ledger::after(start);
    let queries = QueryHandler::new(servers.auditors().await?.primary);
    let population = Seed::new(args, start).fill(&stores.writer, &queries, &mut ledger).await?;
    drop(queries);

    let clients = Client::crew(args, &stores, population, start);
    let (desks, took) = workload::run(args, clients).await?;
    let mut tally = Tally::default();
    for session in desks {
        let (measured, told) = session.close();
        tally.add(measured);
        ledger.add(told);
    }
    Ok((Report::new(args, took, tally), ledger))
}

/// The file of the report, if one was asked for.
struct Saved<'a>(Option<(OutcomeFile, &'a Path)>);

impl<'a> Saved<'a> {
    /// Checks before the load that the file can be written after it.
    fn at(args: &'a Args) -> Result<Self, Failure> {
        let Some(path) = args.json.as_deref() else { return Ok(Self(None)) };
        let file = OutcomeFile::at(path).map_err(|source| Failure::json(path, source))?;
        Ok(Self(Some((file, path))))
    }

    fn save(&self, report: &Report) -> Result<(), Failure> {
        let Some((file, path)) = &self.0 else { return Ok(()) };
        let text = serde_json::to_vec_pretty(report).map_err(io::Error::from);
        let saved = text.and_then(|text| file.write(&text));
        saved.map_err(|source| Failure::json(path, source))
    }
}
