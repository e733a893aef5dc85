//! A server's log file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use crate::{Error, Server};

/// The part of a server's log that was written after a certain moment.
#[derive(Debug)]
pub struct ServerLog {
    path: PathBuf,
    start: u64,
}

impl ServerLog {
    /// Returns the part that a server writes from now on.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn from_now(server: &Server) -> Result<Self, Error> {
        let path = server.log().to_owned();
        let found = path.metadata().map_err(Error::io("read", &path))?;
        Ok(Self { path, start: found.len() })
    }

    /// Returns the complete lines, and begins this part after them.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn take_lines(&mut self) -> Result<String, Error> {
        let mut text = self.read()?;
        text.truncate(text.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1));
        self.start += text.len() as u64;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Counts the lines that contain one of the texts.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn count(&self, texts: &[&str]) -> Result<u64, Error> {
        let written = self.read()?;
        let written = String::from_utf8_lossy(&written);
        let lines = written.lines().filter(|line| texts.iter().any(|text| line.contains(text)));
        Ok(lines.count() as u64)
    }

    fn read(&self) -> Result<Vec<u8>, Error> {
        let read = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.start))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(Error::io("read", &self.path))
    }
}
