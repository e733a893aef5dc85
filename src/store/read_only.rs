use super::Store;
use crate::{Bookmark, ReadOnly, ReplicaStatus};

impl Store<ReadOnly> {
    /// Returns a handle whose reads show the log at this position or later.
    ///
    /// With the position of an append, the reads see that append and everything before it. Give it
    /// as a [`Bookmark`]: if a failover has lost the append, the reads fail with
    /// [`Error::PositionLost`](crate::Error::PositionLost), however many events were appended
    /// since.
    ///
    /// A read
    /// waits until a replica that can be used has reached the position. It holds no connection and
    /// no snapshot meanwhile. After [`Config::replica_timeout`] it fails with
    /// [`Error::ReplicaBehind`](crate::Error::ReplicaBehind), which names every replica with its
    /// position.
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
    /// let history = reader.at_least(appended.last()).query(&copies).await?;
    /// assert!(history.position() >= appended.last());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Config::replica_timeout`]: crate::Config::replica_timeout
    pub fn at_least(&self, position: impl Into<Bookmark>) -> Self {
        Self { at_least: position.into(), ..self.clone() }
    }

    /// Returns what the store knows of each of its servers.
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
