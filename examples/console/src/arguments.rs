//! Command line arguments.

use std::env;
use std::ffi::OsStr;
use std::process::ExitCode;

use clap::builder::{OsStr as Name, Resettable};
use clap::{Command, Parser};

use crate::print_stderr;

/// Parses the command line arguments and the environment variables that replace them.
///
/// An empty variable counts as unset.
///
/// # Errors
///
/// The exit code for the program: 0 after `--help` or `--version`, 2 if an argument is invalid. An
/// invalid argument is reported on standard error, in one line.
pub fn parse_arguments<A: Parser>() -> Result<A, ExitCode> {
    let parsed = without_empty_variables(A::command())
        .try_get_matches()
        .and_then(|matches| A::from_arg_matches(&matches));
    parsed.map_err(|error| {
        if error.use_stderr() {
            print_stderr(&first_paragraph(&error.to_string()));
            return ExitCode::from(2);
        }
        // If the reader has closed the pipe, the rest of the text is not needed.
        let _ = error.print();
        ExitCode::SUCCESS
    })
}

/// Removes the environment variable of each argument if the variable is set but empty.
fn without_empty_variables(command: Command) -> Command {
    let is_empty = |name: &OsStr| env::var_os(name).is_some_and(|value| value.is_empty());
    command.mut_args(|argument| match argument.get_env() {
        Some(name) if is_empty(name) => argument.env(Resettable::<Name>::Reset),
        _ => argument,
    })
}

/// Returns the first paragraph of a text as one line.
fn first_paragraph(text: &str) -> String {
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_paragraph_becomes_one_line() {
        let text = "error: these were not given:\n  --replica <URL>\n\nUsage: load";

        assert_eq!(first_paragraph(text), "error: these were not given: --replica <URL>");
    }
}
