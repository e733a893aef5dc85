//! Appends under campaigns; `cargo faults --help` says what it can be told.

use std::process::ExitCode;

use console::{Stop, arguments, in_one_line, print, tell};
use faults::{Args, Conclusion, Visibility, run};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Args = match arguments() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let plan = args.plan(Stop::on_signals("the campaigns"));
    let ended = run(plan, Visibility::Shown).await.map(|report| {
        print(&report);
        report.conclusion(args.expect_unknown)
    });
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
