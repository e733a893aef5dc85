//! The files of a cluster.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Error;
use crate::identity::Identity;
use crate::settings::Settings;
use crate::wait::Deadline;

/// The folder of one cluster: the servers' data, their logs, and a lock.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    root: PathBuf,
}

impl Home {
    /// Opens a folder, which is made when it is missing.
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

    /// Thinks of a temporary folder, in the first place the user can enter.
    pub(crate) fn temporary(identity: &Identity) -> Result<Self, Error> {
        let usual = temporary_folder();
        let places = [usual.as_path(), Path::new("/tmp"), Path::new("/var/tmp")];
        let place = places.into_iter().find(|place| identity.can_enter(place)).unwrap_or(&usual);
        let place = place.canonicalize().map_err(Error::io("open", place))?;
        Ok(Self { root: place.join(format!("local-postgres-{:016x}", random())) })
    }

    /// Makes the temporary folder.
    pub(crate) fn create(&self, identity: &Identity) -> Result<(), Error> {
        create_private(&self.root, identity)
    }

    /// Returns the folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the folder of all servers' data; it exists once all of it is complete.
    pub(crate) fn servers(&self) -> PathBuf {
        self.root.join("servers")
    }

    /// Returns the folder in which servers' data is being made.
    pub(crate) fn unfinished(&self) -> PathBuf {
        self.root.join("unfinished")
    }

    /// Returns the file that takes what a program writes.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.log"))
    }

    /// Takes the folder for this process and returns two locks: one for this process, and one for
    /// its supervisor to hold as well.
    ///
    /// A folder of a living process is refused; one whose supervisor still shuts down the servers
    /// is waited for.
    pub(crate) async fn lock(&self, patience: Duration) -> Result<(File, File), Error> {
        // The lock of a process outlives it by the moment another of its children takes to start.
        let owner = self.lock_file("owner.lock", Duration::from_secs(1)).await?;
        let supervisor = self.lock_file("supervisor.lock", patience).await?;
        Ok((owner, supervisor))
    }

    async fn lock_file(&self, name: &str, patience: Duration) -> Result<File, Error> {
        let path = self.root.join(name);
        let file = appendable(&path)?;
        let deadline = Deadline::after(patience);
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

    /// Counts the standbys of a complete cluster, or returns nothing when there is none.
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

/// Returns the folder for temporary files; an empty `TMPDIR` counts as unset.
pub(crate) fn temporary_folder() -> PathBuf {
    Some(env::temp_dir()).filter(|folder| !folder.as_os_str().is_empty()).unwrap_or("/tmp".into())
}

/// Copies the data of a server that is not running.
pub(crate) fn copy(from: &Path, to: &Path, identity: &Identity) -> Result<(), Error> {
    create_private(to, identity)?;
    for entry in fs::read_dir(from).map_err(Error::io("read", from))? {
        let entry = entry.map_err(Error::io("read", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(Error::io("read", &source))?.is_dir() {
            copy(&source, &target, identity)?;
        } else {
            fs::copy(&source, &target).map_err(Error::io("copy", &source))?;
            identity.own(&target)?;
        }
    }
    Ok(())
}

/// Makes a folder that only the servers' user can look into.
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
    let path = data.join(CONFIGURATION);
    fs::write(&path, settings.render()?).map_err(Error::io("write", &path))?;
    identity.own(&path)
}

/// Opens a file to write at its end.
pub(crate) fn appendable(path: &Path) -> Result<File, Error> {
    OpenOptions::new().create(true).append(true).open(path).map_err(Error::io("open", path))
}

/// Returns the last lines of a log, in one line, leaving out what was there `before`.
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

/// Returns a number that differs from process to process and from call to call.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// The file of settings that is written anew at every start of a cluster.
pub(crate) const CONFIGURATION: &str = "cluster.conf";

const LINES_OF_TAIL: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_leaves_out_what_was_there_before() -> std::io::Result<()> {
        let log = tempfile::NamedTempFile::new()?;
        fs::write(log.path(), "LOG:  old\nFATAL:  new\n\nHINT:  newer\n")?;

        assert_eq!(tail(log.path(), 10), "FATAL:  new | HINT:  newer");
        Ok(())
    }

    #[test]
    fn the_tail_of_nothing_names_the_log() {
        assert_eq!(tail(Path::new("/nowhere/primary.log"), 0), "nothing in /nowhere/primary.log");
    }
}
