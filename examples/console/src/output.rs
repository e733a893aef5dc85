//! Output that never fails.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use crate::error_chain;

/// Prints a line to standard error. If that fails, for example because the pipe is closed, the line
/// is dropped.
pub fn print_stderr(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints a part of the outcome to standard output, and a line break if it does not end with one.
///
/// A closed pipe is ignored: a reader such as `head` does not need the rest. Any other error, for
/// example a full disk, is reported on standard error.
pub fn print_stdout(outcome: &impl Display) {
    let mut text = outcome.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => print_stderr(&format!("cannot print the outcome: {}", error_chain(&error))),
        Ok(()) => {}
    }
}
