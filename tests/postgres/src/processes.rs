//! The processes of this machine, as `/proc` lists them.

use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::Error;

/// Sends a signal to all children of a process, and returns them.
pub(crate) fn signal_children(parent: Pid, signal: Signal) -> Result<Vec<Pid>, Error> {
    let folder = Path::new(PROCESSES);
    let entries = fs::read_dir(folder).map_err(Error::io("list the processes in", folder))?;
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut children = Vec::new();
    for id in ids.filter_map(Pid::from_raw) {
        if stat(id)?.is_some_and(|stat| stat.parent == parent.as_raw_pid()) {
            // An error means that the process has ended.
            let _ = rustix::process::kill_process(id, signal);
            children.push(id);
        }
    }
    Ok(children)
}

/// Returns whether a process is stopped by a signal, or has ended.
pub(crate) fn is_stopped(id: Pid) -> Result<bool, Error> {
    Ok(stat(id)?.is_none_or(|stat| ["T", "X", "Z"].contains(&stat.state.as_str())))
}

struct Stat {
    state: String,
    parent: i32,
}

/// Reads the state of a process. Returns `None` if it has ended.
fn stat(id: Pid) -> Result<Option<Stat>, Error> {
    let path = Path::new(PROCESSES).join(id.to_string()).join("stat");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // The process ended while its file was read.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => return Ok(None),
        Err(error) => return Err(Error::io("read", &path)(error)),
    };
    Ok(parse(&text))
}

/// Parses the file `stat` of a process. The name of the program, in parentheses, may contain any
/// character.
fn parse(text: &str) -> Option<Stat> {
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let (state, parent) = (fields.next()?.to_owned(), fields.next()?.parse().ok()?);
    Some(Stat { state, parent })
}

const PROCESSES: &str = "/proc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_may_contain_parentheses_and_spaces() {
        let stat = parse("42 (a) b (c) T 7 42 42 0").unwrap();

        assert_eq!((stat.state.as_str(), stat.parent), ("T", 7));
    }
}
