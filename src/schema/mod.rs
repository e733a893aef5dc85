//! The schema of a log: how it is created, brought up to date, repaired and checked.

mod check;
mod differences;
mod migration;

pub(crate) use self::check::check;
use crate::error::MIGRATE;
use crate::log_name::{LogName, check_identifier};
use crate::pool::Pool;
use crate::{Config, Error, Role, sql};

/// The schema of a log: creates it, brings it to the version that this crate works with, and repairs
/// it.
///
/// Any number of processes may do so at once: one does the work, the others find it done. Versions
/// only go up.
///
/// ```no_run
/// # async fn example() -> Result<(), eddyline::Error> {
/// use eddyline::{Config, Schema};
///
/// let config = Config::new("postgres://owner@primary/library")?;
/// Schema::new(&config).writer_role("library_writer").reader_role("library_reader").migrate().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Schema {
    config: Config,
    writer_role: Option<String>,
    reader_role: Option<String>,
}

impl Schema {
    /// Names the log and, as [`Config::new`] does, its primary.
    pub fn new(config: &Config) -> Self {
        Self { config: config.clone(), writer_role: None, reader_role: None }
    }

    /// Sets a role that may read and append, and is made where there is none. Defaults to none:
    /// the tables' owner may.
    pub fn writer_role(self, role: impl Into<String>) -> Self {
        Self { writer_role: Some(role.into()), ..self }
    }

    /// Sets a role that may read, and is made where there is none. Defaults to none.
    pub fn reader_role(self, role: impl Into<String>) -> Self {
        Self { reader_role: Some(role.into()), ..self }
    }

    /// Creates the log or brings it to the newest version, repairs it, and gives the roles their rights.
    ///
    /// It looks at each object of the log: the table with its columns and constraints, the indexes, the
    /// functions and triggers, the sequence, and the row of the version. It creates what is missing,
    /// replaces what differs, and sets a sequence that lies behind the log's head to that head. So it is
    /// the remedy of [`Error::SchemaDamaged`], of [`Error::SchemaMissing`] and, for an older log, of
    /// [`Error::SchemaVersion`].
    ///
    /// A log consists of its table: if the table was dropped, the log is created anew, empty, and its
    /// first event gets the number 1. A table that was renamed together with the setting
    /// [`Config::log`], or whose schema was, keeps its events.
    ///
    /// If there is something to do for a log that is there, it locks the table until it is done: appends
    /// and reads wait. If there is nothing to do, it only reads.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if a name is wrong, [`Error::SchemaVersion`] if the log is of a newer
    /// version than this crate knows, [`Error::SchemaDamaged`] if it is damaged in a way that only its
    /// owner can repair (a column is missing or of another type), [`Error::Unreachable`] and
    /// [`Error::UnsuitableServer`] if the primary cannot be used, [`Error::Database`] if the role may not
    /// create tables or is not the log's owner.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has changed everything or nothing.
    pub async fn migrate(self) -> Result<(), Error> {
        let log = self.config.check()?;
        let mut grants = Vec::new();
        for (setting, role, appends) in
            [("writer_role", &self.writer_role, true), ("reader_role", &self.reader_role, false)]
        {
            if let Some(role) = role {
                grants.push(sql::grants(&log, check_identifier(setting, role)?, appends));
            }
        }

        let pools = Pool::for_store(&self.config, &log, Role::Primary)?;
        let primary = pools.first().expect("a configuration names a server");
        let mut session = primary.connect().await?;
        migration::migrate(&mut session, &log, &grants).await
    }
}

fn unknown(log: &LogName, found: i32) -> Error {
    let remedy = if found < sql::VERSION {
        MIGRATE
    } else {
        "use the eddyline that the log was migrated with, or a newer one"
    };
    Error::SchemaVersion { log: log.to_string(), found, supported: sql::VERSION, remedy }
}
