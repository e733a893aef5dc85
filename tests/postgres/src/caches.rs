//! Folders that a user has prepared with PostgreSQL's programs, without a package manager.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::identity::{is_root, user_id};

/// The user and the environment variables that determine the folders.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caches {
    user: u32,
    is_root: bool,
    /// The values of `XDG_CACHE_HOME` and `HOME`.
    cache: Option<OsString>,
    home: Option<OsString>,
}

impl Caches {
    /// Returns the user and the environment of this process.
    pub(crate) fn of_this_process() -> Self {
        Self {
            user: user_id(),
            is_root: is_root(),
            cache: env::var_os("XDG_CACHE_HOME"),
            home: env::var_os("HOME"),
        }
    }

    /// Lists the folders to search, best first.
    pub(crate) fn prepared(&self) -> Vec<PathBuf> {
        let own = self.without_home();
        let own = Some(own).filter(|folder| self.owns(folder));
        self.caches().map(|cache| cache.join(SUBFOLDER)).chain(own).collect()
    }

    /// Returns the folder that the user should prepare, quoted for a shell.
    pub(crate) fn to_prepare(&self) -> String {
        // The user cannot type a path that is not UTF-8.
        let mut folders = self.caches().map(|cache| cache.join(SUBFOLDER));
        let typed = folders.find_map(|folder| Some(quoted(folder.to_str()?)));
        typed.unwrap_or_else(|| quoted(&self.without_home().to_string_lossy()))
    }

    /// Lists the cache directories. An empty or relative variable counts as unset, as the
    /// specification of `XDG_CACHE_HOME` says.
    fn caches(&self) -> impl Iterator<Item = PathBuf> {
        let absolute = |name: &Option<OsString>| {
            name.clone().map(PathBuf::from).filter(|folder| folder.is_absolute())
        };
        let system = self.is_root.then(|| PathBuf::from("/var/cache"));
        let home = absolute(&self.home).map(|home| home.join(".cache"));
        system.into_iter().chain(absolute(&self.cache).or(home))
    }

    /// Returns the folder for a user without a home directory.
    fn without_home(&self) -> PathBuf {
        PathBuf::from(format!("/var/tmp/eddyline-{}", self.user)).join(SUBFOLDER)
    }

    /// Returns whether a folder belongs to the user. Any user can create one in `/var/tmp`, and
    /// programs of other users must not be run.
    fn owns(&self, folder: &Path) -> bool {
        let parents = folder.ancestors().take_while(|each| *each != Path::new("/var/tmp"));
        parents.into_iter().all(|each| fs::metadata(each).is_ok_and(|it| it.uid() == self.user))
    }
}

/// Quotes a word for a POSIX shell, if it needs to be.
fn quoted(word: &str) -> String {
    let is_plain = |each: char| each.is_ascii_alphanumeric() || "/._-".contains(each);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

const SUBFOLDER: &str = "eddyline/postgresql";

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;
    use std::process::Command;

    use super::*;

    fn caches(cache: Option<&str>, home: Option<&str>) -> Caches {
        let [cache, home] = [cache, home].map(|value| value.map(OsString::from));
        // No folder of this user exists.
        Caches { user: u32::MAX, is_root: false, cache, home }
    }

    #[test]
    fn empty_and_relative_folders_count_as_unset() {
        for unset in [None, Some(""), Some("cache")] {
            let prepared = caches(unset, Some("/home/ada")).to_prepare();

            assert_eq!(prepared, "/home/ada/.cache/eddyline/postgresql");
        }
    }

    #[test]
    fn a_user_without_a_home_prepares_a_folder_of_their_own() {
        for home in [None, Some(""), Some("home/ada")] {
            let prepared = caches(None, home).to_prepare();

            assert_eq!(prepared, "/var/tmp/eddyline-4294967295/eddyline/postgresql");
        }
    }

    #[test]
    fn a_home_that_is_not_utf_8_is_not_suggested() {
        let home = OsString::from_vec(b"/home/ad\xe9".to_vec());
        let caches = Caches { home: Some(home), ..caches(None, None) };

        assert_eq!(caches.to_prepare(), "/var/tmp/eddyline-4294967295/eddyline/postgresql");
        assert_eq!(caches.prepared().len(), 1);
    }

    #[test]
    fn a_shell_reads_the_folder_as_one_word() -> std::io::Result<()> {
        for home in ["/home/ada", "/home/Ada Lovelace", "/home/ada's; $HOME `id`"] {
            let word = caches(None, Some(home)).to_prepare();

            let echoed = Command::new("sh").arg("-c").arg(format!("printf %s {word}")).output()?;

            let expected = format!("{home}/.cache/eddyline/postgresql");
            assert_eq!(String::from_utf8_lossy(&echoed.stdout), expected);
        }
        Ok(())
    }
}
