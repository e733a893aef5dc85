/// What an operation is doing. At any time it is in exactly one phase, so that the times of its
/// phases add up to its duration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum OperationPhase {
    /// An append waits for its batch to be sent; an import, for events of its source.
    Queue,
    /// It waits for a connection.
    Acquire,
    /// A read waits for a replica that is fresh enough.
    WaitReplica,
    /// The server works: from when the request is written until the last answer has arrived.
    Execute,
    /// The process works on the answer, and wakes the caller. For a stream, the caller's own work
    /// between events counts as well; for a decision under the lock, the closure.
    Decode,
    /// It waits before its next attempt.
    Pause,
}

#[cfg(feature = "telemetry")]
impl OperationPhase {
    pub(super) const ALL: [Self; 6] =
        [Self::Queue, Self::Acquire, Self::WaitReplica, Self::Execute, Self::Decode, Self::Pause];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Acquire => "acquire",
            Self::WaitReplica => "wait_replica",
            Self::Execute => "execute",
            Self::Decode => "decode",
            Self::Pause => "pause",
        }
    }
}
