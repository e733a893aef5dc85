use std::fmt;

/// Lets a [`Store`](crate::Store) read and append; its servers must accept writes.
pub enum ReadWrite {}

/// Lets a [`Store`](crate::Store) read only; its servers are told to refuse writes.
pub enum ReadOnly {}

/// Says what a [`Store`](crate::Store) may do: [`ReadWrite`] or [`ReadOnly`].
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
/// A read-write store has:
///
/// ```
/// # use eddyline::{AppendCondition, Error, Event, ReadWrite, Store};
/// async fn register(store: Store<ReadWrite>, event: Event) -> Result<(), Error> {
///     store.append([event], AppendCondition::none()).await?;
///     Ok(())
/// }
/// ```
///
/// Nor has a read-only store an `import`:
///
/// ```compile_fail,E0599
/// # use eddyline::{Error, Event, ReadOnly, Store};
/// async fn take_over(store: Store<ReadOnly>, events: Vec<Event>) -> Result<(), Error> {
///     store.import(futures_util::stream::iter(events)).await?;
///     Ok(())
/// }
/// ```
///
/// A read-write store has:
///
/// ```
/// # use eddyline::{Error, Event, ReadWrite, Store};
/// async fn take_over(store: Store<ReadWrite>, events: Vec<Event>) -> Result<(), Error> {
///     store.import(futures_util::stream::iter(events)).await?;
///     Ok(())
/// }
/// ```
///
/// What a read-only store returned cannot become a condition:
///
/// ```compile_fail,E0599
/// # use eddyline::{AppendCondition, History, ReadOnly};
/// fn condition(history: &History<ReadOnly>) -> AppendCondition {
///     history.condition()
/// }
/// ```
///
/// What a read-write store returned can:
///
/// ```
/// # use eddyline::{AppendCondition, History, ReadWrite};
/// fn condition(history: &History<ReadWrite>) -> AppendCondition {
///     history.condition()
/// }
/// ```
///
/// A read-only handle does not turn into a read-write one:
///
/// ```compile_fail,E0308
/// # use eddyline::{ReadOnly, ReadWrite, Store};
/// fn handle(store: &Store<ReadOnly>) -> Store<ReadWrite> {
///     store.clone()
/// }
/// ```
///
/// It clones to its own kind:
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

/// Names the part that a server plays for a store.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    /// It takes appends, and reads that appends are decided from.
    Primary,
    /// It answers reads only.
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
