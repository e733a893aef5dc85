//! Holds the metrics of eddyline against independent measurements. `cargo truth -- --help`
//! describes its options.

use std::process::ExitCode;

use console::{error_chain, parse_arguments, print_stderr, print_stdout};
use truth::args::Args;
use truth::run::run;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Args = match parse_arguments() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    match run(&args).await {
        Ok(report) => {
            print_stdout(&report);
            match report.holds(args.exact) {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
        Err(failure) => {
            print_stderr(&format!("truth: {}", error_chain(&failure)));
            ExitCode::from(2)
        }
    }
}
