use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::Filter;

/// A mutex for each filter, in memory and fair, which serializes contended decisions of a store.
///
/// If decisions on the same filter run concurrently, all of them read and decide, and all but one
/// conflict. If they run one after the other, none conflicts with another one of the same store.
#[derive(Default)]
pub(super) struct KeyedMutex {
    entries: Mutex<HashMap<Filter, KeyedEntry>>,
    /// The number of entries, usually zero. It can be read without locking the map.
    entry_count: AtomicUsize,
}

#[derive(Default)]
struct KeyedEntry {
    mutex: Arc<tokio::sync::Mutex<()>>,
    /// How many tasks hold the mutex or wait for it. A task is counted until its guard is released.
    waiters: usize,
}

/// The guard of one filter's mutex.
pub(super) struct KeyedGuard<'a> {
    _guard: OwnedMutexGuard<()>,
    /// Dropped after the guard. The last waiter removes the entry.
    _waiter: KeyedWaiter<'a>,
}

/// A task that holds the mutex of a filter or waits for it.
struct KeyedWaiter<'a> {
    owner: &'a KeyedMutex,
    filter: Filter,
    mutex: Arc<tokio::sync::Mutex<()>>,
}

impl KeyedMutex {
    /// Returns whether a task holds the mutex of the filter or waits for it.
    pub(super) fn is_locked(&self, filter: &Filter) -> bool {
        self.entry_count.load(Ordering::Relaxed) > 0 && self.entries().contains_key(filter)
    }

    /// Locks the mutex of the filter. Tasks lock it in the order of their calls.
    pub(super) async fn lock(&self, filter: &Filter) -> KeyedGuard<'_> {
        let waiter = self.register(filter);
        let guard = waiter.mutex.clone().lock_owned().await;
        KeyedGuard { _guard: guard, _waiter: waiter }
    }

    fn register(&self, filter: &Filter) -> KeyedWaiter<'_> {
        let mut entries = self.entries();
        let entry = entries.entry(filter.clone()).or_default();
        entry.waiters += 1;
        let mutex = entry.mutex.clone();
        self.entry_count.store(entries.len(), Ordering::Relaxed);
        KeyedWaiter { owner: self, filter: filter.clone(), mutex }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Filter, KeyedEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for KeyedWaiter<'_> {
    fn drop(&mut self) {
        let mut entries = self.owner.entries();
        let Some(entry) = entries.get_mut(&self.filter) else { return };
        entry.waiters -= 1;
        if entry.waiters == 0 {
            entries.remove(&self.filter);
            self.owner.entry_count.store(entries.len(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loans_of(book: &str) -> Filter {
        Filter::types(["BookCopyLentToReader"]).any_of([("BookID", book)]).build().unwrap()
    }

    #[tokio::test]
    async fn tasks_lock_in_the_order_of_their_calls() {
        let mutex = KeyedMutex::default();
        let filter = loans_of("b-1");
        let order = Mutex::new(Vec::new());
        let first = mutex.lock(&filter).await;

        let others = (1..=3).map(|number| {
            let (mutex, filter, order) = (&mutex, &filter, &order);
            async move {
                let _guard = mutex.lock(filter).await;
                order.lock().unwrap().push(number);
            }
        });
        let release = async { drop(first) };
        tokio::join!(biased; futures_util::future::join_all(others), release);

        assert_eq!(order.into_inner().unwrap(), [1, 2, 3]);
    }

    #[tokio::test]
    async fn different_filters_do_not_block_each_other() {
        let mutex = KeyedMutex::default();
        let _first = mutex.lock(&loans_of("b-1")).await;

        mutex.lock(&loans_of("b-2")).await;

        assert!(mutex.is_locked(&loans_of("b-1")));
        assert!(!mutex.is_locked(&loans_of("b-2")));
    }

    /// Of two waiters that are dropped at the same time, one has to remove the entry.
    #[test]
    fn no_entry_remains_after_concurrent_releases() {
        let mutex = KeyedMutex::default();
        let filters: Vec<_> = (0..20_000).map(|book| loans_of(&format!("b-{book}"))).collect();
        let both = std::sync::Barrier::new(2);
        let pass = || {
            for filter in &filters {
                let waiter = mutex.register(filter);
                both.wait();
                drop(waiter);
            }
        };

        std::thread::scope(|scope| {
            scope.spawn(pass);
            pass();
        });

        assert_eq!(mutex.entries().len(), 0);
    }

    #[tokio::test]
    async fn no_entry_remains_after_a_canceled_wait() {
        let mutex = KeyedMutex::default();
        let filter = loans_of("b-1");

        let guard = mutex.lock(&filter).await;
        let mut waiting = Box::pin(mutex.lock(&filter));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        drop(guard);
        drop(waiting);

        assert!(!mutex.is_locked(&filter));
        assert!(mutex.entries().is_empty());
    }
}
