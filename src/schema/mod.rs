//! The schema of a log: creation, upgrade, repair and check.

mod check;
mod differences;
mod migration;
mod script;

pub(crate) use self::check::check;
use crate::error::MIGRATE;
use crate::log_name::{LogName, check_identifier};
use crate::pool::Pool;
use crate::{Config, Error, sql};

/// The schema of a log: the database objects that a log consists of.
///
/// [`migrate`](Self::migrate) creates the objects, upgrades them to the version of this crate, and
/// repairs them. Any number of processes may migrate at once: one does the work, and the others
/// find it done. There are no downgrades. If migrations are run by other tools, [`sql`](Self::sql)
/// returns the statements that create a log.
///
/// ```no_run
/// # async fn example() -> Result<(), eddyline::Error> {
/// use eddyline::{Config, Schema};
///
/// let config = Config::new("postgres://owner@primary/library")?;
/// let schema = Schema::new(&config).writer_role("library_writer").reader_role("library_reader");
/// schema.migrate().await?;
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
    /// Creates a schema for the log of a configuration, whose address is that of the primary.
    ///
    /// ```
    /// use eddyline::{Config, Schema};
    ///
    /// let config = Config::new("postgres://owner@primary/library")?.schema("branch").log("loans");
    /// let schema = Schema::new(&config);
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn new(config: &Config) -> Self {
        Self { config: config.clone(), writer_role: None, reader_role: None }
    }

    /// Sets a role that gets the rights to read and append. The role is created if it does not
    /// exist. Defaults to none: then only the owner of the tables has these rights.
    pub fn writer_role(self, role: impl Into<String>) -> Self {
        Self { writer_role: Some(role.into()), ..self }
    }

    /// Sets a role that gets the right to read. The role is created if it does not exist. Defaults
    /// to none.
    pub fn reader_role(self, role: impl Into<String>) -> Self {
        Self { reader_role: Some(role.into()), ..self }
    }

    /// Creates the log, or upgrades it to the version of this crate; repairs it; and gives the
    /// roles their rights.
    ///
    /// It compares each object of the log: the table with its columns and constraints, the indexes,
    /// the functions and triggers, the sequence, and the row of the version. It creates missing
    /// objects, replaces different ones, and sets a sequence that is behind the log's head to that
    /// head. So it is the remedy for [`Error::SchemaDamaged`], for [`Error::SchemaMissing`] and,
    /// for an older log, for [`Error::SchemaVersion`].
    ///
    /// The events are in the log's table alone: if the table was dropped, the new log is empty, and
    /// its first event gets the position 1. A table keeps its events if it was renamed together
    /// with the setting [`Config::log`], or if its schema was renamed.
    ///
    /// If there are changes to make to an existing log, the table is locked until they are made:
    /// appends and reads wait. Otherwise it only reads.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if a name is invalid, [`Error::SchemaVersion`] if the log has a
    /// newer version than this crate knows, [`Error::SchemaDamaged`] if only the log's owner can
    /// repair it (a column is missing or has another type), [`Error::Unreachable`] and
    /// [`Error::UnsuitableServer`] if the primary cannot be used, [`Error::Database`] if the role
    /// may not create tables or is not the log's owner.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, either all changes were made or none. The columns that the table
    /// `eddyline_schema` of an older version lacks may have been added: that version goes on
    /// working.
    pub async fn migrate(self) -> Result<(), Error> {
        let log = self.config.check()?;
        let grants = self.grants(&log)?;
        let primary = Pool::of_primary(&self.config, &log, None)?;
        let mut session = primary.connect().await?;
        migration::migrate(&mut session, &log, &grants).await
    }

    /// Returns the SQL text that creates the log at the version of this crate, and gives the roles
    /// their rights.
    ///
    /// The text is for database administrators and migration tools. It begins and commits its own
    /// transaction, so run it outside of another one: `psql -v ON_ERROR_STOP=1 -f log.sql`. It
    /// needs the same rights as [`migrate`](Self::migrate), and the role that runs it owns the log.
    /// A store accepts the log as if `migrate` had created it.
    ///
    /// It only creates. It does not upgrade a log of an older version, and repairs nothing: if the
    /// log exists, it fails and changes nothing. It does not give rights to further roles later.
    /// Use `migrate` for all of this.
    ///
    /// This method does not connect to a server.
    ///
    /// ```
    /// use eddyline::{Config, Schema};
    ///
    /// let config = Config::new("postgres://owner@primary/library")?;
    /// let text = Schema::new(&config).writer_role("library_writer").sql()?;
    /// assert!(text.contains("CREATE TABLE"));
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if a name is invalid.
    pub fn sql(&self) -> Result<String, Error> {
        let log = self.config.check()?;
        Ok(script::script(&log, &self.grants(&log)?))
    }

    /// Renders the rights of the roles.
    fn grants(&self, log: &LogName) -> Result<Vec<String>, Error> {
        let mut grants = Vec::new();
        for (setting, role, appends) in
            [("writer_role", &self.writer_role, true), ("reader_role", &self.reader_role, false)]
        {
            if let Some(role) = role {
                grants.push(sql::grants(log, check_identifier(setting, role)?, appends));
            }
        }
        Ok(grants)
    }
}

/// Returns the error for a log of another version.
fn unknown_version(log: &LogName, found: i32) -> Error {
    let remedy = if found < sql::VERSION {
        MIGRATE
    } else {
        "use the eddyline that the log was migrated with, or a newer one"
    };
    Error::SchemaVersion { log: log.to_string(), found, supported: sql::VERSION, remedy }
}
