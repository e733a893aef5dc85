//! Runs the library under load, measures it, and then proves that its log is right.

mod args;
mod audit;
mod books;
mod catalogue;
mod client;
mod desk;
mod failure;
mod ledger;
mod progress;
mod report;
mod seed;
mod servers;
mod staff;
mod tally;
mod town;
mod visit;
mod workload;

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use console::in_one_line;
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
    let args = match Args::read() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    match run(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {}", in_one_line(&failure));
            ExitCode::from(2)
        }
    }
}

/// Returns whether the audit found nothing.
async fn run(args: &Args) -> Result<bool, Failure> {
    let json = args.json.as_deref().map(create).transpose()?;
    let servers = Servers::open(args).await?;
    let stores = servers.connect().await?;

    let start = stores.writer.head().await.map_err(Failure::Store)?;
    let mut ledger = Ledger::after(start);
    let queries = QueryHandler::new(servers.auditors().await?.primary);
    let town = Seed::new(args, start).fill(&stores.writer, &queries, &mut ledger).await?;

    let clients = Client::crew(args, &stores, town, start);
    let (desks, took) = workload::run(args, clients).await?;
    let mut tally = Tally::default();
    for desk in desks {
        let (measured, told) = desk.close();
        tally.add(measured);
        ledger.add(told);
    }
    let mut report = Report::new(args, took, tally);
    tell(&report)?;

    let audit = audit::audit(&servers.auditors().await?, ledger).await?;
    tell(&audit)?;
    let is_clean = audit.is_clean();
    report.audit = Some(audit);
    if let (Some(file), Some(path)) = (json, &args.json) {
        serde_json::to_writer_pretty(file, &report)
            .map_err(|fault| Failure::Json { path: path.clone(), source: fault.into() })?;
    }
    Ok(is_clean)
}

/// Creates the file before the load runs, rather than failing after it.
fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|source| Failure::Json { path: path.to_owned(), source })
}

fn tell(what: &impl Display) -> Result<(), Failure> {
    write!(std::io::stdout(), "{what}").map_err(Failure::Output)
}
