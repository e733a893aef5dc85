/// The connection pooler between a store and its servers, if any.
///
/// ```
/// use eddyline::{Config, Pooler};
///
/// let config = Config::new("postgres://pgbouncer:6432/library")?.pooler(Pooler::Transaction);
/// # Ok::<(), eddyline::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Pooler {
    /// No pooler, or a pooler in session mode, which assigns a backend to each client connection
    /// for as long as that connection lasts.
    #[default]
    None,
    /// A pooler in transaction mode, such as PgBouncer with `pool_mode = transaction`, which may
    /// assign another backend after each transaction.
    ///
    /// The store then leaves no state behind: it uses unnamed statements, and settings that end
    /// with their transaction. A read still takes one round trip, but is planned each time. The
    /// pooler itself has to detect dead clients and servers.
    Transaction,
}
