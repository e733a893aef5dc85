use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::waiters::Waiters;

/// What the servers of a store, their watchers and the reads have in common.
pub(super) struct Board {
    pub(super) waiters: Arc<Waiters>,
    changes: watch::Sender<()>,
    /// What the server that was chosen last had been given before.
    given: AtomicU64,
}

impl Board {
    pub(super) fn new() -> Arc<Self> {
        let waiters = Arc::default();
        Arc::new(Self { waiters, changes: watch::Sender::new(()), given: AtomicU64::new(0) })
    }

    /// Tells reads in flight, and reads that wait, that a server was left out or taken back.
    pub(super) fn announce_change(&self) {
        self.changes.send_replace(());
    }

    /// Subscribes to what is announced from now on.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Returns what a server counts as given that was given this much, and is chosen now.
    pub(super) fn advance_given(&self, given: u64) -> u64 {
        given.max(self.given.fetch_max(given, Ordering::Relaxed))
    }
}
