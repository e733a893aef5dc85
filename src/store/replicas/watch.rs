use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::server::WatchedServer;

/// The task that watches a server, and how reads turn to it.
#[derive(Default)]
pub(super) struct Watch {
    is_running: AtomicBool,
    task: Mutex<Option<AbortHandle>>,
    wake: Notify,
    is_demanded: AtomicBool,
    concern: Notify,
    concerned: AtomicUsize,
}

impl Watch {
    /// Wakes the watcher, because a read waits for a position.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Asks for an observation that begins after this.
    pub(super) fn demand(&self) {
        self.is_demanded.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn is_demanded(&self) -> bool {
        self.is_demanded.load(Ordering::Acquire)
    }

    /// Answers the demands so far by an observation that begins now.
    pub(super) fn take_demand(&self) {
        self.is_demanded.store(false, Ordering::Release);
    }

    /// Waits for a call of [`wake`](Self::wake) since the last one that was waited for.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Asks the watcher whether the server is alive, until the guard is dropped.
    pub(super) fn concern(&self) -> Concern<'_> {
        self.concerned.fetch_add(1, Ordering::Relaxed);
        self.concern.notify_one();
        self.demand();
        Concern(self)
    }

    /// Waits until a read asks whether the server is alive.
    pub(super) async fn concerned(&self) {
        while !self.is_concerned() {
            self.concern.notified().await;
        }
    }

    pub(super) fn is_concerned(&self) -> bool {
        self.concerned.load(Ordering::Relaxed) > 0
    }

    pub(super) fn is_running(&self) -> bool {
        self.is_running.load(Ordering::Relaxed)
    }

    /// Starts the task, unless it is running. If the runtime of the task ends, the task ends as
    /// well, and can be started on another runtime.
    pub(super) fn start<F>(server: &Arc<WatchedServer>, task: impl FnOnce() -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let watch = &server.watch;
        if watch.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let (running, task) = (Running(server.clone()), task());
        let task = tokio::spawn(async move {
            let _running = running;
            task.await;
        });
        *watch.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
    }

    /// Ends the task.
    pub(super) fn stop(&self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

/// A read that has waited longer than usual.
pub(super) struct Concern<'a>(&'a Watch);

impl Drop for Concern<'_> {
    fn drop(&mut self) {
        self.0.concerned.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Marks the task as running until it ends, however that happens.
struct Running(Arc<WatchedServer>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.watch.is_running.store(false, Ordering::Release);
    }
}
