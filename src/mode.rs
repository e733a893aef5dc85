use std::fmt;

/// The mode of a [`Store`](crate::Store) that reads and appends. Its server must accept writes.
pub enum ReadWrite {}

/// The mode of a [`Store`](crate::Store) that only reads. Its connections are set to refuse writes.
pub enum ReadOnly {}

/// The mode of a [`Store`](crate::Store): [`ReadWrite`] or [`ReadOnly`].
///
/// The trait is sealed: there are no other modes.
///
/// A read-only store has no `append`:
///
/// ```compile_fail,E0599
/// # use eddyline::{AppendCondition, Error, Event, ReadOnly, Store};
/// async fn register(store: Store<ReadOnly>, event: Event) -> Result<(), Error> {
///     store.append([event], AppendCondition::none()).await?;
///     Ok(())
/// }
/// ```
///
/// A read-write store has one:
///
/// ```
/// # use eddyline::{AppendCondition, Error, Event, ReadWrite, Store};
/// async fn register(store: Store<ReadWrite>, event: Event) -> Result<(), Error> {
///     store.append([event], AppendCondition::none()).await?;
///     Ok(())
/// }
/// ```
///
/// A read-only store has no `import`:
///
/// ```compile_fail,E0599
/// # use eddyline::{Error, Event, ReadOnly, Store};
/// async fn take_over(store: Store<ReadOnly>, events: Vec<Event>) -> Result<(), Error> {
///     store.import(futures_util::stream::iter(events)).await?;
///     Ok(())
/// }
/// ```
///
/// A read-write store has one:
///
/// ```
/// # use eddyline::{Error, Event, ReadWrite, Store};
/// async fn take_over(store: Store<ReadWrite>, events: Vec<Event>) -> Result<(), Error> {
///     store.import(futures_util::stream::iter(events)).await?;
///     Ok(())
/// }
/// ```
///
/// The history of a read-only store cannot become a condition:
///
/// ```compile_fail,E0599
/// # use eddyline::{AppendCondition, History, ReadOnly};
/// fn condition(history: &History<ReadOnly>) -> AppendCondition {
///     history.condition()
/// }
/// ```
///
/// The history of a read-write store can:
///
/// ```
/// # use eddyline::{AppendCondition, History, ReadWrite};
/// fn condition(history: &History<ReadWrite>) -> AppendCondition {
///     history.condition()
/// }
/// ```
///
/// A read-only handle cannot be cloned into a read-write handle:
///
/// ```compile_fail,E0308
/// # use eddyline::{ReadOnly, ReadWrite, Store};
/// fn handle(store: &Store<ReadOnly>) -> Store<ReadWrite> {
///     store.clone()
/// }
/// ```
///
/// It can be cloned into a handle of its own mode:
///
/// ```
/// # use eddyline::{ReadOnly, Store};
/// fn handle(store: &Store<ReadOnly>) -> Store<ReadOnly> {
///     store.clone()
/// }
/// ```
pub trait Mode: sealed::Sealed + 'static {
    #[doc(hidden)]
    const ROLE: Role;
}

impl Mode for ReadWrite {
    const ROLE: Role = Role::Primary;
}

impl Mode for ReadOnly {
    const ROLE: Role = Role::Replica;
}

/// The role of a server.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    /// It accepts appends.
    Primary,
    /// It replays what a primary has committed, and answers reads only.
    Replica,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        })
    }
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::ReadOnly {}
    impl Sealed for super::ReadWrite {}
}
