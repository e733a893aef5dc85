use postgres_types::Type;

use crate::log::{LogName, check_identifier};
use crate::pool::{Pool, Session};
use crate::{Config, Error, Place, Role, sql};

/// Creates a log's tables, or brings them to the version that this crate works with.
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

    /// Brings the log to the newest version and gives the roles their rights.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] where a name is wrong, [`Error::SchemaVersion`] where the log is of
    /// a newer version than this crate knows, [`Error::Unreachable`] and [`Error::UnfitServer`]
    /// where the primary cannot be used, [`Error::Database`] where the role may not create tables.
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
        let server = primary.server();
        let failed = |error| server.error(error, server.at(Place::Read));
        let mut session = primary.connect().await?;
        // Dropped, the connection closes, and with it the transaction.
        let settings = session.local_settings();
        let transaction = session.client_mut().transaction().await.map_err(failed)?;
        if let Some(settings) = settings {
            transaction.batch_execute(&settings).await.map_err(failed)?;
        }
        transaction.batch_execute(&sql::prepare(&log)).await.map_err(failed)?;
        let found = transaction
            .query_typed_opt(&sql::versions(&log), &[(&log.log(), Type::TEXT)])
            .await
            .map_err(failed)?
            .map_or(0, |row| row.get(0));
        if found > sql::VERSION {
            return Err(unknown(&log, found));
        }
        if let Some(migration) = sql::migration(&log, found) {
            transaction.batch_execute(&migration).await.map_err(failed)?;
        }
        for grant in &grants {
            transaction.batch_execute(grant).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }
}

/// Checks that a log is of the version that this crate works with.
pub(crate) async fn check(session: &Session, log: &LogName) -> Result<(), Error> {
    let server = session.server();
    let versions = sql::versions(log);
    let row = session.client().query_typed_opt(&versions, &[(&log.log(), Type::TEXT)]).await;
    let missing = || Error::SchemaMissing { server: server.to_string(), log: log.to_string() };
    let failed = |error| server.error(error, server.at(Place::Read));
    let row = row.map_err(failed)?.ok_or_else(missing)?;
    let found = row.try_get(0).map_err(failed)?;
    if found == sql::VERSION { Ok(()) } else { Err(unknown(log, found)) }
}

fn unknown(log: &LogName, found: i32) -> Error {
    let remedy = if found < sql::VERSION {
        "run eddyline::Schema::migrate once, as the owner of the log"
    } else {
        "use the eddyline that the log was migrated with, or a newer one"
    };
    Error::SchemaVersion { log: log.to_string(), found, supported: sql::VERSION, remedy }
}
