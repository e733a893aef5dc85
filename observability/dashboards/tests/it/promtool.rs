//! `promtool`, which comes with Prometheus.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Runs `promtool`, and returns what it prints if it is not content.
pub fn promtool<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Result<(), String> {
    let output = Command::new("promtool").args(arguments).output().unwrap_or_else(|error| {
        panic!("promtool: {error}. It comes with Prometheus: on Debian, apt-get install prometheus")
    });
    if output.status.success() {
        return Ok(());
    }
    let printed = [output.stdout, output.stderr].concat();
    Err(String::from_utf8_lossy(&printed).into_owned())
}

/// Writes a file for `promtool`, and returns its path.
pub fn written(name: &str, content: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path
}
