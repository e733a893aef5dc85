//! Injects faults into appends, and checks the log. `cargo faults --help` describes its options.

use std::process::ExitCode;

use console::{Stop, error_chain, parse_arguments, print_stderr, print_stdout};
use faults::{Args, Visibility, run};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Args = match parse_arguments() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let plan = args.plan(Stop::on_signals("the run"));
    match run(plan, Visibility::Shown).await {
        Ok(report) => {
            print_stdout(&report);
            report.conclusion(args.expect_unknown).exit_code()
        }
        Err(failure) => {
            print_stderr(&format!("faults: {}", error_chain(&failure)));
            ExitCode::from(2)
        }
    }
}
