use super::log_tail::LogTail;
use super::plan::Knowledge;
use crate::Bookmark;
use crate::pool::{ConnectionId, Lease};

/// A connection that appends, with the part of the log that it has seen.
pub(super) struct AppendConnection {
    pub(super) lease: Lease,
    pub(super) seen: Seen,
}

/// The part of a log that a connection has seen.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) tail: LogTail,
    /// For how many more batches something other than this connection is expected to append as
    /// well: another process, or a large append, an import or a decision under the lock of this
    /// store.
    contended_batches: u32,
}

/// The part of a log that a connection had seen when it was returned to the pool.
///
/// It is used with the same connection only (Lemma 3): another one may lead to another primary,
/// which lacks the last events of the first one and has given their positions to other events.
pub(super) struct CachedTail {
    seen_by: ConnectionId,
    seen: Seen,
}

impl AppendConnection {
    /// Uses a lease, with the cached tail if that is of the same connection.
    pub(super) fn new(lease: Lease, cached: Option<CachedTail>) -> Self {
        let id = lease.own_id();
        let cached = cached.filter(|cached| Some(cached.seen_by) == id);
        Self { lease, seen: cached.map(|cached| cached.seen).unwrap_or_default() }
    }

    /// Returns the connection to the pool, and what it has seen to the caller.
    pub(super) fn into_cached_tail(self) -> Option<CachedTail> {
        let seen_by = self.lease.own_id()?;
        Some(CachedTail { seen_by, seen: self.seen })
    }

    /// Returns what is known of the log before a batch is planned.
    pub(super) fn knowledge(&mut self, newest: Bookmark) -> Knowledge<'_> {
        let is_behind_pooler = self.is_behind_pooler();
        // Lemma 3: a tail ends with its connection, and this one may lead to another server now.
        if is_behind_pooler {
            self.seen = Seen::default();
        }
        let is_contended = is_behind_pooler || self.seen.is_contended();
        Knowledge { tail: &self.seen.tail, is_contended, newest }
    }

    /// Returns whether a batch may be sent before its predecessor is answered. If
    /// something else appends as well, pipelining would only make batches smaller, and more of them
    /// wait for the lock.
    pub(super) fn may_pipeline(&self) -> bool {
        !self.seen.is_contended() && !self.is_behind_pooler()
    }

    /// Returns whether a pooler may run the next transaction in another backend.
    pub(super) fn is_behind_pooler(&self) -> bool {
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

    /// Records the head after which a batch was appended. It was read under the log's lock.
    pub(super) fn record_head(&mut self, head: Bookmark) {
        // Lemma 3: the tail is extended only if the head is its own. Otherwise it restarts there.
        if self.tail.head() == Some(head) {
            self.contended_batches = self.contended_batches.saturating_sub(1);
            return;
        }
        if self.tail.head().is_some() {
            self.contended_batches = CONTENDED_BATCHES;
        }
        self.tail.restart(head);
    }

    /// Records a head other than the one that a batch was validated against.
    pub(super) fn record_unexpected(&mut self, head: Bookmark) {
        self.contended_batches = CONTENDED_BATCHES;
        self.tail.restart(head);
    }
}

/// The number of batches for which something else is expected to append, after it did once.
const CONTENDED_BATCHES: u32 = 16;
