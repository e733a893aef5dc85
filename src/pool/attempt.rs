use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts the attempts that failed.
pub(super) struct Clock(AtomicU64);

impl Default for Clock {
    fn default() -> Self {
        Self(AtomicU64::new(1))
    }
}

/// When the last attempt at a host, or at one of its addresses, failed, by a [`Clock`]; 0 if it did not.
#[derive(Default)]
pub(super) struct LastFailure(AtomicU64);

impl LastFailure {
    /// Returns the rank by which to ask those first that did not fail, and of the others the one that
    /// has been left alone for longest.
    pub(super) fn rank(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// An attempt, which counts as failed unless it succeeds: also if it is dropped.
pub(super) struct Attempt<'a> {
    clock: &'a Clock,
    last_failure: &'a LastFailure,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(clock: &'a Clock, last_failure: &'a LastFailure) -> Self {
        Self { clock, last_failure }
    }

    pub(super) fn succeed(self) {
        self.last_failure.0.store(0, Ordering::Relaxed);
        std::mem::forget(self);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let now = self.clock.0.fetch_add(1, Ordering::Relaxed);
        self.last_failure.0.store(now, Ordering::Relaxed);
    }
}

/// The addresses of a host, as they were found last; a socket of this machine has none.
#[derive(Default)]
pub(super) struct Addresses(Mutex<HashMap<Option<IpAddr>, Arc<LastFailure>>>);

impl Addresses {
    /// Returns the addresses that were found in the order in which to ask them: those whose last attempt
    /// failed come last.
    pub(super) fn in_order(
        &self,
        found: Vec<Option<IpAddr>>,
    ) -> Vec<(Option<IpAddr>, Arc<LastFailure>)> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A name may stand for other addresses each time.
        known.retain(|address, _| found.contains(address));
        let mut order: Vec<_> = found
            .into_iter()
            .map(|address| (address, known.entry(address).or_default().clone()))
            .collect();
        order.sort_by_cached_key(|(_, last_failure)| last_failure.rank());
        order
    }
}
