use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll, Waker};

use tokio::runtime::{self, Handle};

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Something that runs in a task of its own, and that whoever has work for it may run as well.
///
/// A task that is woken under load waits for its turn behind all others, and with it what they have
/// gathered. What runs here, where the last of them came, then waits for its own task's waker.
pub(super) struct Driver {
    running: Mutex<Option<Running>>,
    runtime: runtime::Id,
}

impl Driver {
    /// Runs a future that knows how to be called.
    pub(super) fn start<F>(run: impl FnOnce(Weak<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = Handle::current().id();
        let driver = Arc::new_cyclic(|driver| {
            let running: Running = Box::pin(run(driver.clone()));
            Self { running: Mutex::new(Some(running)), runtime }
        });
        tokio::spawn(Task(driver));
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

/// The task of a driver; dropped, what runs in it is dropped, by whomever it could be polled.
struct Task(Arc<Driver>);

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Driver::poll(&mut self.0.running(), cx)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let running = self.0.running().take();
        drop(running);
    }
}

/// How to let a driver run.
pub(super) struct Call {
    /// What to run where the call is made, if anything.
    driver: Weak<Driver>,
    /// Of its task.
    waker: Waker,
}

impl Call {
    /// Lets it run where the call is made.
    pub(super) fn to_run(driver: &Weak<Driver>, cx: &Context<'_>) -> Self {
        Self { driver: driver.clone(), waker: cx.waker().clone() }
    }

    /// Lets its task run, when others have had their turn.
    pub(super) fn to_wake(cx: &Context<'_>) -> Self {
        Self { driver: Weak::new(), waker: cx.waker().clone() }
    }

    /// Makes the call. Where it runs already, or belongs to another runtime, whose timers and
    /// connections it needs, its task is woken.
    pub(super) fn make(self) {
        if let Some(driver) = self.driver.upgrade()
            && Handle::try_current().is_ok_and(|runtime| runtime.id() == driver.runtime)
        {
            let running = match driver.running.try_lock() {
                Ok(running) => Some(running),
                Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            };
            if let Some(mut running) = running
                && Driver::poll(&mut running, &mut Context::from_waker(&self.waker)).is_pending()
            {
                return;
            }
        }
        self.waker.wake();
    }
}
