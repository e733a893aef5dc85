use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::Error;
use crate::telemetry::{Observable, PoolLevels, PoolTelemetry};

/// The limit of a pool's connections, with the numbers of open connections, of attempts to connect,
/// and of callers that wait for a connection.
///
/// Each connection and each attempt holds a [`Slot`]. Dropping the slot frees it, however the
/// connection or the attempt ends: also if the runtime of an attempt ends before the attempt does.
pub(super) struct Capacity {
    max: u32,
    counts: Mutex<Counts>,
    /// The number of open connections that callers have.
    leased: AtomicU32,
    changes: watch::Sender<Change>,
    telemetry: PoolTelemetry,
}

#[derive(Default)]
struct Counts {
    open: u32,
    pending: u32,
    waiting: u32,
}

/// The results of the attempts to connect so far.
#[derive(Default)]
struct Change {
    failures: u64,
    last_failure: Option<Error>,
    /// When the last failure happened.
    failed_at: Option<Instant>,
    /// Whether the last attempt failed.
    is_failing: bool,
}

impl Capacity {
    pub(super) fn new(max: u32, telemetry: PoolTelemetry) -> Arc<Self> {
        let changes = watch::Sender::new(Change::default());
        let (counts, leased) = (Mutex::default(), AtomicU32::new(0));
        Arc::new(Self { max, counts, leased, changes, telemetry })
    }

    pub(super) fn telemetry(&self) -> &PoolTelemetry {
        &self.telemetry
    }

    /// Counts a caller that waits for a connection, until the guard is dropped.
    pub(super) fn wait(&self) -> Waiter<'_> {
        self.counts().waiting += 1;
        Waiter(self)
    }

    /// Reserves a slot for an attempt to connect. Returns `None` if no slot is free, or if there
    /// are as many attempts as waiting callers.
    pub(super) fn reserve(self: &Arc<Self>) -> Option<Slot> {
        self.reserve_if(|counts| counts.pending < counts.waiting)
    }

    /// Reserves a slot for a connection that no caller has asked for.
    pub(super) fn reserve_unasked(self: &Arc<Self>) -> Option<Slot> {
        self.reserve_if(|_| true)
    }

    fn reserve_if(self: &Arc<Self>, is_wanted: impl Fn(&Counts) -> bool) -> Option<Slot> {
        let mut counts = self.counts();
        if !is_wanted(&counts) || counts.open + counts.pending >= self.max {
            return None;
        }
        counts.pending += 1;
        Some(Slot { capacity: self.clone(), is_open: false, leased_at: None, failure: None })
    }

    /// Returns whether the number of open connections has reached the limit.
    pub(super) fn is_full(&self) -> bool {
        self.counts().open >= self.max
    }

    /// Returns whether there is no open connection.
    pub(super) fn is_empty(&self) -> bool {
        self.counts().open == 0
    }

    /// Returns the limit of open connections.
    pub(super) fn max(&self) -> u32 {
        self.max
    }

    /// Returns the error of the last attempt to connect, if that attempt failed, at this time or
    /// later.
    pub(super) fn last_failure(&self, since: Instant) -> Option<Error> {
        let change = self.changes.borrow();
        let is_recent = change.failed_at.is_some_and(|at| at >= since);
        change.last_failure.clone().filter(|_| change.is_failing && is_recent)
    }

    /// Subscribes to freed slots and failed attempts.
    pub(super) fn changes(&self) -> Changes {
        let changes = self.changes.subscribe();
        let failures = changes.borrow().failures;
        Changes { changes, failures }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observable<PoolLevels> for Capacity {
    fn state(&self) -> PoolLevels {
        let Counts { open, waiting, .. } = *self.counts();
        // A connection may have been leased, or closed, since the others were counted.
        let used = self.leased.load(Ordering::Relaxed).min(open);
        PoolLevels { max: self.max, idle: open - used, used, waiting }
    }
}

/// A caller that waits for a connection.
pub(super) struct Waiter<'a>(&'a Capacity);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.counts().waiting -= 1;
    }
}

/// The slot of an open connection, or of an attempt to connect.
pub(super) struct Slot {
    capacity: Arc<Capacity>,
    is_open: bool,
    /// Since when a caller has the connection, if one has it.
    leased_at: Option<Instant>,
    failure: Option<Error>,
}

impl Slot {
    /// Turns the slot of an attempt into the slot of an open connection.
    pub(super) fn opened(mut self) -> Self {
        let mut counts = self.capacity.counts();
        counts.pending -= 1;
        counts.open += 1;
        drop(counts);
        self.is_open = true;
        // No slot became free, so no waiting caller is woken.
        self.capacity.changes.send_if_modified(|change| {
            change.is_failing = false;
            false
        });
        self
    }

    /// Counts the connection as used by a caller.
    pub(super) fn lease(&mut self) {
        self.leased_at = Some(Instant::now());
        self.capacity.leased.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the connection as used by no caller any more.
    pub(super) fn release(&mut self) {
        if let Some(leased_at) = self.leased_at.take() {
            self.capacity.leased.fetch_sub(1, Ordering::Relaxed);
            self.capacity.telemetry.released(leased_at.elapsed());
        }
    }

    /// Frees the slot of a failed attempt.
    pub(super) fn fail(mut self, error: Error) {
        self.failure = Some(error);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.capacity.counts();
        match self.is_open {
            true => counts.open -= 1,
            false => counts.pending -= 1,
        }
        drop(counts);
        // After the counts, because a woken caller tries to reserve the slot at once.
        self.capacity.changes.send_modify(|change| {
            if let Some(error) = self.failure.take() {
                change.failures += 1;
                change.last_failure = Some(error);
                change.failed_at = Some(Instant::now());
                change.is_failing = true;
            }
        });
    }
}

/// A subscription to the changes of a [`Capacity`].
pub(super) struct Changes {
    changes: watch::Receiver<Change>,
    failures: u64,
}

impl Changes {
    /// Waits for a change. Returns the error if an attempt failed.
    pub(super) async fn next(&mut self) -> Option<Error> {
        if self.changes.changed().await.is_err() {
            // The pool was dropped: there is nothing left that could change.
            std::future::pending::<()>().await;
        }
        let change = self.changes.borrow_and_update();
        let has_failed = change.failures > self.failures;
        self.failures = change.failures;
        change.last_failure.clone().filter(|_| has_failed)
    }
}
