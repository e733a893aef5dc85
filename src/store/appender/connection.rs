use super::log_tail::LogTail;
use super::plan::Knowledge;
use crate::SequenceNumber;
use crate::pool::{ConnectionId, Lease};

/// A connection that appends, with what it has seen of the log.
pub(super) struct AppendConnection {
    pub(super) lease: Lease,
    pub(super) seen: Seen,
}

/// What a connection has seen of a log.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) tail: LogTail,
    /// For how many batches to expect that other processes append as well.
    contended_batches: u32,
}

/// What was seen by way of one connection.
///
/// By way of another one it might not be true: there may be another primary at its end, which lacks the
/// last events of the first and has others in their places.
pub(super) struct CachedTail {
    by: ConnectionId,
    seen: Seen,
}

impl AppendConnection {
    /// Takes a connection, and what was seen before if it was by way of the same one.
    pub(super) fn new(lease: Lease, cached: Option<CachedTail>) -> Self {
        let id = lease.own_id();
        let cached = cached.filter(|cached| Some(cached.by) == id);
        Self { lease, seen: cached.map(|cached| cached.seen).unwrap_or_default() }
    }

    /// Gives the connection back. Returns what was seen.
    pub(super) fn into_cached_tail(self) -> Option<CachedTail> {
        let by = self.lease.own_id()?;
        Some(CachedTail { by, seen: self.seen })
    }

    /// Returns what is known before a batch is planned.
    pub(super) fn knowledge(&mut self, newest: SequenceNumber) -> Knowledge<'_> {
        let is_shared = self.is_shared();
        if is_shared {
            self.seen = Seen::default();
        }
        let is_contended = is_shared || self.seen.is_contended();
        Knowledge { tail: &self.seen.tail, is_contended, newest }
    }

    /// Returns whether a batch may be sent before the one in front of it is answered. If other processes
    /// append too, that would only make for smaller batches, and more of them that wait for the lock.
    pub(super) fn may_pipeline(&self) -> bool {
        !self.seen.is_contended() && !self.is_shared()
    }

    /// Returns whether the next transaction may go to another server.
    pub(super) fn is_shared(&self) -> bool {
        self.lease.own_id().is_none()
    }

    pub(super) fn is_spent(&self) -> bool {
        self.lease.is_spent()
    }
}

impl Seen {
    fn is_contended(&self) -> bool {
        self.contended_batches > 0
    }

    /// Records the log's head as it was under the log's lock, before the batch that was appended next.
    pub(super) fn record_head(&mut self, head: SequenceNumber) {
        if self.tail.head() == Some(head) {
            self.contended_batches = self.contended_batches.saturating_sub(1);
            return;
        }
        if self.tail.head().is_some() {
            self.contended_batches = CONTENTION_BATCHES;
        }
        self.tail.restart(head);
    }

    /// Records a head that a batch was not planned for, so that it was not appended.
    pub(super) fn record_unexpected(&mut self, head: SequenceNumber) {
        self.contended_batches = CONTENTION_BATCHES;
        self.tail.restart(head);
    }
}

/// For how many batches other processes are expected to append as well, after one did.
const CONTENTION_BATCHES: u32 = 16;
