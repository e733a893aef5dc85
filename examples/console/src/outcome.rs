//! A file for the outcome of a program.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// A file for the outcome of a program, which is replaced atomically.
///
/// The outcome is written to a temporary file in the same folder, which is then renamed: readers
/// see the old outcome or the new one, never a part. If the path exists and is not a regular file,
/// such as `/dev/stdout`, the outcome is written to it directly.
#[derive(Debug)]
pub struct OutcomeFile {
    /// The path of the file, with all links resolved.
    path: PathBuf,
    is_special: bool,
}

impl OutcomeFile {
    /// Checks that an outcome can be written to this path. Does not change the file.
    ///
    /// # Errors
    ///
    /// The error with which a write would fail.
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
            // The temporary file is removed when it is dropped, here at once.
            file.create_temporary()?;
        }
        Ok(file)
    }

    /// Replaces the outcome in the file.
    ///
    /// # Errors
    ///
    /// Errors of the file system. The file then still holds the old outcome.
    pub fn write(&self, outcome: &[u8]) -> io::Result<()> {
        if self.is_special {
            return OpenOptions::new().append(true).open(&self.path)?.write_all(outcome);
        }
        let mut temporary = self.create_temporary()?;
        temporary.write_all(outcome)?;
        temporary.as_file().sync_all()?;
        temporary.persist(&self.path)?;
        Ok(())
    }

    /// Creates a temporary file in the same folder, with the permissions of the file it replaces.
    fn create_temporary(&self) -> io::Result<NamedTempFile> {
        let old = fs::metadata(&self.path).ok().map(|found| found.permissions());
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let new = Permissions::from_mode(0o666);
        let temporary = Builder::new().prefix(".outcome-").permissions(new).tempfile_in(folder)?;
        if let Some(permissions) = old {
            temporary.as_file().set_permissions(permissions)?;
        }
        Ok(temporary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn keeps_the_old_outcome_until_a_new_one_is_written() {
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
    fn creates_no_file_before_an_outcome_is_written() {
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
    fn refuses_a_folder_and_a_path_in_a_missing_folder() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("missing/outcome.json")] {
            assert!(OutcomeFile::at(&path).is_err(), "{path:?}");
        }
    }
}
