/// When a read-only store reads from the primary that [`Config::primary`](crate::Config::primary)
/// names.
///
/// Each such read is counted (`eventstore.replica.fallbacks`), and visible in
/// [`History::served_by`](crate::History::served_by).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Fallback {
    /// Never. The primary is only asked for its position, for
    /// [`Store::max_staleness`](crate::Store::max_staleness).
    #[default]
    Never,
    /// As [`WhenUnreachable`](Self::WhenUnreachable), and if no replica has reached the position
    /// that a read asks for within [`Config::replica_timeout`](crate::Config::replica_timeout).
    WhenBehind,
    /// If each replica refuses connections, does not answer, or must not be read from (see
    /// [`ReplicaState`](crate::ReplicaState)).
    WhenUnreachable,
}
