use std::time::Duration;

use super::{Config, Fallback, Replica};
use crate::Error;
use crate::address::Address;

/// The settings of read-only stores.
impl Config {
    /// Adds a replica, over which a read-only store distributes its reads: an address, or a
    /// [`Replica`].
    ///
    /// A configuration that begins with a [`Replica`] is made by `Config::from`.
    ///
    /// ```
    /// use eddyline::{Config, Replica};
    ///
    /// let config = Config::from(Replica::new("postgres://replica-a/library")?.weight(2.0))
    ///     .replica("postgres://replica-b/library")?;
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn replica<R>(mut self, replica: R) -> Result<Self, Error>
    where
        R: TryInto<Replica>,
        Error: From<R::Error>,
    {
        self.servers.push(replica.try_into()?);
        Ok(self)
    }

    /// Names the primary of the replicas of a read-only store, and when the store reads from it.
    ///
    /// Without it, or with [`Fallback::Never`], the store never reads from the primary, unless that
    /// is one of the replicas. [`Store::max_staleness`](crate::Store::max_staleness) needs to know
    /// the primary. The store has a connection to it, by which it asks for the log's head. If the
    /// address names several hosts, the store uses the one that is the primary.
    ///
    /// ```
    /// use eddyline::{Config, Fallback};
    ///
    /// let config = Config::new("postgres://replica-a/library")?
    ///     .replica("postgres://replica-b/library")?
    ///     .primary("postgres://primary/library", Fallback::WhenUnreachable)?;
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn primary(self, url: &str, fallback: Fallback) -> Result<Self, Error> {
        Ok(Self { primary: Some((Address::parse(url)?, fallback)), ..self })
    }

    /// Sets how long an attempt of a read waits for a replica that has reached the requested
    /// position, and for the primary's answer to
    /// [`Store::max_staleness`](crate::Store::max_staleness). Defaults to 2 seconds.
    ///
    /// [`Store::at_least`](crate::Store::at_least), a bookmark in
    /// [`Query::after`](crate::Query::after) and
    /// [`Store::with_causality`](crate::Store::with_causality) request a position.
    pub fn replica_timeout(self, timeout: Duration) -> Self {
        Self { replica_timeout: timeout, ..self }
    }

    /// Sets the interval at which a store asks its servers for their state. A read-only store asks
    /// each replica, and the primary that it was given. A read-write store with several hosts asks
    /// each host. Defaults to 1 second.
    ///
    /// It has one connection to each server or host for this. While reads wait, it asks every 0.2
    /// to 5 ms, and while it looks for a new primary, every 20 ms. A read-write store leaves an old
    /// primary at most this interval after it can reach the promoted server.
    pub fn watch_interval(self, interval: Duration) -> Self {
        Self { watch_interval: interval, ..self }
    }
}
