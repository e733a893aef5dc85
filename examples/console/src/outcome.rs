//! The outcome in a file.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// A file that takes the outcome of a program, and keeps what it had until then.
///
/// The outcome is written to a file beside it, which then takes its place: readers find the old outcome
/// or the new one, never a part. A path that is no regular file, such as `/dev/stdout`, is written to
/// directly.
#[derive(Debug)]
pub struct OutcomeFile {
    /// The file, behind all links.
    path: PathBuf,
    is_special: bool,
}

impl OutcomeFile {
    /// Checks that an outcome can be written here, and changes nothing.
    ///
    /// # Errors
    ///
    /// What writing would fail with.
    pub fn at(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize().or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(path.to_owned()),
            _ => Err(error),
        })?;
        let is_special = match fs::metadata(&path) {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) => !found.is_file(),
            Err(_) => false,
        };
        let file = Self { path, is_special };
        if is_special {
            OpenOptions::new().append(true).open(&file.path)?;
        } else {
            // It is removed again at once.
            file.beside()?;
        }
        Ok(file)
    }

    /// Puts an outcome in the place of the one that is there.
    ///
    /// # Errors
    ///
    /// Those of the file system; the old outcome is then still there.
    pub fn write(&self, outcome: &[u8]) -> io::Result<()> {
        if self.is_special {
            return OpenOptions::new().append(true).open(&self.path)?.write_all(outcome);
        }
        let mut beside = self.beside()?;
        beside.write_all(outcome)?;
        beside.as_file().sync_all()?;
        beside.persist(&self.path)?;
        Ok(())
    }

    /// Makes the file beside it, with the permissions that the outcome is to have.
    fn beside(&self) -> io::Result<NamedTempFile> {
        let kept = fs::metadata(&self.path).ok().map(|found| found.permissions());
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let new = Permissions::from_mode(0o666);
        let beside = Builder::new().prefix(".outcome-").permissions(new).tempfile_in(folder)?;
        if let Some(permissions) = kept {
            beside.as_file().set_permissions(permissions)?;
        }
        Ok(beside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn keeps_the_old_outcome_until_there_is_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outcome.json");
        fs::write(&path, "old").unwrap();

        let file = OutcomeFile::at(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        file.write(b"new").unwrap();

        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(entries(folder.path()), 1);
    }

    #[test]
    fn makes_no_file_before_there_is_an_outcome() {
        let folder = tempfile::tempdir().unwrap();

        OutcomeFile::at(&folder.path().join("outcome.json")).unwrap();

        assert_eq!(entries(folder.path()), 0);
    }

    #[test]
    fn keeps_permissions_and_links() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("outcome.json"), folder.path().join("latest"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();

        OutcomeFile::at(&link).unwrap().write(b"new").unwrap();

        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn writes_to_a_device_without_replacing_it() {
        let null = Path::new("/dev/null");

        OutcomeFile::at(null).unwrap().write(b"new").unwrap();

        assert!(!fs::metadata(null).unwrap().is_file());
    }

    #[test]
    fn refuses_a_folder_and_a_place_that_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("missing/outcome.json")] {
            assert!(OutcomeFile::at(&path).is_err(), "{path:?}");
        }
    }
}
