//! The user that the servers run as.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::Error;

/// The user that PostgreSQL's programs run as: the user of this process, unless that is root.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    replacement: Option<User>,
}

#[derive(Clone, Debug)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
}

impl Identity {
    /// Chooses the user: `postgres` or `nobody` instead of root, as which PostgreSQL refuses to
    /// run.
    pub(crate) fn choose() -> Result<Self, Error> {
        if !is_root() {
            return Ok(Self { replacement: None });
        }
        let passwd = Path::new("/etc/passwd");
        let users = fs::read_to_string(passwd).map_err(Error::io("read", passwd))?;
        let replacement =
            ["postgres", "nobody"].iter().find_map(|name| users.lines().find_map(user(name)));
        match replacement {
            Some(_) => Ok(Self { replacement }),
            None => Err(Error::RootOnly),
        }
    }

    /// Returns the user's name, or "this user" for the user of this process.
    pub(crate) fn name(&self) -> &str {
        self.replacement.as_ref().map_or("this user", |user| &user.name)
    }

    /// Sets a command to run as the user.
    pub(crate) fn apply(&self, command: &mut Command) {
        if let Some(user) = &self.replacement {
            command.uid(user.uid).gid(user.gid);
        }
    }

    /// Changes the owner of a file or folder to the user.
    pub(crate) fn own(&self, path: &Path) -> Result<(), Error> {
        match &self.replacement {
            Some(user) => std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid))
                .map_err(Error::io("change the owner of", path)),
            None => Ok(()),
        }
    }

    /// Returns whether the user can enter the folder and all of its parents.
    pub(crate) fn can_enter(&self, folder: &Path) -> bool {
        let Some(user) = &self.replacement else {
            return true;
        };
        folder.canonicalize().is_ok_and(|folder| folder.ancestors().all(|each| user.enters(each)))
    }
}

impl User {
    fn enters(&self, folder: &Path) -> bool {
        fs::metadata(folder).is_ok_and(|folder| {
            let permission = if folder.uid() == self.uid {
                0o100
            } else if folder.gid() == self.gid {
                0o010
            } else {
                0o001
            };
            folder.mode() & permission != 0
        })
    }
}

/// Returns whether this process runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns the id of the user that this process runs as.
pub(crate) fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Returns a parser of lines of `/etc/passwd` that matches the user of that name.
fn user(name: &str) -> impl Fn(&str) -> Option<User> {
    move |line| {
        let mut fields = line.split(':');
        let found = fields.next().filter(|found| *found == name)?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(User { name: found.to_owned(), uid, gid })
    }
}

#[cfg(test)]
mod tests {
    use super::user;

    #[test]
    fn parses_the_ids_of_a_user() {
        let line = "postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash";

        let found = user("postgres")(line);

        assert_eq!(found.map(|user| (user.uid, user.gid)), Some((101, 104)));
    }

    #[test]
    fn ignores_a_user_of_another_name() {
        assert!(user("nobody")("postgres:x:101:104::/:/bin/sh").is_none());
    }
}
