use std::marker::PhantomData;
use std::sync::Arc;

use super::Store;
use super::shared::Shared;
use crate::{Bookmark, Config, Error, Mode, ReadOnly, ReadWrite};

impl Store<ReadWrite> {
    /// Connects to the primary.
    ///
    /// It checks that the server accepts writes, that the log is as
    /// [`Schema::migrate`](crate::Schema::migrate) creates it, and that the role may append to the
    /// log. The connection is kept and prepared for the first append.
    ///
    /// It makes one attempt for each address of the server, whatever
    /// [`Config::retry`](crate::Config::retry) says. To wait for a server that starts later, use a
    /// [`Retry`](crate::retry::Retry).
    ///
    /// ```no_run
    /// use eddyline::{Config, Error, ReadWrite, Store};
    ///
    /// # async fn connect() -> Result<(), Error> {
    /// let config = Config::new("postgres://primary/library")?;
    /// let writer = Store::<ReadWrite>::connect(config).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidConfig`]: a setting is wrong, or there is more than one server.
    /// - [`Error::Unreachable`]: no connection can be made.
    /// - [`Error::Database`]: the server refuses the connection.
    /// - [`Error::UnsuitableServer`]: the server is a replica, is too old, or has an encoding other
    ///   than UTF-8.
    /// - [`Error::SchemaMissing`], [`Error::SchemaVersion`]: the log does not exist, or is not of
    ///   this crate's version.
    /// - [`Error::SchemaDamaged`]: an object of the log is missing or altered, or the log's
    ///   sequence lies behind its head.
    /// - [`Error::UnsuitableRole`]: the role lacks a right, or row-level security hides events from
    ///   it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        if config.servers.len() > 1 {
            return Err(Error::invalid_config("replica", "a read-write store has one server"));
        }
        if config.primary.is_some() {
            let reason = "a read-write store uses the primary that Config::new names";
            return Err(Error::invalid_config("primary", reason));
        }
        let store = Self::open(&config)?;
        store.shared.check_primary().await?;
        Ok(store)
    }
}

impl Store<ReadOnly> {
    /// Connects to the replicas. At least one of them must answer and hold the log. The others are
    /// tried again later.
    ///
    /// A primary may be named as well: connections to it refuse writes as well.
    ///
    /// ```no_run
    /// use eddyline::{Config, Error, ReadOnly, Store};
    ///
    /// # async fn connect() -> Result<(), Error> {
    /// let config = Config::new("postgres://replica-a/library")?
    ///     .replica("postgres://replica-b/library")?;
    /// let reader = Store::<ReadOnly>::connect(config).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::OtherLog`]: two replicas have different logs under the same name.
    /// - If no replica can be used, the error of the first one, of the kinds that
    ///   [`Store::<ReadWrite>::connect`] lists.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let store = Self::open(&config)?;
        store.shared.replica_set().connect().await?;
        Ok(store)
    }
}

impl<M: Mode> Store<M> {
    fn open(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            shared: Arc::new(Shared::new(config, M::ROLE)?),
            at_least: Bookmark::default(),
            causality: None,
            max_staleness: None,
            retry: config.retry.clone(),
            scope: None,
            mode: PhantomData,
        })
    }
}
