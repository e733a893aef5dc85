use std::time::Duration;

use super::Store;
use crate::{Bookmark, Error, ReadOnly, Replica, ReplicaStatus};

impl Store<ReadOnly> {
    /// Returns a handle whose reads show the log at this position or later.
    ///
    /// With the position of an append, the reads see that append and everything before it. Give it
    /// as a [`Bookmark`]: if a failover has lost the append, the reads fail with
    /// [`Error::PositionLost`](crate::Error::PositionLost), however many events were appended
    /// since.
    ///
    /// A read waits until a replica that can be used has reached the position. If it waits alone,
    /// it asks the replicas itself for up to 2 ms. Otherwise it holds no connection and no
    /// snapshot. After [`Config::replica_timeout`] it uses the primary, if
    /// [`Fallback::WhenBehind`](crate::Fallback::WhenBehind) is set, or fails with
    /// [`Error::ReplicaBehind`](crate::Error::ReplicaBehind), which names every replica with its
    /// position.
    ///
    /// This replaces the position of an earlier call. [`with_causality`](Store::with_causality) and
    /// [`max_staleness`](Self::max_staleness) apply as well.
    ///
    /// ```no_run
    /// # use eddyline::{AppendCondition, Error, Event, Filter, ReadOnly, ReadWrite, Store};
    /// # async fn add(
    /// #     writer: Store<ReadWrite>,
    /// #     reader: Store<ReadOnly>,
    /// #     event: Event,
    /// # ) -> Result<(), Error> {
    /// let appended = writer.append([event], AppendCondition::none()).await?;
    /// let copies = Filter::types(["BookCopyAddedToCirculation"]).build()?;
    /// let history = reader.at_least(appended.bookmark()).query(&copies).await?;
    /// assert!(history.position() >= appended.last());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Config::replica_timeout`]: crate::Config::replica_timeout
    pub fn at_least(&self, position: impl Into<Bookmark>) -> Self {
        Self { at_least: position.into(), ..self.clone() }
    }

    /// Returns a handle whose reads show every event that was committed up to this long before the
    /// read.
    ///
    /// The bound is exact. The store asks the primary for the log's head, by a statement that it
    /// sends no earlier than this long before the read. Everything that was committed before that
    /// statement lies at that head or below, and the read waits for a replica that has reached it
    /// as with [`at_least`](Self::at_least). Only this process's monotonic clock is used: the
    /// clocks of the servers play no part. While no events are appended, the head stays the same,
    /// and a replica that has it satisfies every bound.
    ///
    /// The primary is asked every [`Config::watch_interval`](crate::Config::watch_interval). With a
    /// shorter bound, the read asks it, together with all others that wait. With zero, the read is
    /// linearizable: it shows every append that returned before.
    ///
    /// After a promotion there are two exceptions. A former primary that does not know of its
    /// successor gives outdated heads, until the store has seen a server that follows the
    /// successor. And a replica of a former primary may show events that the promotion has lost,
    /// until the first append on the promoted server.
    ///
    /// ```no_run
    /// # use eddyline::{Config, Error, Fallback, Filter, ReadOnly, Store};
    /// use std::time::Duration;
    ///
    /// # async fn read() -> Result<(), Error> {
    /// let config = Config::new("postgres://replica/library")?
    ///     .primary("postgres://primary/library", Fallback::Never)?;
    /// let reader = Store::<ReadOnly>::connect(config).await?;
    /// let dashboard = reader.max_staleness(Duration::from_secs(5))?;
    /// let history = dashboard.query(Filter::everything()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] without [`Config::primary`](crate::Config::primary).
    ///
    /// The reads fail with [`Error::StalenessUnknown`] if the primary does not answer within
    /// [`Config::replica_timeout`](crate::Config::replica_timeout), and with
    /// [`Error::ReplicaBehind`] if no replica reaches the head within that time.
    pub fn max_staleness(&self, duration: Duration) -> Result<Self, Error> {
        self.shared.replica_set().check_primary()?;
        Ok(Self { max_staleness: Some(duration), ..self.clone() })
    }

    /// Connects to another replica, and begins to read from it. Returns its name, which no other
    /// replica of this store had.
    ///
    /// ```no_run
    /// # use eddyline::{Error, ReadOnly, Replica, Store};
    /// # async fn replace(reader: Store<ReadOnly>) -> Result<(), Error> {
    /// let name = reader.add_replica("postgres://replica-c/library").await?;
    /// reader.remove_replica("replica-0")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Store::connect). Nothing is added then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, no replica is added.
    pub async fn add_replica<R>(&self, replica: R) -> Result<String, Error>
    where
        R: TryInto<Replica>,
        Error: From<R::Error>,
    {
        let replica = replica.try_into()?;
        self.shared.replica_set().add(&replica).await
    }

    /// Removes a replica. Reads and streams that it is answering go on, new ones use the others.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if the store has no replica of this name, or no other one.
    pub fn remove_replica(&self, name: &str) -> Result<(), Error> {
        self.shared.replica_set().remove(name)
    }

    /// Returns what the store knows of each replica, in the order in which they were added.
    ///
    /// ```no_run
    /// # use eddyline::{ReadOnly, Store};
    /// # fn print(reader: Store<ReadOnly>) {
    /// for replica in reader.replicas() {
    ///     println!("{replica}");
    /// }
    /// # }
    /// ```
    pub fn replicas(&self) -> Vec<ReplicaStatus> {
        self.shared.replica_set().statuses()
    }
}
