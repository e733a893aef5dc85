use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll, Waker};

use tokio::runtime::{self, Handle};

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task of the runtime that other tasks may poll as well.
///
/// A task that is woken may run after other tasks that are ready. The task that adds the last
/// request of a batch polls the worker's task itself instead, so that the batch is sent at once.
pub(super) struct InlineTask {
    running: Mutex<Option<Running>>,
    runtime: runtime::Id,
}

impl InlineTask {
    /// Spawns a future, which gets a reference to its own task.
    pub(super) fn start<F>(run: impl FnOnce(Weak<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = Handle::current().id();
        let task = Arc::new_cyclic(|task| {
            let running: Running = Box::pin(run(task.clone()));
            Self { running: Mutex::new(Some(running)), runtime }
        });
        tokio::spawn(Spawned(task));
    }

    fn poll(running: &mut Option<Running>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = running.as_mut().map_or(Poll::Ready(()), |running| running.as_mut().poll(cx));
        if polled.is_ready() {
            *running = None;
        }
        polled
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task as the runtime owns it. If it is dropped, it drops the future.
struct Spawned(Arc<InlineTask>);

impl Future for Spawned {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        InlineTask::poll(&mut self.0.running(), cx)
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let running = self.0.running().take();
        drop(running);
    }
}

/// A handle to run an inline task.
pub(super) struct WakeHandle {
    /// The task, if the holder of the handle polls it. Otherwise it dangles.
    task: Weak<InlineTask>,
    waker: Waker,
}

impl WakeHandle {
    /// Creates a handle whose holder polls the task.
    pub(super) fn to_run(task: &Weak<InlineTask>, cx: &Context<'_>) -> Self {
        Self { task: task.clone(), waker: cx.waker().clone() }
    }

    /// Creates a handle that wakes the task, which may then run after other tasks that are ready.
    pub(super) fn to_wake(cx: &Context<'_>) -> Self {
        Self { task: Weak::new(), waker: cx.waker().clone() }
    }

    /// Polls the task, or only wakes it if it is being polled or belongs to another runtime: it
    /// needs the timers and connections of its own.
    pub(super) fn wake(self) {
        if let Some(task) = self.task.upgrade()
            && Handle::try_current().is_ok_and(|runtime| runtime.id() == task.runtime)
        {
            let running = match task.running.try_lock() {
                Ok(running) => Some(running),
                Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            };
            // The task is polled with its own waker, not with that of the polling task. If it ends
            // here, it is woken as well, so that the runtime drops it.
            if let Some(mut running) = running
                && InlineTask::poll(&mut running, &mut Context::from_waker(&self.waker))
                    .is_pending()
            {
                return;
            }
        }
        self.waker.wake();
    }
}
