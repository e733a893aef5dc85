use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll, Waker};

use tokio::runtime::{self, Handle};

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task of the runtime that a caller of the store may poll as well.
///
/// Under load a task that is woken is polled after all other tasks that are ready. A caller that has
/// completed a batch polls the append task itself instead, and so sends the batch at once.
pub(super) struct InlineTask {
    running: Mutex<Option<Running>>,
    runtime: runtime::Id,
}

impl InlineTask {
    /// Spawns a future, which is given a reference to its own task.
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

/// The runtime's part of an inline task. Dropped, it drops the future.
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

/// What continues an inline task.
pub(super) struct WakeHandle {
    /// The task, if the caller is to poll it.
    task: Weak<InlineTask>,
    waker: Waker,
}

impl WakeHandle {
    /// Makes a handle whose caller polls the task.
    pub(super) fn to_run(task: &Weak<InlineTask>, cx: &Context<'_>) -> Self {
        Self { task: task.clone(), waker: cx.waker().clone() }
    }

    /// Makes a handle that wakes the task, which then runs after the tasks that are ready.
    pub(super) fn to_wake(cx: &Context<'_>) -> Self {
        Self { task: Weak::new(), waker: cx.waker().clone() }
    }

    /// Continues the task. If it runs already, or belongs to another runtime, whose timers and
    /// connections it needs, it is woken.
    pub(super) fn wake(self) {
        if let Some(task) = self.task.upgrade()
            && Handle::try_current().is_ok_and(|runtime| runtime.id() == task.runtime)
        {
            let running = match task.running.try_lock() {
                Ok(running) => Some(running),
                Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            };
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
