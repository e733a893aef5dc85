//! Printing that never ends the work.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use crate::in_one_line;

/// Prints a line to standard error. If that fails, for example because the reader has closed the pipe,
/// the line is dropped.
pub fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints a part of the outcome to standard output, and ends its last line.
///
/// A reader that has closed the pipe, as `head` does, does not want the rest. Any other failure, for
/// example a full disk, is reported on standard error.
pub fn print(outcome: &impl Display) {
    let mut text = outcome.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => tell(&format!("cannot print the outcome: {}", in_one_line(&error))),
        Ok(()) => {}
    }
}
