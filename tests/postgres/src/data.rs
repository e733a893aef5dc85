//! The files of a cluster.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Error;
use crate::identity::Identity;
use crate::settings::Settings;
use crate::wait::Deadline;

/// The directory of a cluster, with the data and logs of its servers and its lock files.
#[derive(Clone, Debug)]
pub(crate) struct ClusterDirectory {
    root: PathBuf,
}

impl ClusterDirectory {
    /// Opens a directory, which is created if it is missing.
    pub(crate) fn open(folder: &Path, identity: &Identity) -> Result<Self, Error> {
        if !folder.exists() {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
            identity.own(folder)?;
        }
        let root = folder.canonicalize().map_err(Error::io("open", folder))?;
        if !identity.can_enter(&root) {
            let user = identity.name().to_owned();
            return Err(Error::DirectoryUnreachable { directory: root, user });
        }
        Ok(Self { root })
    }

    /// Chooses a path for a temporary directory, in the first parent that the user can enter.
    pub(crate) fn temporary(identity: &Identity) -> Result<Self, Error> {
        let usual = temporary_folder();
        let parents = [usual.as_path(), Path::new("/tmp"), Path::new("/var/tmp")];
        let parent =
            parents.into_iter().find(|parent| identity.can_enter(parent)).unwrap_or(&usual);
        let parent = parent.canonicalize().map_err(Error::io("open", parent))?;
        Ok(Self { root: parent.join(format!("local-postgres-{:016x}", random())) })
    }

    /// Creates the temporary directory.
    pub(crate) fn create(&self, identity: &Identity) -> Result<(), Error> {
        create_private(&self.root, identity)
    }

    /// Returns the path of the directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the directory of all servers' data. It exists only after all data is complete.
    pub(crate) fn servers(&self) -> PathBuf {
        self.root.join("servers")
    }

    /// Returns the directory in which the servers' data is created.
    pub(crate) fn unfinished(&self) -> PathBuf {
        self.root.join("unfinished")
    }

    /// Returns the path of the log file of a program.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.log"))
    }

    /// Locks the directory for this process. Returns two locks: one for this process, and one that
    /// its supervisor holds as well.
    ///
    /// Fails if another process holds the directory. Waits if a supervisor is still shutting down
    /// the servers of an ended process.
    pub(crate) async fn lock(&self, timeout: Duration) -> Result<(File, File), Error> {
        // A child process inherits the lock until its exec, so the lock may outlive its process
        // briefly, on a busy machine for seconds.
        let owner = self.lock_file("owner.lock", Duration::from_secs(5)).await?;
        let supervisor = self.lock_file("supervisor.lock", timeout).await?;
        Ok((owner, supervisor))
    }

    async fn lock_file(&self, name: &str, timeout: Duration) -> Result<File, Error> {
        let path = self.root.join(name);
        let file = appendable(&path)?;
        let deadline = Deadline::after(timeout);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {
                    let directory = self.root.clone();
                    deadline.pause(|_| Error::DirectoryInUse { directory }).await?;
                }
                Err(TryLockError::Error(source)) => {
                    return Err(Error::Io { action: "lock", path, source });
                }
            }
        }
    }

    /// Counts the standbys of a complete cluster. Returns `None` if there is no complete cluster.
    pub(crate) fn standbys(&self) -> Result<Option<usize>, Error> {
        let servers = self.servers();
        if !servers.exists() {
            return Ok(None);
        }
        let entries = fs::read_dir(&servers).map_err(Error::io("read", &servers))?;
        let standbys =
            entries.flatten().filter(|entry| entry.file_name() != crate::server::PRIMARY).count();
        Ok(Some(standbys))
    }
}

/// Returns the folder for temporary files. An empty `TMPDIR` counts as unset.
pub(crate) fn temporary_folder() -> PathBuf {
    Some(env::temp_dir()).filter(|folder| !folder.as_os_str().is_empty()).unwrap_or("/tmp".into())
}

/// Copies the data of a server. Leaves out what `is_left_out` returns true for.
///
/// A running server may remove files in the meantime. Such files are skipped, as `pg_basebackup`
/// does: the recovery of a backup does not need them.
pub(crate) fn copy(
    from: &Path,
    to: &Path,
    identity: &Identity,
    is_left_out: fn(&Path) -> bool,
) -> Result<(), Error> {
    create_private(to, identity)?;
    for entry in fs::read_dir(from).map_err(Error::io("read", from))? {
        let entry = entry.map_err(Error::io("read", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if is_left_out(&source) {
            continue;
        }
        if entry.file_type().map_err(Error::io("read", &source))?.is_dir() {
            copy(&source, &target, identity, is_left_out)?;
            continue;
        }
        match fs::copy(&source, &target) {
            Ok(_) => identity.own(&target)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("copy", &source)(error)),
        }
    }
    Ok(())
}

/// Writes a file of a server.
pub(crate) fn write(path: &Path, text: &str, identity: &Identity) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io("write", path))?;
    identity.own(path)
}

/// Creates a folder that only the user of the servers can read.
pub(crate) fn create_private(folder: &Path, identity: &Identity) -> Result<(), Error> {
    DirBuilder::new().mode(0o700).create(folder).map_err(Error::io("create", folder))?;
    identity.own(folder)
}

/// Writes the settings of a server.
pub(crate) fn write_configuration(
    data: &Path,
    settings: &Settings,
    identity: &Identity,
) -> Result<(), Error> {
    write(&data.join(CONFIGURATION), &settings.render()?, identity)
}

/// Adds settings to those of a server.
pub(crate) fn extend_configuration(data: &Path, settings: &Settings) -> Result<(), Error> {
    let path = data.join(CONFIGURATION);
    let text = settings.render()?;
    appendable(&path)?.write_all(text.as_bytes()).map_err(Error::io("write", &path))
}

/// Opens a file to append to it.
pub(crate) fn appendable(path: &Path) -> Result<File, Error> {
    OpenOptions::new().create(true).append(true).open(path).map_err(Error::io("open", path))
}

/// Returns the last lines of a log, joined into one line, without its first `before` bytes.
pub(crate) fn tail(log: &Path, before: u64) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let start = usize::try_from(before).unwrap_or(usize::MAX).min(bytes.len());
    let text = String::from_utf8_lossy(&bytes[start..]);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        return format!("nothing in {}", log.display());
    }
    lines[lines.len().saturating_sub(LINES_OF_TAIL)..].join(" | ")
}

/// Returns a random number.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// The file of settings that is rewritten at every start of a cluster.
pub(crate) const CONFIGURATION: &str = "cluster.conf";

const LINES_OF_TAIL: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_excludes_earlier_lines() -> std::io::Result<()> {
        let log = tempfile::NamedTempFile::new()?;
        fs::write(log.path(), "LOG:  old\nFATAL:  new\n\nHINT:  newer\n")?;

        assert_eq!(tail(log.path(), 10), "FATAL:  new | HINT:  newer");
        Ok(())
    }

    #[test]
    fn the_tail_of_a_missing_log_names_its_path() {
        assert_eq!(tail(Path::new("/nowhere/primary.log"), 0), "nothing in /nowhere/primary.log");
    }
}
