use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::ledger::Ledger;
use super::progress::Progress;
use super::waiters::Waiters;

/// What the servers of a store, their watchers and the reads have in common.
pub(super) struct Board {
    pub(super) waiters: Arc<Waiters>,
    pub(super) progress: Arc<Progress>,
    changes: watch::Sender<()>,
    ledger: Mutex<Ledger>,
    /// What the server that was chosen last had been given before.
    given: AtomicU64,
}

impl Board {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            waiters: Arc::default(),
            progress: Arc::default(),
            changes: watch::Sender::new(()),
            ledger: Mutex::default(),
            given: AtomicU64::new(0),
        })
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
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
