use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::Error;

/// The count of a pool's connections: those that exist, those that are being made, and the callers
/// that wait for one.
///
/// Each connection and each attempt holds a [`Slot`]. However it ends, its slot is free again: also
/// where the runtime that an attempt ran on ends before the attempt does.
pub(super) struct Capacity {
    most: u32,
    counts: Mutex<Counts>,
    changes: watch::Sender<Change>,
}

#[derive(Default)]
struct Counts {
    made: u32,
    pending: u32,
    waiting: u32,
}

/// What the attempts to make connections came to.
#[derive(Default)]
struct Change {
    /// How many attempts have failed.
    failures: u64,
    last_failure: Option<Error>,
    /// Whether the last attempt failed.
    failing: bool,
}

impl Capacity {
    pub(super) fn new(most: u32) -> Arc<Self> {
        let changes = watch::Sender::new(Change::default());
        Arc::new(Self { most, counts: Mutex::default(), changes })
    }

    /// Counts a caller that waits for a connection, until the guard is dropped.
    pub(super) fn wait(&self) -> Waiter<'_> {
        self.counts().waiting += 1;
        Waiter(self)
    }

    /// Takes a slot for an attempt, if there is one, and if there are fewer attempts than callers
    /// that wait.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Slot> {
        let mut counts = self.counts();
        if counts.pending >= counts.waiting || counts.made + counts.pending >= self.most {
            return None;
        }
        counts.pending += 1;
        Some(Slot { capacity: self.clone(), made: false, failure: None })
    }

    /// Returns whether there are as many connections as there may be.
    pub(super) fn is_full(&self) -> bool {
        self.counts().made >= self.most
    }

    /// Returns whether there is no connection.
    pub(super) fn is_empty(&self) -> bool {
        self.counts().made == 0
    }

    /// Returns the most connections that there may be.
    pub(super) fn most(&self) -> u32 {
        self.most
    }

    /// Returns why the last connection could not be made, if it could not.
    pub(super) fn last_failure(&self) -> Option<Error> {
        let change = self.changes.borrow();
        change.last_failure.clone().filter(|_| change.failing)
    }

    /// Begins to listen for places that become free, and for attempts that fail.
    pub(super) fn changes(&self) -> Changes {
        let changes = self.changes.subscribe();
        let failures = changes.borrow().failures;
        Changes { changes, failures }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller that waits for a connection.
pub(super) struct Waiter<'a>(&'a Capacity);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.counts().waiting -= 1;
    }
}

/// The slot of a connection, or of the attempt to make one.
pub(super) struct Slot {
    capacity: Arc<Capacity>,
    made: bool,
    failure: Option<Error>,
}

impl Slot {
    /// Turns the slot of an attempt into that of a connection.
    pub(super) fn made(mut self) -> Self {
        let mut counts = self.capacity.counts();
        counts.pending -= 1;
        counts.made += 1;
        drop(counts);
        self.made = true;
        // The slot is as taken as before, so nobody is woken.
        self.capacity.changes.send_if_modified(|change| {
            change.failing = false;
            false
        });
        self
    }

    /// Frees the slot of an attempt that failed.
    pub(super) fn fail(mut self, error: Error) {
        self.failure = Some(error);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.capacity.counts();
        match self.made {
            true => counts.made -= 1,
            false => counts.pending -= 1,
        }
        drop(counts);
        // Only now: a caller that is woken asks for the slot at once.
        self.capacity.changes.send_modify(|change| {
            if let Some(error) = self.failure.take() {
                change.failures += 1;
                change.last_failure = Some(error);
                change.failing = true;
            }
        });
    }
}

/// The changes of a capacity from some moment on.
pub(super) struct Changes {
    changes: watch::Receiver<Change>,
    failures: u64,
}

impl Changes {
    /// Waits for a change. Returns the failure if it is that of an attempt.
    pub(super) async fn next(&mut self) -> Option<Error> {
        if self.changes.changed().await.is_err() {
            // The pool is gone, and so is what could change.
            std::future::pending::<()>().await;
        }
        let change = self.changes.borrow_and_update();
        let failed = change.failures > self.failures;
        self.failures = change.failures;
        change.last_failure.clone().filter(|_| failed)
    }
}
