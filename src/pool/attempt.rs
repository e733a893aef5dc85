use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A logical clock that counts the failed attempts.
pub(super) struct FailureClock(AtomicU64);

impl Default for FailureClock {
    fn default() -> Self {
        Self(AtomicU64::new(1))
    }
}

/// The time, by a [`FailureClock`], of a failed last attempt at a host or at one of its addresses;
/// 0 if the last attempt succeeded, or if there was none.
#[derive(Default)]
pub(super) struct LastFailure(AtomicU64);

impl LastFailure {
    /// Returns the sort key for the order of attempts: targets without a failure first, then the
    /// failed ones, the longest ago first.
    pub(super) fn rank(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// An attempt to connect. It counts as failed unless [`succeed`](Self::succeed) is called, also if
/// it is dropped.
pub(super) struct Attempt<'a> {
    clock: &'a FailureClock,
    last_failure: &'a LastFailure,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(clock: &'a FailureClock, last_failure: &'a LastFailure) -> Self {
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

/// The addresses that the last look-up of a host returned. A Unix-domain socket has the single
/// address `None`.
#[derive(Default)]
pub(super) struct Addresses(Mutex<HashMap<Option<IpAddr>, Arc<LastFailure>>>);

impl Addresses {
    /// Returns the resolved addresses in the order in which to try them: addresses whose last
    /// attempt failed come last.
    pub(super) fn in_order(
        &self,
        resolved: Vec<Option<IpAddr>>,
    ) -> Vec<(Option<IpAddr>, Arc<LastFailure>)> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Each look-up may return other addresses.
        known.retain(|address, _| resolved.contains(address));
        let mut order: Vec<_> = resolved
            .into_iter()
            .map(|address| (address, known.entry(address).or_default().clone()))
            .collect();
        order.sort_by_cached_key(|(_, last_failure)| last_failure.rank());
        order
    }
}
