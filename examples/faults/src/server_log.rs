//! The server's log file.

use std::fs;
use std::path::PathBuf;

use crate::Failure;

/// The part of a server's log file that was written after a certain moment.
pub struct ServerLog {
    path: PathBuf,
    start: usize,
}

impl ServerLog {
    pub fn from_now(path: impl Into<PathBuf>) -> Result<Self, Failure> {
        let mut log = Self { path: path.into(), start: 0 };
        log.start = log.read()?.len();
        Ok(log)
    }

    /// Counts the lines that contain one of the texts.
    pub fn count(&self, texts: &[&str]) -> Result<u64, Failure> {
        let log = self.read()?;
        let written = String::from_utf8_lossy(log.get(self.start..).unwrap_or_default());
        let lines = written.lines().filter(|line| texts.iter().any(|text| line.contains(text)));
        Ok(lines.count() as u64)
    }

    fn read(&self) -> Result<Vec<u8>, Failure> {
        let failed = |source| Failure::Io { action: "read the server's log", source };
        fs::read(&self.path).map_err(failed)
    }
}
