//! Reading the command line.

use std::env;
use std::ffi::OsStr;
use std::process::ExitCode;

use clap::builder::{OsStr as Name, Resettable};
use clap::{Command, Parser};

use crate::tell;

/// Reads the command line and the environment variables that stand for arguments.
///
/// An empty variable counts as unset.
///
/// # Errors
///
/// The exit code to end with: 0 after `--help` and `--version`, 2 for bad arguments, which are reported
/// in one line.
pub fn arguments<A: Parser>() -> Result<A, ExitCode> {
    let parsed = without_empty_variables(A::command())
        .try_get_matches()
        .and_then(|matches| A::from_arg_matches(&matches));
    parsed.map_err(|error| {
        if error.use_stderr() {
            tell(&first_paragraph(&error.to_string()));
            return ExitCode::from(2);
        }
        // A reader that has closed the pipe does not want the rest.
        let _ = error.print();
        ExitCode::SUCCESS
    })
}

/// Takes the environment variable from every argument whose variable is set and empty.
fn without_empty_variables(command: Command) -> Command {
    let is_empty = |name: &OsStr| env::var_os(name).is_some_and(|value| value.is_empty());
    command.mut_args(|argument| match argument.get_env() {
        Some(name) if is_empty(name) => argument.env(Resettable::<Name>::Reset),
        _ => argument,
    })
}

fn first_paragraph(text: &str) -> String {
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_paragraph_in_one_line() {
        let text = "error: these were not given:\n  --replica <URL>\n\nUsage: load";

        assert_eq!(first_paragraph(text), "error: these were not given: --replica <URL>");
    }
}
