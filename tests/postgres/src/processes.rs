//! The processes of this machine, as `/proc` lists them.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal};

use crate::Error;

/// Sends a signal to all children of a process, and returns them.
pub(crate) fn signal_children(parent: Pid, signal: Signal) -> Result<Vec<Pid>, Error> {
    let children: Vec<_> = children(parent)?.into_iter().map(|(id, _)| id).collect();
    for &id in &children {
        // An error means that the process has ended.
        let _ = rustix::process::kill_process(id, signal);
    }
    Ok(children)
}

/// Returns the CPU time of a process and of all of its children, including ended ones.
pub(crate) fn cpu_time(parent: Pid) -> Result<Duration, Error> {
    let mut ticks = stat(parent)?.map_or(0, |stat| stat.ticks + stat.ticks_of_ended_children);
    for (_, child) in children(parent)? {
        ticks += child.ticks + child.ticks_of_ended_children;
    }
    Ok(Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64))
}

fn children(parent: Pid) -> Result<Vec<(Pid, Stat)>, Error> {
    let folder = Path::new(PROCESSES);
    let entries = fs::read_dir(folder).map_err(Error::io("list the processes in", folder))?;
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut children = Vec::new();
    for id in ids.filter_map(Pid::from_raw) {
        let stat = stat(id)?.filter(|stat| stat.parent == parent.as_raw_pid());
        children.extend(stat.map(|stat| (id, stat)));
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
    /// The CPU time in clock ticks.
    ticks: u64,
    ticks_of_ended_children: u64,
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
    // The time in user mode and in the kernel.
    let mut sum = |skipped| -> Option<u64> {
        let user: u64 = fields.nth(skipped)?.parse().ok()?;
        Some(user + fields.next()?.parse::<u64>().ok()?)
    };
    Some(Stat { state, parent, ticks: sum(9)?, ticks_of_ended_children: sum(0)? })
}

const PROCESSES: &str = "/proc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_may_contain_parentheses_and_spaces() {
        let stat = parse("42 (a) b (c) T 7 42 42 0 -1 4 90 0 0 0 11 22 300 400 20 0 1").unwrap();

        assert_eq!((stat.state.as_str(), stat.parent), ("T", 7));
        assert_eq!((stat.ticks, stat.ticks_of_ended_children), (33, 700));
    }
}
