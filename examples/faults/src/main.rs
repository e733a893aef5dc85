//! Appends under fire; `cargo faults --help` says what it can be told.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;
use console::{in_one_line, tell};
use faults::{Args, Conclusion, Failure, Progress, Report, run};

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match run(args.plan(), Progress::shown()).await {
        Ok(report) => print(&report).map(|()| report.conclusion(args.expect_unknown)),
        Err(failure) => Err(failure),
    };
    match ended {
        Ok(Conclusion::Passed) => ExitCode::SUCCESS,
        Ok(Conclusion::Failed) => ExitCode::from(1),
        Ok(Conclusion::Void) => ExitCode::from(3),
        Err(failure) => {
            tell(&format!("faults: {}", in_one_line(&failure)));
            ExitCode::from(2)
        }
    }
}

fn print(report: &Report) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{report}") {
        // Whoever read the beginning had enough of it.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(Failure::Print),
    }
}
